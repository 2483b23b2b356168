"""The book of tickets alone: no socket, no clock of its own."""

import contextlib
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.agent import tickets
from signer.agent.tickets import (
    DENIED,
    DONE,
    EXPIRED,
    FAILED,
    MAX_BYTES,
    MAX_BYTES_OF_ONE,
    MAX_FINISHED,
    MAX_WAITING,
    MAX_WAITING_OF_ONE,
    OPEN,
    SIGNING,
    WAITING,
    Ticket,
    TicketBook,
)
from signer.errors import AgentError, DeniedError, SignerError, WorkerError

NOW = 1_800_000_000


def ticket(name: str = "a", *, uid: int = 1000, expires: int = NOW + 86400, **more: Any) -> Ticket:
    values: dict[str, Any] = {
        "purpose": "sign", "digest": hashlib.sha256(name.encode()).digest(), "raw": b"request",
        "kind": "k", "items": 1, "expires": expires, "asked": NOW, "owner": uid, "askers": {uid},
    }  # fmt: skip
    return Ticket(**(values | more))


def code_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(SignerError) as failed:
        call(*arguments, **options)
    return failed.value.code


def test_the_same_request_is_the_same_ticket() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    again = book.ask(ticket(uid=1001), NOW + 5)
    assert again is first
    assert first.id == first.digest.hex()[:16]
    assert (first.askers, first.owner, book.waiting) == ({1000, 1001}, 1000, 1)


@pytest.mark.case("X430", "ticket of somebody else; one that never was")
def test_only_who_asked_may_ask_after_it() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    assert book.find(first.id, NOW, uid=1000) is first
    assert code_of(book.find, first.id, NOW, uid=1001) == "E_NOT_FOUND"
    assert code_of(book.find, "0" * 16, NOW) == "E_NOT_FOUND"
    assert book.find(first.id, NOW) is first


@pytest.mark.case("X431", "two requests whose digests begin alike")
def test_a_ticket_is_of_one_request() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    twin = ticket(digest=first.digest[:8] + bytes(24))
    assert twin.id == first.id
    assert code_of(book.ask, twin, NOW) == "E_BUSY"
    assert code_of(book.begin, first.id, twin.digest, NOW) == "E_CONFIRM"
    assert book.find(first.id, NOW).digest == first.digest


def test_one_approval_goes_through() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    assert book.begin(first.id, first.digest, NOW).state == SIGNING
    assert code_of(book.begin, first.id, first.digest, NOW) == "E_TICKET"
    book.done(first, b"reply", NOW + 1)
    assert (first.state, first.reply, first.raw) == (DONE, b"reply", b"")
    assert code_of(book.begin, first.id, first.digest, NOW + 1) == "E_TICKET"
    assert book.ask(ticket(), NOW + 2) is first


def test_what_a_person_can_mend_waits_again() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    book.put_back(book.begin(first.id, first.digest, NOW))
    assert (first.state, first.raw) == (WAITING, b"request")
    assert book.begin(first.id, first.digest, NOW) is first


def test_what_failed_waits_again_when_it_is_asked_again() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    book.fail(book.begin(first.id, first.digest, NOW), WorkerError("died"), NOW)
    assert first.state == FAILED
    again = book.ask(ticket(), NOW + 1)
    assert again is not first
    assert again.state == WAITING


@pytest.mark.case("X432", "a request that the holder denied, asked again")
def test_what_was_denied_stays_denied() -> None:
    book = TicketBook()
    first = book.ask(ticket(), NOW)
    book.deny(book.begin(first.id, first.digest, NOW), NOW)
    assert book.ask(ticket(), NOW + 1) is first
    assert first.state == DENIED
    assert code_of(book.begin, first.id, first.digest, NOW) == "E_TICKET"


@pytest.mark.case("R11", "ticket whose request expires while it waits, and while it is signed")
def test_a_ticket_lives_no_longer_than_its_request() -> None:
    book = TicketBook()
    first = book.ask(ticket(expires=NOW + 100), NOW)
    second = book.ask(ticket("b", expires=NOW + 100), NOW)
    book.begin(second.id, second.digest, NOW)
    assert book.find(first.id, NOW + 99).state == WAITING
    assert book.find(first.id, NOW + 100).state == EXPIRED
    assert code_of(book.begin, first.id, first.digest, NOW + 100) == "E_TICKET"
    assert book.find(second.id, NOW + 100).state == SIGNING
    assert [entry.id for entry in book.pending(NOW + 100)] == [second.id]


def test_finished_tickets_are_forgotten() -> None:
    book = TicketBook()
    for name, expires in (("long", NOW + 86400), ("short", NOW + 600), ("over", NOW + 1)):
        asked = book.ask(ticket(name, expires=expires), NOW)
        book.done(book.begin(asked.id, asked.digest, NOW), b"r", NOW)
    ids = {name: ticket(name).id for name in ("long", "short", "over")}
    for name, last in (("over", 59), ("short", 599), ("long", 3599)):
        assert book.find(ids[name], NOW + last).state == DONE
        assert code_of(book.find, ids[name], NOW + last + 1) == "E_NOT_FOUND"


@pytest.mark.case("X433", "ticket flood: by one user, by many, by bytes")
def test_a_flood_is_bounded() -> None:
    book = TicketBook()
    for number in range(MAX_WAITING_OF_ONE):
        book.ask(ticket(f"one {number}"), NOW)
    assert code_of(book.ask, ticket("one more"), NOW) == "E_BUSY"
    assert book.ask(ticket("one 0"), NOW).state == WAITING
    for number in range(MAX_WAITING - MAX_WAITING_OF_ONE):
        book.ask(ticket(f"other {number}", uid=2000 + number), NOW)
    assert code_of(book.ask, ticket("last", uid=5), NOW) == "E_BUSY"
    assert book.waiting == MAX_WAITING
    big = TicketBook()
    assert code_of(big.ask, ticket("big", raw=bytes(MAX_BYTES_OF_ONE + 1)), NOW) == "E_BUSY"
    for uid in range(4):
        big.ask(ticket(f"big {uid}", uid=uid, raw=bytes(MAX_BYTES_OF_ONE)), NOW)
        assert code_of(big.ask, ticket("more", uid=uid), NOW) == "E_BUSY"
    assert code_of(big.ask, ticket("little", uid=5), NOW) == "E_BUSY"


def test_finished_ones_make_room() -> None:
    book = TicketBook()
    for number in range(3 * MAX_FINISHED):
        asked = book.ask(ticket(str(number)), NOW + number)
        book.done(book.begin(asked.id, asked.digest, NOW + number), b"r", NOW + number)
    assert len(book._tickets) <= MAX_FINISHED + 1
    half = TicketBook()
    for number in range(3):
        asked = half.ask(ticket(str(number)), NOW + number)
        half.begin(asked.id, asked.digest, NOW)
        half.done(asked, bytes(MAX_BYTES // 2), NOW + number)
    assert sum(entry.size for entry in half._tickets.values()) <= MAX_BYTES
    assert half.find(ticket("2").id, NOW + 3).state == DONE
    assert code_of(half.find, ticket("0").id, NOW + 3) == "E_NOT_FOUND"


def test_askers_are_bounded() -> None:
    book = TicketBook()
    for uid in range(2 * tickets.MAX_ASKERS):
        book.ask(ticket(uid=uid), NOW)
    assert len(book.ask(ticket(uid=0), NOW).askers) == tickets.MAX_ASKERS


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "begin", "done", "fail", "deny", "put_back", "later"]),
        st.integers(0, 5),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_a_ticket_is_signed_once_and_the_book_is_bounded(
    steps: list[tuple[str, int, int]],
) -> None:
    book, now = TicketBook(), NOW
    signing: dict[str, Ticket] = {}
    for step, number, uid in steps:
        new = ticket(str(number), uid=uid, expires=NOW + 5000)
        if step == "later":
            now += 700 * (number + 1)
        elif step == "ask":
            if now < new.expires:
                book.ask(new, now)
        elif step == "begin":
            try:
                begun = book.begin(new.id, new.digest, now)
            except (AgentError, DeniedError):
                continue
            assert new.id not in signing, "begun twice"
            signing[new.id] = begun
        elif (held := signing.pop(new.id, None)) is not None:
            if step == "done":
                book.done(held, b"r", now)
            elif step == "fail":
                book.fail(held, WorkerError("x"), now)
            elif step == "deny":
                book.deny(held, now)
            else:
                book.put_back(held)
        pending = book.pending(now)
        assert {entry.id for entry in pending if entry.state == SIGNING} == signing.keys()
        assert all(entry.state in OPEN for entry in pending)
        assert book.waiting <= MAX_WAITING


@pytest.mark.case("X433", "endless tickets of one user, while another's reply waits to be fetched")
def test_nobody_crowds_out_anothers_reply() -> None:
    book = TicketBook()
    mine = book.ask(ticket("mine", uid=1), NOW)
    book.done(book.begin(mine.id, mine.digest, NOW), b"reply", NOW)
    for second in range(1, 3 * MAX_FINISHED):
        for number in range(MAX_WAITING_OF_ONE):
            name, moment = f"{second} {number}", NOW + second
            book.ask(ticket(name, uid=2, expires=moment + 1), moment)
    assert book.find(mine.id, NOW + 3 * MAX_FINISHED, uid=1).reply == b"reply"


@pytest.mark.case("X433", "book full of waiting requests when an approved one is signed")
def test_room_is_kept_for_the_reply() -> None:
    book = TicketBook()
    first = book.ask(ticket("first", items=20_000), NOW)
    for uid in range(MAX_WAITING):
        with contextlib.suppress(AgentError):
            book.ask(ticket(str(uid), uid=uid, raw=bytes(7_000_000)), NOW)
    book.done(book.begin(first.id, first.digest, NOW), bytes(4_500_000), NOW)
    assert book.find(first.id, NOW, uid=1000).state == DONE
    assert sum(entry.size for entry in book._tickets.values()) <= 2 * MAX_BYTES

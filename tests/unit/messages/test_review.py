"""The text that a person approves by."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.messages.address import ExecutionAddress
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    Change,
    Deposit,
    Exit,
    Item,
)
from signer.messages.networks import BUILT_IN, network_words
from signer.messages.reply import Denial
from signer.messages.request import SignRequest
from signer.messages.review import (
    MAX_READ,
    NOT_IN_POLICY,
    Knowledge,
    challenge,
    index_ranges,
    request_text,
)
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
VALIDATORS = SimulatedPool.new(role="validator")
LABELS = {ADDRESS: "treasury", OTHER: "cold wallet"}
GROUPED, OTHER_GROUPED = (
    "0x 8c1F f978 036F 2e9d 7CC3 82Ef f7B4 c8c5 3C22 ac15",
    "0x 5290 8400 0985 2788 6E0F 7030 0698 57D2 E416 9EE7",
)
MANY = tuple(range(100, 100 + MAX_READ + 4))


class Before(NamedTuple):
    moment: int
    item: Change | Exit


def validator_request(kind: str, *items: Item) -> SignRequest:
    return SignRequest.new(VALIDATORS.group, items, expires=NOW, kind=kind)


def lines(request: SignRequest, known: Knowledge | None = None) -> list[str]:
    return [" ".join(line.split()) for line in request_text(request, known).splitlines()]


def test_a_change_says_who_is_paid_from_now_on() -> None:
    text = lines(POOL.request(3, 4, 9), Knowledge(labels=LABELS))
    assert text[0] == "Change the withdrawal credentials of 3 validators"
    assert "network mainnet: Ethereum, real ether" in text
    assert "kind bls_to_execution_change" in text
    assert f"group key 0x{POOL.group.public_key.hex()}" in text
    now = POOL.group.withdrawal_credentials
    assert "now credentials 0x00, the key with the hash" in " ".join(text)
    assert now[1:].hex() in "".join(" ".join(text).split())
    place = text.index(f"pay to {GROUPED}")
    assert text[place + 1 : place + 5] == [
        "treasury",
        "credentials 0x01" + "00" * 11 + ADDRESS.hex(),
        "validators 3:",
        "3-4 9",
    ]
    assert "expires 2027-01-15 09:00:00 UTC" in text
    assert text[-1].startswith("This cannot be undone")
    assert not any(NOT_IN_POLICY in line for line in text)


def test_the_text_ends_with_what_two_people_compare() -> None:
    request = POOL.request(3)
    text = " ".join(lines(request))
    assert f"words {challenge(request).words}" in text
    digits = request.digest.hex()[:32]
    assert "request " + " ".join(digits[i : i + 4] for i in range(0, 32, 4)) in text


def test_an_address_that_the_policy_does_not_have_is_shown_as_such() -> None:
    assert NOT_IN_POLICY in lines(POOL.request(3), Knowledge(labels={OTHER: "cold"}))
    assert NOT_IN_POLICY not in lines(POOL.request(3))  # no policy at hand: nothing is said of it


def test_an_exit_says_which_validator_and_from_when() -> None:
    text = lines(validator_request(KIND_VOLUNTARY_EXIT, Exit(1234567, 300_000)))
    assert text[0] == "Exit validator 1234567 from the beacon chain"
    assert "validator 1234567" in text
    assert "from epoch 300000 of the beacon chain on" in text
    assert text[-1].startswith("This cannot be undone")


def test_a_deposit_says_how_much_and_whose_it_will_be() -> None:
    theirs = Deposit(b"\2" + bytes(11) + OTHER, 1_500_000_001)
    ours = Deposit(b"\1" + bytes(11) + ADDRESS, 32 * 10**9)
    key = Deposit(b"\0" + b"\xab" * 31, 10**9)
    request = validator_request(KIND_DEPOSIT, ours, theirs, key)
    known = Knowledge(credentials={ours.withdrawal_credentials: "treasury"})
    text = lines(request, known)
    place = text.index("amount 32 ETH")
    assert text[place + 1 : place + 3] == [f"credentials 0x01, the address {GROUPED}", "treasury"]
    place = text.index("amount 1.500000001 ETH")
    assert text[place + 1 : place + 3] == [
        f"credentials 0x02, the address {OTHER_GROUPED}",
        NOT_IN_POLICY,
    ]
    assert any(line.startswith("credentials 0x00, the key with the hash abab") for line in text)
    assert "together 34.500000001 ETH" in text


def test_what_was_signed_before_is_told() -> None:
    history: dict[int, Sequence[Before]] = {
        4: [Before(NOW, Change(4, OTHER))],
        5: [Before(NOW, Change(5, OTHER))],
    }
    known = Knowledge(before=lambda index: history.get(index, ()))
    text = lines(POOL.request(3, 4, 5), known)
    place = text.index(f"2027-01-15 08:00:00 UTC pay to {OTHER_GROUPED}")
    assert text[place + 1] == "validator 4-5"
    assert "before nothing was signed for them at this holder" in lines(POOL.request(3), known)
    assert not any("before" in line for line in lines(POOL.request(3)))
    leaving = validator_request(KIND_VOLUNTARY_EXIT, Exit(7, 9))
    known = Knowledge(before=lambda index: [Before(NOW, Exit(index, 8))])
    assert "2027-01-15 08:00:00 UTC exit from epoch 8 on" in lines(leaving, known)


def test_what_will_not_be_signed_is_told() -> None:
    denied = [Denial(place, "E_TARGET", "not allowed") for place in (0, 1, 3)]
    denied.append(Denial(2, "E_EQUIVOCATION", "bound to another"))
    text = lines(POOL.request(3, 4, 5, 6), Knowledge(denied=denied))
    place = text.index("NOT SIGNED 3: E_TARGET, not allowed")
    assert text[place + 1] == "validator 3-4 6"
    place = text.index("NOT SIGNED 1: E_EQUIVOCATION, bound to another")
    assert text[place + 1] == "validator 5"


# A batch that nobody reads item by item


def batch(**targets: ExecutionAddress) -> SignRequest:
    """Return a request that pays all of MANY to ADDRESS, but for `v101=OTHER`."""
    others = {int(name[1:]): address for name, address in targets.items()}
    items = [(index, others.get(index, ADDRESS)) for index in MANY]
    return SignRequest.new(POOL.group, items, expires=NOW)


def test_a_batch_is_one_table_and_its_exceptions() -> None:
    text = lines(batch(v101=OTHER, v103=OTHER), Knowledge(labels=LABELS))
    place = text.index("VALIDATORS PAY TO")
    assert text[place + 1 : place + 4] == [
        f"{len(MANY) - 2} {GROUPED} treasury",
        f"2 {OTHER_GROUPED} cold wallet",
        "",
    ]
    exception = text.index(f"pay to {OTHER_GROUPED}")
    assert text[exception + 3 : exception + 5] == ["validators 2:", "101 103"]
    assert f"pay to {GROUPED}" not in text  # what most do stands in the table alone


def test_a_batch_without_exceptions_says_so() -> None:
    assert "All of them pay to this one address." in lines(batch(), Knowledge(labels=LABELS))


def test_a_whole_batch_outside_the_policy_is_the_exception() -> None:
    text = lines(batch(), Knowledge(labels={}))
    assert f"pay to {GROUPED}" in text
    assert "All of them pay to this one address." not in text


def test_a_batch_tells_what_was_signed_before_and_is_denied() -> None:
    history = {101: [Before(NOW, Change(101, OTHER))]}
    known = Knowledge(
        labels=LABELS,
        before=lambda index: history.get(index, ()),
        denied=[Denial(MANY.index(119), "E_TARGET", "not allowed")],
    )
    text = lines(batch(), known)
    assert text[text.index(f"2027-01-15 08:00:00 UTC pay to {OTHER_GROUPED}") + 1] == (
        "validator 101"
    )
    assert text[text.index("NOT SIGNED 1: E_TARGET, not allowed") + 1] == "validator 119"


def test_the_most_that_a_request_holds_stays_short() -> None:
    text = request_text(POOL.request(*range(20_000)), Knowledge(labels=LABELS))
    assert len(text.splitlines()) < 40


@pytest.mark.parametrize("name", [*BUILT_IN, "devnet-7"])
def test_every_network_has_words(name: str) -> None:
    assert ("custom" in network_words(name)) == (name not in BUILT_IN)
    assert ("test network" in network_words(name)) == (
        name in {"sepolia", "holesky", "hoodi", "chiado"}
    )


# Nothing that comes from others steers the terminal

_INDICES = st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=40, unique=True)
_KNOWN = st.builds(
    lambda text, other, denied: Knowledge(
        labels={ADDRESS: text},
        credentials={b"\1" + bytes(11) + ADDRESS: other},
        before=lambda index: [Before(2**53 - 1, Change(index, OTHER))],
        denied=[Denial(0, "E_TARGET", denied)],
    ),
    st.text(),
    st.text(),
    st.text(),
)


def requests() -> st.SearchStrategy[SignRequest]:
    """Return requests of every kind that were parsed, as what a stranger sends is."""
    changes = _INDICES.map(
        lambda indices: SignRequest.new(
            POOL.group,
            [(index, (ADDRESS, OTHER)[index % 2]) for index in indices],
            expires=2**53 - 1,
            kind=KIND_BLS_TO_EXECUTION_CHANGE,
        )
    )
    exits = st.builds(Exit, st.integers(0, 2**40 - 1), st.integers(0, 2**40 - 1)).map(
        lambda item: validator_request(KIND_VOLUNTARY_EXIT, item)
    )
    credentials = st.sampled_from([b"\1" + bytes(11) + ADDRESS, b"\0" + b"\x1b" * 31])
    deposits = st.lists(
        st.builds(Deposit, credentials, st.integers(10**9, 2048 * 10**9)), min_size=1, max_size=16
    ).map(lambda items: validator_request(KIND_DEPOSIT, *items))
    return (changes | exits | deposits).map(lambda made: SignRequest.parse(made.to_bytes()))


@pytest.mark.case("R10", "review text with ANSI, bidi or line breaks in a label or a reason")
@given(requests(), _KNOWN)
def test_no_text_of_others_steers_the_terminal(request_: SignRequest, known: Knowledge) -> None:
    text = request_text(request_, known)
    assert all(" " <= letter <= "~" or letter == "\n" for letter in text)
    assert challenge(request_).words.isascii()
    assert all(part.prompt.isprintable() for part in challenge(request_).parts)


@pytest.mark.case("R10", "label that would draw a line of its own")
@pytest.mark.parametrize(
    "label", ["a\nThis is harmless", "\x1b[2Jx", "\u202eab", "\x85x", "a\u2028b"]
)
def test_a_label_stays_on_its_line(label: str) -> None:
    plain = request_text(POOL.request(3), Knowledge(labels={ADDRESS: "a"}))
    text = request_text(POOL.request(3), Knowledge(labels={ADDRESS: label}))
    assert len(text.splitlines()) == len(plain.splitlines())
    assert text.isascii()


@given(st.sets(st.integers(0, 200), min_size=1))
def test_ranges_say_exactly_the_indices(indices: set[int]) -> None:
    said: set[int] = set()
    for part in index_ranges(sorted(indices)):
        first, _, last = part.partition("-")
        said |= set(range(int(first), int(last or first) + 1))
    assert said == indices

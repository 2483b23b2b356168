"""What stands between a request and its INTENT, beside the policy's own rules."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.custody.mark import mark_journal, require_marked_journal
from signer.errors import DeniedError, JournalError, PinError, SignerError
from signer.policy.policy import ALWAYS, Approval
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
REQUEST = POOL.request(11, 12, 13)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SimulatedDesk]:
    desk = SimulatedDesk(POOL, tmp_path)
    yield desk
    desk.journal.close()


def under(desk: SimulatedDesk, **changes: Any) -> None:
    """Put the desk under another policy."""
    policy = replace(desk.desk.policy, **changes)
    desk.desk = desk.custodian.desk = replace(desk.desk, policy=policy)


def code(desk: SimulatedDesk, **options: Any) -> str:
    """Ask; return the code of a refusal, which left no trace, or nothing."""
    before = desk.records()
    try:
        desk.custodian.sign(options.pop("request", REQUEST), 0, **options)
    except SignerError as error:
        assert desk.records() == before
        assert desk.worker.jobs == []
        return error.code
    return ""


@pytest.mark.case("X495", "request that needs a person, with nobody's approval")
def test_where_a_person_is_needed_nothing_is_signed_without_him(desk: SimulatedDesk) -> None:
    under(desk, approval=ALWAYS)
    assert desk.custodian.review(REQUEST, 0).needs_person
    assert code(desk) == "E_APPROVAL"
    assert code(desk, approved=True) == ""
    assert '"approved":true' in desk.path.read_text()


def test_above_a_number_of_items_that_may_be_signed(desk: SimulatedDesk) -> None:
    under(desk, approval=Approval(2))
    assert code(desk) == "E_APPROVAL"
    assert not desk.custodian.review(POOL.request(1, 2), 0).needs_person
    assert not desk.custodian.review(POOL.request(1, 2, 3, to=OTHER), 0).needs_person  # denied


def test_a_pin_that_only_a_person_has_needs_him_too(desk: SimulatedDesk) -> None:
    desk.custodian.pin = None
    assert desk.custodian.attended
    assert desk.custodian.review(REQUEST, 0).needs_person
    assert code(desk) == "E_APPROVAL"
    with pytest.raises(PinError):
        desk.custodian.sign(REQUEST, 0, approved=True)


@pytest.mark.case("X496", "request that the holder denied, asked again, also after a restart")
def test_a_denied_request_stays_denied(desk: SimulatedDesk) -> None:
    desk.custodian.record_denial(REQUEST, 0, "E_DENIED")
    for _ in range(2):
        assert code(desk, approved=True) == "E_DENIED"
        desk.reopen()
    assert code(desk, request=POOL.request(11, 12, 14)) == ""


@pytest.mark.case("X497", "request while the last drill is too long ago")
def test_whoever_does_not_drill_does_not_sign(desk: SimulatedDesk) -> None:
    under(desk, drill_every=3600)
    desk.now = NOW + 3601
    request = replace(REQUEST, expires=NOW + 7200)
    assert code(desk, request=request) == "E_DRILL_OVERDUE"
    desk.journal.drilled(int(desk.now), bytes(32))
    assert code(desk, request=request) == ""


@pytest.mark.case("X498", "request that brings a witness of a later journal of this share")
def test_a_witness_of_a_later_journal_stops_it_for_good(desk: SimulatedDesk) -> None:
    later = POOL.witness(1, sequence=7)
    foreign = POOL.witness(2, index=1, sequence=7)
    assert code(desk, request=replace(REQUEST, witnesses=(foreign,))) == ""
    desk.worker.jobs.clear()
    assert code(desk, request=replace(REQUEST, witnesses=(later,))) == "E_ROLLBACK"
    assert code(desk) == "E_ROLLBACK"  # the next one too


@pytest.mark.case("X499", "recovered share on an empty journal")
def test_a_share_without_its_history_does_not_sign(desk: SimulatedDesk) -> None:
    desk.journal.generation.lacks_own = True
    with pytest.raises(JournalError) as refused:
        desk.custodian.review(REQUEST, 0)
    assert refused.value.code == "E_JOURNAL_EMPTY"
    assert code(desk, approved=True) == "E_JOURNAL_EMPTY"
    with pytest.raises(JournalError):  # the journal does not rely on whoever asks
        desk.journal.intent(REQUEST.digest, REQUEST.items, 0)


def test_a_rollback_that_a_worker_found_stops_the_next_request_at_once(
    desk: SimulatedDesk,
) -> None:
    desk.worker.fault = JournalError("old", code="E_ROLLBACK")
    with pytest.raises(JournalError):
        desk.custodian.sign(REQUEST, 0)
    desk.worker.fault = None
    desk.worker.jobs.clear()
    assert code(desk) == "E_ROLLBACK"
    desk.reopen()
    assert code(desk) == ""


@pytest.mark.case("X702", "request after a start with the clock years ahead; and in the past")
def test_a_wrong_clock_at_a_start_stops_nothing(desk: SimulatedDesk) -> None:
    desk.now = NOW + 10**9
    desk.journal.require_policy(1, bytes(32))
    desk.journal.drilled(int(desk.now), bytes(32))
    desk.now = NOW
    assert code(desk) == ""
    desk.worker.jobs.clear()
    desk.now = NOW - 61
    assert code(desk) == "E_CLOCK"
    desk.now = NOW - 60
    assert code(desk) == ""


@pytest.mark.case("X703", "witness of a later journal that comes while another request is signed")
def test_what_is_signed_meanwhile_does_not_leave(desk: SimulatedDesk) -> None:
    other = replace(POOL.request(50), witnesses=(POOL.witness(1, sequence=7),))

    def ask(_: object) -> None:
        with pytest.raises(JournalError):
            desk.custodian.review(other, 0)

    desk.worker.before = ask
    with pytest.raises(JournalError) as refused:
        desk.custodian.sign(REQUEST, 0)
    assert refused.value.code == "E_ROLLBACK"
    assert desk.records() == ["OPENED", "INTENT"]


def test_only_a_worker_that_held_it_against_an_anchor_verifies_it(desk: SimulatedDesk) -> None:
    profile = desk.custodian.token.profile
    for anchor, state in (("none", "unverified"), ("token", "verified"), ("none", "verified")):
        token = replace(desk.custodian.token, profile=replace(profile, journal_anchor=anchor))
        desk.custodian.token = token
        desk.custodian.sign(REQUEST, 0)
        assert desk.journal.state == state


def test_the_asker_is_held_against_the_policy(desk: SimulatedDesk) -> None:
    under(desk, requesters={REQUEST.kind: frozenset({1000})})
    with pytest.raises(DeniedError) as refused:
        desk.custodian.sign(REQUEST, 0)
    assert refused.value.code == "E_PEER"
    desk.custodian.sign(REQUEST, 1000)


@pytest.mark.case("X500", "agent with another journal than the one its share has")
def test_a_share_has_one_journal(tmp_path: Path) -> None:
    envelope, journal = tmp_path / "share.json", tmp_path / "journal.jsonl"
    journal.write_text("a record\n")
    assert mark_journal(envelope, journal)
    require_marked_journal(envelope, journal)
    other = tmp_path / "other.jsonl"
    other.write_text("a record\n")
    for wrong in (other, tmp_path / "none.jsonl"):
        with pytest.raises(JournalError):
            require_marked_journal(envelope, wrong)
    journal.write_text("")
    with pytest.raises(JournalError):
        require_marked_journal(envelope, journal)

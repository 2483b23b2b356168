"""What a journal remembers beside addresses, and when it must not be signed with."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer.custody.anchor import Anchor
from signer.custody.journal import Journal
from signer.custody.journal_state import Signed
from signer.errors import JournalError
from signer.messages.items import Change, Deposit, Exit
from signer.messages.networks import HOODI
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
LATER = SimulatedPool.new(epoch=2)
DIGEST = bytes(range(32))
SERIAL = b"\7" * 32
ETH = 10**9  # Gwei


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def opened(path: Path, now: float = NOW, pool: SimulatedPool = POOL, **options: Any) -> Journal:
    return Journal.open(path, pool.group, 1, clock=lambda: now, **options)


def code(refused: "pytest.ExceptionInfo[JournalError]") -> str:
    return refused.value.code


def test_exits_bind_nothing_and_are_remembered(path: Path) -> None:
    with opened(path) as journal:
        journal.intent(DIGEST, [Exit(5, 100)], 0)
        journal.intent(DIGEST, [Exit(5, 100)], 0)
        journal.intent(DIGEST, [Exit(5, 101)], None, approved=True)
        journal.intent(DIGEST, [Change(5, ADDRESS)], 0)
    with opened(path) as journal:
        assert journal.address_of(5) == ADDRESS
        assert sorted(
            entry.item for entry in journal.history(5) if isinstance(entry.item, Exit)
        ) == [
            Exit(5, 100),
            Exit(5, 101),
        ]
        assert Signed(NOW, Change(5, ADDRESS)) in journal.history(5)
        assert journal.history(6) == []


@pytest.mark.case("X404", "deposit with other withdrawal credentials than the first one")
def test_a_keys_deposits_go_to_one_place_for_ever(path: Path) -> None:
    first, other = Deposit(b"\1" * 32, ETH), Deposit(b"\2" * 32, ETH)
    with opened(path) as journal:
        assert journal.deposit_credentials() is None
        with pytest.raises(JournalError, match="bound to other credentials"):
            journal.intent(DIGEST, [first, other], 0)
        journal.intent(DIGEST, [first, Deposit(b"\1" * 32, ETH)], 0)
    with opened(path) as journal:
        assert journal.deposit_credentials() == b"\1" * 32
        with pytest.raises(JournalError, match="bound to other credentials"):
            journal.intent(DIGEST, [other], 0)
        journal.intent(DIGEST, [first], 0)


def test_denials_drills_and_serials_are_remembered(path: Path) -> None:
    with opened(path) as journal:
        assert (journal.was_denied(DIGEST), journal.last_drill) == (None, None)
        journal.denied(DIGEST, None, "E_DENIED")
        journal.drilled(NOW - 5, SERIAL)
        intent = journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        journal.released(intent, [bytes(96)], anchored_on=SERIAL, unsealed_milliseconds=7)
    with opened(path, NOW + 9) as journal:
        assert journal.was_denied(DIGEST) == "E_DENIED"
        assert (journal.last_drill, journal.opened, journal.last_time) == (NOW - 5, NOW, NOW)
        assert journal.anchored_serials == {SERIAL}


@pytest.mark.case("R11", "clock set back a day: the journal's time does not go back")
def test_time_does_not_go_back(path: Path) -> None:
    opened(path).close()
    with opened(path, NOW - 86400) as journal:
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert journal.last_time == NOW
    assert f'"clock":{NOW - 86400},' in path.read_text()
    with opened(path) as journal:
        assert journal.sequence == 2


def test_every_head_is_known(path: Path) -> None:
    with opened(path) as journal:
        heads = [journal.head]
        for validator in range(5):
            journal.intent(DIGEST, [Change(validator, ADDRESS)], 0)
            heads.append(journal.head)
    with opened(path) as journal:
        assert [journal.head_at(n) for n in range(6)] == heads
        assert journal.head_at(6) is journal.head_at(-1) is None


@pytest.mark.case("X405", "an older policy than the one followed before, or another of its number")
def test_a_policy_does_not_go_back(path: Path) -> None:
    with opened(path) as journal:
        journal.require_policy(0, b"\0" * 32)
        journal.require_policy(2, b"\2" * 32)
        journal.require_policy(2, b"\2" * 32)
        assert journal.sequence == 3
    with opened(path) as journal:
        for number, digest in ((0, b"\0"), (1, b"\1"), (2, b"\3")):
            with pytest.raises(JournalError) as refused:
                journal.require_policy(number, digest * 32)
            assert code(refused) == "E_POLICY_OLD"


# Witnesses


def test_witnesses_of_what_is_there_say_nothing(path: Path) -> None:
    with opened(path) as journal:
        mine = POOL.witness(1, sequence=0, head=journal.head)
        stranger = SimulatedPool.new(network=HOODI).witness(1, sequence=9)
        forged = POOL.witness(2, index=1, sequence=9)
        neighbour = POOL.witness(1, index=2, sequence=9)
        others = [
            POOL.witness(2, sequence=9),
            stranger,
            forged,
            neighbour,
            POOL.group.cards[0].signed,
        ]
        assert journal.require_not_behind([mine, *others]) == len(others)
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)


@pytest.mark.case("X406", "witness of a later record, and of another at the same place")
@pytest.mark.parametrize("sequence", [0, 1, 50])
def test_a_witness_of_a_later_journal_stops_everything(path: Path, sequence: int) -> None:
    with opened(path) as journal:
        with pytest.raises(JournalError, match="restored VM or old disk") as refused:
            journal.require_not_behind([POOL.witness(1, sequence=sequence)])
        assert (code(refused), refused.value.exit_status) == ("E_ROLLBACK", 8)
        with pytest.raises(JournalError) as refused:
            journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert code(refused) == "E_ROLLBACK"
        assert journal.sequence == 1


@pytest.mark.case("X699", "denial and drill on a journal that a later one is known of")
def test_nothing_is_decided_on_a_journal_that_is_behind(path: Path) -> None:
    with opened(path) as journal:
        intent = journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert journal.state == "unverified"
        journal.found_behind(JournalError("old", hint="put it back", code="E_ROLLBACK"))
        journal.verified = True
        assert journal.state == "behind"
        before = path.read_bytes()
        decisions: list[Callable[[], None]] = [
            lambda: journal.denied(DIGEST, 0, "E_DENIED"),
            lambda: journal.drilled(NOW, SERIAL),
            lambda: journal.released(intent, [bytes(96)]),
        ]
        for decide in decisions:
            with pytest.raises(JournalError) as refused:
                decide()
            assert code(refused) == "E_ROLLBACK"
            assert (refused.value.message, refused.value.hint) == ("old", "put it back")
        assert path.read_bytes() == before
        journal.failed(intent, "E_ROLLBACK")


def test_each_refusal_is_an_error_of_its_own(path: Path) -> None:
    """One that is raised again keeps every request alive that its traceback passed through."""
    with opened(path) as journal:
        errors = []
        for _ in range(3):
            with pytest.raises(JournalError) as refused:
                journal.require_not_behind([POOL.witness(1, sequence=7)])
            errors.append(refused.value)
    assert len({id(error) for error in errors}) == 3
    depths = []
    for error in errors[1:]:
        trace, depth = error.__traceback__, 0
        while trace is not None:
            trace, depth = trace.tb_next, depth + 1
        depths.append(depth)
    assert depths[0] == depths[1]


# Witnesses of a journal that was lost


def recovered_at(path: Path, moment: int, pool: SimulatedPool = POOL) -> None:
    """Begin a journal in the place of a lost one, and take over others' bindings at `moment`."""
    with opened(path, moment, pool=pool, recovered=True) as journal:
        journal.imported([Change(1, ADDRESS)], None, {2: bytes(32)})


@pytest.mark.case("X700", "witness of a lost journal, after others' bindings were taken over")
def test_witnesses_of_a_lost_journal_say_nothing(path: Path) -> None:
    recovered_at(path, NOW)
    lost = [POOL.witness(1, sequence=n, moment=NOW - 1) for n in (0, 1, 50)]
    with opened(path) as journal:
        assert journal.require_not_behind(lost) == 3
        assert journal.require_not_behind([POOL.witness(1, sequence=1, head=journal.head)]) == 0
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)


@pytest.mark.case("X700", "witness of after the bindings were taken over, of another journal")
@pytest.mark.parametrize("moment", [NOW, NOW + 1])
def test_later_witnesses_count_as_before(path: Path, moment: int) -> None:
    recovered_at(path, NOW)
    with opened(path) as journal, pytest.raises(JournalError) as refused:
        journal.require_not_behind([POOL.witness(1, sequence=9, moment=moment)])
    assert code(refused) == "E_ROLLBACK"


def test_the_clock_of_the_take_over_counts_not_the_journals_time(path: Path) -> None:
    opened(path, NOW + 10**8).close()  # begun with the clock far ahead
    recovered_at(path, NOW)
    with opened(path) as journal, pytest.raises(JournalError):
        journal.require_not_behind([POOL.witness(1, sequence=9, moment=NOW + 5)])


@pytest.mark.case("X701", "witness of a later epoch than the journal that bindings were taken into")
def test_a_witness_of_a_later_epoch_counts_whatever_its_moment(path: Path) -> None:
    recovered_at(path, NOW)
    later = POOL.witness(1, sequence=9, epoch=2, moment=NOW - 100)
    with opened(path) as journal, pytest.raises(JournalError) as refused:
        journal.require_not_behind([later])
    assert code(refused) == "E_ROLLBACK"
    with opened(path, pool=LATER) as journal:  # who has gone on to that epoch knows of it
        assert journal.require_not_behind([later]) == 1


# The clock


@pytest.mark.case("X702", "agent started once with the clock years ahead")
def test_only_an_intent_says_what_time_it_was(path: Path) -> None:
    with opened(path, NOW + 10**9) as journal:
        journal.require_policy(1, b"\1" * 32)
        journal.drilled(NOW, SERIAL)
        assert journal.last_intent is None
    with opened(path, NOW) as journal:
        assert journal.last_time == NOW + 10**9
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
    with opened(path, NOW - 30) as journal:
        assert journal.last_intent == NOW
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert journal.last_intent == NOW  # the clock's small steps back do not add up


# A share without its history


@pytest.mark.case("X407", "share of a later epoch, or recovered, on an empty journal")
@pytest.mark.parametrize(("pool", "recovered"), [(LATER, False), (POOL, True)])
def test_a_share_without_its_history_does_not_sign(
    path: Path, pool: SimulatedPool, recovered: bool
) -> None:
    with opened(path, pool=pool, recovered=recovered) as journal:
        assert journal.generation.needs_history
        with pytest.raises(JournalError) as refused:
            journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert code(refused) == "E_JOURNAL_EMPTY"
        assert "import BACKUP" in refused.value.hint
        assert "import --bindings" in refused.value.hint
        assert journal.sequence == 1
    with opened(path, pool=pool) as journal:
        assert journal.generation.needs_history
        journal.imported([Change(1, ADDRESS), Change(2, OTHER)], b"\5" * 32, {2: bytes(32)})
    with opened(path, pool=pool, recovered=recovered) as journal:
        assert not journal.generation.needs_history
        assert (journal.address_of(2), journal.deposit_credentials()) == (OTHER, b"\5" * 32)
        with pytest.raises(JournalError, match="bound to another"):
            journal.intent(DIGEST, [Change(1, OTHER)], 0)
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)


@pytest.mark.case("X780", "share of a later epoch: the journal lacks what others were bound to")
def test_a_journal_of_the_first_epoch_goes_on_in_the_next(path: Path) -> None:
    with opened(path) as journal:
        journal.require_policy(3, b"\3" * 32)
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert journal.epoch == 1
    with opened(path, pool=LATER, recovered=True) as journal:
        assert (journal.epoch, journal.sequence) == (2, 4)
        assert journal.address_of(1) == ADDRESS
        with pytest.raises(JournalError) as refused:
            journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        assert code(refused) == "E_JOURNAL_EMPTY"
        assert "import --bindings" in refused.value.hint
        assert journal.generation.policy is None  # a new epoch counts its amendments anew
        journal.require_policy(0, b"\4" * 32)
    assert (
        f'{{"certificate":"{(LATER.group.certificate or b"").hex()}","epoch":2,"recovered":true}}'
        in path.read_text()
    )
    with opened(path, pool=LATER) as journal:
        assert (journal.epoch, journal.sequence) == (2, 5)
        assert journal.generation.policy == (0, b"\4" * 32)
        journal.imported([Change(2, OTHER)], None, {2: bytes(32)})
        with pytest.raises(JournalError, match="bound to another"):
            journal.intent(DIGEST, [Change(1, OTHER)], 0)
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)


@pytest.mark.case("X623", "journal of a later epoch opened for the shares of an earlier one")
def test_shares_of_an_earlier_epoch_do_not_sign_any_more(path: Path) -> None:
    third = SimulatedPool.new(epoch=3)
    opened(path).close()
    opened(path, pool=third).close()
    whole = path.read_bytes()
    for pool in (POOL, LATER):
        with pytest.raises(JournalError, match="gone on with epoch 3") as refused:
            opened(path, pool=pool)
        assert (code(refused), refused.value.exit_status) == ("E_EPOCH", 8)
        assert path.read_bytes() == whole
    opened(path, pool=third).close()


@pytest.mark.case("X623", "journal begun in a later epoch opened for an earlier one")
def test_a_journal_begun_in_a_later_epoch_knows_it(path: Path) -> None:
    opened(path, pool=LATER).close()
    with pytest.raises(JournalError) as refused:
        opened(path)
    assert code(refused) == "E_EPOCH"
    with opened(path, pool=SimulatedPool.new(epoch=3)) as journal:
        assert journal.generation.needs_history  # a new epoch brings none along


@pytest.mark.case("X624", "no space for the record of a new epoch")
def test_a_new_epoch_that_cannot_be_noted_is_not_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(path).close()
    whole = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(JournalError, match="no space left"):
            opened(path, pool=LATER)
    assert path.read_bytes() == whole
    with opened(path, pool=LATER) as journal:
        assert journal.epoch == 2


@pytest.mark.case("X408", "imported bindings that contradict the journal's own")
def test_bindings_that_contradict_are_not_taken_over(path: Path) -> None:
    with opened(path) as journal:
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        journal.intent(DIGEST, [Deposit(b"\1" * 32, ETH)], 0)
        for changes, credentials in (([Change(1, OTHER)], None), ([], b"\2" * 32)):
            with pytest.raises(JournalError):
                journal.imported(changes, credentials, {2: bytes(32)})
        assert journal.sequence == 3


# The host's anchor


def test_the_host_remembers_the_last_intent(path: Path) -> None:
    anchor = path.with_name("share.anchor")
    with opened(path, host_anchor=anchor) as journal:
        assert not anchor.exists()
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
        older = path.read_bytes()
        journal.intent(DIGEST, [Change(2, ADDRESS)], 0)
        assert anchor.stat().st_mode & 0o777 == 0o600
    opened(path, host_anchor=anchor).close()
    path.write_bytes(older)
    with pytest.raises(JournalError) as refused:
        opened(path, host_anchor=anchor)
    assert code(refused) == "E_ROLLBACK"
    path.unlink()
    with pytest.raises(JournalError):
        opened(path, host_anchor=anchor)


@pytest.mark.case("X409", "host's anchor that is garbage, another share's, a symlink to nothing")
def test_a_host_anchor_that_cannot_be_read_is_refused(path: Path) -> None:
    anchor = path.with_name("share.anchor")
    with opened(path, host_anchor=anchor) as journal:
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
    true = anchor.read_bytes()
    for content in (b"", b"{}", true.replace(b':1"', b':2"'), true[:-3], b"x" * 5000):
        anchor.write_bytes(content)
        with pytest.raises(JournalError) as refused:
            opened(path, host_anchor=anchor)
        assert code(refused) == "E_ANCHOR"
    anchor.unlink()
    anchor.symlink_to("/nowhere/at/all")
    with pytest.raises(JournalError) as refused:
        opened(path, host_anchor=anchor)
    assert code(refused) == "E_ANCHOR"


def test_without_the_hosts_anchor_nothing_is_bound_for_signing(path: Path) -> None:
    anchor = path.with_name("folder") / "share.anchor"
    with opened(path, host_anchor=anchor) as journal, pytest.raises(JournalError) as refused:
        journal.intent(DIGEST, [Change(1, ADDRESS)], 0)
    assert code(refused) == "E_ANCHOR"


def test_an_anchor_comes_back_from_its_bytes() -> None:
    anchor = Anchor(2**53 - 1, bytes(range(32)))
    assert Anchor.parse(anchor.to_bytes()) == anchor


@pytest.mark.case("X416", "more validators taken over for one address than a request may name")
def test_many_bindings_are_taken_over(path: Path) -> None:
    changes = [Change(number, ADDRESS) for number in range(45_000)]
    with opened(path, recovered=True) as journal:
        journal.imported(changes, None, {2: bytes(32)})
    with opened(path, recovered=True) as journal:
        assert sorted(journal.bindings()) == changes
        assert not journal.generation.needs_history


@pytest.mark.case("X416", "so many bindings that one record could not be read back")
def test_bindings_are_taken_over_in_as_many_records_as_they_need(path: Path) -> None:
    addresses = (ADDRESS, OTHER)
    changes = [Change(number, addresses[number % 2]) for number in range(10**6, 10**6 + 40_000)]
    with opened(path, recovered=True) as journal:
        journal.imported(changes, b"\5" * 32, {2: bytes(32)})
        assert journal.sequence == 1 + 3
    lines = path.read_bytes().splitlines(keepends=True)
    with opened(path, recovered=True) as journal:
        assert sorted(journal.bindings()) == changes
        assert not journal.generation.needs_history
    path.write_bytes(b"".join(lines[:-1]))  # the power went before the last of them
    with opened(path, recovered=True) as journal:
        assert (journal.generation.needs_history, journal.last_import) == (True, None)
        journal.imported(changes, b"\5" * 32, {2: bytes(32)})
        assert not journal.generation.needs_history
        assert journal.sequence == 1 + 3  # only what was missing

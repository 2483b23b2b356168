"""Backup and restore of a journal: whole, verified, and never a step back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from signer.custody import journal_backup
from signer.custody.anchor import Anchor
from signer.custody.host_anchor import HostAnchor
from signer.custody.journal import Journal
from signer.custody.journal_backup import export_journal, import_journal, verify_journal
from signer.custody.journal_state import owner_of
from signer.errors import JournalError, OutputError
from signer.messages.items import Change
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
OWNER = owner_of(POOL.group, 1)
DIGEST = bytes(32)


def opened(path: Path, index: int = 1) -> Journal:
    return Journal.open(path, POOL.group, index, clock=lambda: NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "journal.jsonl"
    path.parent.mkdir()
    with opened(path) as journal:
        for validator in range(3):
            journal.intent(DIGEST, [Change(validator, ADDRESS)], 0)
    return path


def test_a_backup_is_made_while_the_agent_runs(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup"
    whole = path.read_bytes()
    with opened(path) as journal:
        with path.open("ab") as file:
            file.write(b'{"body":{"half')  # a line that is being written
        state = export_journal(path, out)
        assert (state.sequence, state.head) == (journal.sequence, journal.head)
    assert out.read_bytes() == whole
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="exists"):
        export_journal(path, out)


def test_a_backup_is_put_back_where_nothing_is(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "journal.jsonl"
    assert import_journal(path, new, OWNER).sequence == 4
    assert new.read_bytes() == path.read_bytes()
    assert new.stat().st_mode & 0o777 == 0o600
    with opened(new) as journal:
        assert journal.address_of(2) == ADDRESS


def test_a_backup_continues_an_older_journal(path: Path, tmp_path: Path) -> None:
    older = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (lines[:2], lines, [*lines[:2], b'{"half']):
        older.unlink(missing_ok=True)
        older.touch(mode=0o600)
        older.write_bytes(b"".join(kept))
        import_journal(path, older, OWNER)
        assert older.read_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.glob(".*")] == []


@pytest.mark.case("X413", "backup that is shorter, another way, damaged, empty, another share's")
@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:3],
        lambda lines: [*lines[:3], lines[3].replace(b"1800000000", b"1800000001")],
        lambda lines: [*lines, lines[3]],
        lambda lines: lines[1:],
        lambda lines: [],
        lambda lines: [b"\n", *lines],
    ],
)
def test_a_step_back_is_refused(
    path: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    raw = path.read_bytes()
    backup = tmp_path / "backup"
    backup.write_bytes(b"".join(change(raw.splitlines(keepends=True))))
    with pytest.raises(JournalError):
        import_journal(backup, path, OWNER)
    assert path.read_bytes() == raw
    assert len(list(path.parent.iterdir())) == 1


def release(journal: Journal, validator: int = 9) -> None:
    intent = journal.intent(bytes(32), [Change(validator, OTHER)], 0)
    journal.released(intent, [bytes(96)])


@pytest.mark.case("X690", "backup with nothing that is not there, over attempts that left nothing")
def test_a_shorter_backup_is_refused_whatever_it_lacks(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    export_journal(path, backup)
    with opened(path) as journal:
        refused(journal)
    raw = path.read_bytes()
    with pytest.raises(JournalError, match="has record 4") as refusal:
        import_journal(backup, path, OWNER)
    assert "keep the journal that is there" in refusal.value.hint
    assert path.read_bytes() == raw
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.case("X413", "fork: another INTENT in the same place, well chained")
def test_a_fork_is_refused(path: Path, tmp_path: Path) -> None:
    with opened(path) as journal:
        release(journal)
    fork = tmp_path / "fork"
    fork.touch(mode=0o600)
    fork.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with opened(fork) as journal:
        for validator in (2, 3, 4):
            journal.intent(DIGEST, [Change(validator, OTHER)], 0)
    raw = path.read_bytes()
    with pytest.raises(JournalError, match="its record 5 is RELEASED") as refusal:
        import_journal(fork, path, OWNER)
    assert "start the agent on it" in refusal.value.hint
    assert path.read_bytes() == raw


def test_another_shares_backup_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="another index"):
        import_journal(path, tmp_path / "journal.jsonl", owner_of(POOL.group, 2))
    assert not (tmp_path / "journal.jsonl").exists()


def test_an_import_that_fails_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("no space left on device")

    monkeypatch.setattr(journal_backup, "write_new", full)
    with pytest.raises(OutputError):
        import_journal(path, tmp_path / "journal.jsonl", OWNER)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.mark.case("K14", "import while the agent runs")
def test_an_import_waits_for_nobody(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    export_journal(path, backup)
    with opened(path), pytest.raises(JournalError, match="in use"):
        import_journal(backup, path, OWNER)


def test_every_line_is_verified(path: Path) -> None:
    raw = path.read_bytes()
    for position in range(0, len(raw) - 1, 13):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :])
        with pytest.raises(JournalError):
            verify_journal(path)
    path.write_bytes(raw)
    assert verify_journal(path, OWNER).sequence == 4


def older_with(path: Path, folder: Path, more: Callable[[Journal], object]) -> Path:
    """An older copy of the journal, put back by mistake, and what was written to it then."""
    older = folder / "journal.jsonl"
    older.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    older.chmod(0o600)
    with opened(older) as journal:
        more(journal)
    return older


def refused(journal: Journal, code: str = "E_ROLLBACK") -> None:
    journal.failed(journal.intent(bytes(32), [Change(9, OTHER)], 0), code)


@pytest.mark.case("X491", "backup over an older journal whose later attempts the worker refused")
def test_refused_attempts_on_an_older_journal_do_not_stop_its_restore(
    path: Path, tmp_path: Path
) -> None:
    def attempts(journal: Journal) -> None:
        refused(journal)
        refused(journal)

    older = older_with(path, tmp_path, attempts)
    before = older.read_bytes()
    assert import_journal(path, older, OWNER).sequence == 4
    assert older.read_bytes() == path.read_bytes()
    (aside,) = tmp_path.glob("journal.jsonl.rolled-back-*")
    assert aside.read_bytes() == before
    with opened(older) as journal:
        assert journal.address_of(9) is None


FINAL: dict[str, Callable[[Journal], object]] = {
    "a release": release,
    "an import": lambda j: j.imported([], None, {2: bytes(32)}),
}


@pytest.mark.case("X492", "backup over an older journal under which something has left since")
@pytest.mark.parametrize("later", FINAL)
def test_what_may_have_left_is_not_forgotten(path: Path, tmp_path: Path, later: str) -> None:
    def more(journal: Journal) -> None:
        refused(journal)
        FINAL[later](journal)
        refused(journal)

    older = older_with(path, tmp_path, more)
    before = older.read_bytes()
    with pytest.raises(JournalError, match="nothing was imported") as refusal:
        import_journal(path, older, OWNER)
    assert "move it aside" in refusal.value.hint
    assert older.read_bytes() == before
    assert list(tmp_path.glob("*rolled-back*")) == []


NOTHING_LEFT: dict[str, Callable[[Journal], object]] = {
    "an intent that nobody ended": lambda j: j.intent(bytes(32), [Change(9, OTHER)], 0),
    "a wrong PIN": lambda j: refused(j, "E_PIN_REFUSED"),
    "a worker that died": lambda j: refused(j, "E_WORKER"),
    "a drill": lambda j: j.drilled(NOW, bytes(32)),
}


@pytest.mark.case("X691", "backup over an older journal on which attempts of any end were made")
@pytest.mark.parametrize("later", NOTHING_LEFT)
def test_attempts_that_left_nothing_do_not_stop_a_restore(
    path: Path, tmp_path: Path, later: str
) -> None:
    def more(journal: Journal) -> None:
        NOTHING_LEFT[later](journal)
        refused(journal)

    older = older_with(path, tmp_path, more)
    before = older.read_bytes()
    import_journal(path, older, OWNER)
    assert older.read_bytes() == path.read_bytes()
    (aside,) = tmp_path.glob("*rolled-back*")
    assert aside.read_bytes() == before


@pytest.mark.case(
    "X692", "released record that lacks nothing but its newline, over which to import"
)
def test_a_last_line_without_its_newline_counts(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, release)
    older.write_bytes(older.read_bytes()[:-1])
    with pytest.raises(JournalError, match="record 3 is RELEASED"):
        import_journal(path, older, OWNER)


@pytest.mark.case("X693", "backup over a journal in which a person has said no")
def test_a_persons_no_is_carried_over(path: Path, tmp_path: Path) -> None:
    def deny(journal: Journal) -> None:
        journal.denied(b"\1" * 32, None, "E_TARGET")
        journal.denied(b"\2" * 32, 1000, "E_DENIED")

    with opened(path) as journal:
        journal.denied(b"\2" * 32, 0, "E_OTHER")
    older = older_with(path, tmp_path, deny)
    assert import_journal(path, older, OWNER).sequence == 6
    assert older.read_bytes().startswith(path.read_bytes())
    with opened(older) as journal:
        assert journal.was_denied(b"\1" * 32) == "E_TARGET"
        assert journal.was_denied(b"\2" * 32) == "E_OTHER"  # the backup knew it


@pytest.mark.case("X694", "backup of before an amendment, over a journal that follows it")
def test_an_amendment_is_not_forgotten(path: Path, tmp_path: Path) -> None:
    with opened(path) as journal:
        journal.require_policy(3, b"\3" * 32)
    older = older_with(path, tmp_path, lambda journal: journal.require_policy(7, b"\7" * 32))
    import_journal(path, older, OWNER)
    with opened(older) as journal:
        assert journal.generation.policy == (7, b"\7" * 32)
        with pytest.raises(JournalError) as refusal:
            journal.require_policy(3, b"\3" * 32)
    assert refusal.value.code == "E_POLICY_OLD"


@pytest.mark.case("X694", "backup that follows a later amendment than the journal that is there")
def test_an_older_amendment_is_not_carried_over(path: Path, tmp_path: Path) -> None:
    with opened(path) as journal:
        journal.require_policy(7, b"\7" * 32)
    older = older_with(path, tmp_path, lambda journal: journal.require_policy(3, b"\3" * 32))
    import_journal(path, older, OWNER)
    assert older.read_bytes() == path.read_bytes()


def test_two_ends_are_both_kept(path: Path, tmp_path: Path) -> None:
    kept, older = [], path
    for validator in (20, 21):

        def attempt(journal: Journal, validator: int = validator) -> None:
            journal.intent(bytes(32), [Change(validator, OTHER)], 0)

        (tmp_path / "journal.jsonl").unlink(missing_ok=True)
        older = older_with(path, tmp_path, attempt)
        kept.append(older.read_bytes())
        import_journal(path, older, OWNER)
    aside = sorted(tmp_path.glob("*rolled-back*"))
    assert [entry.name for entry in aside] == [
        "journal.jsonl.rolled-back-3", "journal.jsonl.rolled-back-3-2",
    ]  # fmt: skip
    assert [entry.read_bytes() for entry in aside] == kept
    import_journal(aside[0], older, OWNER)  # what was set aside can be put back in its turn
    assert older.read_bytes() == kept[0]


@pytest.mark.case("X695", "backup over a journal that is damaged, or another share's")
def test_a_damaged_journal_is_moved_aside_by_hand(path: Path, tmp_path: Path) -> None:
    damaged = older_with(path, tmp_path, lambda journal: None)
    raw = damaged.read_bytes()[:-9] + b'garbage"}\n'
    damaged.write_bytes(raw)
    with pytest.raises(JournalError, match="damaged at line 2") as refusal:
        import_journal(path, damaged, OWNER)
    assert "move it aside" in refusal.value.hint
    assert refusal.value.message.count(str(damaged)) == 1
    damaged.unlink()
    opened(damaged, 2).close()
    raw = damaged.read_bytes()
    with pytest.raises(JournalError, match="another share's"):
        import_journal(path, damaged, OWNER)
    assert damaged.read_bytes() == raw


# The host's anchor


def on_host(journal: Path, anchor: Path) -> Journal:
    return Journal.open(journal, POOL.group, 1, host_anchor=anchor, clock=lambda: NOW)


@pytest.fixture
def disk(path: Path, tmp_path: Path) -> tuple[Path, HostAnchor]:
    """An old disk with the host's anchor on it; an attempt was made before it was noticed."""
    older = older_with(path, tmp_path, lambda journal: None)
    anchor = tmp_path / "share.json.anchor"
    with on_host(older, anchor) as journal:
        refused(journal)
    return older, HostAnchor(anchor, POOL.group.group_id, 1)


@pytest.mark.case("X696", "backup over an older journal whose attempt moved the host's anchor")
def test_the_hosts_anchor_follows_what_is_put_back(
    path: Path, disk: tuple[Path, HostAnchor]
) -> None:
    older, anchor = disk
    state = import_journal(path, older, OWNER, anchor)
    assert anchor.read() == (3, state.head)
    on_host(older, anchor.path).close()


@pytest.mark.case("X696", "the power goes between the host's anchor and the journal")
def test_an_import_goes_on_after_a_crash(
    path: Path, disk: tuple[Path, HostAnchor], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, anchor = disk

    def crash(*_: object) -> None:
        raise OutputError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(journal_backup, "_write_over", crash)
        with pytest.raises(OutputError):
            import_journal(path, older, OWNER, anchor)
    with pytest.raises(JournalError, match="the host's anchor"):
        on_host(older, anchor.path)
    import_journal(path, older, OWNER, anchor)
    on_host(older, anchor.path).close()


@pytest.mark.case("X697", "host's anchor of a record that neither journal nor backup has")
def test_an_anchor_that_knows_more_stays(path: Path, disk: tuple[Path, HostAnchor]) -> None:
    older, anchor = disk
    for later in (Anchor(9, bytes(32)), Anchor(2, bytes(32))):
        anchor.advance(later)
        import_journal(path, older, OWNER, anchor)
        assert anchor.read() == later
        with pytest.raises(JournalError, match="the host's anchor"):
            on_host(older, anchor.path)
        older.write_bytes(next(older.parent.glob("*rolled-back*")).read_bytes())


def test_an_anchor_of_what_stays_is_not_moved(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: None)
    with opened(path) as journal:
        anchor = HostAnchor(tmp_path / "anchor", POOL.group.group_id, 1)
        head = journal.head_at(1)
        assert head is not None
        anchor.advance(Anchor(1, head))
    with opened(older) as journal:
        refused(journal)
    import_journal(path, older, OWNER, anchor)
    assert anchor.read() == (1, head)


# Epochs

NEXT = SimulatedPool.new(epoch=2).group


def in_later_epoch(path: Path) -> Journal:
    return Journal.open(path, NEXT, 1, clock=lambda: NOW)


def knows_the_epoch(path: Path) -> None:
    with pytest.raises(JournalError) as refusal:
        opened(path)
    assert refusal.value.code == "E_EPOCH"


@pytest.mark.case("X625", "backup that does not know the epoch which the journal has gone on with")
def test_an_import_does_not_forget_an_epoch(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: None)
    in_later_epoch(older).close()
    assert import_journal(path, older, OWNER).epoch == 2
    assert older.read_bytes().startswith(path.read_bytes())
    knows_the_epoch(older)
    with in_later_epoch(older) as journal:
        assert (journal.sequence, journal.address_of(2)) == (5, ADDRESS)
        assert b'"type":"EPOCH"' in older.read_bytes()


@pytest.mark.case("X625", "backup over a journal that was begun by mistake, in a later epoch")
def test_a_journal_begun_in_a_later_epoch_gets_its_history(path: Path, tmp_path: Path) -> None:
    begun = tmp_path / "journal.jsonl"
    with in_later_epoch(begun) as journal:
        assert journal.generation.needs_history
    import_journal(path, begun, OWNER)
    knows_the_epoch(begun)
    with in_later_epoch(begun) as journal:
        assert (journal.sequence, journal.address_of(2)) == (5, ADDRESS)
        assert journal.generation.needs_history  # what the others were bound to


@pytest.mark.case("X698", "amendment of an earlier epoch, over which a backup of a later one goes")
def test_an_earlier_epochs_amendment_is_not_carried_over(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: journal.require_policy(5, b"\5" * 32))
    in_later_epoch(older).close()
    with in_later_epoch(path) as journal:
        journal.require_policy(1, b"\1" * 32)
    import_journal(path, older, OWNER)
    assert older.read_bytes() == path.read_bytes()


@pytest.mark.case("X698", "epoch and its amendment, that the backup knows nothing of")
def test_an_epochs_amendment_comes_with_it(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: journal.require_policy(5, b"\5" * 32))
    with in_later_epoch(older) as journal:
        journal.require_policy(1, b"\1" * 32)
    state = import_journal(path, older, OWNER)
    assert (state.epoch, state.generation.policy) == (2, (1, b"\1" * 32))


def test_a_backup_that_knows_the_epoch_is_put_back_as_it_is(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: None)
    in_later_epoch(older).close()
    with in_later_epoch(path) as journal:
        journal.imported([], None, {2: bytes(32)})
        journal.intent(DIGEST, [Change(7, ADDRESS)], 0)
    import_journal(path, older, OWNER)
    assert older.read_bytes() == path.read_bytes()

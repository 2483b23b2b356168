"""Backup and restore of a journal: whole, verified, and never a step back."""

from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.case("X413", "fork: another INTENT in the same place, well chained")
def test_a_fork_is_refused(path: Path, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    fork.touch(mode=0o600)
    fork.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with opened(fork) as journal:
        for validator in (2, 3, 4):
            journal.intent(DIGEST, [Change(validator, OTHER)], 0)
    raw = path.read_bytes()
    with pytest.raises(JournalError, match="has record 3"):
        import_journal(fork, path, OWNER)
    assert path.read_bytes() == raw


def test_another_shares_backup_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="another index"):
        import_journal(path, tmp_path / "journal.jsonl", owner_of(POOL.group, 2))
    assert not (tmp_path / "journal.jsonl").exists()


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


def older_with(path: Path, folder: Path, more: Callable[[Journal], None]) -> Path:
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
        journal.require_policy(0, bytes(32))
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


LATER: dict[str, Callable[[Journal], object]] = {
    "an intent that nobody ended": lambda j: j.intent(bytes(32), [Change(9, OTHER)], 0),
    "another failure": lambda j: refused(j, "E_WORKER"),
    "a release": lambda j: j.released(j.intent(bytes(32), [Change(9, OTHER)], 0), [bytes(96)]),
    "a denial": lambda j: j.denied(bytes(32), 0, "E_DENIED"),
    "a drill": lambda j: j.drilled(NOW, bytes(32)),
}


@pytest.mark.case("X492", "backup over an older journal on which more has happened since")
@pytest.mark.parametrize("later", LATER)
def test_whatever_else_was_written_is_not_forgotten(path: Path, tmp_path: Path, later: str) -> None:
    def more(journal: Journal) -> None:
        refused(journal)
        LATER[later](journal)

    older = older_with(path, tmp_path, more)
    before = older.read_bytes()
    with pytest.raises(JournalError, match="nothing was imported"):
        import_journal(path, older, OWNER)
    assert older.read_bytes() == before


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
    with in_later_epoch(older) as journal:
        refused(journal)
    assert import_journal(path, older, OWNER).epoch == 2
    assert older.read_bytes().startswith(path.read_bytes())
    knows_the_epoch(older)
    with in_later_epoch(older) as journal:
        assert (journal.sequence, journal.address_of(2)) == (5, ADDRESS)
        assert f'"certificate":"{"02" * 32}"'.encode() in older.read_bytes()


@pytest.mark.case("X625", "backup over a journal that was begun by mistake, in a later epoch")
def test_a_journal_begun_in_a_later_epoch_gets_its_history(path: Path, tmp_path: Path) -> None:
    begun = tmp_path / "journal.jsonl"
    with in_later_epoch(begun) as journal:
        assert journal.needs_history
    import_journal(path, begun, OWNER)
    knows_the_epoch(begun)
    with in_later_epoch(begun) as journal:
        assert (journal.sequence, journal.address_of(2)) == (5, ADDRESS)
        assert not journal.needs_history


def test_a_backup_that_knows_the_epoch_is_put_back_as_it_is(path: Path, tmp_path: Path) -> None:
    older = older_with(path, tmp_path, lambda journal: None)
    with in_later_epoch(older) as journal:
        refused(journal)
    with in_later_epoch(path) as journal:
        journal.intent(DIGEST, [Change(7, ADDRESS)], 0)
    import_journal(path, older, OWNER)
    assert older.read_bytes() == path.read_bytes()

"""The doctor says of a journal what the agent would say, and leaves it as it is."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from signer.custody.desk import Desk
from signer.custody.doctor import Finding
from signer.custody.doctor_journal import (
    host_anchor_of,
    journal_finding,
    mark_finding,
    pin_guard_finding,
)
from signer.custody.jobs.sources import SecretSource
from signer.custody.journal import Journal
from signer.custody.journal_state import JournalState
from signer.custody.mark import mark_journal, mark_path
from signer.custody.pin_guard import PinGuard
from signer.errors import JournalError
from signer.messages.items import Change
from tests.simulators.desk import desk_of
from tests.simulators.holders import ADDRESS, NOW, SimulatedPool

POOL = SimulatedPool.new()
DESK = desk_of(POOL)


def open_journal(
    path: Path, pool: SimulatedPool = POOL, *, host_anchor: Path | None = None
) -> Journal:
    return Journal.open(path, pool.group, 1, host_anchor=host_anchor, clock=lambda: NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        journal.require_policy(2, POOL.policy.digest)
        journal.intent(bytes(32), [Change(1, ADDRESS)], 0)
    return path


def look(
    path: Path, desk: Desk | None = None, host_anchor: Path | None = None
) -> tuple[Finding, JournalState | None]:
    return journal_finding(path, os.geteuid(), desk, host_anchor)


def following(number: int) -> Desk:
    """A desk whose group file has got to amendment `number`."""
    group = replace(DESK.group)
    object.__setattr__(group, "amendments", (None,) * number)
    return replace(DESK, group=group)


def test_a_whole_journal_is_well(path: Path) -> None:
    whole = path.read_bytes()
    found, state = look(path, following(2))
    assert (found.code, found.state) == ("D_JOURNAL", "ok")
    assert "3 records" in found.what
    assert state is not None
    assert state.last_intent == NOW
    with open_journal(path):  # an agent runs on it
        assert look(path)[0].state == "ok"
    assert path.read_bytes() == whole


def test_a_journal_that_is_not_there_will_be_begun(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert look(path) == (look(path)[0], None)
    assert look(path)[0].state == "ok"
    path.touch(mode=0o600)
    assert look(path)[0].state == "ok"
    open_journal(path).close()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a byte changed": lambda raw: raw[:50] + bytes([raw[50] ^ 1]) + raw[51:],
    "a record missing": lambda raw: b"".join(raw.splitlines(keepends=True)[::2]),
    "cut at its head": lambda raw: raw[5:],
    "garbage": lambda raw: b"garbage\n",
    "something at its end": lambda raw: raw[:-1] + b"}",
    "a whole line that does not follow": lambda raw: raw + raw.splitlines()[-1],
    "endless": lambda raw: b"\xff" * 5_000_000 + b"\n",
}


@pytest.mark.case("X705", "doctor: a journal that the agent refuses to open")
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_the_agent_refuses_is_bad(path: Path, damage: str) -> None:
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    before = path.read_bytes()
    found, _ = look(path)
    assert (found.state, path.read_bytes()) == ("bad", before)
    assert found.fix
    with pytest.raises(JournalError):
        open_journal(path)


def test_what_the_agent_mends_is_no_trouble(path: Path) -> None:
    raw = path.read_bytes()
    for mendable in (raw + b'{"half', raw[:-1]):
        path.write_bytes(mendable)
        found, state = look(path)
        assert found.state == "ok"
        assert state is not None
        assert state.sequence == 3
        assert path.read_bytes() == mendable


@pytest.mark.case(
    "X705", "doctor: a journal open to others, a folder, a FIFO, a link, no permission"
)
def test_a_file_that_the_agent_does_not_take_is_bad(path: Path) -> None:
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        found, _ = look(path)
        assert (found.state, found.fix) == ("bad", f"chmod 600 {path}")
    path.chmod(0o600)
    assert journal_finding(path, os.geteuid() + 1, None, None)[0].state == "bad"
    path.rename(path.with_name("other"))
    path.symlink_to(path.with_name("other"))
    assert look(path)[0].state == "bad"
    path.unlink()
    os.mkfifo(path, 0o600)
    assert look(path)[0].state == "bad"
    path.unlink()
    path.mkdir(mode=0o700)
    assert look(path)[0].state == "bad"
    assert look(Path("/" + "y" * 300))[0].state == "bad"


@pytest.mark.case("X705", "doctor: another share's journal, one of a later epoch or amendment")
def test_papers_that_do_not_fit_the_journal_are_bad(path: Path) -> None:
    assert look(path, desk_of(POOL, 2))[0].state == "bad"
    assert "amendment 1" in look(path, following(1))[0].what
    assert look(path, following(3))[0].state == "ok"
    open_journal(path, SimulatedPool.new(epoch=2)).close()
    found, _ = look(path, following(2))
    assert found.state == "bad"
    assert "epoch 2" in found.what


def test_a_journal_without_its_history_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, POOL.group, 1, recovered=True, clock=lambda: NOW):
        pass
    assert look(path, DESK)[0].state == "warn"


@pytest.mark.case("X705", "doctor: a journal that the host's anchor knows better, a damaged anchor")
def test_the_hosts_anchor_is_held_against_it(tmp_path: Path) -> None:
    path, envelope = tmp_path / "journal.jsonl", tmp_path / "e.json"
    anchor = host_anchor_of(envelope, "host")
    assert anchor is not None
    assert host_anchor_of(envelope, "token") is None
    with open_journal(path, host_anchor=anchor) as journal:
        older = path.read_bytes()
        journal.intent(bytes(32), [Change(1, ADDRESS)], 0)
    assert look(path, DESK, anchor)[0].state == "ok"
    path.write_bytes(older)
    assert look(path, DESK, anchor)[0].state == "bad"
    anchor.write_text("{}")
    assert look(path, DESK, anchor)[0].state == "bad"


@pytest.mark.case("X705", "doctor: mark that names another journal, one that is gone, garbage")
def test_the_mark_is_read(path: Path, tmp_path: Path) -> None:
    envelope = tmp_path / "e.json"
    assert mark_finding(envelope, path).state == "ok"
    assert mark_journal(envelope, path)
    assert mark_finding(envelope, path).state == "ok"
    assert mark_finding(envelope, tmp_path / "other.jsonl").state == "bad"
    path.rename(tmp_path / "away")
    gone = mark_finding(envelope, path)
    assert (gone.code, gone.state) == ("D_JOURNAL_MARK", "bad")
    for garbage in ("", "{", "{}"):
        mark_path(envelope).write_text(garbage)
        assert mark_finding(envelope, path).state == "bad"


@pytest.mark.case("X705", "doctor: a PIN guard that is garbage")
def test_what_is_remembered_of_pins_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pin-guard.json"
    assert pin_guard_finding(path).state == "ok"
    PinGuard.open(path).refused(SecretSource(file="/nowhere"))
    assert pin_guard_finding(path).state == "ok"
    path.write_text("{")
    found = pin_guard_finding(path)
    assert (found.code, found.state) == ("D_PIN_GUARD", "bad")
    assert "PIN counter" in found.fix

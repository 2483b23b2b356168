"""Look at, copy, and put back a journal. See docs/journal.md.

A copy is made while the agent runs: it is the whole lines of one moment, every one verified. It is
put back where it continues what is there, or where nothing of what it lacks can ever have left: an
older journal that was started by mistake, or one that was begun beside the backup. What such an end
had decided for good, an epoch, an amendment and a person's no, is noted anew.
"""

import contextlib
import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from signer.custody.anchor import Anchor
from signer.custody.host_anchor import HostAnchor
from signer.custody.journal_file import JournalFile, read_whole_lines, reason, unfinished_line
from signer.custody.journal_state import JournalState
from signer.custody.record import Record, is_object, record_line
from signer.errors import JournalError, OutputError
from signer.files import fsync_folder, write_new

_FINAL = ("RELEASED", "IMPORTED")  # records whose loss could let a second address be signed


def verify_journal(
    path: Path,
    owner: Mapping[str, Any] | None = None,
    each: Callable[[Record, bytes], object] = lambda record, line: None,
) -> JournalState:
    """Read the journal at `path` and verify every line of it. An agent may be writing to it.

    Args:
        path: the journal.
        owner: whose it must be, if that is known.
        each: gets each record, before the next is looked at, and its line.

    Raises:
        JournalError: unreadable, empty, damaged, or another share's.
    """
    state = JournalState(f"journal {str(path)!r}", owner)

    def take(line: bytes, number: int) -> None:
        each(state.replay(line, number), line)

    read_whole_lines(path, take)
    if state.sequence == 0:
        raise JournalError(f"the {state.what} is empty")
    return state


def export_journal(path: Path, out: Path) -> JournalState:
    """Write a verified copy of the journal at `path` to the new file `out`, mode 0600.

    Raises:
        JournalError: as for `verify_journal`.
        OutputError: `out` exists, or cannot be written.
    """
    lines: list[bytes] = []
    state = verify_journal(path, each=lambda _, line: lines.append(line))
    write_new(out, b"\n".join(lines) + b"\n", mode=0o600)
    return state


def import_journal(
    backup: Path,
    path: Path,
    owner: Mapping[str, Any] | None,
    host_anchor: HostAnchor | None = None,
) -> JournalState:
    """Put the journal `backup` at `path`, in the place of what may be set aside there.

    Args:
        backup: a copy of a journal.
        path: the journal.
        owner: whose it must be, if that is known.
        host_anchor: the share's anchor on the host, if its device keeps none. If it names a record
            that is set aside it is moved to the end of what is put back, and else left alone.

    Raises:
        JournalError: the backup does not hold, is not this share's, or is shorter than what is
            there; what is there is damaged, or has released something that the backup lacks; or an
            agent runs on it.
        OutputError: it cannot be written.
    """
    lines: list[bytes] = []
    state = verify_journal(backup, owner, each=lambda _, line: lines.append(line))
    fresh = not os.path.lexists(path)
    there = JournalFile.open(path)  # and with it the lock: no agent runs, none starts
    try:
        if not fresh:
            _supersede(_read_there(path, state), lines, state, host_anchor)
        _write_over(path, b"\n".join(lines) + b"\n")
    except BaseException:
        if fresh:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    finally:
        there.close()
    return state


class _There(NamedTuple):
    """The journal that lies where the backup shall go."""

    path: Path
    state: JournalState
    lines: list[bytes]
    kinds: list[str]  # of each line
    epochs: list[int]  # of the shares, when each was written


def _read_there(path: Path, backup: JournalState) -> _There:
    """Read what lies at `path`. A last line that lacks only its newline counts.

    Raises:
        JournalError: damaged, or another share's than the backup.
    """
    lines: list[bytes] = []
    last = unfinished_line(path, read_whole_lines(path, lambda line, _: lines.append(line)))
    if is_object(last):
        lines.append(last)
    state = JournalState(f"journal {str(path)!r}")
    kinds: list[str] = []
    epochs: list[int] = []
    try:
        for number, line in enumerate(lines, 1):
            kinds.append(state.replay(line, number).kind)
            epochs.append(state.epoch)
    except JournalError as error:
        raise JournalError(
            f"{error.message}; nothing was imported",
            hint="move it aside and keep it, then import again; if the agent then says E_ROLLBACK, "
            "something was signed after this backup (docs/journal.md, Restore)",
        ) from None
    if state.owner not in (None, backup.owner):
        raise JournalError(
            f"the {state.what} is another share's; nothing was imported",
            hint="each share has a state folder of its own, for ever",
        )
    return _There(path, state, lines, kinds, epochs)


def _supersede(
    there: _There, lines: list[bytes], state: JournalState, host_anchor: HostAnchor | None
) -> None:
    """Set aside what `there` has and the backup's `lines` have not; carry over what stays decided.

    Nothing of it can have left: what a share has signed leaves only after its RELEASED.

    Raises:
        JournalError: something may have left; or the backup has nothing that is not there.
    """
    pairs = zip(there.lines, lines, strict=False)
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(there.lines), len(lines)))
    if same == len(there.lines):
        return
    if same == len(lines):
        raise JournalError(
            f"the {there.state.what} has record {same}, which the backup has not; "
            "nothing was imported",
            hint="the backup is older: keep the journal that is there",
        )
    if final := [n for n in range(same, len(there.lines)) if there.kinds[n] in _FINAL]:
        raise JournalError(
            f"the {there.state.what} went another way from record {same} on, and its record "
            f"{final[0]} is {there.kinds[final[0]]}; nothing was imported",
            hint="start the agent on it; only if it then says E_ROLLBACK move it aside, import the "
            "backup, and then other holders' bindings (docs/journal.md, Restore)",
        )
    _set_aside(there)
    _carry_over(there, same, lines, state)
    if host_anchor is not None:
        _reset(host_anchor, there.state, same, state)


def _set_aside(there: _There) -> None:
    """Keep a copy of all that was there, under a name that is free."""
    name = f"{there.path.name}.rolled-back-{len(there.lines)}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    aside = next(path for path in map(there.path.with_name, names) if not os.path.lexists(path))
    write_new(aside, b"\n".join(there.lines) + b"\n", mode=0o600)


def _carry_over(there: _There, same: int, lines: list[bytes], state: JournalState) -> None:
    """Add to `lines` what was decided for good: the newest epoch and policy, each person's no.

    Shares or a policy of before must not count again because a backup was put back.
    """

    def add(kind: str, body: Mapping[str, Any], moment: int) -> None:
        moment = max(moment, state.last_time)
        line, _ = record_line(state.sequence, state.head, moment, kind, body)
        lines.append(line[:-1])
        state.replay(lines[-1], len(lines))

    for line, of_epoch in zip(there.lines[same:], there.epochs[same:], strict=True):
        record = Record.parse(line, "the record")
        if record.kind in ("OPENED", "EPOCH"):
            body = {n: record.body.take(n) for n in ("epoch", "certificate", "recovered")}
            if body["epoch"] > state.epoch:
                add("EPOCH", body, record.moment)
        elif record.kind == "POLICY" and of_epoch == state.epoch:
            number, digest = record.body.take("number"), record.body.take("digest")
            known = state.generation.policy
            if known is None or number > known[0]:
                add("POLICY", {"number": number, "digest": digest}, record.moment)
        elif record.kind == "DENIED":
            body = {name: record.body.take(name) for name in ("request", "uid", "code")}
            if state.was_denied(bytes.fromhex(body["request"])) is None:
                add("DENIED", body, record.moment)


def _reset(anchor: HostAnchor, there: JournalState, same: int, state: JournalState) -> None:
    """Move the host's anchor from a record that is set aside to the last one that is put back.

    Before the journal is: if the power goes between the two the agent refuses the journal that is
    there still, and the same import goes on.
    """
    named = anchor.read()
    if named is None or named.sequence < same or there.head_at(named.sequence) != named.head:
        return
    anchor.advance(Anchor(state.sequence - 1, state.head))


def _write_over(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(temporary, content, mode=0o600)
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {reason(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()

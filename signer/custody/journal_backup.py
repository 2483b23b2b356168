"""Look at, copy, and put back a journal. See docs/journal.md.

A copy is made while the agent runs: it is the whole lines of one moment, every one verified. It is
put back only where it continues what is there, so that no import ever forgets anything; an epoch
of the shares that only what was there had seen is noted anew.
"""

import contextlib
import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from signer.custody.journal_file import JournalFile, read_whole_lines, reason
from signer.custody.journal_state import JournalState
from signer.custody.record import Record, record_line
from signer.errors import JournalError, OutputError
from signer.files import fsync_folder, write_new
from signer.messages.group_id import MAX_EPOCH


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


def import_journal(backup: Path, path: Path, owner: Mapping[str, Any] | None) -> JournalState:
    """Put the journal `backup` at `path`, where there is none or one that it continues.

    Raises:
        JournalError: the backup does not hold, is not this share's, is shorter than what is there
            or went another way; or an agent runs on it.
        OutputError: it cannot be written.
    """
    lines: list[bytes] = []
    state = verify_journal(backup, owner, each=lambda _, line: lines.append(line))
    fresh = not os.path.lexists(path)
    there = JournalFile.open(path)  # and with it the lock: no agent runs, none starts
    try:
        if not fresh:
            _carry_epoch(_superseded(path, lines), state, lines)
        _write_over(path, b"\n".join(lines) + b"\n")
    except BaseException:
        if fresh:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    finally:
        there.close()
    return state


def _superseded(path: Path, lines: list[bytes]) -> list[bytes]:
    """Return what the journal at `path` has and `lines` have not; refuse unless none of it counts.

    An older journal that was started by mistake got an INTENT for every attempt, which the worker
    refused before it unsealed. Such an end is kept aside and forgets nothing.
    """
    there: list[bytes] = []
    read_whole_lines(path, lambda line, _: there.append(line))
    same = sum(
        1
        for _ in itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(there, lines, strict=False)
        )
    )
    end = there[same:]
    if not end:
        return end
    if same == len(lines) or not _was_refused(end):
        raise JournalError(
            f"the journal {str(path)!r} has record {same}, which the backup has not; "
            "nothing was imported",
            hint="the backup is older or went another way: keep the journal that is there",
        )
    aside = path.with_name(f"{path.name}.rolled-back-{len(there)}")
    if not aside.exists():
        write_new(aside, b"\n".join(there) + b"\n", mode=0o600)
    return end


def _carry_epoch(end: list[bytes], state: JournalState, lines: list[bytes]) -> None:
    """Add the newest epoch in `end` to `lines` if their `state` does not know it.

    Shares of before it must not sign again because an older backup was put back.
    """
    for number, line in enumerate(end):
        record = Record.parse(line, f"record {number}")
        if record.kind not in ("OPENED", "EPOCH"):
            continue
        epoch = record.body.integer("epoch", low=1, high=MAX_EPOCH)
        if epoch > state.epoch:
            known = record.body.take("certificate") if record.kind == "EPOCH" else None
            moment = max(record.moment, state.last_time)
            body = {"epoch": epoch, "certificate": known}
            added, _ = record_line(state.sequence, state.head, moment, "EPOCH", body)
            lines.append(added[:-1])
            state.replay(lines[-1], len(lines))


def _was_refused(end: list[bytes]) -> bool:
    """Tell whether these records bind nothing but in attempts that ended with E_ROLLBACK.

    OPENED among them is a journal that was begun by mistake, beside the one in the backup.
    """
    refused = set()
    intents = set()
    for number, line in enumerate(end):
        record = Record.parse(line, f"record {number}")
        if record.kind == "INTENT":
            intents.add(record.sequence)
        elif record.kind == "FAILED" and record.body.take("code") == "E_ROLLBACK":
            refused.add(record.body.take("intent"))
        elif record.kind not in ("OPENED", "EPOCH", "POLICY"):
            return False
    return intents == refused


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

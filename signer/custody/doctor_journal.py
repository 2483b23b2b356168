"""Whether an agent would start with the journal that is there, and with what it keeps of PINs.

Reads what the agent reads at its start, and neither locks, mends nor writes anything.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from signer.custody.desk import Desk
from signer.custody.doctor import Finding
from signer.custody.host_anchor import HostAnchor, host_anchor_path
from signer.custody.journal_file import read_whole_lines, unfinished_line
from signer.custody.journal_state import JournalState, damaged, owner_of
from signer.custody.mark import mark_path, require_marked_journal
from signer.custody.pin_guard import PinGuard
from signer.custody.record import is_object
from signer.errors import JournalError, SignerError

_BEGINS = Finding("D_JOURNAL", "ok", "there is no journal yet; the agent begins it")


def journal_finding(
    path: Path, user: int, desk: Desk | None, host_anchor: Path | None
) -> tuple[Finding, JournalState | None]:
    """Judge the journal at `path`; return also what it adds up to, if it can be read.

    Args:
        path: the journal.
        user: uid of the user who runs the agent.
        desk: his papers, if they belong together: the journal must be theirs.
        host_anchor: the envelope's anchor on the host, where the profile says so.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return _BEGINS, None
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        return Finding("D_JOURNAL", "bad", f"the journal: {why}", f"look at {path}"), None
    if trouble := _file_trouble(path, status, user):
        return Finding("D_JOURNAL", "bad", *trouble), None
    if status.st_size == 0:
        return _BEGINS, None
    state = JournalState(
        f"journal {str(path)!r}", None if desk is None else owner_of(desk.group, desk.index)
    )
    try:
        _read(path, state)
        if desk is not None:
            _require_fit(state, desk)
            if host_anchor is not None:
                anchor = HostAnchor(host_anchor, desk.group.group_id, int(desk.index))
                anchor.require_not_ahead(state.head_at)
    except JournalError as error:
        fix = error.hint or "see docs/journal.md, Restore"
        return Finding("D_JOURNAL", "bad", f"the agent does not start: {error.message}", fix), state
    try:
        state.generation.require_history()
    except JournalError as error:
        return Finding("D_JOURNAL", "warn", f"it signs nothing: {error.message}", error.hint), state
    return Finding("D_JOURNAL", "ok", f"the journal is whole: {state.sequence} records"), state


def mark_finding(envelope: Path, journal: Path) -> Finding:
    """Judge the mark beside the envelope, which says where this share's journal is."""

    def look() -> str:
        require_marked_journal(envelope, journal)
        if not mark_path(envelope).exists():
            return "there is no mark of the journal yet; the agent makes it"
        return "the mark beside the envelope names this journal"

    return _judged("D_JOURNAL_MARK", look, f"look at {mark_path(envelope)}")


def pin_guard_finding(path: Path) -> Finding:
    """Judge the file in which the agent remembers which PINs were refused."""

    def look() -> str:
        PinGuard.open(path)
        return "what the agent remembers of PINs can be read"

    return _judged("D_PIN_GUARD", look, f"look at {path}")


def host_anchor_of(envelope: Path, anchor: str) -> Path | None:
    """Return where the host keeps the anchor, for a profile that says it does."""
    return host_anchor_path(envelope) if anchor == "host" else None


def _file_trouble(path: Path, status: os.stat_result, user: int) -> tuple[str, str] | None:
    """Say what the agent would have against the file itself, and what mends it."""
    if not stat.S_ISREG(status.st_mode):
        return "the journal is a link or no regular file", f"put the file itself at {path}"
    if status.st_mode & 0o077:
        return f"the journal has mode {status.st_mode & 0o777:04o}", f"chmod 600 {path}"
    if status.st_uid != user:
        return f"the journal belongs to user {status.st_uid}", "chown it to the agent's user"
    return None


def _read(path: Path, state: JournalState) -> None:
    """Replay every line as the agent does; of a last one without its end what the agent says."""
    size = read_whole_lines(path, state.replay)
    last = unfinished_line(path, size)
    if b"\n" in last:  # an agent has written more meanwhile
        return
    if is_object(last[:-1]):
        number = state.sequence + 1
        raise damaged(state.what, number, "something else stands where it should end")
    if is_object(last):
        state.replay(last, state.sequence + 1)


def _require_fit(state: JournalState, desk: Desk) -> None:
    """Refuse papers of an earlier epoch or amendment than the journal has gone on with."""
    group = desk.group
    if not state.sequence:
        return
    state.generation.require_usable(group.epoch, group.certificate)
    if group.epoch == state.epoch:
        state.generation.require_followable(group.amendment_number, desk.policy.digest)


def _judged(code: str, look: Callable[[], str], otherwise: str) -> Finding:
    try:
        return Finding(code, "ok", look())
    except SignerError as error:
        return Finding(code, "bad", error.message, error.hint or otherwise)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        return Finding(code, "bad", why, otherwise)

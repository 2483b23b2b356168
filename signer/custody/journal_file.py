"""The journal's file: one process has it, lines are durable when `append` returns, nothing else.

A line that was not written whole never was durable, so nothing was signed after it: it is set aside
when the journal is read. One that lacks nothing but its newline counts, which is the safe reading.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from signer.custody.journal_state import JournalState, damaged
from signer.custody.record import MAX_LINE_BYTES, is_object
from signer.errors import JournalError


class JournalFile:
    """An open, locked file of lines. Everything it cannot do is a `JournalError`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.torn = False  # whether an unfinished last line was set aside
        self._descriptor = descriptor
        self._size = 0  # bytes that hold whole, chained records
        self._usable = True

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or begin the file at `path` and lock it.

        Raises:
            JournalError: in use, no regular file, or open to others.
        """
        return cls(path, _open_locked(path))

    @property
    def what(self) -> str:
        """What to call it in a message."""
        return f"journal {str(self.path)!r}"

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def replay_into(self, state: JournalState) -> None:
        """Read every line into `state`; mend the end.

        Raises:
            JournalError: damaged, or another share's.
            OSError: it cannot be read, or its end not be mended.
        """
        for number, line in enumerate(self._lines(), 1):
            if line.endswith(b"\n"):
                state.replay(line[:-1], number)
                self._size += len(line)
            else:
                self._end_line(line, number, state)
        if state.sequence == 0 and self._size:
            raise damaged(self.what, 1, "no first record")

    def append(self, line: bytes) -> None:
        """Write one line and wait until the disk has it.

        Raises:
            JournalError: the disk would not, or the file is not as this process left it.
        """
        if not self._usable:
            raise JournalError(
                "the journal could not be repaired after a failed write",
                hint="free the disk, then restart the agent",
            )
        if len(line) > MAX_LINE_BYTES:
            raise JournalError("the record is too large for the journal")
        self._require_untouched()
        try:
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            self._cut_back()
            raise JournalError(
                f"cannot write the {self.what}: {reason(error)}",
                hint="nothing was released; free the disk and ask again",
            ) from None
        self._size += len(line)

    def _require_untouched(self) -> None:
        """Write only to the file at the path, and only after what this process knows of it.

        A journal that was moved away, cut or written by others would not hold what is signed now.
        """
        try:
            ours, there = os.fstat(self._descriptor), self.path.lstat()
            untouched = os.path.samestat(ours, there) and ours.st_size == self._size
        except OSError:
            untouched = False
        if not untouched:
            raise JournalError(
                f"the {self.what} was moved or changed under the agent",
                hint="put back the journal it had, then restart the agent",
            )

    def _cut_back(self) -> None:
        """Undo a half-written line; if even that fails, sign no more until a restart."""
        try:
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
        except OSError:
            self._usable = False

    def _lines(self) -> Iterator[bytes]:
        """Yield every line; only the last may come without its newline."""
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if not line.endswith(b"\n") and (len(line) == MAX_LINE_BYTES or file.read(1)):
                    raise damaged(self.what, number, "a line without an end")
                yield line

    def _end_line(self, line: bytes, number: int, state: JournalState) -> None:
        """Deal with a last line that has no newline: damaged, whole but for that, or unfinished."""
        if is_object(line[:-1]):
            raise damaged(self.what, number, "something else stands where it should end")
        if not is_object(line):
            self._set_aside(line, state.sequence)
            return
        state.replay(line, number)
        _write_all(self._descriptor, b"\n")
        os.fsync(self._descriptor)
        self._size += len(line) + 1

    def _set_aside(self, line: bytes, sequence: int) -> None:
        """Move an unfinished last line, never durable, out of the way and keep it for a look."""
        aside = self.path.with_name(f"{self.path.name}.torn-{sequence}")
        aside.write_bytes(line)
        os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)
        self.torn = True


def read_whole_lines(path: Path, take: Callable[[bytes, int], object]) -> int:
    """Give `take` each whole line of the journal at `path`, which an agent may be writing to.

    Returns the size of what was given. An unfinished last line is left out: it is not durable yet.

    Raises:
        JournalError: it is no regular file, cannot be read, or has a line without an end.
    """
    size = 0
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            _require_regular(file.fileno(), path)
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if not line.endswith(b"\n"):
                    if len(line) == MAX_LINE_BYTES:
                        raise damaged(f"journal {str(path)!r}", number, "a line without an end")
                    break
                take(line[:-1], number)
                size += len(line)
    except OSError as error:
        raise JournalError(f"cannot read the journal {str(path)!r}: {reason(error)}") from None
    return size


def unfinished_line(path: Path, size: int) -> bytes:
    """Return what stands after the first `size` bytes, those that `read_whole_lines` gave.

    Raises:
        JournalError: it cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            file.seek(size)
            return file.read(MAX_LINE_BYTES)
    except OSError as error:
        raise JournalError(f"cannot read the journal {str(path)!r}: {reason(error)}") from None


def reason(error: OSError) -> str:
    """Return the system's word for an error, in lower case."""
    return (error.strerror or type(error).__name__).lower()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise JournalError(f"the journal {str(path)!r} is not a regular file")


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise JournalError(f"cannot open the journal {str(path)!r}: {reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        _require_regular(descriptor, path)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise JournalError(
                f"the journal {str(path)!r} is open to other users", hint=f"chmod 600 {path}"
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(
            f"the journal {str(path)!r} is in use", hint="another agent runs on this state folder"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

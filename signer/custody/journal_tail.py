"""The end of a journal, read backwards by a worker: just far enough to reach the anchor.

A line is looked at by its last fields only, which canonical JSON puts in a fixed order; its digest
is over all of it. The agent has read the whole file; here it matters that this file, now, ends with
the record it should, and that its chain leads back to the anchor.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from signer.custody.record import MAX_LINE_BYTES
from signer.errors import JournalError

MAX_BYTES = 256 * 1024 * 1024  # read back at most
_BLOCK = 64 * 1024
_FIELDS = re.compile(
    rb',"head":"([0-9a-f]{64})"(,"prev":"([0-9a-f]{64})","seq":([0-9]{1,16}),"ts":[0-9]{1,16},'
    rb'"type":"([A-Z]{1,16})"\})\Z'
)


class Link(NamedTuple):
    """One record: its place in the chain, and its line, whose digest holds."""

    sequence: int
    previous: bytes
    head: bytes
    kind: str
    line: bytes


def links_backwards(path: Path) -> Iterator[Link]:
    """Yield the records of the journal at `path`, the last first, each joined to the one before.

    Raises:
        JournalError: not a private file, cannot be read, a link that does not hold, or too long.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb"):
            status = os.fstat(descriptor)
            private = status.st_uid == os.geteuid() and not status.st_mode & 0o077
            if not stat.S_ISREG(status.st_mode) or not private:
                raise JournalError(f"the journal {str(path)!r} is not a private file")
            following: Link | None = None
            for line in _lines_backwards(descriptor, status.st_size, str(path)):
                link = _link(line, str(path))
                if following is not None and (link.sequence + 1, link.head) != (
                    following.sequence,
                    following.previous,
                ):
                    raise _broken(str(path), "two of its records do not follow each other")
                following = link
                yield link
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise JournalError(f"cannot read the journal {str(path)!r}: {why}") from None


def _lines_backwards(descriptor: int, size: int, path: str) -> Iterator[bytes]:
    """Yield whole lines without their newlines, the last first."""
    start, held = size, b""
    while start > 0:
        if size - start > MAX_BYTES:
            raise _broken(path, "the anchor lies too far back")
        block = min(_BLOCK, start)
        start -= block
        held = os.pread(descriptor, block, start) + held
        if not held.endswith(b"\n"):
            raise _broken(path, "its last line has no end")
        unfinished, *lines = held[:-1].split(b"\n")
        yield from reversed(lines)
        held = unfinished + b"\n"
        if len(held) > MAX_LINE_BYTES:
            raise _broken(path, "a line without an end")
    if size:
        yield held[:-1]


def _link(line: bytes, path: str) -> Link:
    match = _FIELDS.search(line[-400:])
    if match is None:
        raise _broken(path, "a line that is no record")
    body = line[: len(line) - len(match[0])]
    head = bytes.fromhex(match[1].decode())
    if hashlib.sha256(body + match[2]).digest() != head:
        raise _broken(path, "a record that is not what was written")
    return Link(int(match[4]), bytes.fromhex(match[3].decode()), head, match[5].decode(), line)


def _broken(path: str, why: str) -> JournalError:
    return JournalError(
        f"the journal {path!r} is damaged: {why}",
        hint="restore it whole from a backup; without it this share must not sign",
    )

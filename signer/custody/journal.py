"""What this share has ever been asked to sign. Append-only, durable before anything is unsealed.

JSON lines, one record per decision, chained (`signer.custody.record`). Types:

- ``OPENED``    whose journal this is: group, epoch, share index, network
- ``INTENT``    a request is about to be signed; from here on its validators are bound for ever
                (`changes` lists those that were not bound before, `count` is all of them)
- ``RELEASED``  its partial signatures exist and may have left
- ``FAILED``    it was not signed after all; the bindings stay

A validator is bound by (genesis validators root, validator index) to one address. Bindings come
from INTENT, so a crash at any later moment forgets nothing. A line that was not written whole never
was durable, so nothing was signed after it: it is set aside when the journal opens. One that lacks
nothing but its newline counts, which is the safe reading of it.
"""

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from signer.custody.record import MAX_LINE_BYTES, START, Record, is_object, record_line
from signer.errors import InputError, JournalError
from signer.files import fsync_folder
from signer.messages.address import ExecutionAddress
from signer.messages.group_file import GroupFile
from signer.messages.request import MAX_ITEMS, Item, changes_from_json, changes_to_json
from signer.policy.decision import BoundTo
from signer.strict import Fields


class Journal:
    """The open journal of one share. One process has it; `close()` or `with` gives it back."""

    def __init__(self, path: Path, descriptor: int, clock: Callable[[], float]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._clock = clock
        self._bindings: dict[int, ExecutionAddress] = {}
        self._size = 0  # bytes that hold whole, chained records
        self._usable = True
        self.sequence = 0  # of the next record
        self.head = START
        self.torn = False  # whether an unfinished last line was set aside

    @classmethod
    def open(
        cls, path: Path, group: GroupFile, index: int, *, clock: Callable[[], float] = time.time
    ) -> Self:
        """Open the journal at `path`, or begin it, for one share of `group`.

        Raises:
            JournalError: in use, unreadable, damaged, or another share's.
        """
        owner = {
            "group": group.group_id.hex(),
            "index": int(index),
            "network": group.network.name,
            "genesis_validators_root": group.network.genesis_validators_root.hex(),
        }
        journal = cls(path, _open_locked(path), clock)
        try:
            journal._load(owner)
            if journal.sequence == 0:
                journal._append("OPENED", {"version": 1, **owner})
                fsync_folder(path.parent)
        except OSError as error:
            journal.close()
            raise JournalError(f"cannot open the journal {str(path)!r}: {_reason(error)}") from None
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def bound_to(self) -> BoundTo:
        """A function that tells which address a validator was bound to, if it was."""
        return self._bindings.get

    def intent(self, request_digest: bytes, items: Sequence[Item], peer_uid: int) -> int:
        """Bind the validators of `items` to their addresses, durably. Returns the sequence number.

        Raises:
            JournalError: it could not be made durable, so nothing may be unsealed; or an item
                contradicts a binding, which `policy` should have refused.
        """
        for validator_index, address in items:
            if self._bindings.get(validator_index, address) != address:
                raise JournalError(f"validator {validator_index} is bound to another address")
        new = [item for item in items if item[0] not in self._bindings]
        body = {
            "request": request_digest.hex(),
            "peer_uid": peer_uid,
            "count": len(items),
            "changes": changes_to_json(new),
        }
        sequence = self._append("INTENT", body)
        self._bindings.update(items)
        return sequence

    def released(self, intent: int, partials: Sequence[bytes]) -> None:
        """Record, durably, that the partials of an INTENT are about to leave."""
        digest = hashlib.sha256(b"".join(partials)).hexdigest()
        body = {"intent": intent, "count": len(partials), "partials_sha256": digest}
        self._append("RELEASED", body)

    def failed(self, intent: int, code: str) -> None:
        """Record that an INTENT ended without partials."""
        self._append("FAILED", {"intent": intent, "code": code})

    def close(self) -> None:
        """Give the journal back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, kind: str, body: dict[str, Any]) -> int:
        """Write one record and wait until the disk has it."""
        if not self._usable:
            raise JournalError(
                "the journal could not be repaired after a failed write",
                hint="free the disk, then restart the agent",
            )
        self._require_untouched()
        sequence = self.sequence
        line, head = record_line(sequence, self.head, int(self._clock()), kind, body)
        try:
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            self._cut_back()
            raise JournalError(
                f"cannot write the journal {str(self._path)!r}: {_reason(error)}",
                hint="nothing was released; free the disk and ask again",
            ) from None
        self._size += len(line)
        self.head = head
        self.sequence += 1
        return sequence

    def _require_untouched(self) -> None:
        """Write only to the file at the path, and only after what this process knows of it.

        A journal that was moved away, cut or written by others would not hold what is signed now.
        """
        try:
            ours, there = os.fstat(self._descriptor), self._path.lstat()
            untouched = os.path.samestat(ours, there) and ours.st_size == self._size
        except OSError:
            untouched = False
        if not untouched:
            raise JournalError(
                f"the journal {str(self._path)!r} was moved or changed under the agent",
                hint="put back the journal it had, then restart the agent",
            )

    def _cut_back(self) -> None:
        """Undo a half-written line; if even that fails, sign no more until a restart."""
        try:
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
        except OSError:
            self._usable = False

    def _load(self, owner: dict[str, Any]) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if not line.endswith(b"\n"):
                    if len(line) == MAX_LINE_BYTES or file.read(1):
                        raise self._damaged(number, "a line without an end")
                    self._end_line(line, number, owner)
                    break
                self._replay(line[:-1], number, owner)
                self._size += len(line)
        if self.sequence == 0 and self._size:
            raise self._damaged(1, "no first record")

    def _replay(self, line: bytes, number: int, owner: dict[str, Any]) -> None:
        what = f"journal {str(self._path)!r}, line {number}"
        try:
            record = Record.parse(line, what)
            if record.sequence != self.sequence or record.previous != self.head:
                raise self._damaged(number, "it does not follow the line before it")
            if (record.kind == "OPENED") != (record.sequence == 0):
                raise self._damaged(number, f"{record.kind} in this place")
            self._apply(record.kind, record.body, owner)
        except InputError as error:
            raise self._damaged(number, error.message) from None
        self.head = record.head
        self.sequence += 1

    def _apply(self, kind: str, body: Fields, owner: dict[str, Any]) -> None:
        if kind == "OPENED":
            body.constant("version", 1)
            for name, expected in owner.items():
                if body.take(name) != expected:
                    raise JournalError(
                        f"the journal {str(self._path)!r} is of another {name.replace('_', ' ')}",
                        hint="each share has a state folder of its own, for ever",
                    )
        elif kind == "INTENT":
            body.hex_bytes("request", 32)
            body.integer("peer_uid", low=-1, high=2**32)
            body.integer("count", low=1, high=MAX_ITEMS)
            changes = body.array("changes", low=0, high=MAX_ITEMS)
            for validator_index, address in changes_from_json(changes, body.what):
                if self._bindings.setdefault(validator_index, address) != address:
                    raise JournalError(
                        f"the journal binds validator {validator_index} to two addresses",
                        hint="it was altered: sign nothing with this share, tell the pool",
                    )
        else:
            body.integer("intent", low=0, high=self.sequence)
            if kind == "RELEASED":
                body.integer("count", low=1, high=MAX_ITEMS)
                body.hex_bytes("partials_sha256", 32)
            else:
                body.string("code", pattern=r"E_[A-Z_]+")
        body.done()

    def _end_line(self, line: bytes, number: int, owner: dict[str, Any]) -> None:
        """Deal with a last line that has no newline: damaged, whole but for that, or unfinished."""
        if is_object(line[:-1]):
            raise self._damaged(number, "something else stands where it should end")
        if not is_object(line):
            self._set_aside(line)
            return
        self._replay(line, number, owner)
        _write_all(self._descriptor, b"\n")
        os.fsync(self._descriptor)
        self._size += len(line) + 1

    def _set_aside(self, line: bytes) -> None:
        """Move an unfinished last line, never durable, out of the way and keep it for a look."""
        aside = self._path.with_name(f"{self._path.name}.torn-{self.sequence}")
        aside.write_bytes(line)
        os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)
        self.torn = True

    def _damaged(self, number: int, why: str) -> JournalError:
        return JournalError(
            f"the journal {str(self._path)!r} is damaged at line {number}: {why}",
            hint="restore it whole from a backup; without it this share must not sign",
        )


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise JournalError(f"cannot open the journal {str(path)!r}: {_reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise JournalError(f"the journal {str(path)!r} is not a regular file")
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

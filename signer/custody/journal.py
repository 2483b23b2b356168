"""What this share has ever been asked to sign. Append-only, durable before anything is unsealed.

JSON lines, one record per decision, chained (`signer.custody.record`). Types:

- ``OPENED``    whose journal this is: group, share index, network; the share's epoch at that time
- ``EPOCH``     the share is of a newer epoch from here on; no older one signs any more
- ``POLICY``    the amendment of the pool's policy that is followed from here on
- ``INTENT``    a request is about to be signed; from here on its validators are bound for ever
                (`changes` lists those that were not bound before, `count` is all of them)
- ``RELEASED``  its partial signatures exist and may have left
- ``FAILED``    it was not signed after all; the bindings stay
- ``DENIED``    a person refused a request
- ``DRILLED``   the share was proved to be usable on a device
- ``IMPORTED``  other holders' bindings, taken over by a share that had no journal

What they add up to is in `signer.custody.journal_state`, the file in `signer.custody.journal_file`.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from signer.custody.anchor import Anchor
from signer.custody.host_anchor import HostAnchor
from signer.custody.journal_file import JournalFile, reason
from signer.custody.journal_state import VERSION, JournalState, owner_of
from signer.custody.record import MAX_LINE_BYTES, record_line
from signer.custody.record_items import items_json, kind_of
from signer.errors import JournalError
from signer.files import fsync_folder
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.items import Change, Deposit, Exit, Item
from signer.strict import Fields
from signer.threshold.params import ShareIndex

_IMPORTED_AT_ONCE = 16384  # bindings; each with an address of its own they fit into a line


class Journal(JournalState):
    """The open journal of one share. One process has it; `close()` or `with` gives it back.

    What it remembers is read as of any `JournalState`.
    """

    def __init__(
        self,
        file: JournalFile,
        owner: Mapping[str, Any],
        id_sign: bytes,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(file.what, owner)
        self._file = file
        self._id_sign = id_sign
        self._clock = clock
        # What was said, once it is known that a later journal exists. Never the error itself: one
        # that is raised again and again keeps all alive that it ever passed through.
        self._behind: tuple[str, str, str] | None = None  # message, hint, code
        self._host_anchor: HostAnchor | None = None
        self.verified = False  # whether it was held against an anchor since it was opened

    @classmethod
    def open(
        cls,
        path: Path,
        group: GroupFile,
        index: int,
        *,
        recovered: bool = False,
        host_anchor: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open the journal at `path`, or begin it, for one share of `group`.

        With a group of a later epoch than before the journal goes on; an earlier one is refused
        from then on, durably.

        Args:
            path: the file.
            group: the share's group.
            index: the share's index.
            recovered: whether this share's envelope came from a repair.
            host_anchor: where the host keeps the anchor of a token that cannot; see
                `signer.custody.anchor`.
            clock: Unix seconds.

        Raises:
            JournalError: in use, unreadable, damaged, another share's, or older than the anchor;
                E_EPOCH: it was opened for a later epoch before.
        """
        file = JournalFile.open(path)
        owner = owner_of(group, index)
        id_sign = group.card_of(ShareIndex(int(index))).body.id_sign
        journal = cls(file, owner, id_sign, clock)
        try:
            file.replay_into(journal)
            if host_anchor is not None:
                journal._host_anchor = HostAnchor(host_anchor, group.group_id, int(index))
                journal._host_anchor.require_not_ahead(journal.head_at)
                journal.verified = True
            if journal.sequence == 0:
                shares = _shares(group, recovered=recovered)
                journal._append("OPENED", {"version": VERSION, **owner, **shares})
            journal._follow(group, recovered=recovered)
            fsync_folder(path.parent)  # each time: who began it may have died before he did
        except OSError as error:
            journal.close()
            raise JournalError(f"cannot open the journal {str(path)!r}: {reason(error)}") from None
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def torn(self) -> bool:
        """Whether an unfinished last line was set aside when it was opened."""
        return self._file.torn

    def require_history(self) -> None:
        """Refuse to sign with a share that may have signed what this journal does not know.

        Raises:
            JournalError: E_JOURNAL_EMPTY.
        """
        self.generation.require_history()

    @property
    def state(self) -> str:
        """`behind`: a later journal is known; `verified` against its anchor; or `unverified`."""
        if self._behind is not None:
            return "behind"
        return "verified" if self.verified else "unverified"

    def found_behind(self, error: JournalError) -> None:
        """Remember that a later journal exists: nothing is decided with this one any more."""
        self._behind = error.message, error.hint, error.code

    def require_newest(self) -> None:
        """Refuse if a later journal is known.

        Raises:
            JournalError: E_ROLLBACK.
        """
        if self._behind is not None:
            message, hint, code = self._behind
            raise JournalError(message, hint=hint, code=code)

    def require_not_behind(self, witnesses: Sequence[SignedFile]) -> int:
        """Refuse if a witness of this very share tells of a later or another journal.

        Returns how many witnesses say nothing, as `require_witnessed` does.

        Raises:
            JournalError: E_ROLLBACK; from then on nothing is signed any more.
        """
        self.require_newest()
        try:
            return self.require_witnessed(witnesses, self._id_sign)
        except JournalError as error:
            self.found_behind(error)
            raise

    def _follow(self, group: GroupFile, *, recovered: bool) -> None:
        """Note the epoch of `group` if it is new, which a crash does not undo; refuse an old one.

        Raises:
            JournalError: E_EPOCH; or it could not be written.
        """
        self.generation.require_usable(group.epoch, group.certificate)
        if group.epoch > self.epoch:
            self._append("EPOCH", _shares(group, recovered=recovered))

    def require_policy(self, number: int, digest: bytes) -> None:
        """Follow amendment `number` of the pool's policy from here on; durable when it is new.

        Raises:
            JournalError: E_POLICY_OLD, a later one was followed before; or it could not be written.
        """
        self.generation.require_followable(number, digest)
        if self.generation.policy != (number, digest):
            self._append("POLICY", {"number": number, "digest": digest.hex()})

    def intent(
        self,
        request_digest: bytes,
        items: Sequence[Item],
        asker: int | None,
        *,
        approved: bool = False,
    ) -> int:
        """Bind what `items`, all of one kind, bind; durably. Returns the sequence number.

        Args:
            request_digest: the request's name.
            items: what is about to be signed of it.
            asker: the user who asked, None for somebody at the desk.
            approved: whether a person said yes.

        Raises:
            JournalError: it could not be made durable, so nothing may be unsealed; or an item
                contradicts a binding, which `policy` should have refused.
        """
        self.require_newest()
        self.require_history()
        self.require_bindable(items)
        new = [
            item
            for item in items
            if isinstance(item, Exit | Deposit) or self.address_of(item[0]) is None
        ]
        body = {
            "request": request_digest.hex(),
            "uid": asker,
            "approved": approved,
            "kind": kind_of(items),
            "count": len(items),
            **items_json(new),
        }
        sequence = self._append("INTENT", body)
        if self._host_anchor is not None:
            self._host_anchor.advance(Anchor(sequence, self.head))
        return sequence

    def released(
        self,
        intent: int,
        partials: Sequence[bytes],
        *,
        anchored_on: bytes | None = None,
        unsealed_milliseconds: int | None = None,
    ) -> None:
        """Record, durably, that the partials of an INTENT are about to leave.

        Args:
            intent: its sequence number.
            partials: what leaves.
            anchored_on: SHA-256 of the serial of the token that holds the INTENT's head.
            unsealed_milliseconds: how long the share was in the worker's memory.

        Raises:
            JournalError: it could not be made durable, or a later journal is known by now. Nothing
                may leave.
        """
        self.require_newest()
        body = {
            "intent": intent,
            "count": len(partials),
            "partials_sha256": hashlib.sha256(b"".join(partials)).hexdigest(),
            "anchored_on": None if anchored_on is None else anchored_on.hex(),
            "unsealed_milliseconds": unsealed_milliseconds,
        }
        self._append("RELEASED", body)

    def failed(self, intent: int, code: str) -> None:
        """Record that an INTENT ended without partials."""
        self._append("FAILED", {"intent": intent, "code": code})

    def denied(self, request_digest: bytes, asker: int | None, code: str) -> None:
        """Record that a person refused a request.

        Raises:
            JournalError: E_ROLLBACK, or it could not be written.
        """
        self.require_newest()
        self._append("DENIED", {"request": request_digest.hex(), "uid": asker, "code": code})

    def drilled(self, moment: int, device: bytes) -> None:
        """Record a drill on the device whose serial has the SHA-256 `device`.

        Raises:
            JournalError: E_ROLLBACK, or it could not be written.
        """
        self.require_newest()
        self._append("DRILLED", {"moment": moment, "device": device.hex()})

    def imported(
        self,
        changes: Sequence[Change],
        credentials: bytes | None,
        statements: Mapping[int, bytes],
        *,
        certificate: bytes | None = None,
    ) -> None:
        """Take over bindings from other holders' statements.

        Args:
            changes: what they bind.
            credentials: likewise, of deposits.
            statements: share index: SHA-256 of each.
            certificate: of the reshare they were made for; None: they are of today.

        Raises:
            JournalError: one contradicts what is bound here.
        """
        self.generation.require_fillable(certificate)
        self.require_bindable(changes)
        if credentials is not None:
            self.require_bindable([Deposit(credentials, 0)])
        new = [item for item in changes if self.address_of(item[0]) is None]
        body = {
            "statements": [
                {"index": index, "sha256": digest.hex()} for index, digest in statements.items()
            ],
            "deposit_credentials": None if credentials is None else credentials.hex(),
            "certificate": None if certificate is None else certificate.hex(),
        }
        for start in range(0, max(len(new), 1), _IMPORTED_AT_ONCE):
            end = start + _IMPORTED_AT_ONCE
            part = {**body, **items_json(new[start:end]), "complete": end >= len(new)}
            self._append("IMPORTED", part)

    def close(self) -> None:
        """Give the journal back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, kind: str, body: dict[str, Any]) -> int:
        """Write one record and wait until the disk has it; then it counts."""
        now = max(int(self._clock()), 0)
        moment = max(now, self.last_time)
        if now < moment:  # time does not go back in a journal; that the clock did is noted
            body = {**body, "clock": now}
        sequence = self.sequence
        line, head = record_line(sequence, self.head, moment, kind, body)
        if len(line) > MAX_LINE_BYTES:  # it could not be read back
            raise JournalError(f"a record of {len(line)} bytes is too large for the journal")
        self._file.append(line)
        self.apply(kind, Fields(body, "record"), moment, head)
        return sequence


def _shares(group: GroupFile, *, recovered: bool) -> dict[str, Any]:
    """Return what OPENED and EPOCH say of the shares."""
    certificate = None if group.certificate is None else group.certificate.hex()
    return {"epoch": group.epoch, "certificate": certificate, "recovered": recovered}

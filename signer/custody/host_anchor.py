"""The anchor of a journal on the host, for a token that keeps no data objects.

It notices that the state folder alone was restored; not that the whole disk was.
"""

import os
from collections.abc import Callable
from pathlib import Path

from signer.custody.anchor import VERSION, Anchor, rolled_back, share_name
from signer.errors import InputError, JournalError
from signer.files import fsync_folder, read_file
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object

_MAX_FILE_BYTES = 1024


class HostAnchor:
    """The anchor of a share in a file beside its envelope, replaced in one step."""

    def __init__(self, path: Path, group_id: bytes, index: int) -> None:
        self.path = path
        self._name = share_name(group_id, index)

    def read(self) -> Anchor | None:
        """Return the anchor, or None where none was left yet.

        Raises:
            JournalError: E_ANCHOR, the file cannot be read, or is none, or another share's.
        """
        if not os.path.lexists(self.path):
            return None
        what = f"anchor {str(self.path)!r}"
        try:
            raw = read_file(self.path, what="anchor", max_bytes=_MAX_FILE_BYTES)
            fields = Fields(parse_object(raw, what=what, max_bytes=_MAX_FILE_BYTES), what)
            fields.constant("type", "signer-journal-anchor")
            fields.constant("version", VERSION)
            fields.constant("share", self._name)
            anchor = Anchor(
                fields.integer("sequence", low=0, high=MAX_INTEGER), fields.hex_bytes("head", 32)
            )
            fields.done()
        except InputError as error:
            raise JournalError(
                error.message, hint="restore it together with the journal", code="E_ANCHOR"
            ) from None
        return anchor

    def require_not_ahead(self, head_at: Callable[[int], bytes | None]) -> None:
        """Refuse a journal, given by its heads, that lacks the anchored record.

        Raises:
            JournalError: E_ROLLBACK, or E_ANCHOR where the anchor cannot be read.
        """
        anchor = self.read()
        if anchor is not None and head_at(anchor.sequence) != anchor.head:
            last = 0
            while head_at(last + 1) is not None:
                last += 1
            raise rolled_back(f"the host's anchor names record {anchor.sequence}", last)

    def advance(self, anchor: Anchor) -> None:
        """Move to `anchor`, durably, in one step.

        Raises:
            JournalError: E_ANCHOR, it could not be written; nothing may be unsealed.
        """
        value = {
            "type": "signer-journal-anchor",
            "version": VERSION,
            "share": self._name,
            "sequence": anchor.sequence,
            "head": anchor.head.hex(),
        }
        temporary = self.path.with_name(f"{self.path.name}.new")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(canonical(value) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            fsync_folder(self.path.parent)
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise JournalError(
                f"cannot write the anchor {str(self.path)!r}: {why}",
                hint="nothing was signed; free the disk and ask again",
                code="E_ANCHOR",
            ) from None


def host_anchor_path(envelope: Path) -> Path:
    """Return where the host's anchor of the share in `envelope` is."""
    return envelope.with_name(envelope.name + ".anchor")

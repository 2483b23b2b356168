"""How far a journal had come, kept where a restored disk does not reach.

An anchor is the sequence number and head of a record. The token keeps it as a private data object
(`signer.hsm.data_objects`), or else the host in a file beside the envelope
(`signer.custody.host_anchor`). A journal that does not contain the record its anchor names is an
older one, or a fork. A journal may be ahead of its anchor: the power may go between the two.
"""

from typing import NamedTuple, Self

from signer.errors import JournalError, SchemaError
from signer.strict import MAX_INTEGER

VERSION = 1
ANCHOR_BYTES = 1 + 8 + 32  # version, sequence (big-endian), head


class Anchor(NamedTuple):
    """A record of the journal, by its number and its head."""

    sequence: int
    head: bytes

    def to_bytes(self) -> bytes:
        """Return the value of the token's data object."""
        return bytes([VERSION]) + self.sequence.to_bytes(8) + self.head

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of a data object.

        Raises:
            SchemaError: it is none of ours.
        """
        sequence = int.from_bytes(value[1:9])
        if len(value) != ANCHOR_BYTES or value[0] != VERSION or sequence > MAX_INTEGER:
            raise SchemaError("it is not an anchor of this version")
        return cls(sequence, value[9:])


def rolled_back(known: str, last: int) -> JournalError:
    """Return the error of a journal that is older than one that is known to exist."""
    return JournalError(
        f"restored VM or old disk: a later journal is known ({known}; this one ends at {last} or "
        "went another way)",
        hint="put back the newest journal (see docs/journal.md); nothing is signed with this one",
        code="E_ROLLBACK",
    )


def share_name(group_id: bytes, index: int) -> str:
    """Return the name under which a token keeps the anchor of one share, in every epoch."""
    return f"signer-journal:{group_id.hex()}:{index}"

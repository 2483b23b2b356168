"""One record of the journal: a line of canonical JSON that carries its own digest and its chain.

`head` is the SHA-256 of the record's canonical JSON without `head`, and `prev` the head of the
record before. So no byte of a journal changes unnoticed, the last record's included.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object

MAX_LINE_BYTES = 2 * 1024 * 1024  # an INTENT of 20,000 validators is some 300 KB
START = bytes(32)  # the head before the first record
KINDS = (
    "OPENED", "EPOCH", "POLICY", "INTENT", "RELEASED", "FAILED", "DENIED", "DRILLED", "IMPORTED",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that is what was once written. Whether it follows another is for the journal."""

    sequence: int
    previous: bytes
    moment: int  # Unix seconds
    kind: str
    body: Fields
    head: bytes

    @classmethod
    def parse(cls, line: bytes, what: str) -> Self:
        """Read a line without its newline.

        Raises:
            SchemaError: not a record, or not what was written.
        """
        value = parse_object(line, what=what, max_bytes=MAX_LINE_BYTES)
        fields = Fields(value, what)
        head = fields.hex_bytes("head", 32)
        sequence = fields.integer("seq", low=0, high=MAX_INTEGER)
        previous = fields.hex_bytes("prev", 32)
        moment = fields.integer("ts", low=0, high=MAX_INTEGER)
        kind = fields.choice("type", KINDS)
        body = fields.nested("body")
        fields.done()
        del value["head"]
        if head != _digest(value):
            raise SchemaError(f"{what}: it is not what was written")
        return cls(
            sequence=sequence, previous=previous, moment=moment, kind=kind, body=body, head=head
        )


def record_line(
    sequence: int, previous: bytes, moment: int, kind: str, body: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """Return the line of a new record, newline included, and its head."""
    value = {"seq": sequence, "prev": previous.hex(), "ts": moment, "type": kind, "body": body}
    head = _digest(value)
    return canonical({**value, "head": head.hex()}) + b"\n", head


def is_object(line: bytes) -> bool:
    """Tell whether `line` is a whole JSON object, record or not."""
    try:
        parse_object(line, what="line", max_bytes=MAX_LINE_BYTES)
    except SchemaError:
        return False
    return True


def _digest(value: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical(value)).digest()

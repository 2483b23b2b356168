"""What a holder's token says of his journal with every partial it lets go.

A witness is a signed file (`signer.messages.dsse`) under the holder's `id-sign`. It makes a reply
his: nobody else can answer in his name, and a bad partial under a good witness is evidence against
him. And it remembers, away from his disk, how far his journal had come: whoever restores an older
one is found out by any witness of a later head (`Journal.require_not_behind`).

`sequence` and `head` are those of the INTENT that the partials were signed under.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.dsse import SignedFile
from signer.messages.group_id import MAX_EPOCH
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

PAYLOAD_TYPE = "application/vnd.signer.witness.v1+json"
MAX_BYTES = 1024  # of a payload
MAX_FILE_BYTES = 256 * 1024
MAX_WITNESSES = 100  # in a file or a request


def digest_of_partials(partials: Iterable[bytes | None]) -> bytes:
    """Return SHA-256 over each item's entry: 0x01 and the partial, or 0x00 if it was not signed.

    So a partial cannot be moved to another item of the request under the same witness.
    """
    entries = (b"\0" if partial is None else b"\1" + partial for partial in partials)
    return hashlib.sha256(b"".join(entries)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a witness says. Whether its holder said it is for `open_with` to tell."""

    group: bytes
    epoch: int
    index: int
    sequence: int
    head: bytes
    request_digest: bytes
    partials_sha256: bytes  # see `digest_of_partials`
    moment: int  # Unix seconds, by the holder's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that the token signs."""
        return canonical(
            {
                "type": "signer-witness",
                "version": 1,
                "group": self.group.hex(),
                "epoch": self.epoch,
                "index": self.index,
                "sequence": self.sequence,
                "head": self.head.hex(),
                "request": self.request_digest.hex(),
                "partials_sha256": self.partials_sha256.hex(),
                "moment": self.moment,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str = "witness") -> Self:
        """Read a payload strictly. Proves nothing about who wrote it.

        Raises:
            SchemaError: not this format.
        """
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-witness")
        fields.constant("version", 1)
        witness = cls(
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            sequence=fields.integer("sequence", low=0, high=MAX_INTEGER),
            head=fields.hex_bytes("head", 32),
            request_digest=fields.hex_bytes("request", 32),
            partials_sha256=fields.hex_bytes("partials_sha256", 32),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
        )
        fields.done()
        return witness

    @classmethod
    def open_with(cls, signed: SignedFile, id_sign: bytes) -> Self | None:
        """Return what the key at `id_sign` (65-byte point) said, or None where it said nothing."""
        if signed.payload_type != PAYLOAD_TYPE or not signed.signed_by(id_sign):
            return None
        try:
            return cls.parse(signed.payload)
        except SchemaError:
            return None


def witnesses_to_bytes(witnesses: Sequence[SignedFile]) -> bytes:
    """Return the file that carries `witnesses`: JSON, one object, newline at the end."""
    value = {
        "type": "signer-witnesses",
        "version": 1,
        "witnesses": [signed.to_json() for signed in witnesses],
    }
    return canonical(value) + b"\n"


def parse_witnesses(raw: bytes, what: str = "witness file") -> tuple[SignedFile, ...]:
    """Read a file of witnesses, all unverified.

    Raises:
        SchemaError: not this format.
    """
    fields = Fields(parse_object(raw, what=what, max_bytes=MAX_FILE_BYTES), what)
    fields.constant("type", "signer-witnesses")
    fields.constant("version", 1)
    entries = fields.array("witnesses", low=1, high=MAX_WITNESSES)
    fields.done()
    return witnesses_from_json(entries, what)


def witnesses_from_json(entries: Sequence[Any], what: str) -> tuple[SignedFile, ...]:
    """Take the signed files out of a JSON list of a known length."""
    return tuple(
        SignedFile.parse(
            entry, f"{what}: witness", payload_type=PAYLOAD_TYPE, max_payload=MAX_BYTES
        )
        for entry in entries
    )

"""What the small signed files of a ceremony have in common: a DSSE envelope over a flat payload."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from signer.errors import CeremonyError
from signer.messages.dsse import SignedFile
from signer.strict import Fields, canonical, parse_object

MAX_PAYLOAD = 8192  # a receipt may name six RSA keys
MAX_BYTES = 16384
MAX_MOMENT = 253_402_300_799  # Unix seconds: the end of the year 9999, the last that has a date

_T = TypeVar("_T")


def payload_type_of(kind: str) -> str:
    """Return the media type of a statement of this `type`."""
    return f"application/vnd.{kind.replace('signer-', 'signer.', 1)}.v1+json"


def payload_of(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return the canonical payload, the bytes that are signed."""
    return canonical({"type": kind, "version": 1, **fields})


def open_statement(
    signed: SignedFile, kind: str, point: bytes, take: Callable[[Fields], _T], what: str
) -> _T:
    """Return what a signed statement says, if the key at `point` signed it.

    Raises:
        CeremonyError: E_SIGNATURE.
        SchemaError: not this format.
    """
    if signed.payload_type != payload_type_of(kind) or not signed.signed_by(point):
        raise CeremonyError(
            f"{what}: it is not signed by whom it says", code="E_SIGNATURE",
            hint="ask for the file again, from the holder himself",
        )  # fmt: skip
    fields = Fields(parse_object(signed.payload, what=what, max_bytes=MAX_PAYLOAD), what)
    fields.constant("type", kind)
    fields.constant("version", 1)
    said = take(fields)
    fields.done()
    return said


def parse_statement(raw: bytes, kind: str, what: str) -> SignedFile:
    """Take a statement's file apart. Proves nothing."""
    value = parse_object(raw, what=what, max_bytes=MAX_BYTES)
    return take_statement(value, kind, what)


def take_statement(value: Any, kind: str, what: str) -> SignedFile:
    """As `parse_statement`, of what was parsed already."""
    return SignedFile.parse(
        value, what, payload_type=payload_type_of(kind), max_payload=MAX_PAYLOAD
    )


def take_moment(fields: Fields) -> int:
    """Take when a statement was made, in Unix seconds; its signer's word."""
    return fields.integer("moment", low=0, high=MAX_MOMENT)

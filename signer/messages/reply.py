"""What one holder answers: a partial signature or a reason, for every item of the request.

A reply that brings partials is signed: its `witness` (`signer.messages.witness`) names these very
partials and the place in the holder's journal where their INTENT stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.dsse import SignedFile
from signer.messages.group_id import MAX_EPOCH
from signer.messages.items import MAX_ITEMS
from signer.messages.request import OperatorPartial, SignRequest
from signer.messages.witness import MAX_BYTES as MAX_WITNESS_BYTES
from signer.messages.witness import PAYLOAD_TYPE as WITNESS_TYPE
from signer.messages.witness import digest_of_partials
from signer.strict import Fields, canonical, parse_hex, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_BYTES = 8 * 1024 * 1024
PARTIAL_BYTES = 96
CODE_PATTERN = r"E_[A-Z][A-Z_]{0,30}"


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an item was not signed."""

    position: int  # of the item in the request, from 0
    code: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"item": self.position, "code": self.code, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignReply:
    """One holder's partials, unverified: 96 bytes or None per item, in the request's order.

    `witness` is unverified too, and None when nothing was signed; only the operator's own partials,
    which the request itself carries, have none.
    """

    request_digest: bytes
    group_id: bytes
    epoch: int
    index: ShareIndex
    partials: tuple[bytes | None, ...]
    denied: tuple[Denial, ...]  # one for each None, in the same order
    witness: SignedFile | None = None

    @classmethod
    def of_operator(cls, request: SignRequest, operator: OperatorPartial) -> Self:
        """Return the partials that a request carries of its own as the reply they amount to."""
        return cls(
            request_digest=request.digest,
            group_id=request.group_id,
            epoch=request.epoch,
            index=operator.index,
            partials=operator.partials,
            denied=(),
        )

    @property
    def partials_digest(self) -> bytes:
        """What the witness says of them: which were signed, and how."""
        return digest_of_partials(self.partials)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        value = {
            "type": "signer-reply",
            "version": 2,
            "request": self.request_digest.hex(),
            "group": self.group_id.hex(),
            "epoch": self.epoch,
            "index": int(self.index),
            "partials": [None if entry is None else entry.hex() for entry in self.partials],
            "denied": [denial.to_json() for denial in self.denied],
            "witness": None if self.witness is None else self.witness.to_json(),
        }
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, request: SignRequest, what: str = "reply") -> Self:
        """Read a reply and hold it against the request it answers.

        The partials themselves stay unverified; only `threshold` can tell a good one. So does the
        witness: it takes the holder's card.

        Raises:
            SchemaError: not this format, an answer to something else, or an item unaccounted for.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-reply")
        fields.constant("version", 2)
        count = len(request.items)
        digest = fields.hex_bytes("request", 32)
        group_id = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        index = ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS))
        entries = fields.array("partials", low=count, high=count)
        denials = fields.array("denied", low=0, high=count)
        witness = take_witness(fields, what)
        fields.done()
        if digest != request.digest:
            raise SchemaError(f"{what}: it answers another request")
        if (group_id, epoch) != (request.group_id, request.epoch):
            raise SchemaError(f"{what}: it is of another group or epoch")
        partials = tuple(
            None if entry is None else parse_hex(entry, PARTIAL_BYTES, f"{what}: a partial")
            for entry in entries
        )
        denied = tuple(_denial(entry, what) for entry in denials)
        _account(partials, denied, what)
        if (witness is None) != (len(denied) == count):
            raise SchemaError(f"{what}: a witness belongs to partials, and partials to a witness")
        return cls(
            request_digest=digest,
            group_id=group_id,
            epoch=epoch,
            index=index,
            partials=partials,
            denied=denied,
            witness=witness,
        )


def _denial(value: Any, what: str) -> Denial:
    fields = Fields(value, f"{what}: denial")
    denial = Denial(
        fields.integer("item", low=0, high=MAX_ITEMS - 1),
        fields.string("code", pattern=CODE_PATTERN, max_length=32),
        fields.string("reason", pattern=r"[ -~]*", max_length=300),
    )
    fields.done()
    return denial


def take_witness(fields: Fields, what: str) -> SignedFile | None:
    """Take field `witness`, which may be null. Proves nothing about who signed it.

    Raises:
        SchemaError: it is none.
    """
    value = fields.take("witness")
    if value is None:
        return None
    return SignedFile.parse(
        value, f"{what}: witness", payload_type=WITNESS_TYPE, max_payload=MAX_WITNESS_BYTES
    )


def _account(partials: Sequence[bytes | None], denied: Sequence[Denial], what: str) -> None:
    unsigned = [position for position, partial in enumerate(partials) if partial is None]
    if unsigned != [denial.position for denial in denied]:
        raise SchemaError(f"{what}: its denials do not account for the items it did not sign")

"""What one holder answers: a partial signature or a reason, for every item of the request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.group_id import MAX_EPOCH
from signer.messages.request import OperatorPartial, SignRequest
from signer.strict import Fields, canonical, parse_hex, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_BYTES = 8 * 1024 * 1024
PARTIAL_BYTES = 96
CODE_PATTERN = r"E_[A-Z][A-Z_]{0,30}"


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an item was not signed."""

    validator_index: int
    code: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"validator_index": self.validator_index, "code": self.code, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignReply:
    """One holder's partials, unverified: 96 bytes or None per item, in the request's order."""

    request_digest: bytes
    group_id: bytes
    epoch: int
    index: ShareIndex
    partials: tuple[bytes | None, ...]
    denied: tuple[Denial, ...]  # one for each None, in the same order

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

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        value = {
            "type": "signer-reply",
            "version": 1,
            "request": self.request_digest.hex(),
            "group": self.group_id.hex(),
            "epoch": self.epoch,
            "index": int(self.index),
            "partials": [None if entry is None else entry.hex() for entry in self.partials],
            "denied": [denial.to_json() for denial in self.denied],
        }
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, request: SignRequest, what: str = "reply") -> Self:
        """Read a reply and hold it against the request it answers.

        The partials themselves stay unverified; only `threshold` can tell a good one.

        Raises:
            SchemaError: not this format, an answer to something else, or an item unaccounted for.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-reply")
        fields.constant("version", 1)
        count = len(request.items)
        digest = fields.hex_bytes("request", 32)
        group_id = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        index = ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS))
        entries = fields.array("partials", low=count, high=count)
        denials = fields.array("denied", low=0, high=count)
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
        _account(request, partials, denied, what)
        return cls(
            request_digest=digest,
            group_id=group_id,
            epoch=epoch,
            index=index,
            partials=partials,
            denied=denied,
        )


def _denial(value: Any, what: str) -> Denial:
    fields = Fields(value, f"{what}: denial")
    denial = Denial(
        fields.integer("validator_index", low=0, high=2**40 - 1),
        fields.string("code", pattern=CODE_PATTERN, max_length=32),
        fields.string("reason", pattern=r"[ -~]*", max_length=300),
    )
    fields.done()
    return denial


def _account(
    request: SignRequest,
    partials: Sequence[bytes | None],
    denied: Sequence[Denial],
    what: str,
) -> None:
    unsigned = [
        item[0] for item, partial in zip(request.items, partials, strict=True) if partial is None
    ]
    if unsigned != [denial.validator_index for denial in denied]:
        raise SchemaError(f"{what}: its denials do not account for the items it did not sign")

"""A drill: each holder shows that his share still opens and signs, without signing anything real.

Whoever runs it makes a `DrillOrder` with a fresh nonce. Each holder's device unseals and signs the
order's message under `DRILL_DST`, a tag of ours. BLS hashes the tag into the curve point, so what a
drill leaves is no partial of any message under Ethereum's tag, whatever the message says. A holder
sends back a report signed by his `id-sign` (`signer.messages.drill_report`).

BLS signatures are unique: a holder's two devices give the same partial. Which device made it is the
holder's word, signed by his token.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from signer.errors import DeniedError, SchemaError
from signer.messages.group_id import MAX_EPOCH
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object

if TYPE_CHECKING:
    from signer.bls.scheme import MessagePoint
    from signer.messages.group_file import GroupFile

DRILL_DST = b"SIGNER_DRILL_V1_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
NONCE_BYTES = 32
MAX_ORDER_BYTES = 4096
MAX_OPEN_SECONDS = 30 * 86400  # from an order's moment to its end
CLOCK_SECONDS = 300  # how far two machines' clocks may be apart


@dataclass(frozen=True, kw_only=True)
class DrillOrder:
    """What holders are asked to show, and until when."""

    group_id: bytes
    epoch: int
    nonce: bytes  # from whoever runs the drill: no report of before can answer it
    moment: int  # Unix seconds; when it was made
    expires: int  # Unix seconds

    def __post_init__(self) -> None:
        """Refuse what could not be written and read back."""
        if len(self.group_id) != 32 or len(self.nonce) != NONCE_BYTES:
            raise ValueError("a drill order with a group id or nonce of a wrong size")

    @cached_property
    def message(self) -> bytes:
        """32 bytes: what devices sign, in the drill domain."""
        value = self._signed() | {"type": "signer-drill", "version": 1}
        return hashlib.sha256(canonical(value)).digest()

    @cached_property
    def point(self) -> "MessagePoint":
        """H(message) in the drill domain."""
        from signer.bls.scheme import hash_to_g2  # an agent, which verifies none, is spared it

        return hash_to_g2(self.message, DRILL_DST)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical order; what a report names."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    def _signed(self) -> dict[str, Any]:
        return {
            "group": self.group_id.hex(),
            "epoch": self.epoch,
            "nonce": self.nonce.hex(),
            "moment": self.moment,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the order as a JSON object."""
        head = {"type": "signer-drill-order", "version": 1}
        return head | self._signed() | {"expires": self.expires}

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take an order apart.

        Raises:
            SchemaError: not this format, or open for no time or for too long.
        """
        fields.constant("type", "signer-drill-order")
        fields.constant("version", 1)
        order = cls(
            group_id=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            nonce=fields.hex_bytes("nonce", NONCE_BYTES),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
            expires=fields.integer("expires", low=0, high=MAX_INTEGER),
        )
        fields.done()
        if not 0 < order.expires - order.moment <= MAX_OPEN_SECONDS:
            raise SchemaError(
                f"{fields.what}: field 'expires' must be up to {MAX_OPEN_SECONDS // 86400} days "
                "after 'moment'"
            )
        return order

    @classmethod
    def parse(cls, raw: bytes, what: str = "drill order") -> Self:
        """Read the bytes of an order."""
        return cls.take(Fields(parse_object(raw, what=what, max_bytes=MAX_ORDER_BYTES), what))


def require_open(order: DrillOrder, group: "GroupFile", now: int) -> None:
    """Refuse an order that is not for this group, or not now.

    Raises:
        DeniedError: E_GROUP, E_EPOCH, E_CLOCK (from the future) or E_EXPIRED.
    """
    if order.group_id != group.group_id:
        raise DeniedError("the drill is of another group", code="E_GROUP")
    if order.epoch != group.epoch:
        raise DeniedError(
            f"the drill is of epoch {order.epoch}; these shares are of epoch {group.epoch}",
            code="E_EPOCH",
        )
    if order.moment > now + CLOCK_SECONDS:
        raise DeniedError(
            "the drill is from the future", code="E_CLOCK", hint="compare the machines' clocks"
        )
    if now >= order.expires:
        raise DeniedError("the drill is over", code="E_EXPIRED", hint="run a new one")


def is_overdue(last: int | None, every: int, now: int) -> bool:
    """Tell whether a share last drilled at `last` (Unix seconds; None: never) is due at `now`."""
    return last is None or now - last > every

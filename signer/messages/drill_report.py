"""What one holder shows in a drill: a partial from each of his devices, signed by his `id-sign`.

A `DrillReport` was verified, like a `Card`: under the holder's own card, with every partial held
against his public share.
"""

from dataclasses import dataclass
from typing import Any, Self

from signer.bls.encoding import PublicKey, Signature
from signer.errors import InputError
from signer.messages.card import Card
from signer.messages.drill import CLOCK_SECONDS, DrillOrder
from signer.messages.dsse import SignedFile, key_id_of
from signer.messages.group_file import GroupFile
from signer.messages.group_id import MAX_EPOCH
from signer.recipient import parse_recipient
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

PAYLOAD_TYPE = "application/vnd.signer.drill-report.v1+json"
MAX_BYTES = 8 * 1024  # of a payload
MAX_FILE_BYTES = 16 * 1024
MAX_DEVICES = 5  # the slots of an envelope, and one scratch token
PRIMARY, SPARE, SCRATCH = "primary", "spare", "scratch"
DEVICE_ROLES = (PRIMARY, SPARE, SCRATCH)
PARTIAL_BYTES = 96
_E_DRILL = "E_DRILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """One device that opened the share and signed. A scratch token did so from the spare's slot."""

    role: str  # one of DEVICE_ROLES
    serial_sha256: bytes
    profile: str
    kex: bytes  # the key that opened the share
    partial: bytes  # 96 bytes

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "role": self.role,
            "serial_sha256": self.serial_sha256.hex(),
            "profile": self.profile,
            "kex": self.kex.hex(),
            "partial": self.partial.hex(),
        }

    def require_partial(self, key: PublicKey, order: DrillOrder, what: str) -> Signature:
        """Return the partial once it verifies under `key`, the holder's public share.

        Raises:
            InputError: E_PARTIAL_ENCODING, E_PARTIAL_SUBGROUP or E_PARTIAL_INVALID.
        """
        from signer.threshold.partial import verify_hashed_partial  # an agent at rest is spared it

        try:
            return verify_hashed_partial(key, order.point, self.partial)
        except InputError as error:
            raise type(error)(f"{what}: {self.role}: {error.message}", code=error.code) from None

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take a device apart."""
        device = cls(
            role=fields.choice("role", DEVICE_ROLES),
            serial_sha256=fields.hex_bytes("serial_sha256", 32),
            profile=fields.string("profile", pattern=r"[a-z0-9][a-z0-9-]{0,31}"),
            kex=parse_recipient(fields.take("kex"), f"{fields.what}: field 'kex'"),
            partial=fields.hex_bytes("partial", PARTIAL_BYTES),
        )
        fields.done()
        return device


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBody:
    """What a report says."""

    order_digest: bytes
    group_id: bytes
    epoch: int
    index: ShareIndex
    devices: tuple[Drilled, ...]  # the primary first
    moment: int  # Unix seconds, by the holder's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that the token signs."""
        return canonical(
            {
                "type": "signer-drill-report",
                "version": 1,
                "order": self.order_digest.hex(),
                "group": self.group_id.hex(),
                "epoch": self.epoch,
                "index": int(self.index),
                "devices": [device.to_json() for device in self.devices],
                "moment": self.moment,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a payload strictly. Proves nothing."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-drill-report")
        fields.constant("version", 1)
        entries = fields.array("devices", low=1, high=MAX_DEVICES)
        body = cls(
            order_digest=fields.hex_bytes("order", 32),
            group_id=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS)),
            devices=tuple(Drilled.take(Fields(entry, f"{what}: device")) for entry in entries),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
        )
        fields.done()
        return body


@dataclass(frozen=True, slots=True)
class DrillReport:
    """A report that was verified. There is no other way to get one."""

    body: ReportBody
    signed: SignedFile
    partial: Signature  # the same from each device

    @property
    def index(self) -> ShareIndex:
        """Whose report it is."""
        return self.body.index

    @classmethod
    def open(
        cls, signed: SignedFile, order: DrillOrder, group: GroupFile, now: int, what: str
    ) -> Self:
        """Verify what was sent as a report about `order`.

        Args:
            signed: unverified.
            order: that the report must be about.
            group: whose cards and public shares count.
            now: Unix seconds; what is dated later proves nothing.
            what: what to call it in errors.

        Raises:
            SchemaError: not this format.
            InputError: E_DRILL: of another drill or group, not signed by the holder, or not by his
                devices; E_PARTIAL_…: a partial that is not his share's.
        """
        body = ReportBody.parse(signed.payload, what)
        if body.order_digest != order.digest:
            raise InputError(f"{what}: it is about another drill", code=_E_DRILL)
        if (body.group_id, body.epoch) != (group.group_id, group.epoch):
            raise InputError(f"{what}: it is of another group or epoch", code=_E_DRILL)
        if body.index > group.threshold.n:
            raise InputError(f"{what}: share {int(body.index)} is nobody's", code=_E_DRILL)
        card = group.card_of(body.index)
        if not signed.signed_by(card.body.id_sign):
            raise InputError(
                f"{what}: it is not signed by holder {int(body.index)} ({card.body.name})",
                code=_E_DRILL,
                hint="it was altered, or is from somebody else",
            )
        latest = min(order.expires, now) + CLOCK_SECONDS
        if not order.moment - CLOCK_SECONDS <= body.moment <= latest:
            raise InputError(
                f"{what}: it is dated outside the time of the drill, or later than now",
                code=_E_DRILL,
                hint="the holder's clock is wrong",
            )
        require_own_devices(body.devices, card, group, what)
        key = group.vector.public_share(body.index)
        partials = [device.require_partial(key, order, what) for device in body.devices]
        return cls(body, signed, partials[0])

    @classmethod
    def seal_of(
        cls, body: ReportBody, signature: bytes, order: DrillOrder, group: GroupFile
    ) -> Self:
        """Put the token's signature under `body` and verify the result like any report."""
        id_sign = group.card_of(body.index).body.id_sign
        signed = SignedFile(PAYLOAD_TYPE, body.to_payload(), key_id_of(id_sign), signature)
        return cls.open(signed, order, group, body.moment, "own report")

    def device(self, role: str) -> Drilled | None:
        """Return the first device of a role, if there is one."""
        return next((device for device in self.body.devices if device.role == role), None)


def signed_report(value: Any, what: str) -> SignedFile:
    """Take a report's signed file out of its JSON object, unverified."""
    return SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_BYTES)


def require_own_devices(
    devices: tuple[Drilled, ...], card: Card, group: GroupFile, what: str
) -> None:
    """Refuse devices that cannot all be this holder's, or are not what they are called.

    Raises:
        InputError: code E_DRILL.
    """

    def refuse(why: str) -> InputError:
        return InputError(f"{what}: {why}", code=_E_DRILL)

    roles = [device.role for device in devices]
    if roles[0] != PRIMARY or roles.count(PRIMARY) != 1 or roles.count(SCRATCH) > 1:
        raise refuse("one primary, then its spares, and at most one scratch token are expected")
    if SCRATCH in roles and SPARE not in roles:
        raise refuse("a recovery into a scratch token starts from a spare, and there is none")
    for values in ({d.kex for d in devices}, {d.serial_sha256 for d in devices}):
        if len(values) != len(devices):
            raise refuse("one device stands in it twice")
    if (devices[0].kex, devices[0].serial_sha256) != (card.body.kex, card.body.serial_sha256):
        raise refuse("its primary is not the token of the holder's card")
    theirs = {other.body.kex for other in (*group.cards, *group.current_cards)}
    if any(device.kex in theirs for device in devices[1:]):
        raise refuse("a spare's key is the one of a card in the group file")

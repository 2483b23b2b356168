"""Holders who drill in memory: software identity keys, real reports."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.aggregator.drill import DrillRound
from signer.bls.scalar import SecretScalar
from signer.client import AgentStatus
from signer.errors import AgentError
from signer.messages.card import PAYLOAD_TYPE as CARD_TYPE
from signer.messages.card import Card, CardBody
from signer.messages.drill import DRILL_DST, DrillOrder
from signer.messages.drill_report import (
    PAYLOAD_TYPE,
    PRIMARY,
    SPARE,
    Drilled,
    DrillReport,
    ReportBody,
)
from signer.messages.dsse import SignedFile, key_id_of, pre_authentication_encoding
from signer.messages.group_file import GroupFile
from signer.threshold.params import ShareIndex
from signer.threshold.partial import sign_partials
from tests.simulators.holders import NOW, SimulatedPool, seeded


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def new_point() -> bytes:
    return point(ec.generate_private_key(ec.SECP256R1()))


def sign(key: ec.EllipticCurvePrivateKey, payload_type: str, payload: bytes) -> SignedFile:
    """Sign as a token would."""
    message = pre_authentication_encoding(payload_type, payload)
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return SignedFile(payload_type, payload, key_id_of(point(key)), r.to_bytes(32) + s.to_bytes(32))


class DrillPool:
    """A group whose holders' identity keys are at hand, and what each would report."""

    def __init__(self, t: int = 3, n: int = 5, *, epoch: int = 1, seed: int = 1) -> None:
        self.pool = SimulatedPool.new(t, n, epoch=epoch, seed=seed)
        self.keys = {i: ec.generate_private_key(ec.SECP256R1()) for i in range(1, n + 1)}
        self.spares = {i: new_point() for i in self.keys}
        cards = tuple(self._card(i) for i in self.keys)
        self.group: GroupFile = replace(self.pool.group, cards=cards)
        self.pool.group = self.group
        self.order = self.new_order()

    def _card(self, index: int) -> Card:
        body = CardBody(
            name=f"holder {index}",
            id_sign=point(self.keys[index]),
            kex=new_point(),
            epoch_nonce=bytes([index]) * 32,
            manufacturer="Simulated",
            model="In memory",
            serial_sha256=bytes([index]) * 32,
            profile="softhsm2",
            key_backup="impossible",
            software=False,
            ceremony=True,
            proven=True,
            created=NOW,
        )
        signed = sign(self.keys[index], CARD_TYPE, body.to_payload())
        return Card.seal_of(body, signed.signature)

    def new_order(self, **changes: Any) -> DrillOrder:
        fields: dict[str, Any] = {
            "group_id": self.group.group_id,
            "epoch": self.group.epoch,
            "nonce": b"\x07" * 32,
            "moment": NOW,
            "expires": NOW + 86400,
        }
        return DrillOrder(**fields | changes)

    def partial(self, index: int, order: DrillOrder, dst: bytes = DRILL_DST) -> bytes:
        with SecretScalar.from_big_endian(bytearray(self.pool.shares[index])) as scalar:
            public_share = self.group.vector.public_share(ShareIndex(index))
            (partial,) = sign_partials(
                scalar, [order.message], public_share, random_bytes=seeded(2), dst=dst
            )
        return bytes(partial)

    def body(self, index: int, order: DrillOrder | None = None, *, spare: bool = False,
             moment: int | None = None) -> ReportBody:  # fmt: skip
        order = order or self.order
        partial, card = self.partial(index, order), self.group.card_of(index).body
        devices = [Drilled(role=PRIMARY, serial_sha256=card.serial_sha256, profile="softhsm2",
                           kex=card.kex, partial=partial)]  # fmt: skip
        if spare:
            devices.append(Drilled(role=SPARE, serial_sha256=bytes([100 + index]) * 32,
                                   profile="softhsm2", kex=self.spares[index],
                                   partial=partial))  # fmt: skip
        return ReportBody(
            order_digest=order.digest,
            group_id=self.group.group_id,
            epoch=self.group.epoch,
            index=ShareIndex(index),
            devices=tuple(devices),
            moment=order.moment + 60 if moment is None else moment,
        )

    def seal(self, index: int, payload: bytes) -> SignedFile:
        return sign(self.keys[index], PAYLOAD_TYPE, payload)

    def signed(self, index: int, order: DrillOrder | None = None, **how: Any) -> SignedFile:
        return self.seal(index, self.body(index, order, **how).to_payload())

    def report(self, index: int, order: DrillOrder | None = None, **how: Any) -> DrillReport:
        order = order or self.order
        now = order.moment + 3600
        return DrillReport.open(self.signed(index, order, **how), order, self.group, now, "report")


@dataclass
class DrillingAgent:
    """An agent that drills. Set a fault and it has it."""

    holders: DrillPool
    index: int
    fault: Exception | None = None
    answers_as: int | None = None
    dead: bool = False
    waits: DrillRound | None = None  # waits for its holder in this round, then answers
    tamper: Callable[[SignedFile], SignedFile] = lambda signed: signed

    seen_waiting: dict[str, int] = field(default_factory=dict, init=False)

    def __str__(self) -> str:
        return f"agent-{self.index}"

    async def status(self) -> AgentStatus:
        if self.dead:
            raise AgentError("no such socket", code="E_UNREACHABLE")
        raw = {"group": self.holders.group.group_id.hex(), "epoch": self.holders.group.epoch}
        return simulated_status(raw, self.index)

    async def drill(
        self, order: DrillOrder, *, seconds: float, wait: float, on_waiting: Callable[[str], None]
    ) -> SignedFile:
        if self.waits:
            on_waiting("0123456789abcdef")
            self.seen_waiting = dict(self.waits.waiting)
        if self.fault is not None:
            raise self.fault
        return self.tamper(self.holders.signed(self.answers_as or self.index, order))


def simulated_status(raw: dict[str, Any], index: int) -> AgentStatus:
    """Return a status as an agent's JSON gives it."""
    from signer.strict import canonical

    value = {
        "type": "signer-status",
        "version": 1,
        "network": "mainnet",
        "index": index,
        "holder": f"holder {index}",
        "policy_digest": "00" * 32,
        "busy": False,
        **raw,
    }
    return AgentStatus.parse(canonical(value), "status")

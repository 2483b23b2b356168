"""A whole pool in memory: software cards, a split key, agents whose faults are set by name.

Everything public is real (cards verify, the vector commits to the shares), so the code under test
cannot tell it from a pool on tokens.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.client import AgentStatus, OnWaiting, TokenStatus
from signer.errors import AgentError, DeniedError
from signer.messages.activation import Activation
from signer.messages.address import ExecutionAddress
from signer.messages.card import PAYLOAD_TYPE, Card, CardBody
from signer.messages.drill import DRILL_DST, DrillOrder
from signer.messages.dsse import SignedFile, key_id_of, pre_authentication_encoding
from signer.messages.group_file import GroupFile
from signer.messages.group_id import Certified
from signer.messages.networks import MAINNET, Network
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.messages.witness import PAYLOAD_TYPE as WITNESS_TYPE
from signer.messages.witness import Witness
from signer.policy.policy import NEVER, Policy
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.partial import sign_partials
from signer.threshold.share import split

KEY = bytes.fromhex("068dce0c90cb428ab37a74af0191eac49648035f1aaef077734b91e05985ec55")  # m/…/0/0
ADDRESS = ExecutionAddress.parse("0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac15")
OTHER = ExecutionAddress.parse("0x52908400098527886E0F7030069857D2E4169EE7")
NOW = 1_800_000_000

_IDENTITIES: dict[bytes, ec.EllipticCurvePrivateKey] = {}  # by public point


def seeded(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes that is the same in every run."""
    return random.Random(seed).randbytes


def make_card(name: str, **changes: object) -> Card:
    """Return a card signed by a software key; `changes` replace fields of its body."""
    identity, receiving = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    fields: dict[str, object] = {
        "name": name,
        "id_sign": point_of(identity),
        "kex": point_of(receiving),
        "epoch_nonce": hashlib.sha256(point_of(receiving)).digest(),
        "manufacturer": "Simulated",
        "model": "In memory",
        "serial_sha256": bytes(32),
        "profile": "softhsm2",
        "key_backup": "impossible",
        "software": False,
        "ceremony": True,
        "proven": True,
        "created": NOW,
    }
    body = CardBody(**(fields | changes))  # type: ignore[arg-type]
    _IDENTITIES[point_of(identity)] = identity
    return Card.seal_of(body, sign_with(identity, body.to_payload()))


def sign_with(
    key: ec.EllipticCurvePrivateKey, payload: bytes, payload_type: str = PAYLOAD_TYPE
) -> bytes:
    """Return r ‖ s over the payload, as a token would."""
    signed = pre_authentication_encoding(payload_type, payload)
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = utils.decode_dss_signature(key.sign(signed, algorithm))
    return r.to_bytes(32) + s.to_bytes(32)


def signed_as(id_sign: bytes, payload: bytes, payload_type: str) -> SignedFile:
    """Return the file that the holder of the identity key at `id_sign` would sign."""
    signature = sign_with(_IDENTITIES[id_sign], payload, payload_type)
    return SignedFile(payload_type, payload, key_id_of(id_sign), signature)


def activation_of(group: GroupFile, **changes: object) -> Activation:
    """Return an activation by the whole test key; `changes` replace fields of its order."""
    fields: dict[str, object] = {
        "group_id": group.group_id,
        "epoch": group.epoch,
        "nonce": group.certificate,
        "moment": NOW - 3600,
        "expires": NOW,
    }
    order = DrillOrder(**(fields | changes))  # type: ignore[arg-type]
    with SecretScalar.from_big_endian(bytearray(KEY)) as key:
        return Activation(order, sign(key, order.message, DRILL_DST))


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a public key as its 65-byte point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass
class SimulatedPool:
    """A group and everybody's share."""

    group: GroupFile
    policy: Policy
    shares: dict[int, bytes]  # published test key: no secret

    @classmethod
    def new(
        cls, t: int = 3, n: int = 5, *, network: Network = MAINNET, role: str = "withdrawal",
        epoch: int = 1, seed: int = 1, origin: str = "split", rehearsal: bool = False,
        certified: Certified | None = None, active: bool = True,
    ) -> "SimulatedPool":  # fmt: skip
        """Split the test key t of n; later epochs and other origins have a certificate."""
        policy = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
        with SecretScalar.from_big_endian(bytearray(KEY)) as key:
            vector, shares = split(key, Threshold(t, n), seeded(seed))
        group = GroupFile(
            network=network,
            role=role,
            epoch=epoch,
            origin=origin,
            policy_digest=policy.digest,
            threshold=Threshold(t, n),
            vector=vector,
            cards=tuple(make_card(f"holder {i}") for i in range(1, n + 1)),
            rehearsal=rehearsal,
            certified=certified,
        )
        if certified is None and (epoch > 1 or origin != "split"):
            group = replace(group, certified=Certified(bytes([epoch % 256]) * 32, bytes(32)))
        if group.certificate is not None and active:
            group = group.activated(activation_of(group))
        plain = {}
        for share in shares:
            with share, share.scalar.to_big_endian() as scalar:
                plain[int(share.index)] = bytes(scalar.expose())
        return cls(group, policy, plain)

    def request(
        self, *validators: int, to: ExecutionAddress = ADDRESS, expires: int = NOW + 3600
    ) -> SignRequest:
        """Return a request that pays `validators` to `to`."""
        return SignRequest.new(self.group, [(index, to) for index in validators], expires=expires)

    def partials(self, index: int, request: SignRequest) -> list[bytes]:
        """Return the true partials of holder `index`."""
        group = self.group
        roots = request.signing_roots(group.network, group.public_key)
        with SecretScalar.from_big_endian(bytearray(self.shares[index])) as scalar:
            public_share = group.vector.public_share(ShareIndex(index))
            signed = sign_partials(scalar, roots, public_share, random_bytes=seeded(2))
        return [bytes(partial) for partial in signed]

    def reply(self, index: int, request: SignRequest) -> SignReply:
        """Return the true reply of holder `index`."""
        return self.witnessed(
            index,
            SignReply(
                request_digest=request.digest,
                group_id=request.group_id,
                epoch=request.epoch,
                index=ShareIndex(index),
                partials=tuple(self.partials(index, request)),
                denied=(),
            ),
        )

    def witnessed(self, holder: int, reply: SignReply, **changes: object) -> SignReply:
        """Return `reply` with the witness of `holder`; `changes` are what it says wrongly."""
        if not any(reply.partials):
            return replace(reply, witness=None)
        said: dict[str, object] = {
            "request_digest": reply.request_digest,
            "partials_sha256": reply.partials_digest,
        }
        return replace(reply, witness=self.witness(holder, **(said | changes)))

    def witness(self, holder: int, /, **changes: object) -> SignedFile:
        """Return a witness signed by the identity key of `holder`."""
        fields: dict[str, object] = {
            "group": self.group.group_id,
            "epoch": self.group.epoch,
            "index": holder,
            "sequence": 1,
            "head": bytes([holder]) * 32,
            "request_digest": bytes(32),
            "partials_sha256": bytes(32),
            "moment": NOW,
        }
        witness = Witness(**(fields | changes))  # type: ignore[arg-type]
        id_sign = self.group.card_of(ShareIndex(holder)).body.id_sign
        return signed_as(id_sign, witness.to_payload(), WITNESS_TYPE)

    def agents(self) -> "list[SimulatedAgent]":
        """Return an honest agent for each holder."""
        return [SimulatedAgent(self, index) for index in sorted(self.shares)]


@dataclass
class SimulatedAgent:
    """An agent in memory. Set a fault and it has it."""

    pool: SimulatedPool
    index: int
    claims: int | None = None  # another share index than its own
    answers_as: int | None = None  # and another one again in its reply
    dead: bool = False
    mute_after_status: bool = False
    seconds: float = 0.0
    holder_takes: float = 0.0  # seconds until a person has said yes
    denies_all: str = ""  # a code
    denies: frozenset[int] = frozenset()  # validators
    tamper: Callable[[list[bytes]], list[bytes]] | None = None
    signs_lies: bool = True  # his own token signs what he tampered with
    asked: int = field(default=0, init=False)

    def __str__(self) -> str:
        return f"agent-{self.index}"

    async def status(self) -> AgentStatus:
        """Tell who this is."""
        if self.dead:
            raise AgentError("no such socket", code="E_UNREACHABLE")
        group = self.pool.group
        return AgentStatus(
            group_id=group.group_id,
            network=group.network.name,
            epoch=group.epoch,
            index=ShareIndex(self.claims or self.index),
            holder=f"holder {self.index}",
            policy_digest=group.current_policy_digest,
            token=TokenStatus(),
            busy=False,
            document={},
        )

    async def sign(
        self,
        request: SignRequest,
        *,
        seconds: float,
        wait: float = 0.0,
        on_waiting: OnWaiting = lambda ticket: None,
    ) -> SignReply:
        """Answer, or do what the faults say."""
        self.asked += 1
        if self.holder_takes:
            on_waiting(request.digest.hex()[:16])
            await asyncio.sleep(min(self.holder_takes, wait))
            if self.holder_takes > wait:
                raise AgentError("waits for its holder", code="E_WAITING")
        if self.mute_after_status or self.seconds > seconds:
            await asyncio.sleep(seconds)
            raise AgentError("no answer", code="E_TIMEOUT")
        await asyncio.sleep(self.seconds)
        if self.denies_all:
            raise DeniedError("no", code=self.denies_all)
        partials = self.pool.partials(self.index, request)
        honest = self._reply(request, partials)
        if self.tamper is None:
            return self.pool.witnessed(self.index, honest)
        lie = self._reply(request, self.tamper(partials))
        signed = self.pool.witnessed(self.index, lie if self.signs_lies else honest)
        return replace(lie, witness=signed.witness)

    def _reply(self, request: SignRequest, partials: list[bytes]) -> SignReply:
        denied = [p for p, item in enumerate(request.items) if item[0] in self.denies]
        return SignReply(
            request_digest=request.digest,
            group_id=request.group_id,
            epoch=request.epoch,
            index=ShareIndex(self.answers_as or self.claims or self.index),
            partials=tuple(None if p in denied else partial for p, partial in enumerate(partials)),
            denied=tuple(Denial(p, "E_TARGET", "not allowed") for p in denied),
        )

"""A repair and its people in memory: software keys, the very rounds of `signer.ceremony`."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony.acknowledgement import (
    PAYLOAD_TYPE as ACK_TYPE,
)
from signer.ceremony.acknowledgement import (
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_complaint import (
    COMPLAINT_TYPE,
    OPENING_TYPE,
    RepairComplaint,
    RepairOpening,
)
from signer.ceremony.repair_delta import (
    PAYLOAD_TYPE,
    CheckedDelta,
    DeltaBody,
    DeltaFile,
    check_delta,
    transcript_of,
)
from signer.ceremony.repair_proof import repair_digest
from signer.ceremony.repair_reading import read_repair
from signer.ceremony.repair_replacement import statement_of
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.repair_sigma import PAYLOAD_TYPE as SIGMA_TYPE
from signer.ceremony.repair_sigma import SigmaFile
from signer.ceremony.repairing import (
    Unsealer,
    ephemeral_seed,
    make_delta,
    make_sigma,
    repair_share,
)
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.replacement import PAYLOAD_TYPE as REPLACEMENT_TYPE
from signer.sealing.hpke import Sealed
from signer.sealing.share import seal_share
from signer.sealing.transit import ephemeral_scalar
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare
from tests.simulators.ceremony import Gathering, Person
from tests.simulators.holders import NOW, seeded


@dataclass
class Pool:
    """A group that was generated together, and is active."""

    group: GroupFile
    people: dict[int, Person]
    shares: dict[int, bytes]  # of test keys, so no secret


@cache
def pool_of(t: int, n: int) -> Pool:
    """Return an active group of n people, t of whom sign."""
    gathering = Gathering.dkg(t, n)
    shares = {index: gathering.share(index) for index in gathering.members}
    return Pool(gathering.group(active=True), dict(gathering.members), shares)


@dataclass
class Repair:
    """A repair and its people. Files are made on demand, as honest people make them."""

    setting: RepairSetting
    people: dict[int, Person]  # helpers, and the returning holder with his new token
    shares: dict[int, bytes]
    seed: int = 1
    made: dict[int, DeltaFile] = field(default_factory=dict)  # deltas that somebody made otherwise

    @classmethod
    def of(
        cls, lost: int = 2, helpers: tuple[int, ...] = (1, 3, 4), *, t: int = 3, n: int = 5,
        pool: Pool | None = None, **terms: Any,
    ) -> "Repair":  # fmt: skip
        """Begin to repair a share of a pool."""
        pool = pool or pool_of(t, n)
        returning = Person.new(f"returned {lost}")
        fields: dict[str, Any] = {
            "group": pool.group.group_id, "epoch": pool.group.epoch, "previous": pool.group.digest,
            "lost": ShareIndex(lost), "helpers": tuple(map(ShareIndex, helpers)),
            "card": returning.card, "not_before": NOW - 60, "expires": NOW + 86400,
            "nonce": bytes(range(32)),
        }  # fmt: skip
        roster = RepairRoster(**(fields | terms))
        setting = RepairSetting.of(RepairRoster.parse(roster.to_bytes()), pool.group)
        people = {helper: pool.people[helper] for helper in helpers}
        return cls(setting, people | {lost: returning}, pool.shares)

    @property
    def lost(self) -> int:
        return int(self.setting.roster.lost)

    @property
    def helpers(self) -> list[int]:
        return [int(helper) for helper in self.setting.roster.helpers]

    def session(self, helper: int) -> SecretBytes:
        """Return a helper's session seed."""
        return SecretBytes(seeded(1000 * self.seed + helper)(32))

    def body(self, helper: int) -> tuple[DeltaBody, tuple[Sealed, ...]]:
        """Return what an honest helper would sign, and his ciphertexts."""
        scalar = SecretScalar.from_big_endian(bytearray(self.shares[helper]))
        with SecretShare(ShareIndex(helper), scalar) as share, self.session(helper) as seed:
            return make_delta(self.setting, share, seed, NOW)

    def delta(self, helper: int, **changes: Any) -> DeltaFile:
        """Return a helper's file; `changes` are made before he signs, `ciphertexts` beside."""
        if helper in self.made and not changes:
            return self.made[helper]
        body, ciphertexts = self.body(helper)
        ciphertexts = changes.pop("ciphertexts", ciphertexts)
        payload = replace(body, **changes).to_payload()
        return DeltaFile(self.people[helper].sign(PAYLOAD_TYPE, payload), ciphertexts)

    def checked(self) -> dict[int, CheckedDelta]:
        """Return everybody's deltas, checked."""
        return {h: check_delta(self.delta(h), self.setting, h) for h in self.helpers}

    @property
    def transcript(self) -> bytes:
        return transcript_of(self.setting, self.checked())

    def unsealer(self, index: int) -> Unsealer:
        """Return somebody's receiving key."""
        person = self.people[index]
        return Unsealer(person.card.body.kex, person.ecdh)

    def sigma(self, helper: int, **changes: Any) -> SigmaFile:
        """Return a helper's second file; `changes` are made before he signs."""
        with self.session(helper) as seed:
            body = make_sigma(
                self.setting, self.checked(), ShareIndex(helper), self.unsealer(helper), seed, NOW
            )
        return SigmaFile(
            self.people[helper].sign(SIGMA_TYPE, replace(body, **changes).to_payload())
        )

    def replacement(self, helper: int, **changes: Any) -> SignedFile:
        """Return a helper's last file; `changes` are made before he signs."""
        said = replace(statement_of(self.setting), **changes)
        return self.people[helper].sign(REPLACEMENT_TYPE, said.to_payload())

    def repaired(self, sigmas: dict[int, SigmaFile] | None = None) -> bytes:
        """Return the share that the returning holder puts together."""
        files = sigmas or {helper: self.sigma(helper) for helper in self.helpers}
        bodies = {h: f.check(self.setting, h, self.checked()) for h, f in files.items()}
        with (
            repair_share(self.setting, self.checked(), bodies, self.unsealer(self.lost)) as share,
            share.scalar.to_big_endian() as plain,
        ):
            return bytes(plain.expose())

    def acknowledgement(self, **changes: Any) -> Acknowledgement:
        """Return the returning holder's file; `changes` are made before he signs."""
        setting, person = self.setting, self.people[self.lost]
        digest = repair_digest(setting, self.transcript)
        recovered = changes.pop("recovered", True)
        binding = setting.group.binding(setting.roster.lost, recovered=recovered)
        with SecretBytes(changes.pop("share", None) or self.repaired()) as plain:
            envelope = seal_share(plain, binding, [person.card.body.kex], seeded(7))
            with SecretScalar.from_big_endian(plain) as scalar:
                proof = sign(scalar, share_proof_message(digest), SHARE_PROOF_DST)
        body = AcknowledgementBody(
            ceremony=setting.roster.id, certificate=digest, index=self.lost,
            share_proof=bytes(proof), envelope_sha256=envelope_digest(envelope), moment=NOW,
        )  # fmt: skip
        signed = person.sign(ACK_TYPE, replace(body, **changes).to_payload())
        return Acknowledgement(signed, envelope)

    def complaint(self, index: int, helper: int, code: str, digest: bytes) -> bytes:
        """Return a signed complaint's file."""
        said = RepairComplaint(
            ceremony=self.setting.roster.id, index=index, helper=helper, code=code, file=digest,
            moment=NOW,
        )  # fmt: skip
        return canonical(self.people[index].sign(COMPLAINT_TYPE, said.to_payload()).to_json())

    def opening(self, helper: int, recipient: int, ephemeral: bytes | None = None) -> bytes:
        """Return a helper's answer; the true one unless `ephemeral` is given."""
        context = self.transcript if recipient == self.lost else self.setting.roster.id
        with (
            self.session(helper) as seed,
            ephemeral_seed(seed, context, recipient) as derived,
            ephemeral_scalar(derived) as scalar,
        ):
            shown = ephemeral or bytes(scalar.expose())
        said = RepairOpening(
            ceremony=self.setting.roster.id, helper=helper, recipient=recipient, ephemeral=shown,
            moment=NOW,
        )  # fmt: skip
        return canonical(self.people[helper].sign(OPENING_TYPE, said.to_payload()).to_json())

    def files(self) -> dict[str, bytes]:
        """Return everything that an honest repair leaves in its folder."""
        found = {f"delta-{h:02}.json": self.delta(h).to_bytes() for h in self.helpers}
        found |= {f"sigma-{h:02}.json": self.sigma(h).to_bytes() for h in self.helpers}
        found |= {f"ack-{self.lost:02}.json": self.acknowledgement().to_bytes()}
        return found | {
            f"replacement-{h:02}.json": canonical(self.replacement(h).to_json()) + b"\n"
            for h in self.helpers
        }

    def board(self, files: dict[str, bytes], *, late: bool = False) -> RepairBoard:
        """Read a folder."""
        return read_repair(self.setting, files, late=late)

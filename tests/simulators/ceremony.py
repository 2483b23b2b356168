"""People of a ceremony in memory: software keys, the very rounds of `signer.ceremony`.

Whoever is dishonest is made by changing what an honest one would say, and having him sign it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign
from signer.ceremony import agreement, complaint
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
from signer.ceremony.agreement import DEALER, MEMBER, agreement_of
from signer.ceremony.board import Board, read_board
from signer.ceremony.certificate import Certificate, assemble, certificate_digest, group_of
from signer.ceremony.checking import Outcome, check_deal, outcome_of
from signer.ceremony.deal import PAYLOAD_TYPE, Deal, DealBody
from signer.ceremony.dealing import ephemeral_seed, make_deal, take_share
from signer.ceremony.roster import DKG, RESHARE, SPLIT, ReshareTerms, Roster, SplitTerms
from signer.ceremony.setting import Setting
from signer.ceremony.union import union_digest
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.bindings import Bindings
from signer.messages.card import PAYLOAD_TYPE as CARD_TYPE
from signer.messages.card import Card
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.items import Change
from signer.messages.networks import MAINNET
from signer.sealing.hpke import Sealed
from signer.sealing.share import seal_share
from signer.sealing.transit import ephemeral_scalar
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.share import SecretShare
from tests.simulators.holders import NOW, make_card, point_of, seeded, signed_as

POLICY = b"\x05" * 32


@dataclass
class Person:
    """Somebody with a token: here its two keys are software."""

    name: str
    kex: ec.EllipticCurvePrivateKey
    card: Card

    @classmethod
    def new(cls, name: str, **card: object) -> "Person":
        """Make a person with fresh keys; `card` replaces fields of his card."""
        kex = ec.generate_private_key(ec.SECP256R1())
        return cls(name, kex, make_card(name, kex=point_of(kex), **card))

    def renewed(self) -> "Person":
        """Return the same person with a fresh receiving key, for another epoch."""
        kex = ec.generate_private_key(ec.SECP256R1())
        body = replace(self.card.body, kex=point_of(kex), epoch_nonce=bytes(range(32)))
        signed = self.sign(CARD_TYPE, body.to_payload())
        return Person(self.name, kex, Card.parse(signed.to_json()))

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        """The token's step of opening an envelope."""
        return self.ecdh(enc)

    def ecdh(self, peer: bytes) -> SecretBytes:
        """Do what the token does."""
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), peer)
        return SecretBytes(self.kex.exchange(ec.ECDH(), public))

    def sign(self, payload_type: str, payload: bytes) -> SignedFile:
        """Sign with the identity key."""
        return signed_as(self.card.body.id_sign, payload, payload_type)


@dataclass
class Gathering:
    """A ceremony and its people. Files are made on demand, as honest people make them."""

    setting: Setting
    members: dict[int, Person]
    dealers: dict[int, Person]
    constants: dict[int, bytes] = field(default_factory=dict)  # what a dealer must deal
    seed: int = 1
    changes: tuple[Change, ...] = ()  # what the journals of a reshare's dealers bind

    @classmethod
    def dkg(cls, t: int = 3, n: int = 5, *, seed: int = 1, **terms: Any) -> "Gathering":
        """Let n people begin to generate a key, of whom t shall sign."""
        people = {index: Person.new(f"holder {index}") for index in range(1, n + 1)}
        roster = roster_of(people, t, kind=DKG, **terms)
        return cls(Setting.of(roster, None), people, people, seed=seed)

    @classmethod
    def split(cls, key: bytes, t: int = 3, n: int = 5, **terms: Any) -> "Gathering":
        """Let a dealer split `key` among n people."""
        people = {index: Person.new(f"holder {index}") for index in range(1, n + 1)}
        dealer = Person.new("dealer")
        with SecretScalar.from_big_endian(bytearray(key)) as scalar:
            public = public_key(scalar)
        roster = roster_of(people, t, kind=SPLIT, terms=SplitTerms(dealer.card, public), **terms)
        return cls(Setting.of(roster, None), people, {0: dealer}, {0: key})

    def reshare(
        self, t: int, newcomers: Iterable[str] = (), *, dealers: tuple[int, ...] = (),
        without: tuple[int, ...] = (), changes: tuple[Change, ...] = (), **terms: Any,
    ) -> "Gathering":  # fmt: skip
        """Begin to deal this ceremony's shares anew; its group must be active."""
        old = self.group(active=True)
        threshold = old.threshold
        count = max(threshold.t, threshold.n - threshold.t + 1)
        chosen = dealers or tuple(range(1, count + 1))
        staying = [p.renewed() for i, p in self.members.items() if i not in without]
        people = dict(enumerate([*staying, *map(Person.new, newcomers)], start=1))
        said = ReshareTerms(
            previous=old.digest, group=old.group_id, epoch=old.epoch + 1,
            dealers=tuple(map(ShareIndex, chosen)), reason="refresh",
        )  # fmt: skip
        roster = roster_of(people, t, kind=RESHARE, terms=said, **terms)
        constants = {index: self.share(index) for index in chosen}
        return Gathering(
            Setting.of(roster, old), people, {i: self.members[i] for i in chosen}, constants,
            seed=self.seed + 1, changes=changes,
        )  # fmt: skip

    # What honest people make

    def session(self, dealer: int) -> SecretBytes:
        """Return the dealer's session seed."""
        return SecretBytes(seeded(1000 * self.seed + dealer)(32))

    def body(self, dealer: int) -> tuple[DealBody, tuple[Sealed, ...]]:
        """Return what an honest dealer would sign, and his ciphertexts."""
        constant = self.constants.get(dealer)
        bindings = None
        if self.setting.previous is not None:
            bindings = hashlib.sha256(self.bindings(dealer).payload).digest()
        scalar = constant and SecretScalar.from_big_endian(bytearray(constant))
        with self.session(dealer) as seed:
            return make_deal(
                self.setting, dealer, seed, NOW, constant=scalar or None, bindings=bindings
            )

    def deal(self, dealer: int, **changes: Any) -> Deal:
        """Return a dealer's deal; `changes` are made before he signs, `ciphertexts` beside."""
        body, ciphertexts = self.body(dealer)
        ciphertexts = changes.pop("ciphertexts", ciphertexts)
        return self.signed_deal(dealer, replace(body, **changes), ciphertexts)

    def signed_deal(self, dealer: int, body: DealBody, ciphertexts: tuple[Sealed, ...]) -> Deal:
        """Have a dealer sign whatever it is."""
        signed = self.dealers[dealer].sign(PAYLOAD_TYPE, body.to_payload())
        return Deal(signed, ciphertexts)

    def bindings(self, dealer: int, **changes: Any) -> SignedFile:
        """Return what a reshare's dealer says that his journal binds."""
        fields: dict[str, Any] = {
            "group": self.setting.old.group_id, "epoch": self.setting.old.epoch, "index": dealer,
            "sequence": 3, "head": b"\3" * 32, "changes": self.changes,
            "deposit_credentials": None, "moment": NOW,
        }  # fmt: skip
        said = Bindings(**(fields | changes))
        return self.dealers[dealer].sign(BINDINGS_TYPE, said.to_payload())

    def outcome(self) -> Outcome:
        """Return what honest deals add up to."""
        checked = [check_deal(self.deal(d), self.setting, d) for d in self.setting.roster.dealers]
        return outcome_of(self.setting, checked, union_digest(self.setting, checked, self.union()))

    def union(self) -> list[SignedFile]:
        """Return the statements of a reshare's dealers."""
        if self.setting.previous is None:
            return []
        return [self.bindings(dealer) for dealer in self.setting.roster.dealers]

    def share(self, member: int) -> bytes:
        """Return a member's share: of test keys, so no secret."""
        person = self.members[member]
        outcome = self.outcome()
        with (
            take_share(outcome, ShareIndex(member), person.card.body.kex, person.ecdh) as share,
            share.scalar.to_big_endian() as plain,
        ):
            return bytes(plain.expose())

    def agreement(self, role: str, index: int, **changes: Any) -> SignedFile:
        """Return a participant's agreement."""
        said = replace(agreement_of(self.outcome(), role, index, NOW), **changes)
        person = self.dealers[index] if role == DEALER else self.members[index]
        return person.sign(agreement.PAYLOAD_TYPE, said.to_payload())

    def certificate(self) -> Certificate:
        """Return the certificate of an honest ceremony."""
        deals = {dealer: self.deal(dealer) for dealer in self.setting.roster.dealers}
        who = agreement.agreeing(self.setting)
        agreements = {pair: self.agreement(*pair) for pair in who}
        return assemble(self.outcome(), deals, agreements, self.union())

    def acknowledgement(self, member: int, **changes: Any) -> Acknowledgement:
        """Return a member's acknowledgement; `changes` are made before he signs."""
        outcome, person = self.outcome(), self.members[member]
        index = ShareIndex(member)
        recipients = [person.card.body.kex, *changes.pop("spares", ())]
        with SecretBytes(changes.pop("share", None) or self.share(member)) as plain:
            envelope = seal_share(
                plain, group_of(outcome).binding(index), recipients, seeded(member)
            )
            message = share_proof_message(certificate_digest(outcome))
            dst = changes.pop("dst", SHARE_PROOF_DST)
            with SecretShare(index, SecretScalar.from_big_endian(plain)) as share:
                proof = sign(share.scalar, message, dst)
        body = AcknowledgementBody(
            ceremony=self.setting.roster.id, certificate=certificate_digest(outcome),
            index=member, share_proof=bytes(proof), envelope_sha256=envelope_digest(envelope),
            moment=NOW,
        )  # fmt: skip
        signed = person.sign(ACK_TYPE, replace(body, **changes).to_payload())
        return Acknowledgement(signed, envelope)

    def complaint(self, member: int, dealer: int, code: str, deal: Deal) -> SignedFile:
        """Return a member's complaint."""
        said = complaint.Complaint(
            ceremony=self.setting.roster.id, index=member, dealer=dealer, code=code,
            deal=deal.digest, moment=NOW,
        )  # fmt: skip
        return self.members[member].sign(complaint.COMPLAINT_TYPE, said.to_payload())

    def opening(self, dealer: int, member: int, ephemeral: bytes | None = None) -> SignedFile:
        """Return a dealer's answer; the true one unless `ephemeral` is given."""
        with (
            self.session(dealer) as seed,
            ephemeral_seed(seed, self.setting.roster.id, member) as derived,
            ephemeral_scalar(derived) as scalar,
        ):
            shown = ephemeral or bytes(scalar.expose())
        said = complaint.Opening(
            ceremony=self.setting.roster.id,
            dealer=dealer,
            recipient=member,
            ephemeral=shown,
            moment=NOW,
        )
        return self.dealers[dealer].sign(complaint.OPENING_TYPE, said.to_payload())

    def group(self, *, active: bool = False) -> GroupFile:
        """Return the group file that comes of it."""
        group = group_of(self.outcome())
        if not active:
            return group
        from tests.simulators.activating import activated_by

        return activated_by(group, {index: self.share(index) for index in self.members})

    def files(self) -> dict[str, bytes]:
        """Return everything that an honest ceremony leaves in its folder."""
        found = {f"deal-{d:02}.json": self.deal(d).to_bytes() for d in self.setting.roster.dealers}
        if self.setting.previous is not None:
            for dealer in self.setting.roster.dealers:
                raw = canonical(self.bindings(dealer).to_json())
                found[f"bindings-{dealer:02}.json"] = raw
        for role, index in agreement.agreeing(self.setting):
            middle = "" if role == MEMBER else "dealer-"
            raw = canonical(self.agreement(role, index).to_json())
            found[f"agree-{middle}{index:02}.json"] = raw
        for member in self.members:
            found[f"ack-{member:02}.json"] = self.acknowledgement(member).to_bytes()
        return found

    def board(self, files: dict[str, bytes], *, late: bool = False) -> Board:
        """Read a folder."""
        return read_board(self.setting, files, late=late)


def roster_of(people: dict[int, Person], t: int, **terms: Any) -> Roster:
    """Return a roster of these people; `terms` replace its fields."""
    fields: dict[str, Any] = {
        "kind": DKG, "group_name": "test pool", "network": MAINNET, "role": "withdrawal",
        "threshold": Threshold(t, len(people)),
        "members": tuple(person.card for person in people.values()),
        "policy_digest": POLICY, "not_before": NOW - 60, "expires": NOW + 86400,
        "nonce": bytes(range(32)),
    }  # fmt: skip
    roster = Roster(**(fields | terms))
    return Roster.parse(roster.to_bytes())

"""The group file: the public record of one shared key. What every command takes.

It contradicts itself or it is whole: the id is a digest of the constants, the group public key is
the vector's constant term, indices run 1 to n, cards verify, no key stands twice. It does not prove
who made it. For that, holders compare its fingerprint by voice, and each proves his share against
it (`signer share verify`); where it came from a ceremony, it names the certificate that all signed.

It names the first policy, by digest, and carries every amendment since, each signed by all.

`cards` are those of the ceremony, which the envelopes are bound to; where a share was repaired, a
replacement signed by t holders puts another card in the place of one (`current_cards`).

A group with a certificate is active once it carries an activation (`signer.messages.activation`);
before, agents drill for it and sign nothing else.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

from signer.bls.encoding import PublicKey
from signer.errors import GroupFileError
from signer.messages.activation import Activation
from signer.messages.amendment import MAX_AMENDMENTS, Amendment, Chain
from signer.messages.card import UNPROVEN, Card, fingerprint
from signer.messages.credentials import bls_credentials
from signer.messages.group_id import MAX_EPOCH, ROLES, Certified, group_id_of, holders_digest
from signer.messages.networks import Network
from signer.messages.replacement import MAX_REPLACEMENTS, Replacement, Succession
from signer.sealing.envelope import NO_CERTIFICATE, Binding
from signer.strict import Fields, canonical, parse_hex, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex, Threshold
from signer.threshold.vector import VerificationVector

MAX_BYTES = 4 * 1024 * 1024
ORIGIN_WORDS = {  # how the key came to be shared; a reshare does not change it
    "split": "split by a dealer, who has held the whole key",
    "dkg": "generated together; nobody has held the whole key",
}
ORIGINS = tuple(ORIGIN_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFile:
    """One shared key in one epoch."""

    network: Network
    role: str
    epoch: int
    origin: str
    policy_digest: bytes  # of the first policy, which the envelopes are bound to
    threshold: Threshold
    vector: VerificationVector
    cards: tuple[Card, ...]  # of holder 1, 2, … n, as the envelopes are bound to them
    replacements: tuple[Replacement, ...] = ()  # of holders whose shares were repaired, in order
    amendments: tuple[Amendment, ...] = ()  # of the policy: 1, 2, …
    rehearsal: bool = False  # on tokens that protect nothing; for no real validator
    certified: Certified | None = None  # None: split at one desk
    activation: Activation | None = None

    @property
    def certificate(self) -> bytes | None:
        """The digest of the ceremony's certificate, 32 bytes; None: split at one desk."""
        if self.certified is None:
            return None
        return self.certified.digest(self.origin, rehearsal=self.rehearsal)

    @property
    def active(self) -> bool:
        """Whether its holders may sign with it: it has no certificate, or an activation."""
        return self.certified is None or self.activation is not None

    @property
    def origin_words(self) -> str:
        """How the key came to be shared, for people."""
        return ORIGIN_WORDS[self.origin]

    def marked(self, digest: bytes) -> str:
        """Return the fingerprint of a digest of this group's, marked if it is a rehearsal."""
        return marked_fingerprint(digest, rehearsal=self.rehearsal)

    def activated(self, activation: Activation) -> Self:
        """Return this group with an activation that was verified.

        Raises:
            GroupFileError: it does not activate this group.
        """
        activation.verify(self, "activation")
        return replace(self, activation=activation)

    @property
    def public_key(self) -> PublicKey:
        """The group public key."""
        return self.vector.group_public_key

    @property
    def group_id(self) -> bytes:
        """32 bytes, the same in every epoch: a digest of network, role and group public key."""
        return group_id_of(self.network, self.role, self.public_key)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical file; its fingerprint is what holders compare by voice."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def indices(self) -> tuple[ShareIndex, ...]:
        """The share indices 1 to n."""
        return tuple(ShareIndex(i) for i in range(1, self.threshold.n + 1))

    @property
    def current_cards(self) -> tuple[Card, ...]:
        """The cards in force, of holder 1, 2, … n."""
        cards = list(self.cards)
        for replacement in self.replacements:
            cards[replacement.body.index - 1] = replacement.card
        return tuple(cards)

    def card_of(self, index: int) -> Card:
        """Return the card of holder `index` that is in force."""
        return self.current_cards[index - 1]

    @property
    def id_signs(self) -> tuple[bytes, ...]:
        """The holders' identity keys in force, 65-byte points, in index order."""
        return tuple(card.body.id_sign for card in self.current_cards)

    @property
    def bound_id_signs(self) -> tuple[bytes, ...]:
        """The identity keys that the envelopes are bound to, in index order."""
        return tuple(card.body.id_sign for card in self.cards)

    @property
    def holders_digest(self) -> bytes:
        """32 bytes: t and every holder's identity key, as the envelopes are bound to them."""
        return holders_digest(self.threshold.t, self.bound_id_signs)

    @property
    def amendment_number(self) -> int:
        """How often the policy was amended; 0: the first one is in force."""
        return len(self.amendments)

    @property
    def current_policy_digest(self) -> bytes:
        """The digest of the policy in force."""
        return self.amendments[-1].policy_digest if self.amendments else self.policy_digest

    @property
    def chain(self) -> Chain:
        """What this group's amendments are held against."""
        return Chain(
            group=self.group_id,
            epoch=self.epoch,
            first_policy_digest=self.policy_digest,
            holders=self.bound_id_signs,
            changes=self.succession.changes(self.replacements),
        )

    @property
    def succession(self) -> Succession:
        """What this group's replacements are held against."""
        return Succession(
            group=self.group_id,
            epoch=self.epoch,
            threshold=self.threshold.t,
            holders=self.bound_id_signs,
        )

    def replaced(self, replacement: Replacement) -> Self:
        """Return this group with one verified replacement more.

        Raises:
            CardError, GroupFileError: the new card does not go with those that were ever here.
        """
        after = replace(self, replacements=(*self.replacements, replacement))
        _require_fresh_cards(after, "replacement")
        return after

    def binding(self, index: ShareIndex, *, recovered: bool = False) -> Binding:
        """Return what the envelope of share `index` is bound to."""
        return Binding(
            group=self.group_id,
            epoch=self.epoch,
            index=int(index),
            public_share=bytes(self.vector.public_share(index)),
            role=self.role,
            policy_digest=self.policy_digest,
            holders=self.holders_digest,
            certificate=self.certificate or NO_CERTIFICATE,
            recovered=recovered,
        )

    @property
    def withdrawal_credentials(self) -> bytes:
        """32 bytes: 0x00 ‖ SHA-256(group public key)[1:], what this key's validators carry."""
        return bls_credentials(self.public_key)

    def to_json(self) -> dict[str, Any]:
        """Return the group file as a JSON object."""
        return {
            "type": "signer-group",
            "version": 3,
            "group": self.group_id.hex(),
            "network": self.network.to_json(),
            "role": self.role,
            "epoch": self.epoch,
            "origin": self.origin,
            "rehearsal": self.rehearsal,
            "policy_digest": self.policy_digest.hex(),
            "threshold": self.threshold.t,
            "holders_count": self.threshold.n,
            "group_public_key": self.public_key.hex(),
            "verification_vector": [bytes(point).hex() for point in self.vector.commitments],
            "holders": [
                {"index": index, "card": card.to_json()}
                for index, card in enumerate(self.cards, start=1)
            ],
            "amendments": [amendment.to_json() for amendment in self.amendments],
            "replacements": [replacement.to_json() for replacement in self.replacements],
            "certificate": None
            if self.certified is None
            else {name: digest.hex() for name, digest in self.certified._asdict().items()},
            "activation": None if self.activation is None else self.activation.to_json(),
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "group file") -> Self:
        """Read a group file and hold its parts against each other.

        Raises:
            SchemaError: not this format.
            EncodingError: a key that is not a point of the group.
            ThresholdParameterError: t and n do not make a threshold.
            CardError: a card that does not hold.
            GroupFileError: parts that contradict each other, or an activation that is none.
            PolicyError: an amendment of the policy that not every holder signed, or out of order.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-group")
        fields.constant("version", 3)
        claimed_id = fields.hex_bytes("group", 32)
        claimed_key = fields.hex_bytes("group_public_key", 48)
        t = fields.integer("threshold", low=0, high=2**16)
        n = fields.integer("holders_count", low=0, high=2**16)
        threshold = Threshold(t, n)
        commitments = fields.array("verification_vector", low=1, high=MAX_HOLDERS)
        holders = fields.array("holders", low=1, high=MAX_HOLDERS)
        if len(commitments) != t:
            raise GroupFileError(f"{what}: {len(commitments)} commitments for a threshold of {t}")
        if len(holders) != n:
            raise GroupFileError(f"{what}: {len(holders)} holders where {n} are declared")
        network = Network.parse(fields.nested("network"))
        role = fields.choice("role", ROLES)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        origin = fields.choice("origin", ORIGINS)
        rehearsal = fields.boolean("rehearsal")
        policy_digest = fields.hex_bytes("policy_digest", 32)
        amendments = fields.array("amendments", low=0, high=MAX_AMENDMENTS)
        replacements = fields.array("replacements", low=0, high=MAX_REPLACEMENTS)
        certified = _certified(fields)
        activation = fields.take("activation")
        fields.done()
        if certified is None and (origin != "split" or epoch > 1):
            raise GroupFileError(f"{what}: only a split's first epoch can have no certificate")
        if certified is None and activation is not None:
            raise GroupFileError(f"{what}: it has an activation and no certificate")
        group = cls(
            network=network,
            role=role,
            epoch=epoch,
            origin=origin,
            policy_digest=policy_digest,
            threshold=threshold,
            vector=VerificationVector.parse(
                [parse_hex(entry, 48, f"{what}: a commitment") for entry in commitments]
            ),
            cards=_cards(holders, what),
            rehearsal=rehearsal,
            certified=certified,
        )
        if group.public_key != claimed_key:
            raise GroupFileError(f"{what}: the group public key is not the vector's first entry")
        if group.group_id != claimed_id:
            raise GroupFileError(f"{what}: the group id does not belong to these constants")
        if replacements:
            succession = group.succession.parse(replacements, f"{what}: replacements")
            group = replace(group, replacements=succession)
            _require_fresh_cards(group, what)
            if succession[-1].body.amendments > len(amendments):
                raise GroupFileError(f"{what}: it lacks amendments that a replacement came after")
        group = replace(group, amendments=group.chain.parse(amendments, f"{what}: amendments"))
        if activation is None:
            return group
        found = Activation.take(Fields(activation, f"{what}: activation"))
        found.verify(group, what)
        return replace(group, activation=found)


def marked_text(text: str, *, rehearsal: bool) -> str:
    """Return a digest in hex, in words or as a fingerprint; a rehearsal's says so first."""
    return f"REHEARSAL {text}" if rehearsal else text


def marked_fingerprint(digest: bytes, *, rehearsal: bool) -> str:
    """Return a fingerprint as people are shown it; what is only a rehearsal's says so first."""
    return marked_text(fingerprint(digest), rehearsal=rehearsal)


def refuse_shared_keys(cards: tuple[Card, ...], what: str) -> None:
    """Refuse a key that stands in two cards: two holders would be one, and one token two shares."""
    seen: dict[bytes, str] = {}
    for card in cards:
        for point in card.body.keys.values():
            if point in seen:
                raise GroupFileError(
                    f"{what}: holders {seen[point]!r} and {card.body.name!r} show the same key",
                    hint="each holder needs a token and a card of his own",
                )
            seen[point] = card.body.name
    names = [card.body.name for card in cards]
    if len(set(names)) != len(names):
        raise GroupFileError(f"{what}: two holders have the same name")


def require_fresh_card(group: GroupFile, index: int, card: Card, what: str) -> None:
    """Refuse a card for holder `index` with a key that was ever another's, or opened a share.

    His identity key he may keep; his receiving keys he may not.

    Raises:
        GroupFileError: such a key, or another holder's name.
    """
    seen: dict[bytes, str] = {}
    for known in (*group.cards, *(replacement.card for replacement in group.replacements)):
        seen |= dict.fromkeys(known.body.keys.values(), known.body.name)
    own = group.card_of(index).body
    for role, point in card.body.keys.items():
        if point in seen and (role, point) != ("id_sign", own.id_sign):
            raise GroupFileError(
                f"{what}: the new card of holder {index} shows a key of {seen[point]!r}",
                hint="make it on another token, or with a fresh key: signer token card --fresh-key",
            )
    others = (other.body.name for at, other in enumerate(group.current_cards, 1) if at != index)
    if card.body.name in others:
        raise GroupFileError(f"{what}: two holders have the same name")


def _require_fresh_cards(group: GroupFile, what: str) -> None:
    """Hold the card of each replacement against all that were there before it."""
    for count, replacement in enumerate(group.replacements):
        before = replace(group, replacements=group.replacements[:count])
        place = f"{what}: replacement {count + 1}"
        require_fresh_card(before, replacement.body.index, replacement.card, place)
        if replacement.card.body.software and not group.rehearsal and group.certified is not None:
            raise GroupFileError(f"{place}: its token is software that protects nothing")
        if not replacement.card.body.proven:
            raise GroupFileError(f"{place}: its token is {UNPROVEN}")


def _certified(fields: Fields) -> Certified | None:
    value = fields.take("certificate")
    if value is None:
        return None
    entry = Fields(value, f"{fields.what}: certificate")
    certified = Certified(entry.hex_bytes("ceremony", 32), entry.hex_bytes("transcript", 32))
    entry.done()
    return certified


def _cards(entries: list[Any], what: str) -> tuple[Card, ...]:
    cards = []
    for expected, entry in enumerate(entries, start=1):
        fields = Fields(entry, f"{what}: holder {expected}")
        index = fields.integer("index", low=0, high=2**16)
        if index != expected:
            raise GroupFileError(
                f"{what}: holder {expected} has index {index}; indices run 1 to n in order"
            )
        cards.append(Card.parse(fields.take("card"), f"{what}: card of holder {expected}"))
        fields.done()
    refuse_shared_keys(tuple(cards), what)
    return tuple(cards)

"""The roster: who takes part in a ceremony, for what key, on which terms. All binds to it.

Nobody signs it. Its digest is the ceremony's id, which every later signature and ciphertext names,
and its fingerprint is what the holders compare by voice before they take part: nothing else could
keep somebody in the middle out.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from signer.bls.encoding import PublicKey
from signer.ceremony.statement import MAX_MOMENT
from signer.ceremony.terms import (
    MAX_OPEN_SECONDS,
    NONCE_BYTES,
    require_fit,
    require_within,
    take_indices,
)
from signer.errors import CeremonyError, EncodingError, SchemaError
from signer.messages.card import Card
from signer.messages.group_file import marked_fingerprint, refuse_shared_keys
from signer.messages.group_id import MAX_EPOCH, ROLES
from signer.messages.networks import Network
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex, Threshold

MAX_BYTES = 4 * 1024 * 1024
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"
SPLIT_DEALER = 0  # the dealer's number where he is no holder
DKG, SPLIT, RESHARE = KINDS = ("dkg", "split", "reshare")
REASONS = ("refresh", "add", "remove", "threshold", "lost")


@dataclass(frozen=True, slots=True)
class SplitTerms:
    """Of a split: one dealer has the whole key, and everybody knows which."""

    dealer: Card
    group_public_key: PublicKey

    def to_json(self) -> dict[str, Any]:
        """Return the terms as they stand in a roster."""
        return {
            "dealer": self.dealer.to_json(),
            "group_public_key": bytes(self.group_public_key).hex(),
        }

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the terms apart."""
        card = Card.parse(fields.take("dealer"), f"{fields.what}: the dealer's card")
        try:
            key = PublicKey(fields.hex_bytes("group_public_key", 48))
        except EncodingError as error:
            raise EncodingError(f"{fields.what}: the group's {error.message}") from None
        fields.done()
        return cls(card, key)


@dataclass(frozen=True, slots=True)
class ReshareTerms:
    """Of a reshare: which shares are dealt anew."""

    previous: bytes  # digest of the group file that is followed
    group: bytes
    epoch: int  # of the new shares
    dealers: tuple[ShareIndex, ...]  # old share indices, ascending
    reason: str  # one of REASONS

    def to_json(self) -> dict[str, Any]:
        """Return the terms as they stand in a roster."""
        return {
            "previous": self.previous.hex(),
            "group": self.group.hex(),
            "epoch": self.epoch,
            "dealers": [int(index) for index in self.dealers],
            "reason": self.reason,
        }

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the terms apart. Raises as `take_indices`, among others."""
        terms = cls(
            previous=fields.hex_bytes("previous", 32),
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=2, high=MAX_EPOCH),
            dealers=take_indices(fields, "dealers"),
            reason=fields.choice("reason", REASONS),
        )
        fields.done()
        return terms


@dataclass(frozen=True, kw_only=True)
class Roster:
    """One proposed ceremony. Whoever has one has cards that verify and constants that agree."""

    kind: str  # one of KINDS
    group_name: str
    network: Network
    role: str
    threshold: Threshold
    members: tuple[Card, ...]  # who gets share 1, 2, … n
    policy_digest: bytes
    not_before: int  # Unix seconds
    expires: int  # Unix seconds
    nonce: bytes
    terms: SplitTerms | ReshareTerms | None = None
    rehearsal: bool = False

    @property
    def epoch(self) -> int:
        """The generation of the shares that come of it."""
        return self.terms.epoch if isinstance(self.terms, ReshareTerms) else 1

    @cached_property
    def id(self) -> bytes:
        """32 bytes: SHA-256 of the canonical roster; the ceremony's id."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    @property
    def fingerprint(self) -> str:
        """What holders read to each other; a rehearsal's begins with the word."""
        return marked_fingerprint(self.id, rehearsal=self.rehearsal)

    @property
    def indices(self) -> tuple[ShareIndex, ...]:
        """The new share indices 1 to n."""
        return tuple(ShareIndex(index) for index in range(1, len(self.members) + 1))

    @property
    def dealers(self) -> tuple[int, ...]:
        """Who deals: every member, the dealer of a split (0), or old share indices."""
        if isinstance(self.terms, ReshareTerms):
            return tuple(map(int, self.terms.dealers))
        return (SPLIT_DEALER,) if self.kind == SPLIT else tuple(map(int, self.indices))

    def member_of(self, id_sign: bytes) -> ShareIndex | None:
        """Return the new share index of whoever has this identity key."""
        for index, card in enumerate(self.members, start=1):
            if card.body.id_sign == id_sign:
                return ShareIndex(index)
        return None

    def require_open(self, now: int) -> None:
        """Refuse a ceremony that has not begun or is over.

        Raises:
            CeremonyError: E_CEREMONY_EXPIRED.
        """
        require_within("ceremony", self.not_before, self.expires, now)

    def to_json(self) -> dict[str, Any]:
        """Return the roster as a JSON object."""
        return {
            "type": "signer-roster",
            "version": 1,
            "kind": self.kind,
            "rehearsal": self.rehearsal,
            "group_name": self.group_name,
            "network": self.network.to_json(),
            "role": self.role,
            "threshold": self.threshold.t,
            "keys": 1,
            "members": [card.to_json() for card in self.members],
            "policy_digest": self.policy_digest.hex(),
            "not_before": self.not_before,
            "expires": self.expires,
            "nonce": self.nonce.hex(),
            "terms": None if self.terms is None else self.terms.to_json(),
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "roster") -> Self:
        """Read the bytes of a roster's file and hold its parts against each other."""
        return cls.take(Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what))

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take a roster apart.

        Raises:
            SchemaError: not this format, or never open, or open for too long.
            CardError, GroupFileError: a card that does not hold, or two that share a key or a name.
            ThresholdParameterError: t and n do not make a threshold.
            CeremonyError: E_ROSTER: rehearsal tokens in a ceremony that is none.
        """
        what = fields.what
        fields.constant("type", "signer-roster")
        fields.constant("version", 1)
        kind = fields.choice("kind", KINDS)
        fields.constant("keys", 1)
        entries = fields.array("members", low=1, high=MAX_HOLDERS)
        threshold = Threshold(fields.integer("threshold", low=0, high=2**16), len(entries))
        roster = cls(
            kind=kind,
            group_name=fields.string("group_name", pattern=NAME_PATTERN, max_length=64),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            threshold=threshold,
            members=tuple(
                Card.parse(entry, f"{what}: card {number}")
                for number, entry in enumerate(entries, start=1)
            ),
            policy_digest=fields.hex_bytes("policy_digest", 32),
            not_before=fields.integer("not_before", low=0, high=MAX_MOMENT),
            expires=fields.integer("expires", low=0, high=MAX_MOMENT),
            nonce=fields.hex_bytes("nonce", NONCE_BYTES),
            terms=_terms(kind, fields),
            rehearsal=fields.boolean("rehearsal"),
        )
        fields.done()
        roster.require_whole(what)
        return roster

    def require_whole(self, what: str = "roster") -> None:
        """Hold the parts against each other; see `take` for what is raised."""
        if not 0 < self.expires - self.not_before <= MAX_OPEN_SECONDS:
            raise SchemaError(
                f"{what}: field 'expires' must be up to {MAX_OPEN_SECONDS // 86400} days "
                "after 'not_before'"
            )
        refuse_shared_keys(self.members, what)
        cards: Sequence[Card] = self.members
        if isinstance(self.terms, SplitTerms):
            cards = (*cards, self.terms.dealer)
            if self.terms.dealer.digest not in {card.digest for card in self.members}:
                refuse_shared_keys(tuple(cards), what)
        require_fit(cards, what)
        soft = sorted({card.body.name for card in cards if card.body.software})
        if soft and not self.rehearsal:
            raise CeremonyError(
                f"{what}: the token of {soft[0]!r} is software that protects nothing; with it a "
                "ceremony is a rehearsal",
                hint="begin it with --rehearsal, or use a hardware token",
                code="E_ROSTER",
            )


def _terms(kind: str, fields: Fields) -> SplitTerms | ReshareTerms | None:
    if kind == SPLIT:
        return SplitTerms.take(fields.nested("terms"))
    if kind == RESHARE:
        return ReshareTerms.take(fields.nested("terms"))
    if fields.take("terms") is not None:
        fields.fail("terms", "must be null")
    return None

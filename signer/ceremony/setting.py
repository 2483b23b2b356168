"""One dealing engine, three rules: what a DKG, a split and a reshare ask of a deal's constant term.

============  =======================  ==============================  ======================
kind          who deals                constant term of dealer i       the new shares
============  =======================  ==============================  ======================
DKG           every member             free, with a proof that he      Σ fᵢ(j)
                                       knows it
split         one dealer               the group public key            f(j)
reshare       old holders              his old public share            Σ λᵢ·fᵢ(j)
============  =======================  ==============================  ======================

DKG: Pedersen's, with a proof of possession for each dealer (SimplPedPop of ChillDKG); argued from
Gurkan et al., ePrint 2021/005. Our exact composition has no proof of its own. Reshare: Desmedt and
Jajodia, made verifiable by the old public shares, so that it needs no proof of possession.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from signer.bls.encoding import PublicKey
from signer.ceremony.following import require_previous
from signer.ceremony.roster import DKG, RESHARE, SPLIT_DEALER, ReshareTerms, Roster, SplitTerms
from signer.ceremony.terms import require_fit
from signer.errors import CeremonyError
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.threshold.lagrange import Fractions, lagrange_at_zero
from signer.threshold.params import ShareIndex
from signer.threshold.vector import VerificationVector, sum_vectors, weigh_vectors

KEY_NUMBER = 1  # of the one key that a ceremony makes


@dataclass(frozen=True, slots=True)
class Setting:
    """A roster and, for a reshare, the group file that it follows; they belong together."""

    roster: Roster
    previous: GroupFile | None = None

    @classmethod
    def of(cls, roster: Roster, previous: GroupFile | None) -> Self:
        """Put the two together.

        Raises:
            CeremonyError: E_ROSTER: they do not go together, or a reshare lacks the old group.
        """
        if roster.kind != RESHARE:
            return cls(roster)
        if previous is None:
            raise CeremonyError(
                "a reshare needs the group file that it follows", code="E_ROSTER",
                hint="put it into the ceremony's folder as previous.json",
            )  # fmt: skip
        require_previous(roster, previous)
        require_fit((previous.card_of(dealer) for dealer in roster.dealers), "roster")
        return cls(roster, previous)

    @property
    def old(self) -> GroupFile:
        """The group file that a reshare follows."""
        if self.previous is None:
            raise ValueError("only a reshare follows a group file")
        return self.previous

    def card_of_dealer(self, dealer: int) -> Card:
        """Return the card whose identity key signs the deals of `dealer`."""
        terms = self.roster.terms
        if isinstance(terms, SplitTerms):
            return terms.dealer
        if isinstance(terms, ReshareTerms):
            return self.old.card_of(dealer)
        return self.roster.members[dealer - 1]

    def dealer_of(self, id_sign: bytes) -> int | None:
        """Return the dealer's number of whoever has this identity key."""
        for dealer in self.roster.dealers:
            if self.card_of_dealer(dealer).body.id_sign == id_sign:
                return dealer
        return None

    def old_of(self, id_sign: bytes) -> int | None:
        """Return the share that whoever has this identity key had before a reshare."""
        if self.previous is None or id_sign not in self.previous.id_signs:
            return None
        return self.previous.id_signs.index(id_sign) + 1

    def name_of(self, dealer: int) -> str:
        """Return what people call the dealer."""
        name = self.card_of_dealer(dealer).body.name
        return f"the dealer ({name})" if dealer == SPLIT_DEALER else f"dealer {dealer} ({name})"

    def name_of_member(self, index: int) -> str:
        """Return what people call the member who gets share `index`."""
        return f"member {index} ({self.roster.members[index - 1].body.name})"

    @property
    def needs_proof(self) -> bool:
        """Whether a dealer must prove that he knows his constant term."""
        return self.roster.kind == DKG

    @property
    def opens(self) -> bool:
        """Whether a dealer may show what he sealed: if his polynomial is of no use any more."""
        return self.roster.kind == DKG

    def constant_of(self, dealer: int) -> PublicKey | None:
        """Return what the dealer's constant commitment must be, if that is fixed."""
        terms = self.roster.terms
        if isinstance(terms, SplitTerms):
            return terms.group_public_key
        if isinstance(terms, ReshareTerms):
            return self.old.vector.public_share(ShareIndex(dealer))
        return None

    def proof_context(self, dealer: int) -> bytes:
        """Return what a dealer's proof of possession is bound to, beside his commitments."""
        return self.roster.id + dealer.to_bytes(2, "big") + KEY_NUMBER.to_bytes(2, "big")

    @property
    def weights(self) -> Fractions | None:
        """The weight of each dealer's values, in the order of `roster.dealers`; None: all 1."""
        terms = self.roster.terms
        return lagrange_at_zero(terms.dealers) if isinstance(terms, ReshareTerms) else None

    def vector_of(self, commitments: Mapping[int, Sequence[PublicKey]]) -> VerificationVector:
        """Return the verification vector that the deals of all dealers add up to.

        Raises:
            EncodingError: a sum is infinity.
        """
        vectors = [commitments[dealer] for dealer in self.roster.dealers]
        weights = self.weights
        return sum_vectors(vectors) if weights is None else weigh_vectors(vectors, weights)

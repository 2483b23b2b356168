"""Complaint, opening, verdict: who is to blame for a share that does not open or does not fit.

A member says which dealer's deal is bad. Most faults everybody can see in what the dealer signed.
Two cannot be seen: a ciphertext that does not open, and a share off the polynomial. Then the dealer
shows the ephemeral key of that one ciphertext, and everybody opens it: a token can prove nothing
about a shared secret, but a dealer can give away a key that he used once. In a DKG what is opened
so belongs to a polynomial that is thrown away. A split and a reshare open nothing: their
polynomials have a constant that lives on, and with the shares of a few dishonest members one more
point would give it to them.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from signer.ceremony.checking import CheckedDeal
from signer.ceremony.deal import info_of
from signer.ceremony.dealing import part_of
from signer.ceremony.setting import Setting
from signer.ceremony.statement import open_statement, payload_of, payload_type_of, take_moment
from signer.errors import CeremonyError, DealError, SealError
from signer.messages.dsse import SignedFile
from signer.sealing.transit import open_with_scalar
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS, ShareIndex

COMPLAINT = "signer-complaint"
OPENING = "signer-opening"
COMPLAINT_TYPE, OPENING_TYPE = payload_type_of(COMPLAINT), payload_type_of(OPENING)
FALSE_COMPLAINT = "E_COMPLAINT"
HIDDEN = ("E_DEAL_DECRYPT", "E_DEAL_SHARE")  # what only the member can see
CODES = (
    *HIDDEN, "E_DEAL_SCHEMA", "E_DEAL_LENGTH", "E_DEAL_POINT", "E_DEAL_CONSTANT", "E_DEAL_PROOF",
    "E_DEAL_COPIED", "E_DEAL_EQUIVOCATION",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What a complaint says."""

    ceremony: bytes
    index: int  # of the member who complains
    dealer: int
    code: str  # one of CODES
    deal: bytes  # digest of what the dealer signed
    moment: int  # Unix seconds, by the member's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            COMPLAINT,
            {
                "ceremony": self.ceremony.hex(),
                "index": self.index,
                "dealer": self.dealer,
                "code": self.code,
                "deal": self.deal.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            dealer=fields.integer("dealer", low=0, high=MAX_HOLDERS),
            code=fields.choice("code", CODES),
            deal=fields.hex_bytes("deal", 32),
            moment=take_moment(fields),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a dealer shows in answer: the key that sealed one ciphertext, used for nothing else."""

    ceremony: bytes
    dealer: int
    recipient: int
    ephemeral: bytes  # 32 bytes: the scalar of a P-256 key
    moment: int  # Unix seconds, by the dealer's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            OPENING,
            {
                "ceremony": self.ceremony.hex(),
                "dealer": self.dealer,
                "recipient": self.recipient,
                "ephemeral": self.ephemeral.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            dealer=fields.integer("dealer", low=0, high=MAX_HOLDERS),
            recipient=fields.integer("recipient", low=1, high=MAX_HOLDERS),
            ephemeral=fields.hex_bytes("ephemeral", 32),
            moment=take_moment(fields),
        )


class Verdict(NamedTuple):
    """Who is to blame, and why; everybody who has the files comes to the same."""

    dealer: int
    member: int | None  # who complained
    dealer_is_guilty: bool
    reason: str
    code: str = FALSE_COMPLAINT  # another where the dealer is guilty, or nobody can say who is

    @property
    def line(self) -> str:
        """The verdict as it stands in the minutes."""
        word = "not guilty" if self.code == FALSE_COMPLAINT else "undecided"
        return f"{'GUILTY' if self.dealer_is_guilty else word}: {self.reason} ({self.code})"


def open_complaint(
    signed: SignedFile, setting: Setting, index: int, dealer: int, what: str = "complaint"
) -> Complaint:
    """Return what a member complains of.

    Raises:
        CeremonyError: he did not sign it, or it is of another ceremony or dealer.
        SchemaError: not this format.
    """
    point = setting.roster.members[index - 1].body.id_sign
    said = open_statement(signed, COMPLAINT, point, Complaint.take, what)
    if (said.ceremony, said.index, said.dealer) != (setting.roster.id, index, dealer):
        raise CeremonyError(f"{what}: it is of another ceremony, or in another's place")
    return said


def open_opening(
    signed: SignedFile, setting: Setting, dealer: int, recipient: int, what: str = "opening"
) -> Opening:
    """Return what a dealer shows. Raises as `open_complaint`."""
    point = setting.card_of_dealer(dealer).body.id_sign
    said = open_statement(signed, OPENING, point, Opening.take, what)
    if (said.ceremony, said.dealer, said.recipient) != (setting.roster.id, dealer, recipient):
        raise CeremonyError(f"{what}: it is of another ceremony, or in another's place")
    return said


def judge(
    setting: Setting,
    complaint: Complaint,
    deal: CheckedDeal,
    opening: Opening | None,
    *,
    late: bool,
) -> Verdict | None:
    """Judge a complaint that only an opening can settle; None: the dealer has still time.

    Args:
        setting: the ceremony.
        complaint: its code is one of HIDDEN.
        deal: the deal it names, which keeps every rule that can be seen.
        opening: the dealer's answer.
        late: whether the ceremony is over, so that no answer is one.
    """
    name, member = setting.name_of(deal.dealer), complaint.index
    who = setting.name_of_member(member)
    if complaint.deal != deal.digest:
        return Verdict(
            deal.dealer, member, False,
            f"{who} complains of another deal than the one that is here",
        )  # fmt: skip
    if not setting.opens:
        reason = (
            f"{who} says that what {name} sealed to him is wrong; nothing is opened, "
            "since the dealer's secret lives on: one of the two is at fault, or his token"
        )
        return Verdict(deal.dealer, member, False, reason, complaint.code)
    if opening is None:
        reason = (
            f"{name} did not answer the complaint of {who} in time; whether he saw it in time no "
            "file can say"
        )
        return Verdict(deal.dealer, member, False, reason, "E_OPENING_ABSENT") if late else None
    index = ShareIndex(member)
    info = info_of(setting.roster.id, deal.dealer, index)
    recipient = setting.roster.members[member - 1].body.kex
    try:
        plain = open_with_scalar(
            opening.ephemeral, deal.ciphertexts[member], recipient, info, deal.associated_data
        )
    except SealError as error:
        if error.code == "E_OPENING":
            reason = f"{name} showed a key that is not the one of the ciphertext"
            return Verdict(deal.dealer, member, True, reason, error.code)
        reason = f"what {name} sealed to {who} does not open"
        return Verdict(deal.dealer, member, True, reason, "E_DEAL_DECRYPT")
    with plain:
        try:
            part_of(setting, deal, index, plain).wipe()
        except DealError as error:
            return Verdict(deal.dealer, member, True, error.message, error.code)
    return Verdict(
        deal.dealer, member, False,
        f"the share that {name} sealed to {who} opens and fits: the complaint is false, or his "
        "token is broken",
    )  # fmt: skip

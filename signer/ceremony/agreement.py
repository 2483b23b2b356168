"""An agreement: a participant has checked every deal, his own share too, and names the transcript.

All agreements over one transcript make the certificate. Whoever has signed one must keep his
receiving key and the deals, even if he never sees the certificate: others may have it.
"""

from dataclasses import dataclass
from typing import Self

from signer.ceremony.checking import Outcome
from signer.ceremony.setting import Setting
from signer.ceremony.statement import open_statement, payload_of, payload_type_of, take_moment
from signer.errors import CeremonyError
from signer.messages.dsse import SignedFile
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS

KIND = "signer-agreement"
PAYLOAD_TYPE = payload_type_of(KIND)
MEMBER, DEALER = ROLES = ("member", "dealer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What an agreement says."""

    ceremony: bytes
    role: str  # MEMBER by new share index, or DEALER of a reshare by old one
    index: int
    transcript: bytes
    moment: int  # Unix seconds, by the participant's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            KIND,
            {
                "ceremony": self.ceremony.hex(),
                "role": self.role,
                "index": self.index,
                "transcript": self.transcript.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            role=fields.choice("role", ROLES),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            transcript=fields.hex_bytes("transcript", 32),
            moment=take_moment(fields),
        )


def agreeing(setting: Setting) -> tuple[tuple[str, int], ...]:
    """Return who must agree: every member, and a reshare's dealers."""
    members = [(MEMBER, int(index)) for index in setting.roster.indices]
    dealers = [] if setting.previous is None else [(DEALER, d) for d in setting.roster.dealers]
    return (*members, *dealers)


def identity_of(setting: Setting, role: str, index: int) -> bytes:
    """Return the identity key of a participant, 65 bytes."""
    card = setting.card_of_dealer(index) if role == DEALER else setting.roster.members[index - 1]
    return card.body.id_sign


def open_agreement(
    signed: SignedFile, setting: Setting, role: str, index: int, what: str = "agreement"
) -> Agreement:
    """Return what a participant agreed to.

    Raises:
        CeremonyError: he did not sign it, or it is of another ceremony.
        SchemaError: not this format.
    """
    said = open_statement(signed, KIND, identity_of(setting, role, index), Agreement.take, what)
    if (said.ceremony, said.role, said.index) != (setting.roster.id, role, index):
        raise CeremonyError(
            f"{what}: it is of another ceremony, or in another's place", code="E_CEREMONY"
        )
    return said


def require_agreement(said: Agreement, outcome: Outcome, what: str) -> None:
    """Refuse an agreement to other deals than these.

    Raises:
        CeremonyError: E_TRANSCRIPT: somebody shows different deals to different people.
    """
    if said.transcript != outcome.transcript:
        setting = outcome.setting
        name = setting.name_of if said.role == DEALER else setting.name_of_member
        raise CeremonyError(
            f"{what}: {name(said.index)} has seen other deals than lie here, which need not be his "
            "fault: he runs `next` with this folder, and his desk adds the deal that was shown to "
            "him alone",
            hint="then everybody's `next` names the dealer who signed two; if he adds none, "
            "compare the deal files with him. This ceremony cannot succeed",
            code="E_TRANSCRIPT",
        )


def agreement_of(outcome: Outcome, role: str, index: int, moment: int) -> Agreement:
    """Return what a participant says who has checked everything."""
    return Agreement(
        ceremony=outcome.setting.roster.id,
        role=role,
        index=index,
        transcript=outcome.transcript,
        moment=moment,
    )

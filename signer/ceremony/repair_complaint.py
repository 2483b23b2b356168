"""Complaint, opening, verdict of a repair: as `signer.ceremony.complaint`, but the shares live on.

A helper answers the complaint of another: that one delta was for him anyway, and without the delta
that a helper keeps for himself his share stays hidden. A sum is never opened. The other helpers
know all parts of it but that one; were it public, t - 1 of them would learn the share of the last.
So between the returning holder and the helper he complains of nobody can judge: they repair again,
with another helper or another token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from signer.ceremony.complaint import Verdict
from signer.ceremony.repair_delta import CheckedDelta, delta_info
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repairing import E_DECRYPT, E_DELTA, E_SIGMA, delta_of
from signer.ceremony.statement import open_statement, payload_of, payload_type_of, take_moment
from signer.errors import CeremonyError, DealError, SealError
from signer.messages.dsse import SignedFile
from signer.sealing.transit import open_with_scalar
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS

COMPLAINT = "signer-repair-complaint"
OPENING = "signer-repair-opening"
COMPLAINT_TYPE, OPENING_TYPE = payload_type_of(COMPLAINT), payload_type_of(OPENING)
CODES = (E_DECRYPT, E_DELTA, E_SIGMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairComplaint:
    """What a complaint says."""

    ceremony: bytes
    index: int  # the share of who complains: a helper's, or the lost one
    helper: int
    code: str  # one of CODES
    file: bytes  # digest of what the helper signed
    moment: int  # Unix seconds

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            COMPLAINT,
            {
                "ceremony": self.ceremony.hex(),
                "index": self.index,
                "helper": self.helper,
                "code": self.code,
                "file": self.file.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            helper=fields.integer("helper", low=1, high=MAX_HOLDERS),
            code=fields.choice("code", CODES),
            file=fields.hex_bytes("file", 32),
            moment=take_moment(fields),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOpening:
    """What a helper shows in answer: the key that sealed one ciphertext, used for nothing else."""

    ceremony: bytes
    helper: int
    recipient: int
    ephemeral: bytes  # 32 bytes: the scalar of a P-256 key
    moment: int  # Unix seconds

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            OPENING,
            {
                "ceremony": self.ceremony.hex(),
                "helper": self.helper,
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
            helper=fields.integer("helper", low=1, high=MAX_HOLDERS),
            recipient=fields.integer("recipient", low=1, high=MAX_HOLDERS),
            ephemeral=fields.hex_bytes("ephemeral", 32),
            moment=take_moment(fields),
        )


def open_complaint(
    signed: SignedFile, setting: RepairSetting, index: int, helper: int, what: str = "complaint"
) -> RepairComplaint:
    """Return what somebody complains of.

    Raises:
        CeremonyError: he did not sign it, it is of another repair, or of himself.
        SchemaError: not this format.
    """
    _require_pair(setting, index, helper, what)
    point = setting.card_of(index).body.id_sign
    said = open_statement(signed, COMPLAINT, point, RepairComplaint.take, what)
    if (said.ceremony, said.index, said.helper) != (setting.roster.id, index, helper):
        raise CeremonyError(f"{what}: it is of another repair, or in another's place")
    return said


def open_opening(
    signed: SignedFile, setting: RepairSetting, helper: int, recipient: int, what: str = "opening"
) -> RepairOpening:
    """Return what a helper shows. Raises as `open_complaint`, and where it would open a sum."""
    require_openable(setting, recipient)
    _require_pair(setting, recipient, helper, what)
    point = setting.card_of(helper).body.id_sign
    said = open_statement(signed, OPENING, point, RepairOpening.take, what)
    if (said.ceremony, said.helper, said.recipient) != (setting.roster.id, helper, recipient):
        raise CeremonyError(f"{what}: it is of another repair, or in another's place")
    return said


def judge(
    setting: RepairSetting,
    complaint: RepairComplaint,
    deltas: Mapping[int, CheckedDelta],
    opening: RepairOpening | None,
    *,
    late: bool,
) -> Verdict | None:
    """Judge a complaint; None: the helper has still time, or what it is about is not here.

    Args:
        setting: the repair.
        complaint: of a delta if a helper complains, of a sum if the returning holder does.
        deltas: of every helper that is known.
        opening: the helper's answer.
        late: whether the repair is over, so that no answer is one.
    """
    helper, index = complaint.helper, complaint.index
    name, who = setting.name_of(helper), setting.name_of(index)
    if index == setting.roster.lost:
        return Verdict(
            helper, index, False,
            f"{who} complains of the sum that {name} sealed to him, which nobody else may see: "
            "repair again, with another helper or another token",
            complaint.code,
        )  # fmt: skip
    if helper not in deltas:
        return None
    delta = deltas[helper]
    if complaint.file != delta.digest:
        reason = f"{who} complains of another file than the one that is here"
        return Verdict(helper, index, False, reason)
    if opening is None:
        reason = (
            f"{name} did not answer the complaint of {who} in time; whether he saw it in time no "
            "file can say"
        )
        return Verdict(helper, index, False, reason, "E_OPENING_ABSENT") if late else None
    sealed = delta.ciphertexts[setting.position_of(index)]
    kex, info = setting.card_of(index).body.kex, delta_info(setting.roster.id, helper, index)
    try:
        plain = open_with_scalar(opening.ephemeral, sealed, kex, info, delta.associated_data)
    except SealError as error:
        if error.code == "E_OPENING":
            reason = f"{name} showed a key that is not the one of the ciphertext"
            return Verdict(helper, index, True, reason, error.code)
        reason = f"what {name} sealed to {who} does not open"
        return Verdict(helper, index, True, reason, E_DECRYPT)
    with plain:
        try:
            delta_of(setting, delta, index, plain).wipe()
        except DealError as error:
            return Verdict(helper, index, True, error.message, error.code)
    return Verdict(
        helper, index, False,
        f"what {name} sealed to {who} opens and fits: the complaint is false, or his token is "
        "broken",
    )  # fmt: skip


def require_openable(setting: RepairSetting, recipient: int) -> None:
    """Refuse to show what was sealed to the returning holder.

    Raises:
        CeremonyError: it is a sum, and so for him alone.
    """
    if recipient == setting.roster.lost:
        raise CeremonyError("a sum is never opened: it could give away a helper's share")


def _require_pair(setting: RepairSetting, index: int, helper: int, what: str) -> None:
    """Refuse what nobody of this repair could say of another."""
    setting.position_of(helper)
    if index != setting.roster.lost:
        setting.position_of(index)
    if index == helper:
        raise CeremonyError(f"{what}: nobody complains of what he sealed to himself")

"""A sigma file: a helper's sum of what all helpers sent him, sealed to the returning holder.

With it goes his signature that the new card stands in the place of the lost one; t of them make a
replacement in the group file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.bls.encoding import PublicKey
from signer.ceremony.deal import take_signed
from signer.ceremony.repair_delta import CheckedDelta
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.statement import (
    MAX_PAYLOAD,
    open_statement,
    payload_of,
    payload_type_of,
    take_moment,
)
from signer.errors import CeremonyError
from signer.messages.dsse import SignedFile
from signer.messages.replacement import MAX_PAYLOAD_BYTES, ReplacementBody
from signer.messages.replacement import PAYLOAD_TYPE as REPLACEMENT_TYPE
from signer.p256 import POINT_BYTES
from signer.sealing.envelope import CIPHERTEXT_BYTES
from signer.sealing.hpke import Sealed
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex
from signer.threshold.repairing import sigma_commitment

KIND = "signer-repair-sigma"
PAYLOAD_TYPE = payload_type_of(KIND)
MAX_BYTES = 8192
_INFO = b"signer/repair-sigma/v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaBody:
    """What a helper signs."""

    ceremony: bytes
    helper: int
    transcript: bytes  # the deltas that he has added up
    sealed: Sealed  # for the returning holder
    moment: int  # Unix seconds, by the helper's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            KIND,
            {
                "ceremony": self.ceremony.hex(),
                "helper": self.helper,
                "transcript": self.transcript.hex(),
                "enc": self.sealed.enc.hex(),
                "ciphertext": self.sealed.ciphertext.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            helper=fields.integer("helper", low=1, high=MAX_HOLDERS),
            transcript=fields.hex_bytes("transcript", 32),
            sealed=Sealed(
                fields.hex_bytes("enc", POINT_BYTES),
                fields.hex_bytes("ciphertext", CIPHERTEXT_BYTES),
            ),
            moment=take_moment(fields),
        )


@dataclass(frozen=True, slots=True)
class SigmaFile:
    """A helper's file of the second round. Nothing in it is trusted before `check`."""

    signed: SignedFile
    replacement: SignedFile  # of the statement that all helpers sign

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was signed."""
        return hashlib.sha256(self.signed.payload).digest()

    def check(
        self, setting: RepairSetting, helper: int, transcript: bytes, what: str = "sigma"
    ) -> SigmaBody:
        """Hold it against the repair; return what it says.

        Raises:
            CeremonyError: it is not that helper's; E_TRANSCRIPT: he added up other deltas, or
                signed another statement than this repair's.
        """
        setting.position_of(helper)
        point = setting.card_of(helper).body.id_sign
        body = open_statement(self.signed, KIND, point, SigmaBody.take, what)
        if (body.ceremony, body.helper) != (setting.roster.id, helper):
            raise CeremonyError(f"{what}: it is of another repair, or in another's place")
        if not self.replacement.signed_by(point):
            raise CeremonyError(f"{what}: the statement is not his", code="E_SIGNATURE")
        if self.replacement.payload != statement_of(setting).to_payload():
            raise CeremonyError(f"{what}: his statement is another", code="E_TRANSCRIPT")
        if body.transcript != transcript:
            raise CeremonyError(
                f"{what}: helper {helper} has seen other deltas than these",
                hint="compare the delta files: a helper has signed two, or somebody keeps one back",
                code="E_TRANSCRIPT",
            )
        return body

    def to_json(self) -> dict[str, Any]:
        """Return the file as a JSON object."""
        return {
            "type": KIND,
            "version": 1,
            "signed": self.signed.to_json(),
            "replacement": self.replacement.to_json(),
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "sigma") -> Self:
        """Read the bytes of a file. Proves nothing."""
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        file = cls(
            take_signed(fields, PAYLOAD_TYPE, MAX_PAYLOAD),
            SignedFile.parse(
                fields.take("replacement"), f"{what}: replacement",
                payload_type=REPLACEMENT_TYPE, max_payload=MAX_PAYLOAD_BYTES,
            ),
        )  # fmt: skip
        fields.done()
        return file


def statement_of(setting: RepairSetting) -> ReplacementBody:
    """Return what every helper signs of the new card."""
    roster, group = setting.roster, setting.group
    return ReplacementBody(
        group=group.group_id,
        epoch=group.epoch,
        number=len(group.replacements) + 1,
        index=int(roster.lost),
        card=roster.card.digest,
        ceremony=roster.id,
        amendments=group.amendment_number,
    )


def sigma_info(ceremony: bytes, helper: int, lost: int) -> bytes:
    """Return the HPKE info of the sum from `helper` to the returning holder."""
    return _INFO + ceremony + helper.to_bytes(2, "big") + lost.to_bytes(2, "big")


def expected_sigma(
    setting: RepairSetting, deltas: Mapping[int, CheckedDelta], helper: ShareIndex
) -> PublicKey:
    """Return the commitment of the sum that a helper must come to."""
    helpers = setting.roster.helpers
    rows: Sequence[Sequence[PublicKey]] = [deltas[int(h)].commitments for h in helpers]
    return sigma_commitment(rows, helpers, helper)

"""A sigma file: a helper's sum of what all helpers sent him, sealed to the returning holder.

It names the deltas that were added up, so everybody sees whether all have added up the same ones.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from signer.bls.encoding import PublicKey
from signer.ceremony.repair_delta import CheckedDelta, transcript_over
from signer.ceremony.repair_roster import RepairSetting, each_helper
from signer.ceremony.statement import payload_of, payload_type_of, take_moment
from signer.errors import CeremonyError, EncodingError
from signer.messages.dsse import SignedFile
from signer.p256 import POINT_BYTES
from signer.sealing.envelope import CIPHERTEXT_BYTES
from signer.sealing.hpke import Sealed
from signer.strict import Fields, canonical, encode_base64, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex
from signer.threshold.repairing import sigma_commitment

KIND = "signer-repair-sigma"
PAYLOAD_TYPE = payload_type_of(KIND)
MAX_PAYLOAD = 8192
MAX_BYTES = 16 * 1024
E_ZERO = "E_REPAIR_ZERO"
_DIGEST_BYTES = 32
_INFO = b"signer/repair-sigma/v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaBody:
    """What a helper signs."""

    ceremony: bytes
    helper: int
    deltas: tuple[bytes, ...]  # digests of what he has added up, in the order of the helpers
    sealed: Sealed  # for the returning holder
    moment: int  # Unix seconds, by the helper's clock

    @property
    def transcript(self) -> bytes:
        """The transcript of the deltas that he has added up."""
        return transcript_over(self.ceremony, self.deltas)

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            KIND,
            {
                "ceremony": self.ceremony.hex(),
                "helper": self.helper,
                "deltas": encode_base64(b"".join(self.deltas)),
                "enc": self.sealed.enc.hex(),
                "ciphertext": self.sealed.ciphertext.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def parse(cls, payload: bytes, what: str = "sigma") -> Self:
        """Read a payload strictly. Proves nothing about who wrote it."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        body = cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            helper=fields.integer("helper", low=1, high=MAX_HOLDERS),
            deltas=fields.packed("deltas", of="digests", size=_DIGEST_BYTES, high=MAX_HOLDERS),
            sealed=Sealed(
                fields.hex_bytes("enc", POINT_BYTES),
                fields.hex_bytes("ciphertext", CIPHERTEXT_BYTES),
            ),
            moment=take_moment(fields),
        )
        fields.done()
        return body


@dataclass(frozen=True, slots=True)
class SigmaFile:
    """A helper's file of the second round. Nothing in it is trusted before `opened`."""

    signed: SignedFile

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was signed."""
        return hashlib.sha256(self.signed.payload).digest()

    def opened(self, setting: RepairSetting, helper: int, what: str = "sigma") -> SigmaBody:
        """Return what it says; over which deltas is not looked at.

        Raises:
            CeremonyError: it is not that helper's, or of another repair.
            SchemaError: not this format.
        """
        setting.position_of(helper)
        if not self.signed.signed_by(setting.card_of(helper).body.id_sign):
            raise CeremonyError(
                f"{what}: it is not signed by whom it says", code="E_SIGNATURE",
                hint="ask for the file again, from the holder himself",
            )  # fmt: skip
        body = SigmaBody.parse(self.signed.payload, what)
        if (body.ceremony, body.helper) != (setting.roster.id, helper):
            raise CeremonyError(f"{what}: it is of another repair, or in another's place")
        return body

    def check(
        self,
        setting: RepairSetting,
        helper: int,
        deltas: Mapping[int, CheckedDelta],
        what: str = "sigma",
    ) -> SigmaBody:
        """Hold it against the repair; return what it says.

        Raises:
            CeremonyError: as `opened`; E_TRANSCRIPT: he added up other deltas.
        """
        body = self.opened(setting, helper, what)
        here = digests_of(setting, deltas)
        if body.deltas == here:
            return body
        whose = ", ".join(
            setting.name_of(sender)
            for sender, seen, known in zip(setting.roster.helpers, body.deltas, here, strict=False)
            if seen != known
        )
        raise CeremonyError(
            f"{what}: {setting.name_of(helper)} has seen other deltas than lie here, of "
            f"{whose or 'another number of helpers'}, which need not be his fault: he runs `next` "
            "with this folder, and his desk adds what was shown to him alone",
            hint="then everybody's `next` names the helper who signed two; if he adds none, "
            "compare the delta files with him",
            code="E_TRANSCRIPT",
        )

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.signed.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "sigma") -> Self:
        """Read the bytes of a file. Proves nothing."""
        value = parse_object(raw, what=what, max_bytes=MAX_BYTES)
        return cls(
            SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD)
        )


def digests_of(setting: RepairSetting, deltas: Mapping[int, CheckedDelta]) -> tuple[bytes, ...]:
    """Return what a sum names: the digest of each helper's deltas, in the order of the helpers."""
    return tuple(deltas[int(helper)].digest for helper in setting.roster.helpers)


def sigma_info(ceremony: bytes, helper: int, lost: int) -> bytes:
    """Return the HPKE info of the sum from `helper` to the returning holder."""
    return _INFO + ceremony + helper.to_bytes(2, "big") + lost.to_bytes(2, "big")


def expected_sigma(
    setting: RepairSetting, deltas: Mapping[int, CheckedDelta], helper: ShareIndex
) -> PublicKey:
    """Return the commitment of the sum that a helper must come to.

    Raises:
        CeremonyError: E_REPAIR_ZERO: the deltas for him add up to zero.
    """
    helpers = setting.roster.helpers
    rows: Sequence[Sequence[PublicKey]] = [deltas[int(h)].commitments for h in helpers]
    try:
        return sigma_commitment(rows, helpers, helper)
    except EncodingError:
        raise zero_refusal(setting, helper) from None


def zero_sums(setting: RepairSetting, deltas: Mapping[int, CheckedDelta]) -> tuple[int, ...]:
    """Return the helpers for whom all deltas add up to zero. By chance that never happens.

    Whoever makes it happen has to know every other delta for that helper. So it is he himself, or
    somebody who committed to what he does not know; of him the helper complains.
    """

    def is_zero(helper: int) -> bool:
        try:
            expected_sigma(setting, deltas, ShareIndex(helper))
        except CeremonyError:
            return True
        return False

    return each_helper(setting, is_zero)


def zero_refusal(setting: RepairSetting, helper: int) -> CeremonyError:
    """Return why a repair ends in which the deltas for `helper` add up to zero."""
    return CeremonyError(
        f"the deltas for {setting.name_of(helper)} add up to zero, which nobody could bring about "
        "without knowing what he was sent: he brought it about himself, or somebody committed to "
        "a delta that he does not know, and then his complaint shows it",
        hint="repair again, with another helper in his place; if he complains of a delta, with "
        "another in the place of whom he complains of",
        code=E_ZERO,
    )

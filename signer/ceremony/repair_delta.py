"""A delta file: one helper's term of the lost share, broken into a sealed delta for each helper.

He commits to each delta, so everybody sees whether they add up to the term of his own share, and
each helper sees whether what he was sent is what was committed to.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.bls.encoding import PublicKey
from signer.ceremony.deal import (
    COMMITMENT_BYTES,
    leaves_of,
    sealed_json,
    take_sealed,
    take_signed,
)
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.statement import MAX_MOMENT
from signer.errors import CeremonyError, DealError, EncodingError, InputError
from signer.messages.dsse import SignedFile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed
from signer.strict import (
    Fields,
    canonical,
    encode_base64,
    parse_object,
)
from signer.threshold.params import MAX_HOLDERS, ShareIndex
from signer.threshold.repairing import check_repair_commitments

KIND = "signer-repair-delta"
PAYLOAD_TYPE = "application/vnd.signer.repair-delta.v1+json"
MAX_PAYLOAD = 16 * 1024
MAX_BYTES = 64 * 1024
_INFO = b"signer/repair-delta/v1\x00"
_TRANSCRIPT = b"signer/repair-transcript/v1"
_NOT_HIS = "ask for the file again, from the helper himself"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaBody:
    """What a helper signs. Its points are not decoded: see `check_delta`."""

    ceremony: bytes
    helper: int
    commitments: tuple[bytes, ...]  # 48 bytes each, in the order of the helpers
    ciphertexts_root: bytes
    moment: int  # Unix seconds, by the helper's clock

    @property
    def associated_data(self) -> bytes:
        """What each ciphertext of the file is authenticated with."""
        return hashlib.sha256(b"".join(self.commitments)).digest()

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return canonical(
            {
                "type": KIND,
                "version": 1,
                "ceremony": self.ceremony.hex(),
                "helper": self.helper,
                "commitments": encode_base64(b"".join(self.commitments)),
                "ciphertexts_root": self.ciphertexts_root.hex(),
                "moment": self.moment,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a payload strictly. Proves nothing about who wrote it."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        body = cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            helper=fields.integer("helper", low=1, high=MAX_HOLDERS),
            commitments=fields.packed(
                "commitments", of="points", size=COMMITMENT_BYTES, high=MAX_HOLDERS
            ),
            ciphertexts_root=fields.hex_bytes("ciphertexts_root", 32),
            moment=fields.integer("moment", low=0, high=MAX_MOMENT),
        )
        fields.done()
        return body


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A helper's file of the first round. Nothing in it is trusted yet."""

    signed: SignedFile
    ciphertexts: tuple[Sealed, ...]  # in the order of the helpers

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was signed; the signature itself may be made anew and is left out."""
        return hashlib.sha256(self.signed.payload).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the file as a JSON object."""
        return {
            "type": KIND,
            "version": 1,
            "signed": self.signed.to_json(),
            "ciphertexts": [sealed_json(entry) for entry in self.ciphertexts],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "delta") -> Self:
        """Read the bytes of a file. Proves nothing."""
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        entries = fields.array("ciphertexts", low=1, high=MAX_HOLDERS)
        file = cls(
            take_signed(fields, PAYLOAD_TYPE, MAX_PAYLOAD),
            tuple(
                take_sealed(Fields(entry, f"{what}: ciphertext {number}"))
                for number, entry in enumerate(entries, start=1)
            ),
        )
        fields.done()
        return file


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDelta:
    """A helper's deltas, of which everything holds that can be seen without a secret."""

    helper: ShareIndex
    digest: bytes  # SHA-256 of what was signed
    commitments: tuple[PublicKey, ...]  # in the order of the helpers
    associated_data: bytes
    ciphertexts: tuple[Sealed, ...]
    moment: int


def check_delta(file: DeltaFile, setting: RepairSetting, helper: int) -> CheckedDelta:
    """Check everything of a helper's file that is public.

    Raises:
        CeremonyError: it is not what this helper signed for this repair.
        DealError: E_REPAIR_…: he signed what breaks a rule.
    """
    name, helpers = setting.name_of(helper), setting.roster.helpers
    setting.position_of(helper)
    if not file.signed.signed_by(setting.card_of(helper).body.id_sign):
        raise CeremonyError(f"{name} did not sign it", code="E_SIGNATURE", hint=_NOT_HIS)
    try:
        body = DeltaBody.parse(file.signed.payload, f"the deltas of {name}")
    except InputError as error:
        raise DealError(error.message, dealer=helper, code="E_REPAIR_SCHEMA") from None
    if (body.ceremony, body.helper) != (setting.roster.id, helper):
        raise CeremonyError(
            f"{name} signed it for another repair, or in another place", hint=_NOT_HIS
        )
    if merkle.root(leaves_of(file.ciphertexts)) != body.ciphertexts_root:
        raise CeremonyError(
            f"the ciphertexts are not those that {name} signed for",
            code="E_REPAIR_CIPHERTEXTS",
            hint=_NOT_HIS,
        )
    if len(body.commitments) != len(helpers) or len(file.ciphertexts) != len(helpers):
        raise DealError(
            f"{name} made {len(body.commitments)} deltas and sealed {len(file.ciphertexts)}; "
            f"there are {len(helpers)} helpers",
            dealer=helper,
            code="E_REPAIR_LENGTH",
        )
    try:
        commitments = tuple(PublicKey(entry) for entry in body.commitments)
    except EncodingError as error:
        raise DealError(f"{name}: {error.message}", dealer=helper, code="E_REPAIR_POINT") from None
    index = ShareIndex(int(helper))
    public_share = setting.group.vector.public_share(index)
    if not check_repair_commitments(commitments, public_share, helpers, index, setting.roster.lost):
        raise DealError(
            f"the deltas of {name} do not add up to what his own share gives",
            dealer=helper,
            code="E_REPAIR_COMMITMENTS",
        )
    return CheckedDelta(
        helper=index,
        digest=file.digest,
        commitments=commitments,
        associated_data=body.associated_data,
        ciphertexts=file.ciphertexts,
        moment=body.moment,
    )


def delta_info(ceremony: bytes, helper: int, recipient: int) -> bytes:
    """Return the HPKE info of the delta from `helper` to `recipient`."""
    return _INFO + ceremony + helper.to_bytes(2, "big") + recipient.to_bytes(2, "big")


def transcript_of(setting: RepairSetting, deltas: Mapping[int, CheckedDelta]) -> bytes:
    """Return 32 bytes: the repair, and every helper's deltas as they were signed."""
    digests = [deltas[int(helper)].digest for helper in setting.roster.helpers]
    return transcript_over(setting.roster.id, digests)


def transcript_over(ceremony: bytes, digests: Sequence[bytes]) -> bytes:
    """As `transcript_of`, of digests in the order of the helpers."""
    return hashlib.sha256(b"".join([_TRANSCRIPT, ceremony, *digests])).digest()

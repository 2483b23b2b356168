"""An acknowledgement: a member has sealed his share, opened it again and signed with it.

The proof is a BLS signature under a tag of its own over the certificate's digest: the same message
for everybody, checked under each public share. So any t of the proofs also combine to a signature
of the whole group, which shows that the shares fit together. The envelope goes along: should disk
and token be lost, the spare token opens that copy.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from signer.bls.encoding import Signature
from signer.bls.scheme import verify
from signer.ceremony.certificate import certificate_digest, group_of
from signer.ceremony.checking import Outcome
from signer.ceremony.deal import take_signed
from signer.ceremony.statement import (
    MAX_PAYLOAD,
    open_statement,
    payload_of,
    payload_type_of,
    take_moment,
)
from signer.errors import CeremonyError, EncodingError
from signer.messages.dsse import SignedFile
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES
from signer.sealing.envelope import Envelope
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

KIND = "signer-acknowledgement"
PAYLOAD_TYPE = payload_type_of(KIND)
MAX_BYTES = MAX_ENVELOPE_BYTES + 8192
SHARE_PROOF_DST = b"SIGNER_SHAREPROOF_V1_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgementBody:
    """What a member signs."""

    ceremony: bytes
    certificate: bytes  # digest
    index: int
    share_proof: bytes  # 96 bytes
    envelope_sha256: bytes
    moment: int  # Unix seconds, by the member's clock

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            KIND,
            {
                "ceremony": self.ceremony.hex(),
                "certificate": self.certificate.hex(),
                "index": self.index,
                "share_proof": self.share_proof.hex(),
                "envelope_sha256": self.envelope_sha256.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        return cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            certificate=fields.hex_bytes("certificate", 32),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            share_proof=fields.hex_bytes("share_proof", 96),
            envelope_sha256=fields.hex_bytes("envelope_sha256", 32),
            moment=take_moment(fields),
        )


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A member's file. Nothing in it is trusted before `check`."""

    signed: SignedFile
    envelope: Envelope

    def check(
        self, outcome: Outcome, index: ShareIndex, what: str = "acknowledgement"
    ) -> Signature:
        """Hold it against the ceremony; return the proof.

        Raises:
            CeremonyError: it is not that member's, of another certificate, or proves nothing.
        """
        roster = outcome.setting.roster
        point = roster.members[index - 1].body.id_sign
        body = open_statement(self.signed, KIND, point, AcknowledgementBody.take, what)
        if (body.ceremony, body.index) != (roster.id, int(index)):
            raise CeremonyError(f"{what}: it is of another ceremony, or in another's place")
        if body.certificate != certificate_digest(outcome):
            raise CeremonyError(f"{what}: it is of another certificate", code="E_TRANSCRIPT")
        if body.envelope_sha256 != envelope_digest(self.envelope):
            raise CeremonyError(f"{what}: the envelope is not the one that was acknowledged")
        if self.envelope.binding != group_of(outcome).binding(index):
            raise CeremonyError(f"{what}: the envelope is bound to something else")
        try:
            proof = Signature(body.share_proof)
        except EncodingError as error:
            raise CeremonyError(f"{what}: {error.message}", code="E_SHARE_PROOF") from None
        message = share_proof_message(body.certificate)
        if not verify(outcome.public_shares[index], message, proof, SHARE_PROOF_DST):
            raise CeremonyError(
                f"{what}: it does not prove that {outcome.setting.name_of_member(index)} can sign "
                "with his share",
                hint="he acknowledges anew: `signer ceremony next`",
                code="E_SHARE_PROOF",
            )
        return proof

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        value: dict[str, Any] = {
            "type": KIND,
            "version": 1,
            "signed": self.signed.to_json(),
            "envelope": self.envelope.to_bytes().decode(),
        }
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "acknowledgement") -> Self:
        """Read the bytes of an acknowledgement's file. Proves nothing."""
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        text = fields.string("envelope", pattern=r"[ -~]*\n", max_length=MAX_ENVELOPE_BYTES)
        file = cls(
            take_signed(fields, PAYLOAD_TYPE, MAX_PAYLOAD),
            Envelope.parse(text.encode(), f"{what}: envelope"),
        )
        fields.done()
        if file.envelope.to_bytes() != text.encode():
            raise CeremonyError(f"{what}: the envelope is not in canonical form")
        return file


def share_proof_message(certificate: bytes) -> bytes:
    """Return the 32 bytes that every member signs with his new share."""
    value = {"type": "signer-share-proof", "version": 1, "certificate": certificate.hex()}
    return hashlib.sha256(canonical(value)).digest()


def envelope_digest(envelope: Envelope) -> bytes:
    """Return SHA-256 of the envelope's file."""
    return hashlib.sha256(envelope.to_bytes()).digest()

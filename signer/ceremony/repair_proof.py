"""What the returning holder shows at the end: his share is sealed, opens again, and signs.

The file is an acknowledgement like a ceremony's, over the digest of the repair in the place of a
certificate's. Its envelope says that the share was recovered.
"""

import hashlib

from signer.bls.encoding import Signature
from signer.bls.scheme import verify
from signer.ceremony.acknowledgement import (
    KIND,
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.statement import open_statement
from signer.errors import CeremonyError, EncodingError
from signer.strict import canonical


def repair_digest(setting: RepairSetting, transcript: bytes) -> bytes:
    """Return the 32 bytes that stand for the repair: ceremony and transcript."""
    value = {
        "type": "signer-repair-digest",
        "version": 1,
        "ceremony": setting.roster.id.hex(),
        "transcript": transcript.hex(),
    }
    return hashlib.sha256(canonical(value)).digest()


def check_proof(
    file: Acknowledgement, setting: RepairSetting, transcript: bytes, what: str = "acknowledgement"
) -> AcknowledgementBody:
    """Hold the returning holder's file against the repair; return what it says.

    Raises:
        CeremonyError: it is not his, of another repair, or proves nothing.
    """
    roster = setting.roster
    body = open_statement(
        file.signed, KIND, roster.card.body.id_sign, AcknowledgementBody.take, what
    )
    if (body.ceremony, body.index) != (roster.id, int(roster.lost)):
        raise CeremonyError(f"{what}: it is of another repair, or in another's place")
    if body.certificate != repair_digest(setting, transcript):
        raise CeremonyError(f"{what}: it is of other deltas than these", code="E_TRANSCRIPT")
    if body.envelope_sha256 != envelope_digest(file.envelope):
        raise CeremonyError(f"{what}: the envelope is not the one that was acknowledged")
    if file.envelope.binding != setting.group.binding(roster.lost, recovered=True):
        raise CeremonyError(f"{what}: the envelope is bound to something else")
    if roster.card.body.kex not in file.envelope.recipients:
        raise CeremonyError(f"{what}: the envelope is not for the key on the new card")
    try:
        proof = Signature(body.share_proof)
    except EncodingError as error:
        raise CeremonyError(f"{what}: {error.message}", code="E_SHARE_PROOF") from None
    public_share = setting.group.vector.public_share(roster.lost)
    if not verify(public_share, share_proof_message(body.certificate), proof, SHARE_PROOF_DST):
        raise CeremonyError(
            f"{what}: it does not prove that holder {int(roster.lost)} can sign with his share",
            code="E_SHARE_PROOF",
        )
    return body

"""The orders of a repair: help, add up, put the share together, sign the new card, answer."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony.acknowledgement import (
    PAYLOAD_TYPE as ACKNOWLEDGEMENT_TYPE,
)
from signer.ceremony.acknowledgement import (
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.deal import sealed_json, take_sealed
from signer.ceremony.repair_complaint import (
    COMPLAINT,
    COMPLAINT_TYPE,
    OPENING_TYPE,
    RepairComplaint,
    RepairOpening,
    open_complaint,
    require_openable,
)
from signer.ceremony.repair_delta import (
    PAYLOAD_TYPE,
    DeltaFile,
    check_delta,
    transcript_of,
)
from signer.ceremony.repair_proof import check_proof, repair_digest
from signer.ceremony.repair_replacement import check_replacement, statement_of
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_sigma import PAYLOAD_TYPE as SIGMA_TYPE
from signer.ceremony.repair_sigma import SigmaFile
from signer.ceremony.repairing import (
    E_DECRYPT,
    E_DELTA,
    E_SIGMA,
    Unsealer,
    ephemeral_seed,
    repair_share,
)
from signer.ceremony.repairing import make_delta as deltas_of
from signer.ceremony.repairing import make_sigma as sigma_of
from signer.ceremony.statement import take_statement
from signer.custody.jobs.repair import (
    AddUpDeltas,
    FinishRepair,
    MakeDelta,
    OpenRepair,
    RepairJob,
    ReplaceCard,
)
from signer.custody.worker.dealing import fresh_seed
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.opening import open_share
from signer.custody.worker.repair_files import checked_deltas, checked_sums, setting_of
from signer.errors import DealError, TokenKeyError, UsageError
from signer.hsm.keys import IdentityKey, receiving_key_of
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.messages.card import Card
from signer.messages.replacement import PAYLOAD_TYPE as REPLACEMENT_TYPE
from signer.sealing.envelope import Envelope
from signer.sealing.hpke import open_sealed, seal
from signer.sealing.share import seal_share, unseal_share
from signer.sealing.transit import ephemeral_scalar
from signer.secret import SecretBytes
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare

_SESSION = b"signer/repair-session/v1\x00"
_SEALED_SEED_BYTES = 32 + 16
_HIDDEN = (E_DECRYPT, E_DELTA, E_SIGMA)  # what only the recipient can see


def make_delta(fields: Fields) -> dict[str, Any]:
    """Return the helper's signed deltas with his session seed, sealed to his own token.

    Raises:
        CeremonyError: he is no helper of this repair.
        CardError, SealError: the token or the envelope is not his.
    """
    job = MakeDelta.parse(fields)
    setting = setting_of(job)
    setting.position_of(job.helper)
    card = setting.card_of(job.helper)
    envelope = Envelope.parse(job.envelope.encode())
    if envelope.binding.index != job.helper:
        raise UsageError(f"the envelope is of share {envelope.binding.index}, not {job.helper}")
    with _session_of(job, card) as session:
        identity = identity_on(session, card)
        key = receiving_key_of(session, card.body.kex)
        _, share = open_share(session, envelope, setting.group)
        with share, fresh_seed(session) as seed:
            body, ciphertexts = deltas_of(setting, share, seed, int(time.time()))
            sealed = seal(key.public_point, _session_info(setting), b"", seed, os.urandom)
        file = DeltaFile(sign_file(identity, PAYLOAD_TYPE, body.to_payload()), ciphertexts)
    check_delta(file, setting, job.helper)
    return {"session": sealed_json(sealed), "delta": file.to_bytes().decode()}


def add_up_deltas(fields: Fields) -> dict[str, Any]:
    """Return the helper's sealed sum; or his complaint.

    Raises:
        DealError: a fault that everybody can see; no complaint is needed.
        CeremonyError: files that are not what their helpers signed; E_REPAIR_ZERO: every delta
            holds, and they add up to zero.
    """
    job = AddUpDeltas.parse(fields)
    setting = setting_of(job)
    setting.position_of(job.helper)
    deltas, card = checked_deltas(setting, job.deltas), setting.card_of(job.helper)
    with _session_of(job, card) as session:
        identity = identity_on(session, card)
        key = receiving_key_of(session, card.body.kex)
        try:
            with _opened_seed(job.session, setting, key) as seed:
                unsealer = Unsealer(key.public_point, key.ecdh)
                helper = ShareIndex(job.helper)
                body = sigma_of(setting, deltas, helper, unsealer, seed, int(time.time()))
        except DealError as error:
            digest = deltas[error.dealer].digest if error.dealer in deltas else bytes(32)
            return _complaint(setting, identity, job.helper, error, digest)
        file = SigmaFile(sign_file(identity, SIGMA_TYPE, body.to_payload()))
    file.check(setting, job.helper, deltas)
    return {"sigma": file.to_bytes().decode()}


def finish_repair(fields: Fields) -> dict[str, Any]:
    """Put the share together, seal it, open it on the token, and prove it; or complain.

    Raises:
        SignerError: a file does not hold, or the token is not the returning holder's.
    """
    job = FinishRepair.parse(fields)
    setting = setting_of(job)
    roster, deltas = setting.roster, checked_deltas(setting, job.deltas)
    transcript = transcript_of(setting, deltas)
    files, sigmas = checked_sums(setting, deltas, job.sigmas)
    with session_on(job.token, job.pin, among=[roster.card.body.kex]) as session:
        identity = identity_on(session, roster.card)
        key = receiving_key_of(session, roster.card.body.kex)
        try:
            share = repair_share(setting, deltas, sigmas, Unsealer(key.public_point, key.ecdh))
        except DealError as error:
            digest = files[error.dealer].digest if error.dealer in files else bytes(32)
            return _complaint(setting, identity, int(roster.lost), error, digest)
        with share:
            envelope = _sealed(setting, share)
        file = _proof(setting, session, identity, key, envelope, repair_digest(setting, transcript))
    check_proof(file, setting, transcript)
    return {"acknowledgement": file.to_bytes().decode()}


def replace_card(fields: Fields) -> dict[str, Any]:
    """Return the helper's signature on the new card, if its holder has proved his share.

    Raises:
        CeremonyError: he has not, or a file does not hold.
    """
    job = ReplaceCard.parse(fields)
    setting = setting_of(job)
    setting.position_of(job.helper)
    deltas = checked_deltas(setting, job.deltas)
    checked_sums(setting, deltas, job.sigmas)
    proof = Acknowledgement.parse(job.proof.encode(), "proof")
    check_proof(proof, setting, transcript_of(setting, deltas), "proof")
    card = setting.card_of(job.helper)
    with _session_of(job, card) as session:
        statement = statement_of(setting).to_payload()
        signed = sign_file(identity_on(session, card), REPLACEMENT_TYPE, statement)
    check_replacement(signed, setting, job.helper)
    return {"replacement": signed.to_json()}


def open_repair(fields: Fields) -> dict[str, Any]:
    """Show the ephemeral key of one ciphertext, to whoever has signed a complaint of it.

    Raises:
        CeremonyError: nobody complained, or of what the helper sealed to himself, or of a sum.
    """
    job = OpenRepair.parse(fields)
    setting = setting_of(job)
    require_openable(setting, job.recipient)
    signed = take_statement(job.complaint, COMPLAINT, "complaint")
    open_complaint(signed, setting, job.recipient, job.helper)  # from another than himself
    card = setting.card_of(job.helper)
    with _session_of(job, card) as session:
        identity = identity_on(session, card)
        key = receiving_key_of(session, card.body.kex)
        with (
            _opened_seed(job.session, setting, key) as seed,
            ephemeral_seed(seed, setting.roster.id, job.recipient) as ephemeral,
            ephemeral_scalar(ephemeral) as scalar,
        ):
            said = RepairOpening(
                ceremony=setting.roster.id,
                helper=job.helper,
                recipient=job.recipient,
                ephemeral=bytes(scalar.expose()),  # public from now on
                moment=int(time.time()),
            )
        opening = sign_file(identity, OPENING_TYPE, said.to_payload())
    return {"opening": opening.to_json()}


def _proof(
    setting: RepairSetting,
    session: TokenSession,
    identity: IdentityKey,
    key: ReceivingKey,
    envelope: Envelope,
    digest: bytes,
) -> Acknowledgement:
    """Open what was sealed, on the token, and sign with it."""
    roster = setting.roster
    binding = setting.group.binding(roster.lost, recovered=True)
    with unseal_share(envelope, binding, key.public_point, key.unlock) as plain:
        scalar = SecretScalar.from_big_endian(plain)
    with SecretShare(roster.lost, scalar) as opened:
        opened.verify(setting.group.vector)
        proof = sign(opened.scalar, share_proof_message(digest), SHARE_PROOF_DST)
    said = AcknowledgementBody(
        ceremony=roster.id,
        certificate=digest,
        index=int(roster.lost),
        share_proof=bytes(proof),
        envelope_sha256=envelope_digest(envelope),
        moment=int(time.time()),
    )
    return Acknowledgement(sign_file(identity, ACKNOWLEDGEMENT_TYPE, said.to_payload()), envelope)


def _sealed(setting: RepairSetting, share: SecretShare) -> Envelope:
    """Seal the repaired share to the new token and its spare; it says that it was recovered."""
    body = setting.roster.card.body
    binding = setting.group.binding(share.index, recovered=True)
    recipients = [body.kex, *([body.kex_backup] if body.kex_backup else [])]
    with share.scalar.to_big_endian() as plain:
        return seal_share(plain, binding, recipients, os.urandom)


def _complaint(
    setting: RepairSetting, identity: IdentityKey, index: int, error: DealError, digest: bytes
) -> dict[str, Any]:
    """Return a signed complaint; a fault that everybody can see is raised again instead."""
    if error.code not in _HIDDEN or error.dealer == index:
        raise error
    said = RepairComplaint(
        ceremony=setting.roster.id,
        index=index,
        helper=error.dealer,
        code=error.code,
        file=digest,
        moment=int(time.time()),
    )
    signed = sign_file(identity, COMPLAINT_TYPE, said.to_payload())
    return {
        "complaint": signed.to_json(),
        "helper": error.dealer,
        "code": error.code,
        "reason": error.message,
    }


@contextlib.contextmanager
def _session_of(job: RepairJob, card: Card) -> Iterator[TokenSession]:
    """Yield a session on a helper's own token.

    Raises:
        TokenKeyError: it shows other keys than his card.
    """
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(session_on(job.token, job.pin, among=[card.body.kex]))
        except TokenKeyError as error:
            raise TokenKeyError(
                error.message,
                hint="a helper signs with the token of his card; a spare opens his share but "
                "cannot sign for him: take another helper, or repair his share first",
            ) from None
        yield session


def _session_info(setting: RepairSetting) -> bytes:
    return _SESSION + setting.roster.id


def _opened_seed(session: dict[str, Any], setting: RepairSetting, key: ReceivingKey) -> SecretBytes:
    sealed = take_sealed(Fields(session, "session"), _SEALED_SEED_BYTES)
    return open_sealed(
        sealed.enc, sealed.ciphertext, key.public_point, _session_info(setting), b"", key.ecdh
    )

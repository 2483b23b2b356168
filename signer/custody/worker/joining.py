"""The orders of a ceremony's member: check the deals and agree, finish, recover, destroy."""

import os
import time
from collections.abc import Sequence
from typing import Any

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony import agreement
from signer.ceremony.acknowledgement import (
    PAYLOAD_TYPE,
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.agreement import DEALER, MEMBER, agreement_of
from signer.ceremony.certificate import Certificate, certificate_digest, group_of
from signer.ceremony.checking import (
    CheckedDeal,
    Outcome,
    check_deal,
    check_slim_deal,
    outcome_of,
)
from signer.ceremony.complaint import COMPLAINT_TYPE, HIDDEN, Complaint
from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.dealing import take_share
from signer.ceremony.destruction import PAYLOAD_TYPE as DESTROYED_TYPE
from signer.ceremony.destruction import Destroyed
from signer.ceremony.setting import Setting
from signer.ceremony.union import union_digest
from signer.custody.jobs.ceremony import CheckDeals, DestroyKey, FinishCeremony, ResealShare
from signer.custody.worker.dealing import setting_of
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.opening import open_share
from signer.errors import CeremonyError, DealError, SelfCheckError
from signer.hsm.keys import destroy_receiving_key, identity_key, receiving_key, receiving_keys
from signer.hsm.mechanisms import require_ceremony_mechanisms
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare


def check_deals(fields: Fields) -> dict[str, Any]:
    """Check every deal, and one's own share of each; return the agreement, or a complaint.

    Raises:
        DealError: a fault that everybody can see; no complaint is needed.
        CeremonyError: files that are not what their dealers signed.
    """
    job = CheckDeals.parse(fields)
    setting = setting_of(job)
    member = None if job.member is None else ShareIndex(job.member)
    checked = _checked(job, setting, member)
    statements = [
        SignedFile.parse(value, "bindings", payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS)
        for value in job.bindings
    ]
    outcome = outcome_of(setting, checked, union_digest(setting, checked, statements))
    role, index = (DEALER, job.dealer) if member is None else (MEMBER, int(member))
    if index is None:
        raise CeremonyError("nobody is said to check the deals")
    card = (
        setting.card_of_dealer(index) if member is None else setting.roster.members[int(member) - 1]
    )
    agreements, now = [], int(time.time())
    with session_on(job.token, job.pin, among=[card.body.kex]) as session:
        require_ceremony_mechanisms(session)
        identity = identity_on(session, card)
        if member is not None:
            key = receiving_key(session, [card.body.kex])
            try:
                take_share(outcome, member, key.public_point, key.ecdh).wipe()
            except DealError as error:
                if error.code not in HIDDEN:
                    raise
                complaint = _complaint(outcome, int(member), error)
                signed = sign_file(identity, COMPLAINT_TYPE, complaint.to_payload())
                return {
                    "complaint": signed.to_json(),
                    "dealer": error.dealer,
                    "code": error.code,
                    "reason": error.message,
                }
        said = agreement_of(outcome, role, index, now)
        agreements.append(sign_file(identity, agreement.PAYLOAD_TYPE, said.to_payload()).to_json())
        if member is not None and job.dealer is not None and setting.previous is not None:
            as_dealer = agreement_of(outcome, DEALER, job.dealer, now)
            old = identity_on(session, setting.card_of_dealer(job.dealer))
            agreements.append(
                sign_file(old, agreement.PAYLOAD_TYPE, as_dealer.to_payload()).to_json()
            )
    return {"agreements": agreements, "transcript": outcome.transcript.hex()}


def finish_ceremony(fields: Fields) -> dict[str, Any]:
    """Recompute the share from a certificate, seal it, open it on the token, and prove it.

    The token says which member it is. Returns the envelope and the acknowledgement.

    Raises:
        SignerError: the certificate does not hold, or the token is no member's.
    """
    job = FinishCeremony.parse(fields)
    certificate = Certificate.parse(job.certificate.encode())
    previous = None if job.previous is None else GroupFile.parse(job.previous.encode(), "previous")
    outcome = certificate.outcome(previous)
    group = group_of(outcome)
    kexes = [card.body.kex for card in group.cards]
    with session_on(job.token, job.pin, among=kexes) as session:
        identity = identity_key(session)
        member = certificate.roster.member_of(identity.public_point)
        if member is None:
            raise CeremonyError("this token is no member's of the ceremony")
        body = group.card_of(member).body
        key = receiving_key(session, [body.kex])
        binding = group.binding(member, recovered=job.recovered)
        recipients = [body.kex, *([body.kex_backup] if body.kex_backup else [])]
        with take_share(outcome, member, key.public_point, key.ecdh) as share:
            envelope = _sealed(share, binding, recipients)
        with unseal_share(envelope, binding, key.public_point, key.ecdh) as plain:
            scalar = SecretScalar.from_big_endian(plain)
        with SecretShare(member, scalar) as opened:
            opened.verify(outcome.vector)
            message = share_proof_message(certificate_digest(outcome))
            proof = sign(opened.scalar, message, SHARE_PROOF_DST)
        said = AcknowledgementBody(
            ceremony=certificate.roster.id,
            certificate=certificate_digest(outcome),
            index=int(member),
            share_proof=bytes(proof),
            envelope_sha256=envelope_digest(envelope),
            moment=int(time.time()),
        )
        acknowledgement = Acknowledgement(
            sign_file(identity, PAYLOAD_TYPE, said.to_payload()), envelope
        )
    if not job.recovered:
        acknowledgement.check(outcome, member)
    return {
        "index": int(member),
        "envelope": envelope.to_bytes().decode(),
        "acknowledgement": acknowledgement.to_bytes().decode(),
    }


def reseal_share(fields: Fields) -> dict[str, Any]:
    """Seal the share of an envelope anew, to the same tokens, as recovered."""
    job = ResealShare.parse(fields)
    group = GroupFile.parse(job.group.encode())
    envelope = Envelope.parse(job.envelope.encode())
    with session_on(job.token, job.pin, among=envelope.recipients) as session:
        _, share = open_share(session, envelope, group)
        with share:
            binding = group.binding(share.index, recovered=True)
            sealed = _sealed(share, binding, envelope.recipients)
    return {"index": int(share.index), "envelope": sealed.to_bytes().decode()}


def destroy_key(fields: Fields) -> dict[str, Any]:
    """Destroy the key that opens an old share, if the new sharing is certain to live.

    The complete certificate must be there, and the acknowledgements of all its members.

    Raises:
        CeremonyError: E_TOO_EARLY; nothing was destroyed.
    """
    job = DestroyKey.parse(fields)
    previous = GroupFile.parse(job.previous.encode(), "previous")
    outcome = Certificate.parse(job.certificate.encode()).outcome(previous)
    if outcome.setting.previous is None:
        raise CeremonyError("the certificate replaces no earlier sharing", code="E_TOO_EARLY")
    _require_acknowledged(outcome, job.acknowledgements)
    body = previous.card_of(job.index).body
    if any(body.kex == card.body.kex for card in outcome.setting.roster.members):
        raise CeremonyError(
            "the new share is sealed to the same key", code="E_TOO_EARLY",
            hint="each epoch has a key of its own: signer token card --fresh-key",
        )  # fmt: skip
    target = body.kex_backup if job.spare else body.kex
    if target is None:
        raise CeremonyError("the card shows no spare token's key", code="E_TOO_EARLY")
    with session_on(job.token, job.pin) as session:
        identity = None if job.spare else identity_on(session, previous.card_of(job.index))
        # Absent: it was destroyed before a power cut, and the receipt was not written.
        if job.spare or any(key.public_point == target for key in receiving_keys(session)):
            destroy_receiving_key(session, target)
        if identity is None:
            return {"receipt": None}
        said = Destroyed(
            group=previous.group_id,
            epoch=previous.epoch,
            index=job.index,
            kex=body.kex,
            kex_backup=body.kex_backup,
            successor=certificate_digest(outcome),
            moment=int(time.time()),
        )
        signed = sign_file(identity, DESTROYED_TYPE, said.to_payload())
    return {"receipt": signed.to_json()}


def _require_acknowledged(outcome: Outcome, files: Sequence[tuple[int, str]]) -> None:
    """Refuse unless every new member has opened his share and signed with it."""
    members = {int(index) for index in outcome.setting.roster.indices}
    shown = set()
    for member, text in files:
        if member in members:
            file = Acknowledgement.parse(text.encode(), f"acknowledgement {member}")
            file.check(outcome, ShareIndex(member), f"acknowledgement {member}")
            shown.add(member)
    if missing := sorted(members - shown):
        raise CeremonyError(
            f"members {', '.join(map(str, missing))} have not acknowledged the new shares; with "
            "the old ones gone the key might be lost",
            code="E_TOO_EARLY",
        )


def _checked(job: CheckDeals, setting: Setting, member: ShareIndex | None) -> list[CheckedDeal]:
    if len(job.deals) != len(setting.roster.dealers):
        raise CeremonyError("the deals of all dealers are needed")
    found = []
    for dealer, value in zip(setting.roster.dealers, job.deals, strict=True):
        fields = Fields(value, f"deal {dealer}")
        if "path" in value and member is not None:
            found.append(check_slim_deal(SlimDeal.take(fields), setting, dealer, member))
        else:
            found.append(check_deal(Deal.take(fields), setting, dealer))
    return found


def _complaint(outcome: Outcome, member: int, error: DealError) -> Complaint:
    (deal,) = (deal for deal in outcome.deals if deal.dealer == error.dealer)
    return Complaint(
        ceremony=outcome.setting.roster.id,
        index=member,
        dealer=error.dealer,
        code=error.code,
        deal=deal.digest,
        moment=int(time.time()),
    )


def _sealed(share: SecretShare, binding: Binding, recipients: Sequence[bytes]) -> Envelope:
    """Seal a share at rest.

    Raises:
        SelfCheckError: the binding is of another share.
    """
    if binding.index != int(share.index):
        raise SelfCheckError("the envelope would be bound to another share")
    with share.scalar.to_big_endian() as plain:
        return seal_share(plain, binding, recipients, os.urandom)

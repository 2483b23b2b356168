"""The orders of a ceremony's member: check the deals and agree, finish, recover."""

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
    NO_KEY,
    CheckedDeal,
    check_deal,
    check_slim_deal,
    outcome_of,
)
from signer.ceremony.complaint import COMPLAINT_TYPE, HIDDEN, Complaint
from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.dealing import check_parts, take_share
from signer.ceremony.setting import Setting
from signer.ceremony.union import union_digest
from signer.custody.jobs.ceremony import CheckDeals, FinishCeremony
from signer.custody.worker.dealing import setting_of
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.resealing import recipients_of, seal_at_rest
from signer.errors import CeremonyError, DealError
from signer.hsm.keys import identity_key, receiving_key_of
from signer.hsm.mechanisms import require_ceremony_mechanisms
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.sealing.share import unseal_share
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
    outcome, no_key = None, None
    try:
        outcome = outcome_of(setting, checked, union_digest(setting, checked, statements))
    except CeremonyError as error:
        if error.code != NO_KEY or member is None:
            raise
        no_key = error  # whoever brought it about has dealt shares that do not fit
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
            key = receiving_key_of(session, card.body.kex)
            try:
                if outcome is None:
                    check_parts(setting, checked, member, key.public_point, key.ecdh)
                else:
                    take_share(outcome, member, key.public_point, key.ecdh).wipe()
            except DealError as error:
                if error.code not in HIDDEN:
                    raise
                complaint = _complaint(setting, checked, int(member), error)
                signed = sign_file(identity, COMPLAINT_TYPE, complaint.to_payload())
                return {
                    "complaint": signed.to_json(),
                    "dealer": error.dealer,
                    "code": error.code,
                    "reason": error.message,
                }
        if outcome is None:
            raise no_key or CeremonyError("the deals add up to no key", code=NO_KEY)
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
        key = receiving_key_of(session, body.kex)
        binding = group.binding(member, recovered=job.recovered)
        with take_share(outcome, member, key.public_point, key.ecdh) as share:
            envelope = seal_at_rest(share, binding, recipients_of(body))
        with unseal_share(envelope, binding, key.public_point, key.unlock) as plain:
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


def _complaint(
    setting: Setting, deals: Sequence[CheckedDeal], member: int, error: DealError
) -> Complaint:
    (deal,) = (deal for deal in deals if deal.dealer == error.dealer)
    return Complaint(
        ceremony=setting.roster.id,
        index=member,
        dealer=error.dealer,
        code=error.code,
        deal=deal.digest,
        moment=int(time.time()),
    )

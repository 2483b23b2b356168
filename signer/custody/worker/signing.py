"""The order to sign a batch.

Nothing the agent says is believed here: roots are computed again from the typed fields, role and
policy are checked again, and the envelope opens only under exactly the network, role, key, epoch,
index, public share, first policy and holders that the order names.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signer.bls.encoding import PublicKey
from signer.bls.scalar import SecretScalar
from signer.custody.anchor import Anchor
from signer.custody.jobs.shares import SignBatch
from signer.custody.journal_tail import links_backwards
from signer.custody.worker.agreement import agreed_policy, binding_of
from signer.custody.worker.anchoring import (
    Share,
    advance,
    is_anchored,
    require_intent,
    serial_digest,
)
from signer.custody.worker.desk_token import session_on
from signer.errors import DeniedError
from signer.hsm.keys import identity_key, receiving_key
from signer.hsm.session import TokenSession
from signer.messages.dsse import SignedFile, key_id_of, pre_authentication_encoding
from signer.messages.items import ROLE_OF_KIND
from signer.messages.request import SignRequest
from signer.messages.witness import PAYLOAD_TYPE, Witness, digest_of_partials
from signer.policy.ruling import rule_on
from signer.sealing.envelope import Envelope
from signer.sealing.share import unseal_share
from signer.strict import Fields
from signer.threshold.partial import sign_partials


def sign_batch(fields: Fields) -> dict[str, Any]:
    """Sign the items of the request that are not to be skipped, and check the partials."""
    job = SignBatch.parse(fields)
    request = SignRequest.parse(job.request.encode())
    roots = _roots(job, request)
    envelope = Envelope.parse(job.envelope.encode())
    binding = binding_of(job, recovered=envelope.binding.recovered)
    public_share = PublicKey(job.public_share)
    with session_on(job.token, job.pin, among=envelope.recipients) as session:
        key = receiving_key(session, envelope.recipients)
        record = _newest_record(session, job, binding.group, request.digest)
        opened = time.monotonic()
        with unseal_share(envelope, binding, key.public_point, key.unlock) as plain:
            scalar = SecretScalar.from_big_endian(plain)
        with scalar:
            signed = sign_partials(
                scalar, roots, public_share, random_bytes=os.urandom, threads=job.threads
            )
        milliseconds = int(1000 * (time.monotonic() - opened)) + 1
        partials = [bytes(partial) for partial in signed]
        ours = iter(partials)
        of_items = [None if p in job.skip else next(ours) for p in range(len(request.items))]
        witness = _witness(session, job, binding.group, request.digest, record, of_items)
        anchored_on = serial_digest(session).hex() if job.anchor == "token" else None
    return {
        "partials": [partial.hex() for partial in partials],
        "witness": witness.to_json(),
        "anchored_on": anchored_on,
        "serial": session.token.serial,
        "unsealed_milliseconds": milliseconds,
    }


def _newest_record(session: TokenSession, job: SignBatch, group: bytes, digest: bytes) -> Anchor:
    """Make sure of the journal, move the token's anchor, return the INTENT's place in it.

    Raises:
        JournalError: E_JOURNAL or E_ROLLBACK; nothing may be unsealed.
        AnchorError: E_ANCHOR; the same.
    """
    share = Share(group, job.index)
    if job.anchor == "token" or is_anchored(session, share):  # whatever the order says
        return advance(session, share, job.journal, job.anchored_serials, digest)
    last = require_intent(links_backwards(Path(job.journal)), digest)
    return Anchor(last.sequence, last.head)


def _witness(
    session: TokenSession,
    job: SignBatch,
    group: bytes,
    request_digest: bytes,
    record: Anchor,
    partials: Sequence[bytes | None],  # one for each item of the request
) -> SignedFile:
    """Have the holder's identity key say what was signed, and under which record."""
    witness = Witness(
        group=group,
        epoch=job.epoch,
        index=job.index,
        sequence=record.sequence,
        head=record.head,
        request_digest=request_digest,
        partials_sha256=digest_of_partials(partials),
        moment=int(time.time()),
    )
    identity = identity_key(session)
    payload = witness.to_payload()
    signature = identity.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return SignedFile(PAYLOAD_TYPE, payload, key_id_of(identity.public_point), signature)


def _roots(job: SignBatch, request: SignRequest) -> list[bytes]:
    """Check role and policy again and return the roots of the items to be signed.

    Raises:
        DeniedError: the agent let through what the agreed policy does not allow.
        PolicyError: the order's policy is not one that the holders agreed on.
    """
    if ROLE_OF_KIND[request.kind] != job.role:
        raise DeniedError(f"a {job.role} key does not sign {request.kind}", code="E_ROLE")
    policy = agreed_policy(job)
    group_public_key = PublicKey(job.group_public_key)
    roots = request.signing_roots(job.network, group_public_key)
    chosen = []
    for position, item in enumerate(request.items):
        if position in job.skip:
            continue
        ruling = rule_on(item, policy)
        if not ruling.allowed:
            raise DeniedError(ruling.why, code=ruling.code)
        chosen.append(roots[position])
    return chosen

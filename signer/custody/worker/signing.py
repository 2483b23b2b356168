"""The order to sign a batch.

Nothing the agent says is believed here: roots are computed again from the typed fields, role and
allow list are checked again, and the envelope opens only under exactly the network, role, key,
epoch, index, public share and policy that the order names.
"""

import os
import time
from typing import Any

from signer.bls.encoding import PublicKey
from signer.bls.scalar import SecretScalar
from signer.custody.jobs.shares import SignBatch
from signer.custody.worker.desk_token import session_on
from signer.errors import DeniedError
from signer.hsm.keys import receiving_key
from signer.messages.group_id import group_id_of
from signer.messages.request import SignRequest
from signer.policy.decision import ROLE_OF_KIND
from signer.policy.policy import Policy
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import unseal_share
from signer.strict import Fields
from signer.threshold.partial import sign_partials


def sign_batch(fields: Fields) -> dict[str, Any]:
    """Sign the items of the request that are not to be skipped, and check the partials."""
    job = SignBatch.parse(fields)
    request = SignRequest.parse(job.request.encode())
    roots = _roots(job, request)
    envelope = Envelope.parse(job.envelope.encode())
    public_share = PublicKey(job.public_share)
    with session_on(job.token, job.pin) as session:
        key = receiving_key(session, envelope.recipients)
        opened = time.monotonic()
        with unseal_share(envelope, _binding(job), key.public_point, key.ecdh) as plain:
            scalar = SecretScalar.from_big_endian(plain)
    with scalar:
        partials = sign_partials(
            scalar, roots, public_share, random_bytes=os.urandom, threads=job.threads
        )
    milliseconds = int(1000 * (time.monotonic() - opened)) + 1
    return {
        "partials": [bytes(partial).hex() for partial in partials],
        "unsealed_milliseconds": milliseconds,
    }


def _binding(job: SignBatch) -> Binding:
    """Return the binding that the order's own words amount to."""
    return Binding(
        group=group_id_of(job.network, job.role, job.group_public_key),
        epoch=job.epoch,
        index=job.index,
        public_share=job.public_share,
        role=job.role,
        policy_digest=Policy.parse(job.policy).digest,
    )


def _roots(job: SignBatch, request: SignRequest) -> list[bytes]:
    """Check role and allow list again and return the roots of the items to be signed.

    Raises:
        DeniedError: the agent let through what the agreed policy does not allow.
    """
    if ROLE_OF_KIND[request.kind] != job.role:
        raise DeniedError(f"a {job.role} key does not sign {request.kind}", code="E_ROLE")
    policy = Policy.parse(job.policy)
    group_public_key = PublicKey(job.group_public_key)
    roots = request.signing_roots(job.network, group_public_key)
    chosen = []
    for position, (_, address) in enumerate(request.items):
        if position in job.skip:
            continue
        if not policy.allows(address):
            raise DeniedError("the address is not one the policy allows", code="E_TARGET")
        chosen.append(roots[position])
    return chosen

"""Which policy the holders agreed on, as a worker finds out that believes nothing the agent says.

The envelope opens only under the first policy digest and the holders' identity keys that the order
names. So those are true, or nothing is opened; and from there the holders' own signatures lead to
the policy in force. Where a share was repaired, t holders have signed the card that stands in the
place of the lost one: an agent cannot slip in a key of its own. An agent that hides a newer
amendment is not found out here: an honest one records the number in its journal and refuses to go
back.
"""

from signer.custody.jobs.shares import SignBatch
from signer.errors import PolicyError
from signer.messages.group_id import group_id_of, holders_digest
from signer.policy.policy import Policy
from signer.sealing.envelope import Binding


def agreed_policy(job: SignBatch) -> Policy:
    """Return the policy of the order, if the holders that the order names agreed on it.

    Raises:
        PolicyError: E_POLICY: they did not all sign it, or it is not the last one they signed.
        GroupFileError: fewer than t of them signed a replacement.
    """
    policy = Policy.parse(job.policy)
    expected = job.first_policy_digest
    changes = _changes(job) if job.replacements else ()
    if job.amendments:
        from signer.messages.amendment import Chain  # and with it ECDSA: only when there are any

        chain = Chain(
            group=group_id_of(job.network, job.role, job.group_public_key),
            epoch=job.epoch,
            first_policy_digest=job.first_policy_digest,
            holders=job.holders,
            changes=changes,
        )
        expected = chain.parse(job.amendments)[-1].policy_digest
    if policy.digest != expected:
        raise PolicyError("the policy of the order is not the one in force")
    return policy


def _changes(job: SignBatch) -> tuple[tuple[int, tuple[bytes, ...]], ...]:
    """Return whose signatures count since shares were repaired, as t holders each time signed."""
    from signer.messages.replacement import Succession

    succession = Succession(
        group=group_id_of(job.network, job.role, job.group_public_key),
        epoch=job.epoch,
        threshold=job.threshold,
        holders=job.holders,
    )
    return succession.changes(succession.parse(job.replacements))


def binding_of(job: SignBatch, *, recovered: bool) -> Binding:
    """Return the binding that the order's own words amount to.

    Args:
        job: the order.
        recovered: what the envelope says of itself; it opens only if that is so.
    """
    return Binding(
        group=group_id_of(job.network, job.role, job.group_public_key),
        epoch=job.epoch,
        index=job.index,
        public_share=job.public_share,
        role=job.role,
        policy_digest=job.first_policy_digest,
        holders=holders_digest(job.threshold, job.holders),
        certificate=job.certificate,
        recovered=recovered,
    )

"""The order to prove a share: it opens on this token and lies on the group's polynomial."""

from typing import Any

from signer.bls.scalar import SecretScalar
from signer.custody.jobs.shares import VerifyShare
from signer.custody.worker.desk_token import session_on
from signer.errors import CardError, SealError
from signer.hsm.keys import identity_key, receiving_key
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.sealing.share import require_binding, unseal_share
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare


def verify_share(fields: Fields) -> dict[str, Any]:
    """Open the envelope on the token and hold the share against the group's vector."""
    job = VerifyShare.parse(fields)
    group = GroupFile.parse(job.group.encode())
    envelope = Envelope.parse(job.envelope.encode())
    if not 1 <= envelope.binding.index <= group.threshold.n:
        raise SealError(
            f"the envelope is for share {envelope.binding.index}, which this group does not have",
            code="E_ENVELOPE",
        )
    index = ShareIndex(envelope.binding.index)
    expected = group.binding(index)
    require_binding(envelope.binding, expected)  # before a PIN is spent on it
    with session_on(job.token, job.pin) as session:
        key = receiving_key(session, envelope.recipients)
        with unseal_share(envelope, expected, key.public_point, key.ecdh) as plain:
            scalar = SecretScalar.from_big_endian(plain)
        identity = identity_key(session).public_point
    with SecretShare(index, scalar) as share:
        share.verify(group.vector)
    _require_own_card(group, index, key.public_point, identity)
    return {"index": int(index)}


def _require_own_card(group: GroupFile, index: ShareIndex, kex: bytes, id_sign: bytes) -> None:
    """Refuse a group file that shows another card than this token's for this share.

    Raises:
        CardError: the dealer had, or the file was given, another card.
    """
    card = group.card_of(index).body
    if (card.kex, card.id_sign) != (kex, id_sign):
        raise CardError(
            f"the group file's card of share {int(index)} ({card.name}) is not of this token",
            hint="compare cards and fingerprints with the dealer; do not use this group file",
        )

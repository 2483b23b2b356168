"""Another slot for an envelope: a second token that opens the same share."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from signer.errors import SealError
from signer.sealing.envelope import MAX_SLOTS, Envelope
from signer.sealing.share import Wrap, seal_share
from signer.secret import SecretBytes


def require_room(envelope: Envelope, recipient: bytes) -> None:
    """Refuse a slot that the envelope cannot take, before a PIN is spent on it.

    Raises:
        SealError: E_ENVELOPE: it is full, or the key has its slot already.
    """
    if recipient in envelope.recipients:
        raise SealError(
            "the envelope has a slot for this token's key already",
            hint="prove it: `signer share verify --card`",
            code="E_ENVELOPE",
        )
    if len(envelope.slots) >= MAX_SLOTS:
        raise SealError(
            f"the envelope has {MAX_SLOTS} slots, which is all it can have", code="E_ENVELOPE"
        )


def add_slot(
    envelope: Envelope,
    share: SecretBytes,
    recipient: bytes,
    random_bytes: Callable[[int], bytes],
    wraps: Mapping[bytes, Wrap] = MappingProxyType({}),
) -> Envelope:
    """Return `envelope` sealed anew with one slot more: every slot knows of all of them.

    Args:
        envelope: that `share` was unsealed from.
        share: 32 bytes.
        recipient: the public point of the token key that shall open it too.
        random_bytes: a cryptographic source.
        wraps: see `seal_share`.

    Raises:
        EncodingError: `recipient` is not a point of P-256.
        SealError: E_ENVELOPE: see `require_room`.
    """
    require_room(envelope, recipient)
    recipients = [*envelope.recipients, recipient]
    return seal_share(share, envelope.binding, recipients, random_bytes, wraps)

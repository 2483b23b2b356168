"""A share into its envelope, and out again with the token's help."""

from collections.abc import Callable, Sequence
from dataclasses import fields

from signer.errors import SealError
from signer.sealing import hpke
from signer.sealing.envelope import (
    MAX_SLOTS,
    METHODS,
    SHARE_BYTES,
    Binding,
    Envelope,
    Slot,
    key_fingerprint,
)
from signer.secret import SecretBytes
from signer.strict import canonical

_INFO = b"signer/envelope/v4"
_WRONG_FILE = "take the envelope that belongs to this group file"


def seal_share(
    share: SecretBytes,
    binding: Binding,
    recipients: Sequence[bytes],
    random_bytes: Callable[[int], bytes],
) -> Envelope:
    """Seal a 32-byte share to one to four token keys, given by their public points.

    Raises:
        EncodingError: a recipient is not a point of P-256.
        SealError: E_ENVELOPE: no recipient, too many, or one of them twice.
    """
    if len(share) != SHARE_BYTES:
        raise ValueError(f"a share has {SHARE_BYTES} bytes, not {len(share)}")
    if not 1 <= len(recipients) <= MAX_SLOTS or len(set(recipients)) != len(recipients):
        raise SealError(
            f"an envelope is for 1 to {MAX_SLOTS} different token keys", code="E_ENVELOPE"
        )
    method = METHODS[0]
    aad = _associated_data(binding, [(method, recipient) for recipient in recipients])
    slots = []
    for recipient in recipients:
        sealed = hpke.seal(recipient, _INFO, aad, share, random_bytes)
        slots.append(Slot(method, recipient, sealed.enc, sealed.ciphertext))
    if len({slot.enc for slot in slots}) != len(slots):
        raise SealError("the random source repeats itself; nothing was written")
    return Envelope(binding, tuple(slots))


def unseal_share(
    envelope: Envelope,
    expected: Binding,
    recipient_point: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> SecretBytes:
    """Return the 32-byte share, if `envelope` is the `expected` one and this token opens it.

    Raises:
        SealError: E_ENVELOPE: of another group, epoch, index, …, or for other tokens. E_UNSEAL: an
            altered envelope, or one that has lost or got a slot.
    """
    require_binding(envelope.binding, expected)
    slot = next((slot for slot in envelope.slots if slot.recipient == recipient_point), None)
    if slot is None:
        theirs = ", ".join(key_fingerprint(point) for point in envelope.recipients)
        raise SealError(
            f"the envelope is for token key {theirs}; this token's is "
            f"{key_fingerprint(recipient_point)}",
            hint="plug in the token that the share was sealed to",
            code="E_ENVELOPE",
        )
    return hpke.open_sealed(
        slot.enc,
        slot.ciphertext,
        recipient_point,
        _INFO,
        _associated_data(expected, [(slot.method, slot.recipient) for slot in envelope.slots]),
        ecdh,
    )


def require_binding(found: Binding, expected: Binding) -> None:
    """Compare field by field before the token is asked, to say which one differs."""
    for field in fields(Binding):
        ours, theirs = getattr(expected, field.name), getattr(found, field.name)
        if ours != theirs:
            raise SealError(
                f"envelope: field {field.name!r} is {_short(theirs)}, {_short(ours)} is expected",
                hint=_WRONG_FILE,
                code="E_ENVELOPE",
            )


def _associated_data(binding: Binding, slots: Sequence[tuple[str, bytes]]) -> bytes:
    """Return what every slot is sealed under: the binding, and whom all slots are for.

    So a slot that was added, cut off or exchanged is noticed by whoever opens another one.
    """
    listed = [{"method": method, "recipient": recipient.hex()} for method, recipient in slots]
    return canonical(binding.to_json() | {"type": "signer-envelope/v4", "slots": listed})


def _short(value: bytes | int | str) -> str:
    return value.hex()[:16] + "…" if isinstance(value, bytes) else str(value)

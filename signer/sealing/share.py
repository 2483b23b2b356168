"""A share into its envelope, and out again with the token's help."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from types import MappingProxyType
from typing import Protocol

from signer.errors import SealError
from signer.recipient import AES_256_GCM, HPKE_P256, method_of
from signer.sealing import hpke
from signer.sealing.envelope import (
    MAX_SLOTS,
    SHARE_BYTES,
    Binding,
    Envelope,
    Slot,
    key_fingerprint,
)
from signer.sealing.wrapped import oaep_wrap, open_wrapped, seal_wrapped
from signer.secret import SecretBytes
from signer.strict import canonical

_INFO = b"signer/envelope/v4"
Wrap = Callable[[SecretBytes, bytes], bytes]  # key of 32 bytes, associated data: wrapped key


class Unlock(Protocol):
    """A token's own step: ECDH with an ephemeral point, or the unwrapping of a key."""

    def __call__(self, enc: bytes, aad: bytes) -> SecretBytes:
        """Return 32 bytes. ECDH and OAEP have no use for `aad`.

        Raises:
            SealError: E_UNSEAL: it does not unwrap.
            TokenError: the token refused, or gave a result of another length.
        """


_WRONG_FILE = "take the envelope that belongs to this group file"


def seal_share(
    share: SecretBytes,
    binding: Binding,
    recipients: Sequence[bytes],
    random_bytes: Callable[[int], bytes],
    wraps: Mapping[bytes, Wrap] = MappingProxyType({}),
) -> Envelope:
    """Seal a 32-byte share to one to four token keys.

    Args:
        share: the share.
        binding: what it is a share of.
        recipients: the keys, as `signer.recipient` has them.
        random_bytes: a cryptographic source.
        wraps: by recipient, what wraps a key on the token itself, where only the token can.

    Raises:
        EncodingError: a recipient is no key.
        SealError: E_ENVELOPE: no recipient, too many, one of them twice, or one whose token has to
            be there to seal to it.
    """
    if len(share) != SHARE_BYTES:
        raise ValueError(f"a share has {SHARE_BYTES} bytes, not {len(share)}")
    if not 1 <= len(recipients) <= MAX_SLOTS or len(set(recipients)) != len(recipients):
        raise SealError(
            f"an envelope is for 1 to {MAX_SLOTS} different token keys", code="E_ENVELOPE"
        )
    methods = [method_of(recipient) for recipient in recipients]
    aad = _associated_data(binding, list(zip(methods, recipients, strict=True)))
    slots = []
    for method, recipient in zip(methods, recipients, strict=True):
        if method == HPKE_P256:
            sealed = hpke.seal(recipient, _INFO, aad, share, random_bytes)
        else:
            wrap = wraps.get(recipient) or _wrap_for(recipient)
            sealed = seal_wrapped(recipient, _INFO, aad, share, random_bytes, wrap)
        slots.append(Slot(method, recipient, sealed.enc, sealed.ciphertext))
    if len({slot.enc for slot in slots}) != len(slots):
        raise SealError("the random source repeats itself; nothing was written")
    return Envelope(binding, tuple(slots))


def unseal_share(
    envelope: Envelope,
    expected: Binding,
    recipient: bytes,
    unlock: Unlock,
) -> SecretBytes:
    """Return the 32-byte share, if `envelope` is the `expected` one and this token opens it.

    Args:
        envelope: public.
        expected: what it must be a share of.
        recipient: the token's key.
        unlock: the token's own step.

    Raises:
        SealError: E_ENVELOPE: of another group, epoch, index, …, or for other tokens. E_UNSEAL: an
            altered envelope, or one that has lost or got a slot.
    """
    require_binding(envelope.binding, expected)
    slot = next((slot for slot in envelope.slots if slot.recipient == recipient), None)
    if slot is None:
        theirs = ", ".join(key_fingerprint(point) for point in envelope.recipients)
        raise SealError(
            f"the envelope is for token key {theirs}; this token's is {key_fingerprint(recipient)}",
            hint="plug in the token that the share was sealed to",
            code="E_ENVELOPE",
        )
    aad = _associated_data(expected, [(slot.method, slot.recipient) for slot in envelope.slots])
    if slot.method == HPKE_P256:
        ecdh = partial(unlock, aad=aad)
        return hpke.open_sealed(slot.enc, slot.ciphertext, recipient, _INFO, aad, ecdh)
    return open_wrapped(hpke.Sealed(slot.enc, slot.ciphertext), recipient, _INFO, aad, unlock)


def _wrap_for(recipient: bytes) -> Wrap:
    if method_of(recipient) == AES_256_GCM:
        raise SealError(
            f"token key {key_fingerprint(recipient)} is an AES key: only its own token can seal to "
            "it",
            hint="take a token that others can seal to: one with ECDH on P-256, or RSA-OAEP",
            code="E_ENVELOPE",
        )
    return oaep_wrap(recipient)


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

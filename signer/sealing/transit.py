"""One secret on its way from a dealer to a token key, and opened in public when they fall out.

Everything random comes from a seed of the dealer's, so he can make the same ciphertext again, and
can later publish the ephemeral key of one recipient: whoever holds it opens that one ciphertext and
no other. HPKE itself (RFC 9180) is in `signer.sealing.hpke`; what `info` and `aad` bind, and who
signed, is the caller's business.
"""

from collections.abc import Callable

from signer.errors import SealError
from signer.sealing import hpke
from signer.sealing.ephemeral import derive_scalar, exchange, is_private_key, load_private
from signer.sealing.hpke import Sealed
from signer.secret import SecretBytes

E_OPENING = "E_OPENING"  # the published scalar is not that of the ephemeral key
SEED_BYTES = 32


def seal_in_transit(
    recipient: bytes, plaintext: SecretBytes, info: bytes, aad: bytes, ephemeral_seed: SecretBytes
) -> Sealed:
    """Seal `plaintext` to a token key; the same arguments give the same bytes.

    Args:
        recipient: 65-byte point of the token's receiving key.
        plaintext: stays as it is.
        info: binds the ciphertext; not secret.
        aad: the same.
        ephemeral_seed: 32 bytes for this recipient and this plaintext only.

    Raises:
        EncodingError: `recipient` is not a point of P-256.
    """
    _require_seed(ephemeral_seed)
    return hpke.seal_from_seed(recipient, info, aad, plaintext, ephemeral_seed)


def open_in_transit(
    recipient: bytes,
    sealed: Sealed,
    info: bytes,
    aad: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> SecretBytes:
    """Open what was sealed to `recipient`. `ecdh(enc)` is the token's 32-byte raw result.

    Raises:
        SealError: E_UNSEAL: any bit of it, of `info` or of `aad` differs, or it was sealed to
            another key.
    """
    return hpke.open_sealed(sealed.enc, sealed.ciphertext, recipient, info, aad, ecdh, _unsealable)


def ephemeral_scalar(ephemeral_seed: SecretBytes) -> SecretBytes:
    """Return the ephemeral private key of a seed, 32 bytes big-endian, for an opening.

    Once published, everybody reads what was sealed with this seed.
    """
    _require_seed(ephemeral_seed)
    return derive_scalar(ephemeral_seed)


def open_with_scalar(
    scalar: bytes, sealed: Sealed, recipient: bytes, info: bytes, aad: bytes
) -> SecretBytes:
    """Open with the published ephemeral key, as the token of `recipient` would have opened it.

    Args:
        scalar: 32 bytes big-endian, no secret any more.
        sealed: what the dealer sent.
        recipient: 65-byte point of the token's receiving key.
        info: as when it was sealed.
        aad: the same.

    Raises:
        EncodingError: `recipient` is not a point of P-256.
        SealError: E_OPENING: the scalar is zero, not below the order, or not that of `enc`: proves
            that who published it did not open. E_UNSEAL: it is, and the ciphertext is still not of
            this `info`, this `aad` and this recipient: proves the dealer wrong.
    """
    hpke.require_point(recipient, "the recipient's key")
    with SecretBytes(scalar) as candidate:
        if len(candidate) != SEED_BYTES or not is_private_key(candidate):
            raise _no_opening()
        enc, dh = exchange(recipient, load_private(candidate))
    if enc != sealed.enc:
        dh.wipe()
        raise _no_opening()
    return open_in_transit(recipient, sealed, info, aad, lambda _: dh)


def _require_seed(seed: SecretBytes) -> None:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"an ephemeral seed has {SEED_BYTES} bytes, not {len(seed)}")


def _unsealable() -> SealError:
    return SealError(
        "the ciphertext does not open: it was altered, or was sealed for another ceremony, dealer "
        "or recipient"
    )


def _no_opening() -> SealError:
    return SealError(
        "the opening is not the private key of the ciphertext's ephemeral key", code=E_OPENING
    )

"""HPKE, base mode, one message: RFC 9180 with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

Sealing needs no token. Opening takes the token's raw ECDH as a function, so a private key that
cannot leave its token is enough. Who sealed is not proved here: in base mode anybody can seal.

Secrets sit in wiped buffers where the libraries allow. HMAC and ECDH return `bytes`, which Python
frees without wiping; all of them are of use for this one message only.
"""

from collections.abc import Callable
from dataclasses import dataclass

from signer.errors import EncodingError, SealError
from signer.p256 import POINT_BYTES, is_point
from signer.sealing.aead import NONCE_BYTES, TAG_BYTES, decrypt, encrypt
from signer.sealing.labeled import KEM_SUITE, SECRET_BYTES, expand, extract
from signer.secret import SecretBytes

_HPKE_SUITE = b"HPKE" + bytes.fromhex("0010 0001 0002")
_MODE_BASE = b"\x00"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What travels: the ephemeral public point and the ciphertext with its tag."""

    enc: bytes  # 65 bytes
    ciphertext: bytes  # plaintext length + 16


def unsealable() -> SealError:
    """Return what is said of an envelope that does not open."""
    return SealError(
        "cannot unseal: it was altered, or is not meant for this token and this group",
        hint="take the envelope from your backup, and check which token is plugged in",
    )


def require_point(point: bytes, what: str) -> None:
    """Check that `point` is an uncompressed point of P-256; infinity has no such form.

    Raises:
        EncodingError: wrong length or form, or not on the curve.
    """
    if not is_point(point):
        raise EncodingError(f"{what}: not an uncompressed point of P-256 ({POINT_BYTES} bytes)")


def seal(
    recipient_point: bytes,
    info: bytes,
    aad: bytes,
    plaintext: SecretBytes,
    random_bytes: Callable[[int], bytes],
) -> Sealed:
    """Seal `plaintext` to the holder of `recipient_point`.

    Raises:
        EncodingError: `recipient_point` is not a point of P-256.
    """
    with SecretBytes.take(bytearray(random_bytes(SECRET_BYTES))) as seed:
        return seal_from_seed(recipient_point, info, aad, plaintext, seed)


def seal_from_seed(
    recipient_point: bytes, info: bytes, aad: bytes, plaintext: SecretBytes, seed: SecretBytes
) -> Sealed:
    """Do what `seal` does with the ephemeral key of a 32-byte `seed`: the same bytes each time.

    One seed, one message: two plaintexts under one seed would share key and nonce.

    Raises:
        EncodingError: `recipient_point` is not a point of P-256.
    """
    # Software keys cost 10 ms to import, and a worker that signs only opens.
    from signer.sealing.ephemeral import exchange_with

    require_point(recipient_point, "the recipient's key")
    enc, dh = exchange_with(recipient_point, seed)
    with dh:
        key, nonce = _key_schedule(dh, enc, recipient_point, info)
    with key:
        return Sealed(enc, encrypt(key, nonce, aad, plaintext))


def open_sealed(
    enc: bytes,
    ciphertext: bytes,
    recipient_point: bytes,
    info: bytes,
    aad: bytes,
    ecdh: Callable[[bytes], SecretBytes],
    refusal: Callable[[], SealError] = unsealable,
) -> SecretBytes:
    """Open what was sealed to `recipient_point`. `ecdh(enc)` is the token's 32-byte raw result.

    Raises:
        SealError: E_UNSEAL: any bit of it, of `info` or of `aad` differs, or another key sealed it.
            Nothing says which. `refusal` makes the error.
    """
    if not is_point(enc) or len(ciphertext) < TAG_BYTES:
        raise refusal()
    with ecdh(enc) as dh:
        key, nonce = _key_schedule(dh, enc, recipient_point, info)
    with key:
        return decrypt(key, nonce, aad, ciphertext, refusal)


def shared_secret(dh: SecretBytes, enc: bytes, recipient_point: bytes) -> SecretBytes:
    """ExtractAndExpand of RFC 9180 4.1: the KEM's 32-byte shared secret."""
    if len(dh) != SECRET_BYTES:
        raise SealError(f"the token's ECDH gave {len(dh)} bytes, {SECRET_BYTES} are expected")
    with extract(KEM_SUITE, b"", b"eae_prk", dh.expose()) as prk:
        return expand(KEM_SUITE, prk, b"shared_secret", enc + recipient_point, SECRET_BYTES)


def _key_schedule(
    dh: SecretBytes, enc: bytes, recipient_point: bytes, info: bytes
) -> tuple[SecretBytes, bytes]:
    """Return the AES key and the nonce of the first and only message (RFC 9180 5.1)."""
    with extract(_HPKE_SUITE, b"", b"psk_id_hash", b"") as psk_id_hash:
        context = _MODE_BASE + psk_id_hash.expose().tobytes()
    with extract(_HPKE_SUITE, b"", b"info_hash", info) as info_hash:
        context += info_hash.expose().tobytes()
    with (
        shared_secret(dh, enc, recipient_point) as shared,
        extract(_HPKE_SUITE, shared.expose(), b"secret", b"") as secret,
    ):
        key = expand(_HPKE_SUITE, secret, b"key", context, SECRET_BYTES)
        with expand(_HPKE_SUITE, secret, b"base_nonce", context, NONCE_BYTES) as nonce:
            return key, nonce.expose().tobytes()

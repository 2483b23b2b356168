"""HPKE, base mode, one message: RFC 9180 with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

Sealing needs no token. Opening takes the token's raw ECDH as a function, so a private key that
cannot leave its token is enough. Who sealed is not proved here: in base mode anybody can seal.

Secrets sit in wiped buffers where the libraries allow. HMAC and ECDH return `bytes`, which Python
frees without wiping; all of them are of use for this one message only.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from signer.errors import EncodingError, SealError
from signer.secret import SecretBytes, wipe_buffer

POINT_BYTES = 65  # uncompressed: 04, x, y
SECRET_BYTES = 32  # an ECDH result, a seed, every HKDF output that is a key
TAG_BYTES = 16
NONCE_BYTES = 12

_KEM_SUITE = b"KEM" + bytes.fromhex("0010")
_HPKE_SUITE = b"HPKE" + bytes.fromhex("0010 0001 0002")
_MODE_BASE = b"\x00"
_P256_ORDER = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
_SEC1_HEAD = bytes.fromhex("30310201010420")  # ECPrivateKey, version 1, 32-byte key …
_SEC1_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")  # … on prime256v1 (RFC 5915)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What travels: the ephemeral public point and the ciphertext with its tag."""

    enc: bytes  # 65 bytes
    ciphertext: bytes  # plaintext length + 16


def require_point(point: bytes, what: str) -> None:
    """Check that `point` is an uncompressed point of P-256; infinity has no such form.

    Raises:
        EncodingError: wrong length or form, or not on the curve.
    """
    _load_point(point, what)


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
    recipient = _load_point(recipient_point, "the recipient's key")
    with SecretBytes.take(bytearray(random_bytes(SECRET_BYTES))) as seed:
        ephemeral = derive_key_pair(seed)
    enc = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with SecretBytes(ephemeral.exchange(ec.ECDH(), recipient)) as dh:
        key, nonce = _key_schedule(dh, enc, recipient_point, info)
    with key:
        cipher = Cipher(algorithms.AES(key.expose()), modes.GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(aad)
        body = cipher.update(plaintext.expose()) + cipher.finalize()
    return Sealed(enc, body + cipher.tag)


def open_sealed(
    enc: bytes,
    ciphertext: bytes,
    recipient_point: bytes,
    info: bytes,
    aad: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> SecretBytes:
    """Open what was sealed to `recipient_point`. `ecdh(enc)` is the token's 32-byte raw result.

    Raises:
        SealError: E_UNSEAL: any bit of it, of `info` or of `aad` differs, or another key sealed it.
            Nothing says which.
    """
    try:
        _load_point(enc, "enc")
    except EncodingError:
        raise _unsealable() from None
    if len(ciphertext) < TAG_BYTES:
        raise _unsealable()
    with ecdh(enc) as dh:
        key, nonce = _key_schedule(dh, enc, recipient_point, info)
    body, tag = ciphertext[:-TAG_BYTES], ciphertext[-TAG_BYTES:]
    plain = bytearray(len(body))
    try:
        with key:
            cipher = Cipher(algorithms.AES(key.expose()), modes.GCM(nonce, tag)).decryptor()
            cipher.authenticate_additional_data(aad)
            cipher.update_into(body, plain)
            cipher.finalize()
        return SecretBytes(plain)
    except InvalidTag:
        raise _unsealable() from None
    finally:
        wipe_buffer(plain)


def derive_key_pair(seed: SecretBytes) -> ec.EllipticCurvePrivateKey:
    """DeriveKeyPair of RFC 9180 7.1.3: the key of `seed`, by rejection sampling."""
    with _extract(_KEM_SUITE, b"", b"dkp_prk", seed.expose()) as prk:
        for counter in range(256):
            with _expand(_KEM_SUITE, prk, b"candidate", bytes([counter]), SECRET_BYTES) as scalar:
                if _is_private_key(scalar):
                    return _load_private(scalar)
    raise SealError("no ephemeral key came of 256 tries: the random source is broken")


def shared_secret(dh: SecretBytes, enc: bytes, recipient_point: bytes) -> SecretBytes:
    """ExtractAndExpand of RFC 9180 4.1: the KEM's 32-byte shared secret."""
    if len(dh) != SECRET_BYTES:
        raise SealError(f"the token's ECDH gave {len(dh)} bytes, {SECRET_BYTES} are expected")
    with _extract(_KEM_SUITE, b"", b"eae_prk", dh.expose()) as prk:
        return _expand(_KEM_SUITE, prk, b"shared_secret", enc + recipient_point, SECRET_BYTES)


def _key_schedule(
    dh: SecretBytes, enc: bytes, recipient_point: bytes, info: bytes
) -> tuple[SecretBytes, bytes]:
    """Return the AES key and the nonce of the first and only message (RFC 9180 5.1)."""
    with _extract(_HPKE_SUITE, b"", b"psk_id_hash", b"") as psk_id_hash:
        context = _MODE_BASE + psk_id_hash.expose().tobytes()
    with _extract(_HPKE_SUITE, b"", b"info_hash", info) as info_hash:
        context += info_hash.expose().tobytes()
    with (
        shared_secret(dh, enc, recipient_point) as shared,
        _extract(_HPKE_SUITE, shared.expose(), b"secret", b"") as secret,
    ):
        key = _expand(_HPKE_SUITE, secret, b"key", context, SECRET_BYTES)
        with _expand(_HPKE_SUITE, secret, b"base_nonce", context, NONCE_BYTES) as nonce:
            return key, nonce.expose().tobytes()


def _extract(
    suite: bytes, salt: bytes | memoryview, label: bytes, material: bytes | memoryview
) -> SecretBytes:
    """LabeledExtract of RFC 9180 4."""
    labeled = bytearray(b"HPKE-v1" + suite + label)
    labeled += material
    try:
        return SecretBytes(hmac.digest(salt, labeled, "sha256"))
    finally:
        wipe_buffer(labeled)


def _expand(suite: bytes, prk: SecretBytes, label: bytes, info: bytes, size: int) -> SecretBytes:
    """LabeledExpand of RFC 9180 4, for at most the 32 bytes of one HMAC."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01"
    return SecretBytes(hmac.digest(prk.expose(), labeled, "sha256")[:size])


def _load_point(point: bytes, what: str) -> ec.EllipticCurvePublicKey:
    if len(point) != POINT_BYTES or point[0] != 0x04:
        raise EncodingError(f"{what}: not an uncompressed P-256 point of {POINT_BYTES} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise EncodingError(f"{what}: not on the curve P-256") from None


def _is_private_key(scalar: SecretBytes) -> bool:
    """Tell whether 1 <= scalar < order; bytes of one length compare like the numbers they are."""
    copy = bytearray(scalar.expose())
    try:
        return bytes(SECRET_BYTES) < copy < _P256_ORDER
    finally:
        wipe_buffer(copy)


def _load_private(scalar: SecretBytes) -> ec.EllipticCurvePrivateKey:
    """Load by DER: the library's other door wants the key as a Python int."""
    der = bytearray(_SEC1_HEAD)
    der += scalar.expose()
    der += _SEC1_TAIL
    try:
        key = load_der_private_key(der, None)
    finally:
        wipe_buffer(der)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a P-256 key was built and another was loaded")
    return key


def _unsealable() -> SealError:
    return SealError(
        "cannot unseal: it was altered, or is not meant for this token and this group",
        hint="take the envelope from your backup, and check which token is plugged in",
    )

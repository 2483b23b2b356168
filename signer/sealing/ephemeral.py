"""The sender's ephemeral key of DHKEM(P-256): made from a seed, used once, gone."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from signer.errors import SealError
from signer.sealing.labeled import KEM_SUITE, SECRET_BYTES, expand, extract
from signer.secret import SecretBytes, wipe_buffer

_P256_ORDER = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
_SEC1_HEAD = bytes.fromhex("30310201010420")  # ECPrivateKey, version 1, 32-byte key …
_SEC1_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")  # … on prime256v1 (RFC 5915)


def exchange_with(recipient_point: bytes, seed: SecretBytes) -> tuple[bytes, SecretBytes]:
    """Return the ephemeral public point of `seed` (enc) and its ECDH with a point of the curve."""
    return exchange(recipient_point, derive_key_pair(seed))


def exchange(
    recipient_point: bytes, ephemeral: ec.EllipticCurvePrivateKey
) -> tuple[bytes, SecretBytes]:
    """Return the public point of `ephemeral` (enc) and its ECDH with a point of the curve."""
    enc = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    recipient = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), recipient_point)
    return enc, SecretBytes(ephemeral.exchange(ec.ECDH(), recipient))


def derive_key_pair(seed: SecretBytes) -> ec.EllipticCurvePrivateKey:
    """DeriveKeyPair of RFC 9180 7.1.3: the key of `seed`."""
    with derive_scalar(seed) as scalar:
        return load_private(scalar)


def derive_scalar(seed: SecretBytes) -> SecretBytes:
    """Return that key as 32 big-endian bytes, found by rejection sampling."""
    with extract(KEM_SUITE, b"", b"dkp_prk", seed.expose()) as prk:
        for counter in range(256):
            scalar = expand(KEM_SUITE, prk, b"candidate", bytes([counter]), SECRET_BYTES)
            if is_private_key(scalar):
                return scalar
            scalar.wipe()
    raise SealError("no ephemeral key came of 256 tries: the random source is broken")


def is_private_key(scalar: SecretBytes) -> bool:
    """Tell whether 1 <= scalar < order; bytes of one length compare like the numbers they are."""
    copy = bytearray(scalar.expose())
    try:
        return bytes(SECRET_BYTES) < copy < _P256_ORDER
    finally:
        wipe_buffer(copy)


def load_private(scalar: SecretBytes) -> ec.EllipticCurvePrivateKey:
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

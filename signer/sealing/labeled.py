"""LabeledExtract and LabeledExpand of RFC 9180 section 4, with HKDF-SHA256."""

import hmac

from signer.secret import SecretBytes, wipe_buffer

SECRET_BYTES = 32  # an ECDH result, a seed, every HKDF output that is a key
KEM_SUITE = b"KEM" + bytes.fromhex("0010")


def extract(
    suite: bytes, salt: bytes | memoryview, label: bytes, material: bytes | memoryview
) -> SecretBytes:
    """LabeledExtract of RFC 9180 4."""
    labeled = bytearray(b"HPKE-v1" + suite + label)
    labeled += material
    try:
        return SecretBytes(hmac.digest(salt, labeled, "sha256"))
    finally:
        wipe_buffer(labeled)


def expand(suite: bytes, prk: SecretBytes, label: bytes, info: bytes, size: int) -> SecretBytes:
    """LabeledExpand of RFC 9180 4, for at most the 32 bytes of one HMAC."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01"
    return SecretBytes(hmac.digest(prk.expose(), labeled, "sha256")[:size])

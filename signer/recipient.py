"""Whom a share can be sealed to: the public key of a token, as bytes that tell the method.

=================  =======================================================  =====================
method             recipient                                                who can seal to it
=================  =======================================================  =====================
hpke-p256          uncompressed point of P-256, 65 bytes                    everybody
rsa-oaep-sha256    SubjectPublicKeyInfo, id-RSAES-OAEP with SHA-256         everybody
rsa-oaep-sha1      the same with the default parameters, which are SHA-1    everybody
aes-256-gcm        0x00, then the 16 bytes of CKA_ID                        who has the token
=================  =======================================================  =====================

An RSA key is written as RFC 4055 section 4.1 has it, so that the hash is part of the key and
nobody can be talked into another. Moduli have 2048, 3072 or 4096 bits, the exponent is 65537.
"""

from typing import Any

from signer.errors import EncodingError, SchemaError
from signer.p256 import POINT_BYTES, is_point
from signer.strict import parse_hex

HPKE_P256 = "hpke-p256"
RSA_OAEP_SHA256 = "rsa-oaep-sha256"
RSA_OAEP_SHA1 = "rsa-oaep-sha1"
AES_256_GCM = "aes-256-gcm"
METHODS = (HPKE_P256, RSA_OAEP_SHA256, RSA_OAEP_SHA1, AES_256_GCM)

RSA_BITS = (2048, 3072, 4096)
RSA_EXPONENT = 65537
KEY_ID_BYTES = 16
MAX_RECIPIENT_BYTES = 640  # 4096 bits and what stands around them

_AES_PREFIX = b"\x00"
_SHA256 = bytes.fromhex("300d06096086480165030402010500")  # AlgorithmIdentifier of id-sha256
_MGF1 = bytes.fromhex("06092a864886f70d010108")  # OID id-mgf1
_RSAES_OAEP = bytes.fromhex("06092a864886f70d010107")  # OID id-RSAES-OAEP
_EXPONENT = bytes.fromhex("0203010001")


def method_of(recipient: bytes, what: str = "recipient") -> str:
    """Return the method that seals to `recipient`.

    Raises:
        EncodingError: it is no key that this program seals to.
    """
    if len(recipient) == POINT_BYTES and is_point(recipient):
        return HPKE_P256
    if len(recipient) == 1 + KEY_ID_BYTES and recipient[:1] == _AES_PREFIX:
        return AES_256_GCM
    for (method, _), (head, size) in _TEMPLATES.items():
        modulus = recipient[len(head) : -len(_EXPONENT)]
        whole = recipient == head + modulus + _EXPONENT and len(modulus) == size
        if whole and modulus[0] & 0x80 and modulus[-1] & 1:
            return method
    raise EncodingError(
        f"{what} is not a point of P-256, nor an RSA key for OAEP of "
        f"{', '.join(map(str, RSA_BITS))} bits, nor the name of an AES key"
    )


def parse_recipient(value: Any, what: str) -> bytes:
    """Return a recipient from lower-case hex.

    Raises:
        SchemaError: no text, too long, or not hex.
        EncodingError: it is no key that this program seals to.
    """
    if not isinstance(value, str) or not 2 <= len(value) <= 2 * MAX_RECIPIENT_BYTES:
        raise SchemaError(f"{what} must be a public key in hex")
    recipient = parse_hex(value, len(value) // 2, what)
    method_of(recipient, what)
    return recipient


def rsa_recipient(modulus: bytes, method: str) -> bytes:
    """Return the recipient for an RSA key with this big-endian modulus and exponent 65537.

    Raises:
        EncodingError: the modulus has none of RSA_BITS, or is even.
    """
    modulus = modulus.lstrip(b"\x00")
    bits = 8 * len(modulus)
    if bits not in RSA_BITS or not modulus[0] & 0x80 or not modulus[-1] & 1:
        raise EncodingError(f"an RSA modulus must be odd and have {RSA_BITS} bits, exactly")
    return _TEMPLATES[method, bits][0] + modulus + _EXPONENT


def rsa_modulus(recipient: bytes) -> int:
    """Return the modulus of a recipient that `method_of` calls an RSA key."""
    for head, size in _TEMPLATES.values():
        if recipient.startswith(head) and len(recipient) == len(head) + size + len(_EXPONENT):
            return int.from_bytes(recipient[len(head) : -len(_EXPONENT)])
    raise ValueError("not an RSA recipient")


def aes_recipient(key_id: bytes) -> bytes:
    """Return the recipient for a secret key on a token, by its CKA_ID of 16 bytes."""
    if len(key_id) != KEY_ID_BYTES:
        raise ValueError(f"a CKA_ID of {len(key_id)} bytes, {KEY_ID_BYTES} are expected")
    return _AES_PREFIX + key_id


def _tlv(tag: int, *parts: bytes, more: int = 0) -> bytes:
    """Return DER of `parts` under a tag, in which `more` bytes are still to come."""
    body = b"".join(parts)
    size = len(body) + more
    if size < 0x80:
        return bytes([tag, size]) + body
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(digits)]) + digits + body


def _template(method: str, bits: int) -> tuple[bytes, int]:
    """Return what stands before the modulus, and the modulus's size in bytes."""
    size = bits // 8
    parameters = b""
    if method == RSA_OAEP_SHA256:
        parameters = _tlv(0xA0, _SHA256) + _tlv(0xA1, _tlv(0x30, _MGF1, _SHA256))
    algorithm = _tlv(0x30, _RSAES_OAEP, _tlv(0x30, parameters))
    rest = size + len(_EXPONENT)
    integer = _tlv(0x02, b"\x00", more=size)
    key = _tlv(0x30, integer, more=rest)
    bit_string = _tlv(0x03, b"\x00", key, more=rest)
    return _tlv(0x30, algorithm, bit_string, more=rest), size


_TEMPLATES = {
    (method, bits): _template(method, bits)
    for method in (RSA_OAEP_SHA256, RSA_OAEP_SHA1)
    for bits in RSA_BITS
}

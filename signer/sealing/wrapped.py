"""Sealing to a token that has no ECDH: under a key-encryption key that only the token unwraps.

A fresh 32-byte key is wrapped for the token, by RSA-OAEP (RFC 8017 7.1) or on the token itself by
AES-256-GCM. What is sealed is encrypted here, under a key that HKDF makes of it and that is used
once; so info and associated data bind it in the very same way as HPKE's do.
"""

from collections.abc import Callable

from signer.recipient import RSA_EXPONENT, RSA_OAEP_SHA1, method_of, rsa_modulus
from signer.sealing.aead import NONCE_BYTES, TAG_BYTES, decrypt, encrypt
from signer.sealing.hkdf import derive
from signer.sealing.hpke import Sealed, unsealable
from signer.secret import SecretBytes

KEK_BYTES = 32
_NONCE = bytes(NONCE_BYTES)  # each key encrypts once


def seal_wrapped(
    recipient: bytes,
    info: bytes,
    aad: bytes,
    plaintext: SecretBytes,
    random_bytes: Callable[[int], bytes],
    wrap: Callable[[SecretBytes, bytes], bytes],
) -> Sealed:
    """Seal `plaintext` to `recipient`.

    Args:
        recipient: as `signer.recipient` has it.
        info: what this is for.
        aad: associated data.
        plaintext: what is sealed.
        random_bytes: a cryptographic source.
        wrap: wraps a 32-byte key for the recipient, with `aad` if the method has associated data.
    """
    with SecretBytes.take(bytearray(random_bytes(KEK_BYTES))) as kek:
        enc = wrap(kek, aad)
        with _message_key(kek, info, recipient, enc) as key:
            return Sealed(enc, encrypt(key, _NONCE, aad, plaintext))


def open_wrapped(
    sealed: Sealed,
    recipient: bytes,
    info: bytes,
    aad: bytes,
    unwrap: Callable[[bytes, bytes], SecretBytes],
) -> SecretBytes:
    """Open what was sealed to `recipient`; `unwrap(enc, aad)` is the token's 32-byte result.

    Raises:
        SealError: E_UNSEAL: any bit of it, of `info` or of `aad` differs. Nothing says which.
    """
    with unwrap(sealed.enc, aad) as kek:
        if len(sealed.ciphertext) < TAG_BYTES:
            raise unsealable()
        key = _message_key(kek, info, recipient, sealed.enc)
    with key:
        return decrypt(key, _NONCE, aad, sealed.ciphertext, unsealable)


def oaep_wrap(recipient: bytes) -> Callable[[SecretBytes, bytes], bytes]:
    """Return what wraps a key for an RSA recipient. OAEP has no associated data of ours in it.

    SHA-1 in OAEP is no weakness that anybody knows of; it is used for tokens that have nothing
    else, and shown.
    """
    # Software keys cost 10 ms to import, and a worker that signs only opens.
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    hashed: hashes.HashAlgorithm = hashes.SHA256()
    if method_of(recipient) == RSA_OAEP_SHA1:
        hashed = hashes.SHA1()  # noqa: S303 (see above)
    key = rsa.RSAPublicNumbers(RSA_EXPONENT, rsa_modulus(recipient)).public_key()

    def wrap(kek: SecretBytes, aad: bytes) -> bytes:
        oaep = padding.OAEP(padding.MGF1(hashed), hashed, None)
        return key.encrypt(bytes(kek.expose()), oaep)

    return wrap


def _message_key(kek: SecretBytes, info: bytes, recipient: bytes, enc: bytes) -> SecretBytes:
    context = b"".join(len(part).to_bytes(4) + part for part in (info, recipient, enc))
    return derive(kek, b"signer/wrapped/v1" + context, KEK_BYTES)

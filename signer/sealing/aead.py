"""AES-256-GCM over buffers that are wiped: what HPKE and wrapped keys end in."""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from signer.errors import SealError
from signer.secret import SecretBytes, wipe_buffer

TAG_BYTES = 16
NONCE_BYTES = 12


def encrypt(key: SecretBytes, nonce: bytes, aad: bytes, plaintext: SecretBytes) -> bytes:
    """Return ciphertext and tag. One key and nonce, one message."""
    cipher = Cipher(algorithms.AES(key.expose()), modes.GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(aad)
    body = cipher.update(plaintext.expose()) + cipher.finalize()
    return body + cipher.tag


def decrypt(
    key: SecretBytes, nonce: bytes, aad: bytes, ciphertext: bytes, refusal: Callable[[], SealError]
) -> SecretBytes:
    """Return what `encrypt` encrypted; `ciphertext` has at least its tag.

    Raises:
        SealError: `refusal` makes it: any bit differs, and nothing says which.
    """
    body, tag = ciphertext[:-TAG_BYTES], ciphertext[-TAG_BYTES:]
    plain = bytearray(len(body))
    try:
        cipher = Cipher(algorithms.AES(key.expose()), modes.GCM(nonce, tag)).decryptor()
        cipher.authenticate_additional_data(aad)
        cipher.update_into(body, plain)
        cipher.finalize()
        return SecretBytes(plain)
    except InvalidTag:
        raise refusal() from None
    finally:
        wipe_buffer(plain)

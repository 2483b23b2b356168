"""HKDF of RFC 5869 with SHA-256 and no salt: many secrets of one, each under its own label.

HMAC returns `bytes`, which Python frees without wiping; see `signer.sealing.hpke`.
"""

import hmac

from signer.secret import SecretBytes, wipe_buffer

HASH_BYTES = 32
MAX_BYTES = 255 * HASH_BYTES


def derive(secret: SecretBytes, info: bytes, size: int) -> SecretBytes:
    """Return `size` bytes, up to 8,160, that look random to whoever does not know `secret`.

    Args:
        secret: as hard to guess as the result shall be.
        info: what the result is for. Different `info`, independent results.
        size: in bytes.
    """
    if not 1 <= size <= MAX_BYTES:
        raise ValueError(f"HKDF gives 1 to {MAX_BYTES} bytes, not {size}")
    count = -(-size // HASH_BYTES)
    message = bytearray(HASH_BYTES) + info + b"\x00"  # the block before, what for, which block
    try:
        with (
            SecretBytes(hmac.digest(bytes(HASH_BYTES), secret.expose(), "sha256")) as prk,
            SecretBytes.zeros(count * HASH_BYTES) as output,
        ):
            view = output.expose()
            for number in range(count):
                message[-1] = number + 1
                start = HASH_BYTES if number == 0 else 0
                block = hmac.digest(prk.expose(), memoryview(message)[start:], "sha256")
                message[:HASH_BYTES] = block
                view[number * HASH_BYTES : (number + 1) * HASH_BYTES] = block
            return SecretBytes(view[:size])
    finally:
        wipe_buffer(message)

"""Scalars from and to numbers, for tests only: the program holds no secret in a Python int."""

from signer.bls.scalar import SecretScalar
from signer.secret import SecretBytes


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


def number_of(scalar: SecretScalar) -> int:
    with scalar.to_big_endian() as plain:
        return int.from_bytes(plain.expose(), "big")


def seed_of(number: int) -> SecretBytes:
    return SecretBytes(number.to_bytes(32, "big"))

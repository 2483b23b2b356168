from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from signer.p256 import POINT_BYTES, is_point

GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)  # SEC 2, secp256r1


def test_points_of_the_curve() -> None:
    assert is_point(GENERATOR)
    for _ in range(20):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        assert is_point(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


@given(st.integers(0, 8 * POINT_BYTES - 1))
def test_one_bit_more_or_less_is_no_point(bit: int) -> None:
    changed = bytearray(GENERATOR)
    changed[bit // 8] ^= 1 << bit % 8
    assert not is_point(bytes(changed))


@given(st.binary(min_size=60, max_size=70))
def test_says_what_the_library_says(data: bytes) -> None:
    for point in (data, b"\4" + data[:64].ljust(64, b"\0")):
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            theirs = len(point) == POINT_BYTES
        except ValueError:
            theirs = False
        assert is_point(point) == theirs


def test_other_forms_are_none() -> None:
    p = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    x, y = GENERATOR[1:33], GENERATOR[33:]
    compressed = b"\2" + x
    hybrid = b"\6" + x + y
    beyond = b"\4" + x + (int.from_bytes(y) + p).to_bytes(33)[1:]
    for other in (b"", b"\0", compressed, hybrid, beyond, GENERATOR + b"\0", bytes(65)):
        assert not is_point(other)

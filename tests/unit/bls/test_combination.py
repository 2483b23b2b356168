import os

import pytest

from signer.bls.combination import Combination, UnusablePartialError
from signer.bls.encoding import Signature, UncheckedSignature
from signer.bls.points import g2_multi_multiply
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import sign

ORDER_13 = bytes.fromhex(
    "a0a3faa5930a2d3532eff5f8014d935c0f0144fedbe864906314ce154a76cbb2"
    "eb49852b9b58090c06db44b84301daef12495cb1d0edd684373c68feea4cbfd8"
    "90de88b5c24707af95f987975a5d00b5c45cc993880a674350a86f464b58ed6b"
)


def signed(number: int) -> Signature:
    number %= GROUP_ORDER
    return sign(SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big"))), b"m")


@pytest.mark.parametrize(
    ("numerators", "denominator"),
    [([1], 1), ([3, -3, 1], 1), ([8, -6, 1], 3), ([-1, -2], 7), ([2**170, -(2**90)], 2**100 + 1)],
)
def test_is_the_sum(numerators: list[int], denominator: int) -> None:
    combination = Combination(numerators, denominator)
    inverse = pow(denominator, -1, GROUP_ORDER)
    for first in (1, 1000):  # the buffers serve more than once
        partials = [bytes(signed(first + position**2)) for position in range(len(numerators))]
        total = sum(number * (first + position**2) for position, number in enumerate(numerators))
        assert combination.combine(partials) == signed(total * inverse)


def test_infinity_is_no_signature() -> None:
    assert Combination([2, -1], 1).combine([bytes(signed(5)), bytes(signed(10))]) is None


@pytest.mark.case("S3", "a combination outside the group")
def test_outside_the_group_is_no_signature() -> None:
    """What makes it safe to verify combinations by random coefficients afterwards."""
    points = [signed(5).affine, UncheckedSignature(ORDER_13).affine]
    affine = g2_multi_multiply(points, b"\x01\x01", 8)
    assert affine is not None
    shifted = bytes(Signature.from_affine(affine))
    assert UncheckedSignature(shifted) == shifted
    for _ in range(30):
        number = 1 + 13 * os.urandom(1)[0]
        assert Combination([number, 1], 1).combine([shifted, bytes(signed(9))]) is None


@pytest.mark.case("S2", "infinity in a combination")
@pytest.mark.case("S4", "95, 97, no bytes in a combination")
@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes(96),
        b"\xc0" + bytes(95),
        b"\x9f" + b"\xff" * 95,
        bytes(signed(3))[:95],
        bytes(signed(3)) + b"\0",
    ],
)
@pytest.mark.parametrize("position", [0, 2])
def test_no_point(bad: bytes, position: int) -> None:
    partials = [bytes(signed(3))] * 3
    partials[position] = bad
    with pytest.raises(UnusablePartialError) as caught:
        Combination([3, -3, 1], 1).combine(partials)
    assert caught.value.position == position


def test_as_many_partials_as_coefficients() -> None:
    with pytest.raises(ValueError, match="zip"):
        Combination([3, -3, 1], 1).combine([bytes(signed(3))] * 2)

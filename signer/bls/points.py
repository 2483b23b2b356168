"""Arithmetic with public points: multi-scalar multiplication and the pairing check.

Variable time: never with a secret. Points are affine and contiguous as in `engine`.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

from signer.bls.engine import (
    FP12_SIZE,
    P1_AFFINE_SIZE,
    P1_SIZE,
    P2_AFFINE_SIZE,
    P2_SIZE,
    SCALAR_SIZE,
    blst,
)

_ORDER_BITS = 255
_Pointers = ctypes.c_char_p * 2  # blst reads [base, NULL] as one contiguous array


def g2_multi_multiply(points: Sequence[bytes], scalars: bytes, bits: int) -> bytes | None:
    """Return Σ scalarᵢ·pointᵢ as an affine point of G2's curve, or None for infinity.

    Args:
        points: affine points, at least one, infinity allowed.
        scalars: one after the other, little-endian, ceil(bits / 8) bytes each.
        bits: every scalar is below 2**bits.
    """
    count = len(points)
    width = (bits + 7) // 8
    if count == 0 or len(scalars) != count * width:
        raise ValueError(f"{count} points do not go with {len(scalars)} bytes of scalars")
    total = ctypes.create_string_buffer(P2_SIZE)
    scratch = ctypes.create_string_buffer(blst.p2s_mult_pippenger_scratch_sizeof(count))
    blst.p2s_mult_pippenger(
        total, _Pointers(b"".join(points), None), count, _Pointers(scalars, None), bits, scratch
    )
    if blst.p2_is_inf(total):
        return None
    affine = ctypes.create_string_buffer(P2_AFFINE_SIZE)
    blst.p2_to_affine(affine, total)
    return affine.raw


def g1_sum(points: Sequence[bytes]) -> bytes | None:
    """Return Σ pointᵢ as an affine point of G1, or None for infinity. At least one point."""
    if not points:
        raise ValueError("no points to add up")
    total = ctypes.create_string_buffer(P1_SIZE)
    blst.p1s_add(total, _Pointers(b"".join(points), None), len(points))
    return _g1_affine(total)


def g1_weighted_sum(points: Sequence[bytes], weights: Sequence[int]) -> bytes | None:
    """Return Σ weightᵢ·pointᵢ as an affine point of G1, or None for infinity.

    Args:
        points: affine points, at least one.
        weights: as many integers in 0..2**255-1.
    """
    count = len(points)
    if count == 0 or len(weights) != count:
        raise ValueError(f"{count} points do not go with {len(weights)} weights")
    scalars = b"".join(weight.to_bytes(SCALAR_SIZE, "little") for weight in weights)
    total = ctypes.create_string_buffer(P1_SIZE)
    scratch = ctypes.create_string_buffer(blst.p1s_mult_pippenger_scratch_sizeof(count))
    blst.p1s_mult_pippenger(
        total,
        _Pointers(b"".join(points), None),
        count,
        _Pointers(scalars, None),
        _ORDER_BITS,
        scratch,
    )
    return _g1_affine(total)


def g1_polynomial_at(coefficients: Sequence[bytes], x: int) -> bytes | None:
    """Return Σ xᵏ·coefficientₖ as an affine point of G1, or None for infinity. x is at least 1.

    Horner's rule: one short multiplication by x a coefficient.
    """
    bits = x.bit_length()
    factor = x.to_bytes((bits + 7) // 8, "little")
    value = ctypes.create_string_buffer(P1_SIZE)
    blst.p1_from_affine(value, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        blst.p1_mult(value, value, factor, bits)
        blst.p1_add_or_double_affine(value, value, coefficient)
    return _g1_affine(value)


def pairings_equal(key: bytes, message_point: bytes, signature_point: bytes) -> bool:
    """Tell whether e(key, message_point) = e(G1's generator, signature_point).

    One Miller loop for both pairings. None of the points may be infinity, and each must be in its
    group: blst checks nothing here.
    """
    product = ctypes.create_string_buffer(FP12_SIZE)
    in_g2 = _Pointers(message_point + signature_point, None)
    in_g1 = _Pointers(key + _negated_generator(), None)
    blst.miller_loop_n(product, in_g2, in_g1, 2)
    blst.final_exp(product, product)
    return bool(blst.fp12_is_one(product))


@cache
def g1_generator() -> bytes:
    """Return G as an affine point."""
    return ctypes.string_at(blst.p1_affine_generator(), P1_AFFINE_SIZE)


def _g1_affine(point: Any) -> bytes | None:
    if blst.p1_is_inf(point):
        return None
    affine = ctypes.create_string_buffer(P1_AFFINE_SIZE)
    blst.p1_to_affine(affine, point)
    return affine.raw


@cache
def _negated_generator() -> bytes:
    point = ctypes.create_string_buffer(P1_SIZE)
    blst.p1_from_affine(point, blst.p1_affine_generator())
    blst.p1_cneg(point, True)
    affine = ctypes.create_string_buffer(P1_AFFINE_SIZE)
    blst.p1_to_affine(affine, point)
    return affine.raw

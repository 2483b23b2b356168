"""The yardstick of key generation: the group operations of one holder, with nothing around them.

What he cannot be spared: decode n·t commitments and check each for its group, check n proofs of
possession, n ECDH on P-256 (in software), hold n shares against their dealers' commitments, add the
commitments up, and evaluate the sum for n public shares. No files, no signatures, no token.
"""

import ctypes
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.bare import R, _lib
from benchmarks.measure import cpu_seconds

_P1, _P1_AFFINE = 144, 96
_P, _S = ctypes.c_void_p, ctypes.c_size_t
for _name, _result, _arguments in (
    ("blst_sk_to_pk2_in_g1", None, (_P, _P, _P)),
    ("blst_p1_affine_compress", None, (_P, _P)),
    ("blst_p1_affine_in_g1", ctypes.c_bool, (_P,)),
    ("blst_p1_from_affine", None, (_P, _P)),
    ("blst_p1_to_affine", None, (_P, _P)),
    ("blst_p1_mult", None, (_P, _P, _P, _S)),
    ("blst_p1_add_or_double_affine", None, (_P, _P, _P)),
    ("blst_p1s_add", None, (_P, _P, _S)),
    ("blst_p1_is_equal", ctypes.c_bool, (_P, _P)),
):
    _function = getattr(_lib, _name)
    _function.restype, _function.argtypes = _result, _arguments


@dataclass(frozen=True)
class Deal:
    """What one dealer sends to the holder."""

    commitments: list[bytes]  # 48 bytes each
    nonce_point: bytes
    response: int
    share: int
    enc: ec.EllipticCurvePublicKey


def holder_cpu_seconds(t: int, n: int, me: int = 1) -> float:
    """Return the CPU time of these operations for holder `me`; what is dealt is not counted."""
    deals = [_deal(t, me) for _ in range(n)]
    key = ec.generate_private_key(ec.SECP256R1())
    return cpu_seconds(lambda: _receive(deals, key, me))


def _deal(t: int, me: int) -> Deal:
    polynomial = [secrets.randbelow(R - 1) + 1 for _ in range(t)]
    commitments = [_compressed(_times_generator(a)) for a in polynomial]
    nonce = secrets.randbelow(R - 1) + 1
    nonce_point = _compressed(_times_generator(nonce))
    response = (nonce + _challenge(commitments, nonce_point) * polynomial[0]) % R
    share = sum(a * pow(me, k, R) for k, a in enumerate(polynomial)) % R
    enc = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Deal(commitments, nonce_point, response, share, enc)


def _receive(deals: Sequence[Deal], key: ec.EllipticCurvePrivateKey, me: int) -> None:
    vectors = []
    for deal in deals:
        vector = [_decoded(commitment) for commitment in deal.commitments]
        challenge = _challenge(deal.commitments, deal.nonce_point)
        left = _jacobian(_times_generator(deal.response))
        right = _times(_jacobian(vector[0]), challenge, 255)
        _lib.blst_p1_add_or_double_affine(right, right, _decoded(deal.nonce_point))
        _require_equal(left, right)
        key.exchange(ec.ECDH(), deal.enc)
        _require_equal(_jacobian(_times_generator(deal.share)), _at(vector, me))
        vectors.append(vector)
    total = [_sum(column) for column in zip(*vectors, strict=True)]
    affine = ctypes.create_string_buffer(_P1_AFFINE)
    for x in range(1, len(deals) + 1):
        _lib.blst_p1_to_affine(affine, _at(total, x))
    own = sum(deal.share for deal in deals) % R
    _require_equal(_jacobian(_times_generator(own)), _at(total, me))


def _challenge(commitments: Sequence[bytes], nonce_point: bytes) -> int:
    digest = hashlib.sha512(b"".join(commitments) + nonce_point).digest()
    return int.from_bytes(digest, "big") % R


def _times_generator(number: int) -> bytes:
    scalar, affine = ctypes.create_string_buffer(32), ctypes.create_string_buffer(_P1_AFFINE)
    _lib.blst_scalar_from_bendian(scalar, number.to_bytes(32, "big"))
    _lib.blst_sk_to_pk2_in_g1(None, affine, scalar)
    return affine.raw


def _compressed(affine: bytes) -> bytes:
    encoded = ctypes.create_string_buffer(48)
    _lib.blst_p1_affine_compress(encoded, affine)
    return encoded.raw


def _decoded(encoded: bytes) -> bytes:
    affine = ctypes.create_string_buffer(_P1_AFFINE)
    if _lib.blst_p1_uncompress(affine, encoded) or not _lib.blst_p1_affine_in_g1(affine):
        raise AssertionError("bad commitment")
    return affine.raw


def _jacobian(affine: bytes) -> "ctypes.Array[ctypes.c_char]":
    point = ctypes.create_string_buffer(_P1)
    _lib.blst_p1_from_affine(point, affine)
    return point


def _times(
    point: "ctypes.Array[ctypes.c_char]", number: int, bits: int
) -> "ctypes.Array[ctypes.c_char]":
    _lib.blst_p1_mult(point, point, number.to_bytes(32, "little"), bits)
    return point


def _at(vector: Sequence[bytes], x: int) -> "ctypes.Array[ctypes.c_char]":
    value, factor, bits = _jacobian(vector[-1]), x.to_bytes(1, "little"), x.bit_length()
    for commitment in reversed(vector[:-1]):
        _lib.blst_p1_mult(value, value, factor, bits)
        _lib.blst_p1_add_or_double_affine(value, value, commitment)
    return value


def _sum(column: Sequence[bytes]) -> bytes:
    total, affine = ctypes.create_string_buffer(_P1), ctypes.create_string_buffer(_P1_AFFINE)
    _lib.blst_p1s_add(total, (ctypes.c_char_p * 2)(b"".join(column), None), len(column))
    _lib.blst_p1_to_affine(affine, total)
    return affine.raw


def _require_equal(
    left: "ctypes.Array[ctypes.c_char]", right: "ctypes.Array[ctypes.c_char]"
) -> None:
    if not _lib.blst_p1_is_equal(left, right):
        raise AssertionError("a proof or a share does not fit its commitments")

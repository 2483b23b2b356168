"""The yardsticks: blst's C functions called as plainly as Python can, with nothing of ours between.

`straightforward_combine` is what one writes first: every partial decoded and checked for its group,
coefficients as residues mod r in a 255-bit multi-scalar multiplication, the result verified from
bytes.
"""

import ctypes
import importlib.util
from collections.abc import Sequence

R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_P2, _P2_AFFINE, _P1_AFFINE = 288, 192, 96

_spec = importlib.util.find_spec("ckzg")
if _spec is None or _spec.origin is None:
    raise SystemExit("ckzg is not installed")
_lib = ctypes.CDLL(_spec.origin)
_P, _S = ctypes.c_void_p, ctypes.c_size_t
for _name, _result, _arguments in (
    ("blst_hash_to_g2", None, (_P, _P, _S, _P, _S, _P, _S)),
    ("blst_sign_pk2_in_g1", None, (_P, _P, _P, _P)),
    ("blst_scalar_from_bendian", None, (_P, _P)),
    ("blst_p1_uncompress", ctypes.c_int, (_P, _P)),
    ("blst_p2_uncompress", ctypes.c_int, (_P, _P)),
    ("blst_p2_affine_in_g2", ctypes.c_bool, (_P,)),
    ("blst_p2_affine_compress", None, (_P, _P)),
    ("blst_p2_to_affine", None, (_P, _P)),
    ("blst_p2s_mult_pippenger_scratch_sizeof", _S, (_S,)),
    ("blst_p2s_mult_pippenger", None, (_P, _P, _S, _P, _S, _P)),
    ("blst_core_verify_pk_in_g1", ctypes.c_int, (_P, _P, ctypes.c_bool, _P, _S, _P, _S, _P, _S)),
):
    _function = getattr(_lib, _name)
    _function.restype, _function.argtypes = _result, _arguments


def sign_all(scalar_be: bytes, roots: Sequence[bytes]) -> None:
    """Hash and sign each root, and no more."""
    scalar = ctypes.create_string_buffer(32)
    _lib.blst_scalar_from_bendian(scalar, scalar_be)
    point, affine = ctypes.create_string_buffer(_P2), ctypes.create_string_buffer(_P2_AFFINE)
    for root in roots:
        _lib.blst_hash_to_g2(point, root, len(root), DST, len(DST), None, 0)
        _lib.blst_sign_pk2_in_g1(None, affine, point, scalar)


def straightforward_combine(
    public_key: bytes, root: bytes, partials: Sequence[tuple[int, bytes]]
) -> bytes:
    """Combine and verify; return the group signature's 96 bytes."""
    count = len(partials)
    points = ctypes.create_string_buffer(_P2_AFFINE * count)
    for position, (_, partial) in enumerate(partials):
        place = ctypes.addressof(points) + position * _P2_AFFINE
        if _lib.blst_p2_uncompress(place, partial) or not _lib.blst_p2_affine_in_g2(place):
            raise AssertionError("bad partial")
    scalars = b"".join(
        coefficient.to_bytes(32, "little") for coefficient in _lagrange([x for x, _ in partials])
    )
    total, affine = ctypes.create_string_buffer(_P2), ctypes.create_string_buffer(_P2_AFFINE)
    scratch = ctypes.create_string_buffer(_lib.blst_p2s_mult_pippenger_scratch_sizeof(count))
    base = (_P * 2)(ctypes.addressof(points), None)
    weights = (ctypes.c_char_p * 2)(scalars, None)
    _lib.blst_p2s_mult_pippenger(total, base, count, weights, 255, scratch)
    _lib.blst_p2_to_affine(affine, total)
    signature = ctypes.create_string_buffer(96)
    _lib.blst_p2_affine_compress(signature, affine)
    _verify(public_key, root, signature.raw)
    return signature.raw


def _verify(public_key: bytes, root: bytes, signature: bytes) -> None:
    key, point = ctypes.create_string_buffer(_P1_AFFINE), ctypes.create_string_buffer(_P2_AFFINE)
    wrong = _lib.blst_p1_uncompress(key, public_key) or _lib.blst_p2_uncompress(point, signature)
    if wrong or _lib.blst_core_verify_pk_in_g1(
        key, point, True, root, len(root), DST, len(DST), None, 0
    ):
        raise AssertionError("the group signature does not verify")


def _lagrange(indices: Sequence[int]) -> list[int]:
    coefficients = []
    for i in indices:
        numerator = denominator = 1
        for j in indices:
            if j != i:
                numerator = numerator * j % R
                denominator = denominator * (j - i) % R
        coefficients.append(numerator * pow(denominator, -1, R) % R)
    return coefficients

"""Whether bytes are a point of P-256 (FIPS 186-5; SEC 1 2.3.3, uncompressed form).

For public points only, and the one question that nearly every room asks of one. Keys, signatures
and ECDH are `cryptography`'s and the token's.
"""

import functools

POINT_BYTES = 65  # 0x04, x, y

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


@functools.lru_cache(maxsize=64)
def is_point(point: bytes) -> bool:
    """Tell whether `point` is an uncompressed point of the curve; infinity has no such form.

    The answers for the latest ones are kept: each room that one point passes through asks anew.
    """
    if len(point) != POINT_BYTES or point[0] != 0x04:
        return False
    x, y = int.from_bytes(point[1:33]), int.from_bytes(point[33:])
    return x < _P and y < _P and (y * y - (x * x - 3) * x - _B) % _P == 0

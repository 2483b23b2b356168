"""Points as they travel: 48-byte public keys and 96-byte signatures that cannot be invalid.

Whoever holds a `PublicKey` or a `Signature` holds a point of the right group that is not infinity;
nothing later checks it again. Both are `bytes`, in the compressed form of Ethereum and Zcash
(draft-irtf-cfrg-pairing-friendly-curves, appendix C), and carry the decoded point along.
"""

import ctypes
from typing import ClassVar, Self

from signer.bls.engine import P1_AFFINE_SIZE, P2_AFFINE_SIZE, blst
from signer.errors import EncodingError

PUBLIC_KEY_SIZE = 48
SIGNATURE_SIZE = 96

_INFINITY_FLAG = 0x40  # of the first byte
_NOT_ON_CURVE = 2  # BLST_POINT_NOT_ON_CURVE


class _Point(bytes):
    """What public keys and signatures share."""

    _size: ClassVar[int]
    _what: ClassVar[str]
    _affine: bytes

    @property
    def affine(self) -> bytes:
        """The decoded point in blst's layout. For calls of blst only."""
        return self._affine

    @classmethod
    def _make(cls, encoded: bytes, affine: bytes) -> Self:
        point = super().__new__(cls, encoded)
        point._affine = affine
        return point

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self[:4].hex()}…{self[-4:].hex()})"

    __str__ = __repr__

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (bytes(self),)


class PublicKey(_Point):
    """A point of G1 that is not infinity: a public key, a public share or a commitment."""

    _size, _what = PUBLIC_KEY_SIZE, "public key"

    def __new__(cls, data: bytes | bytearray | memoryview) -> Self:
        """Decode 48 bytes.

        Raises:
            EncodingError: wrong length, not canonical, off the curve, outside the group, infinity.
        """
        if type(data) is cls:
            return data
        encoded = _checked_bytes(data, cls._size, cls._what)
        affine = ctypes.create_string_buffer(P1_AFFINE_SIZE)
        _require_decoded(blst.p1_uncompress(affine, encoded), cls._what)
        if not blst.p1_affine_in_g1(affine):
            raise EncodingError(f"{cls._what}: the point is outside the prime-order group")
        return cls._make(encoded, affine.raw)

    @classmethod
    def from_affine(cls, affine: bytes) -> Self:
        """Encode a point that blst computed from points of the group. For this room only.

        Raises:
            EncodingError: the point is infinity.
        """
        if blst.p1_affine_is_inf(affine):
            raise EncodingError(f"{cls._what}: the point is infinity")
        encoded = ctypes.create_string_buffer(cls._size)
        blst.p1_affine_compress(encoded, affine)
        return cls._make(encoded.raw, affine)


class UncheckedSignature(_Point):
    """A point of the curve of G2 that is not infinity but may lie outside the group.

    Enough for a partial whose combination will be checked; never released as it is.
    """

    _size, _what = SIGNATURE_SIZE, "signature"

    def __new__(cls, data: bytes | bytearray | memoryview) -> Self:
        """Decode 96 bytes without the check of the group.

        Raises:
            EncodingError: wrong length, not canonical, off the curve, infinity.
        """
        encoded = _checked_bytes(data, cls._size, cls._what)
        affine = ctypes.create_string_buffer(P2_AFFINE_SIZE)
        _require_decoded(blst.p2_uncompress(affine, encoded), cls._what)
        return cls._make(encoded, affine.raw)

    def checked(self) -> "Signature":
        """Return it as a signature.

        Raises:
            EncodingError: the point is outside the group.
        """
        if not blst.p2_affine_in_g2(self._affine):
            raise EncodingError(f"{self._what}: the point is outside the prime-order group")
        return Signature._make(bytes(self), self._affine)


class Signature(_Point):
    """A point of G2 that is not infinity: a partial or a group signature."""

    _size, _what = SIGNATURE_SIZE, "signature"

    def __new__(cls, data: bytes | bytearray | memoryview) -> Self:
        """Decode 96 bytes.

        Raises:
            EncodingError: wrong length, not canonical, off the curve, outside the group, infinity.
        """
        if type(data) is cls:
            return data
        checked = UncheckedSignature(data).checked()
        return cls._make(bytes(checked), checked._affine)

    @classmethod
    def from_affine(cls, affine: bytes) -> Self:
        """Encode a point that is known to be in the group and not infinity. For this room only."""
        encoded = ctypes.create_string_buffer(SIGNATURE_SIZE)
        blst.p2_affine_compress(encoded, affine)
        return cls._make(encoded.raw, affine)


def _checked_bytes(data: bytes | bytearray | memoryview, size: int, what: str) -> bytes:
    """Return `data` as plain bytes of the one possible length; C would read on past a short one."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{what}: bytes are expected, not {type(data).__name__}")
    encoded = bytes(data)
    if len(encoded) != size:
        raise EncodingError(f"{what}: {len(encoded)} bytes, {size} expected")
    if encoded[0] & _INFINITY_FLAG:
        raise EncodingError(f"{what}: the point is infinity")
    return encoded


def _require_decoded(status: int, what: str) -> None:
    if status == _NOT_ON_CURVE:
        raise EncodingError(f"{what}: the point is not on the curve")
    if status != 0:
        raise EncodingError(f"{what}: not a canonical compressed point")

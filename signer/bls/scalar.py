"""Secret keys, shares and coefficients: scalars from 1 to r - 1 in memory that is wiped.

Arithmetic is blst's constant-time field arithmetic on buffers of ours. No Python int, which could
neither be wiped nor computed with in constant time, ever holds one.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from signer.bls.engine import GROUP_ORDER as GROUP_ORDER
from signer.bls.engine import SCALAR_SIZE, blst
from signer.errors import EncodingError, EngineError
from signer.secret import Secret, SecretBytes, wipe_buffer

_RANDOM_BYTES = 48  # reduced mod r, their distribution is within 2**-128 of uniform

_ScalarBuffer = ctypes.c_char * SCALAR_SIZE  # 32 bytes, little-endian: blst_scalar
_FieldBuffer = ctypes.c_char * SCALAR_SIZE  # 32 bytes, Montgomery form: blst_fr


class SecretScalar(Secret):
    """A secret in 1..r-1. Use it in a `with` block; it is zeros afterwards."""

    __slots__ = ("_buffer", "_wiped")

    def __init__(self) -> None:
        """Only for this module: the buffer is still zero, which no finished scalar is."""
        self._buffer = _ScalarBuffer()
        self._wiped = False

    @classmethod
    def from_big_endian(cls, source: SecretBytes | bytearray | memoryview) -> Self:
        """Read 32 big-endian bytes; `source` stays as it is, wiping it is its owner's business.

        Raises:
            EncodingError: not 32 bytes, zero, or r and above (E_SCALAR).
        """
        view = source.expose() if isinstance(source, SecretBytes) else memoryview(source)
        if view.nbytes != SCALAR_SIZE:
            raise EncodingError(f"secret scalar: {view.nbytes} bytes, 32 expected", code="E_SCALAR")
        scalar = cls()
        copy = bytearray(view)
        try:
            blst.scalar_from_bendian(scalar._buffer, _ScalarBuffer.from_buffer(copy))
        finally:
            wipe_buffer(copy)
        if not blst.sk_check(scalar._buffer):
            scalar.wipe()
            raise EncodingError("secret scalar: zero, or not below r", code="E_SCALAR")
        return scalar

    @classmethod
    def random(cls, random_bytes: Callable[[int], bytes]) -> Self:
        """Draw a scalar, uniform but for 2**-128.

        Args:
            random_bytes: a cryptographic source such as `os.urandom`.

        Raises:
            EngineError: the source gave zeros, or another number of bytes than asked for.
        """
        drawn = random_bytes(_RANDOM_BYTES)
        if len(drawn) != _RANDOM_BYTES or not any(drawn):
            raise EngineError("the random source is broken: it returned zeros or too few bytes")
        scalar = cls()
        if not blst.scalar_from_be_bytes(scalar._buffer, drawn, _RANDOM_BYTES):
            raise EngineError("the random source is broken: it returned a multiple of r")
        return scalar

    @classmethod
    def reduced(cls, wide: SecretBytes) -> Self:
        """Return the big-endian number of 48 bytes mod r; `wide` stays as it is.

        Raises:
            EncodingError: it is a multiple of r (E_SCALAR).
        """
        if len(wide) != _RANDOM_BYTES:
            raise ValueError(f"{len(wide)} bytes to reduce, {_RANDOM_BYTES} are expected")
        source = (ctypes.c_char * _RANDOM_BYTES).from_buffer(wide.expose())
        return cls.derived(lambda buffer: blst.scalar_from_be_bytes(buffer, source, _RANDOM_BYTES))

    @classmethod
    def derived(cls, write: Callable[[Any], object]) -> Self:
        """Let a function of blst write the scalar. For this room only.

        Raises:
            EncodingError: what it wrote is no scalar (E_SCALAR).
        """
        scalar = cls()
        write(scalar._buffer)
        if not blst.sk_check(scalar._buffer):
            scalar.wipe()
            raise EncodingError("secret scalar: the result is zero", code="E_SCALAR")
        return scalar

    def expose(self) -> Any:
        """Return the buffer (32 bytes, little-endian) for a call of blst. For this room only.

        Raises:
            ValueError: the scalar has been wiped.
        """
        if self._wiped:
            raise ValueError("secret scalar used after it was wiped")
        return self._buffer

    def to_big_endian(self) -> SecretBytes:
        """Return the 32 big-endian bytes that EIP-2333 and EIP-2335 write."""
        secret = SecretBytes.zeros(SCALAR_SIZE)
        blst.bendian_from_scalar(_ScalarBuffer.from_buffer(secret.expose()), self.expose())
        return secret

    def add(self, other: "SecretScalar") -> "SecretScalar":
        """Return self + other mod r.

        Raises:
            EncodingError: the sum is zero (E_SCALAR).
        """
        with _in_field(self) as left, _in_field(other) as right:
            blst.fr_add(left, left, right)
            return _from_field(left)

    def subtract(self, other: "SecretScalar") -> "SecretScalar":
        """Return self - other mod r.

        Raises:
            EncodingError: they are equal (E_SCALAR).
        """
        with _in_field(self) as left, _in_field(other) as right:
            blst.fr_sub(left, left, right)
            return _from_field(left)

    def multiply(self, other: "SecretScalar") -> "SecretScalar":
        """Return self · other mod r."""
        with _in_field(self) as left, _in_field(other) as right:
            blst.fr_mul(left, left, right)
            return _from_field(left)

    def multiply_public(self, factor: int) -> "SecretScalar":
        """Return self · factor mod r for a public factor in 1..r-1."""
        with _in_field(self) as product:
            blst.fr_mul(product, product, _public_field(factor))
            return _from_field(product)

    def duplicate(self) -> "SecretScalar":
        """Return a second one of the same value, with its own buffer and its own end."""
        source = self.expose()
        return SecretScalar.derived(lambda buffer: ctypes.memmove(buffer, source, SCALAR_SIZE))

    def wipe(self) -> None:
        """Overwrite the buffer with zeros; using the scalar raises from now on."""
        ctypes.memset(self._buffer, 0, SCALAR_SIZE)
        self._wiped = True

    def __del__(self) -> None:
        if hasattr(self, "_wiped"):
            self.wipe()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretScalar):
            return NotImplemented
        with self.to_big_endian() as left, other.to_big_endian() as right:
            return left == right

    __hash__ = None


def evaluate_polynomial(coefficients: Sequence[SecretScalar], x: int) -> SecretScalar:
    """Return f(x) for f = coefficients[0] + coefficients[1]·x + … and a public x in 1..r-1.

    Raises:
        EncodingError: f(x) is zero (E_SCALAR).
    """
    point = _public_field(x)
    with _in_field(coefficients[-1]) as value:
        for coefficient in reversed(coefficients[:-1]):
            blst.fr_mul(value, value, point)
            with _in_field(coefficient) as term:
                blst.fr_add(value, value, term)
        return _from_field(value)


def sum_of_products(scalars: Sequence[SecretScalar], factors: Sequence[int]) -> SecretScalar:
    """Return Σ factorᵢ·scalarᵢ mod r for public factors in 1..r-1. At least one scalar.

    Raises:
        EncodingError: the sum is zero (E_SCALAR).
    """
    total = _FieldBuffer()
    try:
        for scalar, factor in zip(scalars, factors, strict=True):
            with _in_field(scalar) as product:
                blst.fr_mul(product, product, _public_field(factor))
                blst.fr_add(total, total, product)
        return _from_field(total)
    finally:
        ctypes.memset(total, 0, SCALAR_SIZE)


@contextmanager
def _in_field(scalar: SecretScalar) -> Iterator[Any]:
    """Yield a copy of `scalar` in blst's field form, wiped afterwards."""
    element = _FieldBuffer()
    try:
        blst.fr_from_scalar(element, scalar.expose())
        yield element
    finally:
        ctypes.memset(element, 0, SCALAR_SIZE)


def _from_field(element: Any) -> SecretScalar:
    return SecretScalar.derived(lambda buffer: blst.scalar_from_fr(buffer, element))


def _public_field(value: int) -> Any:
    if not 1 <= value < GROUP_ORDER:
        raise ValueError(f"a public factor must be in 1..r-1, not {value}")
    element = _FieldBuffer()
    limbs = (value >> shift & (2**64 - 1) for shift in range(0, 256, 64))
    blst.fr_from_uint64(element, (ctypes.c_uint64 * 4)(*limbs))
    return element

"""Σ (numeratorᵢ / denominator) · pointᵢ over signatures, for numerators of few bits.

Lagrange coefficients at 0 for small indices are such fractions: a multi-multiplication by 4 to 177
bits and one by 1/denominator take about half the time of one by 255-bit residues.
"""

import ctypes
from collections.abc import Sequence

from signer.bls.encoding import SIGNATURE_SIZE, Signature
from signer.bls.engine import P2_AFFINE_SIZE, P2_SIZE, blst
from signer.bls.scalar import GROUP_ORDER

_INFINITY_FLAG = 0x40
_ORDER_BITS = 255


class UnusablePartialError(ValueError):
    """The partial at `position` is not the encoding of a point. Never leaves `signer.threshold`."""

    def __init__(self, position: int) -> None:
        super().__init__(f"partial {position} is not a point")
        self.position = position


class Combination:
    """One set of coefficients, used for any number of messages. Not for two threads at once."""

    def __init__(self, numerators: Sequence[int], denominator: int) -> None:
        """Prepare the buffers.

        Args:
            numerators: non-zero integers, one a partial, of either sign.
            denominator: a positive integer below r.
        """
        count = len(numerators)
        self._count = count
        self._bits = max(abs(numerator).bit_length() for numerator in numerators)
        width = (self._bits + 7) // 8
        self._scalars = b"".join(abs(number).to_bytes(width, "little") for number in numerators)
        self._inverse = (
            None
            if denominator == 1
            else pow(denominator, -1, GROUP_ORDER).to_bytes(_ORDER_BITS // 8 + 1, "little")
        )
        self._points = ctypes.create_string_buffer(P2_AFFINE_SIZE * count)
        base = ctypes.addressof(self._points)
        self._slots = [base + position * P2_AFFINE_SIZE for position in range(count)]
        self._negative_ys = [
            slot + P2_AFFINE_SIZE // 2
            for slot, number in zip(self._slots, numerators, strict=True)
            if number < 0
        ]
        self._point_array = (ctypes.c_void_p * 2)(base, None)
        self._scalar_array = (ctypes.c_char_p * 2)(self._scalars, None)
        self._scratch = ctypes.create_string_buffer(blst.p2s_mult_pippenger_scratch_sizeof(count))
        self._sum = ctypes.create_string_buffer(P2_SIZE)
        self._affine = ctypes.create_string_buffer(P2_AFFINE_SIZE)

    def combine(self, partials: Sequence[bytes]) -> Signature | None:
        """Return the combination of 96-byte partials, or None if it is no signature at all.

        Each partial is decoded but not checked to be in the group; the result is. So the result is
        a point of the group, and right if and only if it verifies.

        Raises:
            UnusablePartialError: a partial is no canonical encoding of a point, or is infinity.
        """
        decode = blst.p2_uncompress
        for position, (slot, partial) in enumerate(zip(self._slots, partials, strict=True)):
            if len(partial) != SIGNATURE_SIZE or partial[0] & _INFINITY_FLAG:
                raise UnusablePartialError(position)
            if decode(slot, partial) != 0:
                raise UnusablePartialError(position)
        for y in self._negative_ys:
            blst.fp2_cneg(y, y, True)
        total, affine = self._sum, self._affine
        blst.p2s_mult_pippenger(
            total, self._point_array, self._count, self._scalar_array, self._bits, self._scratch
        )
        if self._inverse is not None:
            blst.p2_mult(total, total, self._inverse, _ORDER_BITS)
        if blst.p2_is_inf(total):
            return None
        blst.p2_to_affine(affine, total)
        if not blst.p2_affine_in_g2(affine):
            return None
        return Signature.from_affine(affine.raw)

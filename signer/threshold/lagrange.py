"""Lagrange coefficients, as exact fractions.

For indices of 1..100 they are small rational numbers Nᵢ/L; as residues mod r they would have 255
bits each. Public values only.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from signer.threshold.params import ShareIndex


@dataclass(frozen=True, slots=True)
class Fractions:
    """λᵢ = numerators[i] / denominator in the order of the indices. The denominator is positive."""

    numerators: tuple[int, ...]
    denominator: int

    def modulo(self, order: int) -> tuple[int, ...]:
        """Return λᵢ as residues in 0..order-1, for a prime that does not divide the denominator."""
        inverse = pow(self.denominator, -1, order)
        return tuple(numerator * inverse % order for numerator in self.numerators)


def lagrange_at_zero(indices: tuple[ShareIndex, ...]) -> Fractions:
    """Return λᵢ with f(0) = Σ λᵢ·f(xᵢ) for every polynomial of a degree below len(indices).

    Args:
        indices: strictly ascending.
    """
    return lagrange_at(indices, 0)


@lru_cache(maxsize=256)
def lagrange_at(indices: tuple[ShareIndex, ...], x: int) -> Fractions:
    """Return λᵢ with f(x) = Σ λᵢ·f(xᵢ) for every polynomial of a degree below len(indices).

    Args:
        indices: strictly ascending.
        x: 0 or above, and none of the indices.
    """
    if not indices or any(a >= b for a, b in itertools.pairwise(indices)):
        raise ValueError("indices must be strictly ascending")
    if x < 0 or x in indices:
        raise ValueError(f"no coefficients at {x}: it is negative or one of the indices")
    product = math.prod(index - x for index in indices)
    reduced = []
    for index in indices:
        numerator = product // (index - x)
        denominator = math.prod(other - index for other in indices if other != index)
        divisor = math.gcd(numerator, denominator)
        reduced.append((numerator // divisor, denominator // divisor))
    common = math.lcm(*(denominator for _, denominator in reduced))
    return Fractions(tuple(n * (common // d) for n, d in reduced), common)

"""Lagrange coefficients at 0, as exact fractions.

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


@lru_cache(maxsize=256)
def lagrange_at_zero(indices: tuple[ShareIndex, ...]) -> Fractions:
    """Return λᵢ with f(0) = Σ λᵢ·f(xᵢ) for every polynomial of a degree below len(indices).

    Args:
        indices: strictly ascending.
    """
    if not indices or any(a >= b for a, b in itertools.pairwise(indices)):
        raise ValueError("indices must be strictly ascending")
    product = math.prod(indices)
    reduced = []
    for x in indices:
        numerator = product // x
        denominator = math.prod(other - x for other in indices if other != x)
        divisor = math.gcd(numerator, denominator)
        reduced.append((numerator // divisor, denominator // divisor))
    common = math.lcm(*(denominator for _, denominator in reduced))
    return Fractions(tuple(n * (common // d) for n, d in reduced), common)

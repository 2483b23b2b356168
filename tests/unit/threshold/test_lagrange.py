from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.threshold.lagrange import Fractions, lagrange_at, lagrange_at_zero
from signer.threshold.params import ShareIndex

index_sets = st.sets(st.integers(1, 100), min_size=1, max_size=100).map(
    lambda chosen: tuple(ShareIndex(x) for x in sorted(chosen))
)


@given(index_sets)
def test_coefficients_sum_to_one(indices: tuple[ShareIndex, ...]) -> None:
    fractions = lagrange_at_zero(indices)
    assert sum(fractions.numerators) == fractions.denominator > 0


@given(index_sets, st.data())
def test_they_interpolate_every_polynomial(
    indices: tuple[ShareIndex, ...], data: st.DataObject
) -> None:
    degree = data.draw(st.integers(0, len(indices) - 1))
    coefficients = data.draw(
        st.lists(st.integers(-(10**6), 10**6), min_size=degree + 1, max_size=degree + 1)
    )
    values = [sum(a * x**k for k, a in enumerate(coefficients)) for x in indices]
    fractions = lagrange_at_zero(indices)
    total = sum(n * value for n, value in zip(fractions.numerators, values, strict=True))
    assert Fraction(total, fractions.denominator) == coefficients[0]
    elsewhere = data.draw(st.integers(0, 200).filter(lambda x: x not in indices))
    fractions = lagrange_at(indices, elsewhere)
    total = sum(n * value for n, value in zip(fractions.numerators, values, strict=True))
    expected = sum(a * elsewhere**k for k, a in enumerate(coefficients))
    assert Fraction(total, fractions.denominator) == expected
    assert sum(fractions.numerators) == fractions.denominator > 0


def test_known_ones() -> None:
    fractions = lagrange_at_zero((ShareIndex(1), ShareIndex(2), ShareIndex(3)))
    assert (fractions.numerators, fractions.denominator) == ((3, -3, 1), 1)
    fractions = lagrange_at_zero((ShareIndex(1), ShareIndex(2), ShareIndex(4)))
    assert (fractions.numerators, fractions.denominator) == ((8, -6, 1), 3)


def test_known_ones_elsewhere() -> None:
    """At 3 between 1, 2, 4, and at 5 beyond 1, 2."""
    indices = (ShareIndex(1), ShareIndex(2), ShareIndex(4))
    assert lagrange_at(indices, 3) == Fractions((-1, 3, 1), 3)
    assert lagrange_at(indices[:2], 5) == Fractions((-3, 4), 1)
    assert lagrange_at(indices, 0) == lagrange_at_zero(indices)


def test_as_residues() -> None:
    assert Fractions((8, -6, 1), 3).modulo(7) == (8 * 5 % 7, -6 * 5 % 7, 5)


@pytest.mark.case("C22", "coefficients at a negative x, or at one of the indices")
@pytest.mark.parametrize("x", [-1, 1, 4])
def test_nowhere_to_interpolate(x: int) -> None:
    with pytest.raises(ValueError, match=f"no coefficients at {x}"):
        lagrange_at((ShareIndex(1), ShareIndex(2), ShareIndex(4)), x)


def test_they_are_short() -> None:
    """What the speed of combining rests on."""
    lowest = tuple(ShareIndex(x) for x in range(34, 101))
    assert max(abs(n) for n in lagrange_at_zero(lowest).numerators).bit_length() < 180


@pytest.mark.case("S1", "an index twice in one combination")
@pytest.mark.parametrize("numbers", [(), (1, 1), (2, 1), (1, 2, 2)])
def test_not_ascending(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        lagrange_at_zero(tuple(ShareIndex(x) for x in numbers))

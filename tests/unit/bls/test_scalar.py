import copy
import ctypes
import os
import pickle
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scalar import SecretScalar, evaluate_polynomial, sum_of_products
from signer.errors import EncodingError, EngineError
from signer.secret import SecretBytes

numbers = st.one_of(st.integers(1, R - 1), st.sampled_from([1, 2, R - 1, R - 2, 2**254, 2**64 - 1]))
factors = st.one_of(
    st.integers(1, R - 1), st.integers(1, 100), st.sampled_from([2**64 - 1, 2**64, 2**192, R - 1])
)


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


def number_of(scalar: SecretScalar) -> int:
    with scalar.to_big_endian() as plain:
        return int.from_bytes(plain.expose(), "big")


def is_zeros(scalar: SecretScalar) -> bool:
    return ctypes.string_at(ctypes.addressof(scalar._buffer), 32) == bytes(32)


@given(numbers)
def test_big_endian_both_ways(number: int) -> None:
    assert number_of(scalar_of(number)) == number


def test_the_source_is_left_to_its_owner() -> None:
    source = SecretBytes((5).to_bytes(32, "big"))
    with SecretScalar.from_big_endian(source) as scalar:
        assert number_of(scalar) == 5
    assert source.expose()[31] == 5


@given(numbers, numbers)
def test_add_is_addition_mod_r(a: int, b: int) -> None:
    if (a + b) % R == 0:
        with pytest.raises(EncodingError):
            scalar_of(a).add(scalar_of(b))
    else:
        assert number_of(scalar_of(a).add(scalar_of(b))) == (a + b) % R


@given(numbers, numbers)
def test_multiply_is_multiplication_mod_r(a: int, b: int) -> None:
    assert number_of(scalar_of(a).multiply(scalar_of(b))) == a * b % R


@given(numbers, factors)
def test_multiply_public_is_multiplication_mod_r(a: int, factor: int) -> None:
    assert number_of(scalar_of(a).multiply_public(factor)) == a * factor % R


@given(st.lists(numbers, min_size=1, max_size=8), factors)
def test_polynomial(coefficients: list[int], x: int) -> None:
    expected = sum(a * pow(x, k, R) for k, a in enumerate(coefficients)) % R
    if expected:
        value = evaluate_polynomial([scalar_of(a) for a in coefficients], x)
        assert number_of(value) == expected


def test_polynomial_with_a_zero_on_the_way() -> None:
    """x = 1: 1 + 5x + (r - 5)x² is zero between the steps of Horner's rule, and then 1."""
    assert number_of(evaluate_polynomial([scalar_of(a) for a in (1, 5, R - 5)], 1)) == 1


def test_polynomial_that_is_zero() -> None:
    with pytest.raises(EncodingError) as caught:
        evaluate_polynomial([scalar_of(R - 3), scalar_of(1)], 3)
    assert caught.value.code == "E_SCALAR"


@pytest.mark.parametrize("factor", [0, -1, R, R + 1, 2**256])
def test_public_factors_have_a_range(factor: int) -> None:
    with pytest.raises(ValueError, match="public factor"):
        scalar_of(1).multiply_public(factor)
    with pytest.raises(ValueError, match="public factor"):
        sum_of_products([scalar_of(1), scalar_of(2)], [1, factor])


@given(numbers, numbers)
def test_subtract_is_subtraction_mod_r(a: int, b: int) -> None:
    if a == b:
        with pytest.raises(EncodingError):
            scalar_of(a).subtract(scalar_of(b))
    else:
        assert number_of(scalar_of(a).subtract(scalar_of(b))) == (a - b) % R


@given(st.lists(st.tuples(numbers, factors), min_size=1, max_size=8))
def test_sum_of_products(terms: list[tuple[int, int]]) -> None:
    expected = sum(a * factor for a, factor in terms) % R
    if expected:
        total = sum_of_products([scalar_of(a) for a, _ in terms], [factor for _, factor in terms])
        assert number_of(total) == expected


def test_sum_of_products_that_is_zero() -> None:
    """A zero on the way does not matter: 5 - 5 + 7."""
    assert number_of(sum_of_products([scalar_of(5)] * 2 + [scalar_of(7)], [1, R - 1, 1])) == 7
    with pytest.raises(EncodingError) as caught:
        sum_of_products([scalar_of(5), scalar_of(5)], [1, R - 1])
    assert caught.value.code == "E_SCALAR"
    with pytest.raises(EncodingError):
        sum_of_products([], [])
    with pytest.raises(ValueError, match="shorter"):
        sum_of_products([scalar_of(5), scalar_of(5)], [1])


@given(st.integers(1, 2**384 - 1))
def test_reduced_is_the_wide_number_mod_r(wide: int) -> None:
    source = SecretBytes(wide.to_bytes(48, "big"))
    if wide % R:
        assert number_of(SecretScalar.reduced(source)) == wide % R
    assert source.expose() == wide.to_bytes(48, "big")


def test_reduced_refuses_a_multiple_of_r_and_other_lengths() -> None:
    for number in (0, R, 5 * R):
        with pytest.raises(EncodingError) as caught:
            SecretScalar.reduced(SecretBytes(number.to_bytes(48, "big")))
        assert caught.value.code == "E_SCALAR"
    with pytest.raises(ValueError, match="48"):
        SecretScalar.reduced(SecretBytes(bytes(32)))


def test_a_duplicate_has_its_own_end() -> None:
    original = scalar_of(7)
    with original.duplicate() as twin:
        assert number_of(twin) == 7
    assert number_of(original) == 7
    original.wipe()
    with pytest.raises(ValueError, match="wiped"):
        original.duplicate()


@pytest.mark.case("X108", "a scalar of zero, r, more than r, or another length")
@pytest.mark.parametrize(
    "data",
    [
        bytes(32),
        R.to_bytes(32, "big"),
        (R + 1).to_bytes(32, "big"),
        b"\xff" * 32,
        b"\x01" * 31,
        b"\x01" * 33,
        b"",
    ],
)
def test_no_scalar(data: bytes) -> None:
    for source in (SecretBytes(data), bytearray(data), memoryview(data)):
        with pytest.raises(EncodingError) as caught:
            SecretScalar.from_big_endian(source)
        assert caught.value.code == "E_SCALAR"
        assert data.hex() not in caught.value.line() or not data


def test_random_is_wide_bytes_mod_r() -> None:
    drawn = random.Random(3).randbytes(48)
    scalar = SecretScalar.random(lambda size: drawn[:size])
    assert number_of(scalar) == int.from_bytes(drawn, "big") % R


@pytest.mark.case("X109", "a random source of zeros, too few bytes, or a multiple of r")
@pytest.mark.parametrize(
    "source", [bytes, lambda size: os.urandom(size - 1), lambda size: R.to_bytes(size, "big")]
)
def test_broken_random_source(source: Callable[[int], bytes]) -> None:
    with pytest.raises(EngineError, match="random source"):
        SecretScalar.random(source)


def test_wiped_after_the_block_and_then_unusable() -> None:
    with scalar_of(7) as scalar:
        assert not is_zeros(scalar)
    assert is_zeros(scalar)
    for use in (scalar.expose, scalar.to_big_endian, lambda: scalar.add(scalar_of(1))):
        with pytest.raises(ValueError, match="wiped"):
            use()


def test_wiped_when_an_exception_passes() -> None:
    scalar = scalar_of(7)
    with pytest.raises(KeyError), scalar:
        raise KeyError
    assert is_zeros(scalar)


def test_wiped_when_forgotten() -> None:
    scalar = scalar_of(7)
    buffer = scalar._buffer
    del scalar
    assert buffer.raw == bytes(32)


def test_field_copies_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    from signer.bls import scalar as module

    made = []
    plain = module._FieldBuffer

    def remember() -> object:
        made.append(plain())
        return made[-1]

    monkeypatch.setattr(module, "_FieldBuffer", remember)
    scalar_of(7).add(scalar_of(8))
    scalar_of(7).multiply(scalar_of(8))
    evaluate_polynomial([scalar_of(1), scalar_of(2)], 1)
    scalar_of(8).subtract(scalar_of(7))
    sum_of_products([scalar_of(7)], [1])
    one_in_field_form = made[4].raw  # of the public x, which may stay
    assert len(made) == 12
    assert all(buffer.raw in (bytes(32), one_in_field_form) for buffer in made)
    assert sum(buffer.raw == bytes(32) for buffer in made) == 10


def test_does_not_print() -> None:
    scalar = scalar_of(0x1234)
    shown = f"{scalar} {scalar!r} {scalar!s} {scalar:>40}"
    assert shown == " ".join(["SecretScalar(<redacted>)"] * 4)


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps, hash, bytes])
def test_is_not_copied(take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        take(scalar_of(5))


def test_equality() -> None:
    assert scalar_of(5) == scalar_of(5)
    assert scalar_of(5) != scalar_of(6)
    assert scalar_of(5) != 5

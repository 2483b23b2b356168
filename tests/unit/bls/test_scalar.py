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
from signer.bls.scalar import SecretScalar, evaluate_polynomial
from signer.errors import EncodingError, EngineError
from signer.secret import SecretBytes

numbers = st.one_of(st.integers(1, R - 1), st.sampled_from([1, 2, R - 1, R - 2, 2**254, 2**64 - 1]))
factors = st.one_of(st.integers(1, 2**64 - 1), st.integers(1, 100))


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


@pytest.mark.parametrize("factor", [0, -1, 2**64])
def test_public_factors_have_a_range(factor: int) -> None:
    with pytest.raises(ValueError, match="public factor"):
        scalar_of(1).multiply_public(factor)


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
    one_in_field_form = made[4].raw  # of the public x, which may stay
    assert len(made) == 7
    assert all(buffer.raw in (bytes(32), one_in_field_form) for buffer in made)
    assert sum(buffer.raw == bytes(32) for buffer in made) == 6


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

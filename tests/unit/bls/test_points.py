import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_generator, g1_sum, g1_weighted_sum
from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key

numbers = st.one_of(st.integers(1, R - 1), st.integers(1, 3), st.integers(R - 3, R - 1))
weights = st.one_of(st.integers(0, R - 1), st.sampled_from([0, 1, 2, R - 1, 2**254]))


def key_of(number: int) -> PublicKey:
    return public_key(SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big"))))


def shown(affine: bytes | None) -> PublicKey | None:
    return None if affine is None else PublicKey.from_affine(affine)


@settings(max_examples=50, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=12))
def test_sum(terms: list[int]) -> None:
    total = sum(terms) % R
    affine = g1_sum([key_of(number).affine for number in terms])
    assert shown(affine) == (key_of(total) if total else None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, weights), min_size=1, max_size=40))
def test_weighted_sum(terms: list[tuple[int, int]]) -> None:
    total = sum(number * weight for number, weight in terms) % R
    affine = g1_weighted_sum(
        [key_of(number).affine for number, _ in terms], [weight for _, weight in terms]
    )
    assert shown(affine) == (key_of(total) if total else None)


def test_generator() -> None:
    assert shown(g1_generator()) == key_of(1)


def test_lengths() -> None:
    with pytest.raises(ValueError, match="no points"):
        g1_sum([])
    for weights in ([], [1, 2]):
        with pytest.raises(ValueError, match="weights"):
            g1_weighted_sum([g1_generator()], weights)
    with pytest.raises(ValueError, match="weights"):
        g1_weighted_sum([], [])
    for weight in (-1, 2**256):
        with pytest.raises(OverflowError):
            g1_weighted_sum([g1_generator()], [weight])

import itertools
import os
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.errors import EngineError, ShareMismatchError
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.share import SecretShare, split


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


def number_of(scalar: SecretScalar) -> int:
    with scalar.to_big_endian() as plain:
        return int.from_bytes(plain.expose(), "big")


def replayed(*numbers: int) -> Callable[[int], bytes]:
    """A random source that draws these coefficients, one after the other."""
    left: Iterator[int] = iter(numbers)
    return lambda size: next(left).to_bytes(size, "big")


@settings(max_examples=25)
@given(st.integers(1, R - 1), st.integers(2, 7), st.integers(0, 5), st.integers())
def test_any_t_shares_are_the_key_and_every_share_is_committed(
    number: int, t: int, more: int, seed: int
) -> None:
    rng = random.Random(seed)
    vector, shares = split(scalar_of(number), Threshold(t, t + more), rng.randbytes)
    assert [int(share.index) for share in shares] == list(range(1, t + more + 1))
    assert vector.group_public_key == public_key(scalar_of(number))
    assert vector.threshold == t
    for share in shares:
        share.verify(vector)
        assert public_key(share.scalar) == vector.public_share(share.index)
    chosen = sorted(rng.sample(shares, t), key=lambda share: share.index)
    assert interpolated(chosen) == number
    assert interpolated(chosen[1:]) != number


def interpolated(shares: list[SecretShare]) -> int:
    fractions = lagrange_at_zero(tuple(share.index for share in shares))
    total = sum(
        n * number_of(share.scalar) for n, share in zip(fractions.numerators, shares, strict=True)
    )
    return total * pow(fractions.denominator, -1, R) % R


def test_the_polynomial_is_what_was_drawn() -> None:
    _, shares = split(scalar_of(5), Threshold(3, 4), replayed(7, 11))
    assert [number_of(share.scalar) for share in shares] == [
        5 + 7 * x + 11 * x * x for x in range(1, 5)
    ]


def test_a_zero_share_is_drawn_again() -> None:
    """5 + (r - 5)·x is zero at 1; 5 + 7x is not."""
    _, shares = split(scalar_of(5), Threshold(2, 3), replayed(R - 5, 7))
    assert [number_of(share.scalar) for share in shares] == [12, 19, 26]


@pytest.mark.case("X119", "a random source that repeats itself while a key is split")
def test_repeating_random_source() -> None:
    drawn = os.urandom(48)
    with pytest.raises(EngineError, match="repeats itself"):
        split(scalar_of(5), Threshold(3, 4), lambda size: drawn[:size])


def test_coefficients_are_wiped_and_the_key_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[SecretScalar] = []
    random_scalar = SecretScalar.random

    def remember(random_bytes: Callable[[int], bytes]) -> SecretScalar:
        drawn.append(random_scalar(random_bytes))
        return drawn[-1]

    monkeypatch.setattr(SecretScalar, "random", remember)
    key = scalar_of(5)
    split(key, Threshold(4, 5), os.urandom)
    assert len(drawn) == 3
    assert all(scalar._wiped and scalar._buffer.raw == bytes(32) for scalar in drawn)
    assert number_of(key) == 5


def test_shares_are_wiped_when_dealing_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    dealt: list[SecretShare] = []

    def remember_and_fail_at_3(share: SecretShare, _: object) -> None:
        dealt.append(share)
        if share.index == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SecretShare, "verify", remember_and_fail_at_3)
    with pytest.raises(KeyboardInterrupt):
        split(scalar_of(5), Threshold(2, 5), os.urandom)
    assert [int(share.index) for share in dealt] == [1, 2, 3]
    assert all(share.scalar._buffer.raw == bytes(32) for share in dealt)


@pytest.mark.case("C11", "a share of another index, another key, another dealing")
def test_share_that_does_not_belong() -> None:
    key = scalar_of(5)
    vector, shares = split(key, Threshold(2, 3), os.urandom)
    _, others = split(key, Threshold(2, 3), os.urandom)
    wrong = [
        SecretShare(ShareIndex(2), shares[0].scalar),
        SecretShare(ShareIndex(1), shares[0].scalar.add(scalar_of(1))),
        others[0],
    ]
    for share in wrong:
        with pytest.raises(ShareMismatchError) as caught:
            share.verify(vector)
        assert caught.value.exit_status == 7
        assert f"{number_of(share.scalar):x}" not in caught.value.line()
    for left, right in itertools.permutations(shares, 2):
        left.verify_against(vector.public_share(left.index))
        with pytest.raises(ShareMismatchError):
            left.verify_against(vector.public_share(right.index))


def test_wiped_after_the_block_also_when_an_exception_passes() -> None:
    with SecretShare(ShareIndex(1), scalar_of(5)) as share:
        pass
    assert share.scalar._buffer.raw == bytes(32)
    share = SecretShare(ShareIndex(1), scalar_of(5))
    with pytest.raises(KeyError), share:
        raise KeyError
    assert share.scalar._buffer.raw == bytes(32)


def test_does_not_print() -> None:
    assert repr(SecretShare(ShareIndex(3), scalar_of(5))) == "SecretShare(3, <redacted>)"

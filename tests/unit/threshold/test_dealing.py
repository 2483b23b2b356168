import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scheme import public_key
from signer.errors import EngineError, ThresholdParameterError
from signer.secret import SecretBytes
from signer.threshold.dealing import Dealing, derive_scalar
from signer.threshold.params import ShareIndex
from signer.threshold.vector import VerificationVector
from tests.unit.threshold.scalars import number_of, scalar_of, seed_of

CEREMONY = b"\x11" * 32
SEVEN = (7).to_bytes(32, "big")


def hkdf(secret: bytes, info: bytes) -> int:
    """HKDF of RFC 5869 for 48 bytes, written a second time."""
    prk = hmac.digest(bytes(32), secret, "sha256")
    first = hmac.digest(prk, info + b"\x01", "sha256")
    second = hmac.digest(prk, first + info + b"\x02", "sha256")
    return int.from_bytes((first + second)[:48], "big") % R


def coefficients_of(seed: bytes, ceremony: bytes, t: int) -> list[int]:
    label = b"signer/deal/coefficient/v1" + ceremony
    return [hkdf(seed, label + k.to_bytes(2, "big")) for k in range(t)]


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(2, 9))
def test_the_polynomial_is_that_of_the_seed(seed: bytes, ceremony: bytes, t: int) -> None:
    if not any(seed):
        return
    numbers = coefficients_of(seed, ceremony, t)
    with Dealing.derive(SecretBytes(seed), ceremony, t) as dealing:
        assert [number_of(a) for a in dealing._coefficients] == numbers
        assert dealing.commitments == tuple(public_key(scalar_of(a)) for a in numbers)
        for x in (1, 2, 100):
            value = sum(a * x**k for k, a in enumerate(numbers)) % R
            with dealing.share_for(ShareIndex(x)) as share:
                assert number_of(share) == value
                vector = VerificationVector(dealing.commitments)
                assert public_key(share) == vector.public_share(ShareIndex(x))


def test_a_prescribed_constant_replaces_only_the_first() -> None:
    with (
        scalar_of(5) as constant,
        Dealing.derive(seed_of(7), CEREMONY, 3, constant) as dealing,
    ):
        numbers = coefficients_of(SEVEN, CEREMONY, 3)
        assert [number_of(a) for a in dealing._coefficients] == [5, *numbers[1:]]
        assert dealing.commitments[0] == public_key(scalar_of(5))
    assert number_of(scalar_of(5)) == 5


def test_it_is_wiped_and_what_it_was_made_of_is_not() -> None:
    seed, constant = seed_of(7), scalar_of(5)
    with Dealing.derive(seed, CEREMONY, 3, constant) as dealing:
        kept = list(dealing._coefficients)
        assert number_of(dealing.constant) == 5
    assert all(scalar._buffer.raw == bytes(32) for scalar in kept)
    assert len(dealing.commitments) == 3
    with pytest.raises(ValueError, match="wiped"):
        dealing.share_for(ShareIndex(1))
    assert number_of(constant) == 5
    assert seed.expose()[31] == 7


def test_it_is_another_in_another_ceremony_and_of_another_seed() -> None:
    dealings = [
        Dealing.derive(seed_of(seed), ceremony, 3)
        for seed, ceremony in ((7, CEREMONY), (8, CEREMONY), (7, b"\x12" * 32))
    ]
    commitments = {entry for dealing in dealings for entry in dealing.commitments}
    assert len(commitments) == 9
    again = Dealing.derive(seed_of(7), CEREMONY, 3)
    assert again.commitments == dealings[0].commitments
    assert Dealing.derive(seed_of(7), CEREMONY, 5).commitments[:3] == again.commitments


@pytest.mark.case("C25", "a session seed of zeros")
def test_seed_of_zeros() -> None:
    with pytest.raises(EngineError, match="zeros"):
        Dealing.derive(seed_of(0), CEREMONY, 3)


@pytest.mark.case("C25", "a source that gives every coefficient the same value")
def test_equal_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def same(seed: SecretBytes, label: bytes) -> object:
        made.append(scalar_of(9))
        return made[-1]

    monkeypatch.setattr("signer.threshold.dealing.derive_scalar", same)
    with pytest.raises(EngineError, match="repeats itself"):
        Dealing.derive(seed_of(7), CEREMONY, 3)
    assert len(made) == 3
    assert all(scalar._buffer.raw == bytes(32) for scalar in made)


@pytest.mark.case("C25", "a prescribed constant that is also another coefficient")
def test_constant_that_is_a_coefficient() -> None:
    (_, first) = coefficients_of(SEVEN, CEREMONY, 2)
    with pytest.raises(EngineError, match="repeats itself"):
        Dealing.derive(seed_of(7), CEREMONY, 2, scalar_of(first))


@pytest.mark.case("P1", "a polynomial of 1, 0 or 101 coefficients")
@pytest.mark.parametrize("t", [-1, 0, 1, 101])
def test_number_of_coefficients(t: int) -> None:
    with pytest.raises(ThresholdParameterError, match=f"{t} coefficients"):
        Dealing.derive(seed_of(7), CEREMONY, t)


def test_lengths() -> None:
    for ceremony in (b"", CEREMONY[:31], CEREMONY + b"\x11"):
        with pytest.raises(ValueError, match="32 bytes"):
            Dealing.derive(seed_of(7), ceremony, 2)
    for size in (31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            derive_scalar(SecretBytes(b"\x07" * size), b"label")


@pytest.mark.case("P3", "a share for index 0 or 101")
@pytest.mark.parametrize("index", [0, 101])
def test_index(index: int) -> None:
    with (
        Dealing.derive(seed_of(7), CEREMONY, 2) as dealing,
        pytest.raises(ThresholdParameterError),
    ):
        dealing.share_for(index)  # type: ignore[arg-type]


def test_a_derived_scalar_is_no_plain_digest() -> None:
    """HKDF, not SHA-256 of the seed."""
    seed = b"\x07" * 32
    with derive_scalar(SecretBytes(seed), b"x") as scalar:
        assert number_of(scalar) == hkdf(seed, b"x")
        assert number_of(scalar) != int.from_bytes(hashlib.sha256(seed).digest(), "big") % R


def test_does_not_print() -> None:
    with Dealing.derive(seed_of(7), CEREMONY, 2) as dealing:
        assert repr(dealing) == "Dealing(<redacted>)"

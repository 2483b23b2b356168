import os

import pytest

from signer.bls.encoding import PublicKey
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import public_key
from signer.errors import EncodingError, ThresholdParameterError
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.share import split
from signer.threshold.vector import VerificationVector


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


def test_public_share_is_the_polynomial_in_the_exponent() -> None:
    """f = 5 + 7x + 11x²."""
    vector = VerificationVector([public_key(scalar_of(a)) for a in (5, 7, 11)])
    assert vector.group_public_key == public_key(scalar_of(5))
    assert vector.threshold == 3
    for x in (1, 2, 3, 50, 99, 100):
        expected = public_key(scalar_of(5 + 7 * x + 11 * x * x))
        assert vector.public_share(ShareIndex(x)) == expected
        assert vector.public_share(ShareIndex(x)) is vector.public_share(ShareIndex(x))


def test_parse_is_the_way_back() -> None:
    with SecretScalar.random(os.urandom) as key:
        vector, shares = split(key, Threshold(3, 5), os.urandom)
    for share in shares:
        share.scalar.wipe()
    again = VerificationVector.parse([bytes(entry) for entry in vector.commitments])
    assert again == vector
    assert hash(again) == hash(vector)
    assert again != VerificationVector(vector.commitments[:2])


@pytest.mark.case("C1", "a vector of 0, 1 or 101 commitments")
@pytest.mark.parametrize("count", [0, 1, 101])
def test_number_of_commitments(count: int) -> None:
    with pytest.raises(ThresholdParameterError, match=f"{count} commitments"):
        VerificationVector([public_key(scalar_of(9))] * count)


@pytest.mark.case("C3", "infinity among the commitments")
@pytest.mark.parametrize("position", [0, 1])
def test_infinity(position: int) -> None:
    encoded = [bytes(public_key(scalar_of(9)))] * 2
    encoded[position] = b"\xc0" + bytes(47)
    with pytest.raises(EncodingError):
        VerificationVector.parse(encoded)


@pytest.mark.case("X118", "a vector that makes a holder's public share infinity")
def test_public_share_at_infinity() -> None:
    """f = -3 + x is zero at 3."""
    vector = VerificationVector([public_key(scalar_of(GROUP_ORDER - 3)), public_key(scalar_of(1))])
    with pytest.raises(EncodingError, match="public share of 3 is infinity"):
        vector.public_share(ShareIndex(3))
    assert isinstance(vector.public_share(ShareIndex(2)), PublicKey)


@pytest.mark.case("P3", "public share of an index that is none")
@pytest.mark.parametrize("index", [0, 101])
def test_index(index: int) -> None:
    vector = VerificationVector([public_key(scalar_of(9))] * 2)
    with pytest.raises(ThresholdParameterError):
        vector.public_share(index)  # type: ignore[arg-type]

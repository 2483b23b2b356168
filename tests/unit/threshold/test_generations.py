"""Key generation, split, reshare and reshare of a reshare: what stays and what never mixes."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.encoding import PublicKey
from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign, verify
from signer.errors import EncodingError, ThresholdError, ThresholdParameterError
from signer.threshold.combine import combine
from signer.threshold.dealing import Dealing
from signer.threshold.lagrange import Fractions, lagrange_at_zero
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.share import SecretShare, split, weighted_sum
from signer.threshold.vector import VerificationVector, sum_vectors, weigh_vectors
from tests.unit.threshold.scalars import number_of, scalar_of, seed_of

MESSAGE = b"\x33" * 32


class Epoch:
    """One generation of shares, whole: every holder's share and the vector."""

    def __init__(self, vector: VerificationVector, scalars: Sequence[SecretScalar]) -> None:
        self.vector = vector
        self.shares = {
            ShareIndex(position): SecretShare(ShareIndex(position), scalar)
            for position, scalar in enumerate(scalars, 1)
        }
        for share in self.shares.values():
            share.verify(vector)

    @classmethod
    def generated(cls, threshold: Threshold, dealers: int, rng: random.Random) -> "Epoch":
        ceremony = rng.randbytes(32)
        dealings = [
            Dealing.derive(seed_of(rng.randrange(1, R)), ceremony, threshold.t)
            for _ in range(dealers)
        ]
        vector = sum_vectors([dealing.commitments for dealing in dealings])
        return cls(
            vector,
            [
                weighted_sum([dealing.share_for(ShareIndex(x)) for dealing in dealings])
                for x in range(1, threshold.n + 1)
            ],
        )

    def reshared(
        self, dealers: tuple[ShareIndex, ...], threshold: Threshold, rng: random.Random
    ) -> "Epoch":
        ceremony = rng.randbytes(32)
        dealings = [
            Dealing.derive(
                seed_of(rng.randrange(1, R)), ceremony, threshold.t, self.shares[dealer].scalar
            )
            for dealer in dealers
        ]
        for dealer, dealing in zip(dealers, dealings, strict=True):
            assert dealing.commitments[0] == self.vector.public_share(dealer)
        weights = lagrange_at_zero(dealers)
        vector = weigh_vectors([dealing.commitments for dealing in dealings], weights)
        return Epoch(
            vector,
            [
                weighted_sum([dealing.share_for(ShareIndex(x)) for dealing in dealings], weights)
                for x in range(1, threshold.n + 1)
            ],
        )

    def partials(self, indices: Sequence[int]) -> dict[ShareIndex, bytes]:
        return {
            ShareIndex(index): bytes(sign(self.shares[ShareIndex(index)].scalar, MESSAGE))
            for index in indices
        }

    def chosen(self, count: int, rng: random.Random) -> tuple[ShareIndex, ...]:
        return tuple(sorted(rng.sample(sorted(self.shares), count)))

    def sign(self, count: int, rng: random.Random) -> bool:
        """Tell whether `count` holders sign for the group's key."""
        partials = self.partials(self.chosen(count, rng))
        try:
            signature, culprits = combine(MESSAGE, partials, self.vector, rng.randbytes)
        except ThresholdError:
            return False
        assert culprits == {}
        return verify(self.vector.group_public_key, MESSAGE, signature)


thresholds = st.integers(2, 5).flatmap(lambda t: st.integers(t, 7).map(lambda n: Threshold(t, n)))


@settings(max_examples=15, deadline=None)
@given(thresholds, st.integers(2, 6), st.integers())
def test_any_t_of_a_generated_key_sign_and_fewer_do_not(
    threshold: Threshold, dealers: int, seed: int
) -> None:
    rng = random.Random(seed)
    epoch = Epoch.generated(threshold, dealers, rng)
    assert epoch.vector.threshold == threshold.t
    assert epoch.sign(threshold.t, rng)
    assert epoch.sign(threshold.n, rng)
    assert not epoch.sign(threshold.t - 1, rng)
    # Not even for who combines them himself, without counting.
    few = epoch.chosen(threshold.t - 1, rng)
    weights = lagrange_at_zero(few)
    with weighted_sum([epoch.shares[index].scalar for index in few], weights) as guess:
        assert public_key(guess) != epoch.vector.group_public_key
    enough = epoch.chosen(threshold.t, rng)
    weights = lagrange_at_zero(enough)
    with weighted_sum([epoch.shares[index].scalar for index in enough], weights) as key:
        assert public_key(key) == epoch.vector.group_public_key


@settings(max_examples=10, deadline=None)
@given(thresholds, st.integers(1, R - 1), st.integers())
def test_one_dealer_with_a_given_constant_is_a_split(
    threshold: Threshold, number: int, seed: int
) -> None:
    rng = random.Random(seed)
    with scalar_of(number) as key:
        with Dealing.derive(
            seed_of(rng.randrange(1, R)), rng.randbytes(32), threshold.t, key
        ) as dealing:
            vector = sum_vectors([dealing.commitments])
            epoch = Epoch(
                vector, [dealing.share_for(ShareIndex(x)) for x in range(1, threshold.n + 1)]
            )
            coefficients = [number_of(a) for a in dealing._coefficients[1:]]
        drawn = iter(coefficients)
        other, shares = split(key, threshold, lambda size: next(drawn).to_bytes(size, "big"))
    assert vector == other == VerificationVector(dealing.commitments)
    for share in shares:
        assert number_of(share.scalar) == number_of(epoch.shares[share.index].scalar)
    assert epoch.vector.group_public_key == public_key(scalar_of(number))
    assert epoch.sign(threshold.t, rng)


@settings(max_examples=12, deadline=None)
@given(thresholds, thresholds, thresholds, st.integers())
def test_a_reshare_of_a_reshare_keeps_the_key_and_epochs_never_mix(
    first: Threshold, second: Threshold, third: Threshold, seed: int
) -> None:
    rng = random.Random(seed)
    epochs = [Epoch.generated(first, 3, rng)]
    for before, after in ((first, second), (second, third)):
        dealers = epochs[-1].chosen(rng.randint(before.t, before.n), rng)
        epochs.append(epochs[-1].reshared(dealers, after, rng))
    keys = {epoch.vector.group_public_key for epoch in epochs}
    assert len(keys) == 1
    for epoch, threshold in zip(epochs, (first, second, third), strict=True):
        assert epoch.sign(threshold.t, rng)
        assert not epoch.sign(threshold.t - 1, rng)
    for old, new in ((0, 1), (1, 2), (0, 2)):
        mixed = epochs[new].partials(epochs[new].chosen(epochs[new].vector.threshold, rng))
        stale = next(iter(mixed))
        if stale not in epochs[old].shares:
            continue
        mixed |= epochs[old].partials([stale])
        with pytest.raises(ThresholdError) as caught:
            combine(MESSAGE, mixed, epochs[new].vector, rng.randbytes)
        assert [index for index, _ in caught.value.culprits] == [stale]


def test_a_reshare_by_too_few_is_another_key() -> None:
    """What |D| >= t is for: two of the three that are needed make a vector of something else."""
    rng = random.Random(1)
    epoch = Epoch.generated(Threshold(3, 5), 2, rng)
    other = epoch.reshared(epoch.chosen(2, rng), Threshold(2, 3), rng)
    assert other.vector.group_public_key != epoch.vector.group_public_key


def test_a_sum_of_numbers() -> None:
    """(5 + 7x) + (6 + 2x), and halved: λ = 3/2, -1/2 of 5 + 7x and 6 + 2x."""
    vectors = [[public_key(scalar_of(a)) for a in row] for row in ((5, 7), (6, 2))]
    assert sum_vectors(vectors).commitments == tuple(public_key(scalar_of(a)) for a in (11, 9))
    half = pow(2, -1, R)
    expected = [(3 * 5 - 6) * half % R, (3 * 7 - 2) * half % R]
    weighed = weigh_vectors(vectors, Fractions((3, -1), 2))
    assert weighed.commitments == tuple(public_key(scalar_of(a)) for a in expected)
    scalars = [scalar_of(5), scalar_of(6)]
    assert number_of(weighted_sum(scalars)) == 11
    assert number_of(weighted_sum(scalars, Fractions((3, -1), 2))) == expected[0]


@pytest.mark.parametrize("count", [1, 2, 3, 67, 100])
def test_the_same_vector_many_times(count: int) -> None:
    """Equal points take the doubling's way through the sum."""
    row = [public_key(scalar_of(a)) for a in (5, 7)]
    expected = tuple(public_key(scalar_of(a * count)) for a in (5, 7))
    assert sum_vectors([row] * count).commitments == expected
    assert weigh_vectors([row] * count, Fractions((1,) * count, 1)).commitments == expected


@pytest.mark.case("X644", "dealers whose commitments cancel out")
@pytest.mark.parametrize("power", [0, 1])
def test_a_sum_at_infinity(power: int) -> None:
    row, other = [[public_key(scalar_of(a)) for a in numbers] for numbers in ((5, 7), (6, 8))]
    other[power] = PublicKey(bytes([row[power][0] ^ 0x20]) + row[power][1:])
    with pytest.raises(EncodingError, match=f"the sum at power {power} is infinity"):
        sum_vectors([row, other])
    with pytest.raises(EncodingError, match=f"the sum at power {power} is infinity"):
        weigh_vectors([row, other], Fractions((1, 1), 3))
    with pytest.raises(EncodingError, match="the sum at power 0 is infinity"):
        weigh_vectors([row, row], Fractions((2, -2), 1))
    with pytest.raises(EncodingError):
        weighted_sum([scalar_of(5), scalar_of(R - 5)])


@pytest.mark.case("C1", "dealers with vectors of different lengths, or of a length that is none")
def test_vectors_of_other_lengths() -> None:
    row = [public_key(scalar_of(a)) for a in (5, 7, 9)]
    wrong: list[list[list[PublicKey]]] = [[], [[]], [row[:1]], [row, row[:2]], [row[:2], row]]
    for vectors in wrong:
        with pytest.raises(ThresholdParameterError):
            sum_vectors(vectors)
        with pytest.raises(ThresholdParameterError):
            weigh_vectors(vectors, Fractions((1,) * len(vectors), 1))


def test_as_many_weights_as_vectors_and_scalars() -> None:
    row = [public_key(scalar_of(a)) for a in (5, 7)]
    for weights in (Fractions((1,), 1), Fractions((1, 1, 1), 1)):
        with pytest.raises(ValueError, match="weights"):
            weigh_vectors([row, row], weights)
        with pytest.raises(ValueError, match="zip"):
            weighted_sum([scalar_of(5), scalar_of(6)], weights)

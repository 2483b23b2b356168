import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.encoding import PublicKey
from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.errors import (
    EncodingError,
    EngineError,
    ShareMismatchError,
    ThresholdParameterError,
)
from signer.secret import SecretBytes
from signer.threshold import repairing
from signer.threshold.dealing import derive_scalar
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.repairing import (
    RepairDealing,
    check_repair_commitments,
    deal_repair,
    require_helpers,
    sigma_commitment,
)
from signer.threshold.share import SecretShare, split, weighted_sum
from signer.threshold.vector import VerificationVector
from tests.unit.threshold.scalars import number_of, scalar_of, seed_of

CEREMONY = b"\x11" * 32
HELPERS = tuple(map(ShareIndex, (1, 3, 4)))
LOST = ShareIndex(2)


def published() -> tuple[VerificationVector, list[int]]:
    vector, shares = split(scalar_of(12345), Threshold(3, 5), random.Random(1).randbytes)
    return vector, [number_of(share.scalar) for share in shares]


VECTOR, NUMBERS = published()


def share_of(index: int) -> SecretShare:
    return SecretShare(ShareIndex(index), scalar_of(NUMBERS[index - 1]))


def dealt(
    index: int, helpers: tuple[ShareIndex, ...] = HELPERS, lost: ShareIndex = LOST, seed: int = 70
) -> RepairDealing:
    return deal_repair(share_of(index), helpers, lost, seed_of(seed + index), CEREMONY)


def rows(helpers: tuple[ShareIndex, ...] = HELPERS) -> list[tuple[PublicKey, ...]]:
    return [dealt(index, helpers).commitments for index in helpers]


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(0, 3), st.integers(0, 3), st.integers())
def test_the_repaired_share_is_the_lost_one(t: int, more: int, spare: int, seed: int) -> None:
    """t helpers or more, any of them, and every commitment of every step fits."""
    rng = random.Random(seed)
    n = t + 1 + more
    vector, shares = split(scalar_of(rng.randrange(1, R)), Threshold(t, n), rng.randbytes)
    *chosen, lost = rng.sample(range(1, n + 1), min(t + spare, n - 1) + 1)
    helpers, index = tuple(map(ShareIndex, sorted(chosen))), ShareIndex(lost)
    require_helpers(helpers, index, Threshold(t, n))
    dealings = [
        deal_repair(shares[i - 1], helpers, index, seed_of(rng.randrange(1, R)), CEREMONY)
        for i in helpers
    ]
    for helper, dealing in zip(helpers, dealings, strict=True):
        public = vector.public_share(helper)
        assert check_repair_commitments(dealing.commitments, public, helpers, helper, index)
    commitments = [dealing.commitments for dealing in dealings]
    sigmas = []
    for position, helper in enumerate(helpers):
        deltas = [dealing.delta_for(helper) for dealing in dealings]
        for delta, row in zip(deltas, commitments, strict=True):
            assert public_key(delta) == row[position]
        sigmas.append(weighted_sum(deltas))
        assert public_key(sigmas[-1]) == sigma_commitment(commitments, helpers, helper)
    with SecretShare(index, weighted_sum(sigmas)) as repaired:
        repaired.verify(vector)
        assert number_of(repaired.scalar) == number_of(shares[lost - 1].scalar)


def test_the_deltas_add_up_to_the_helpers_term() -> None:
    """λ₃(2) among 1, 3, 4: (2-1)(2-4) / ((3-1)(3-4)) = 1."""
    with dealt(3) as dealing:
        total = sum(number_of(dealing.delta_for(helper)) for helper in HELPERS) % R
    assert total == NUMBERS[2]


def test_the_same_again_and_never_a_delta_twice() -> None:
    assert dealt(3).commitments == dealt(3).commitments
    four = tuple(map(ShareIndex, (1, 3, 4, 5)))
    others = [
        dealt(3, HELPERS, ShareIndex(5)),
        dealt(3, four),
        dealt(3, seed=71),
        deal_repair(share_of(3), HELPERS, LOST, seed_of(73), b"\x12" * 32),
        deal_repair(SecretShare(ShareIndex(4), share_of(4).scalar), HELPERS, LOST, seed_of(73),
                    CEREMONY),
    ]  # fmt: skip
    commitments = [entry for dealing in [dealt(3), *others] for entry in dealing.commitments]
    assert len(set(commitments)) == len(commitments) == 19


@pytest.mark.case("C22", "deltas of another share than the helper's own")
def test_bound_to_the_helpers_real_share() -> None:
    with SecretShare(ShareIndex(3), share_of(3).scalar.add(scalar_of(1))) as wrong:
        row = deal_repair(wrong, HELPERS, LOST, seed_of(7), CEREMONY).commitments
    public = VECTOR.public_share(ShareIndex(3))
    assert not check_repair_commitments(row, public, HELPERS, ShareIndex(3), LOST)


@pytest.mark.case("C22", "commitments that do not add up: changed, cut, one more, another's")
def test_commitments_that_do_not_fit() -> None:
    row, public = dealt(3).commitments, VECTOR.public_share(ShareIndex(3))

    def fits(row: tuple[PublicKey, ...], public: PublicKey = public, helper: int = 3) -> bool:
        return check_repair_commitments(row, public, HELPERS, ShareIndex(helper), LOST)

    assert fits(row)
    assert fits(row[::-1])  # the sum; who gets which delta is checked with the deltas
    assert not any(
        fits(wrong)
        for wrong in (
            (),
            row[:2],
            (*row, row[0]),
            (row[0], row[0], row[2]),
            (public_key(scalar_of(1)), *row[1:]),
            dealt(4).commitments,
        )
    )
    assert not fits(row, VECTOR.public_share(ShareIndex(4)))
    assert not fits(row, helper=4)
    assert not check_repair_commitments(row, public, HELPERS, ShareIndex(3), ShareIndex(5))
    negated = PublicKey(bytes([row[0][0] ^ 0x20]) + row[0][1:])
    assert not fits((row[0], negated, row[2]))


@pytest.mark.case("C22", "a commitment sum at infinity")
def test_sums_at_infinity() -> None:
    row = dealt(3).commitments
    negated = PublicKey(bytes([row[0][0] ^ 0x20]) + row[0][1:])
    pair = tuple(map(ShareIndex, (1, 3)))
    assert not check_repair_commitments((row[0], negated), row[1], pair, ShareIndex(3), LOST)
    with pytest.raises(EncodingError, match="holder 1 add up to infinity"):
        sigma_commitment([(row[0], row[1]), (negated, row[1])], pair, ShareIndex(1))


@pytest.mark.case("C22", "a bad delta: it shows in its commitment, in sigma, and in the share")
def test_a_bad_delta_is_named() -> None:
    dealings = [dealt(index) for index in HELPERS]
    deltas = [dealing.delta_for(HELPERS[0]) for dealing in dealings]
    bad = deltas[1].add(scalar_of(1))
    assert public_key(bad) != dealings[1].commitments[0]
    sigma = weighted_sum([deltas[0], bad, deltas[2]])
    commitments = [dealing.commitments for dealing in dealings]
    assert public_key(sigma) != sigma_commitment(commitments, HELPERS, HELPERS[0])
    rest = [
        weighted_sum([dealing.delta_for(helper) for dealing in dealings]) for helper in HELPERS[1:]
    ]
    with (
        SecretShare(LOST, weighted_sum([sigma, *rest])) as repaired,
        pytest.raises(ShareMismatchError),
    ):
        repaired.verify(VECTOR)


@pytest.mark.case("C22", "fewer helpers than t: what they make is no share")
def test_too_few_helpers() -> None:
    pair = tuple(map(ShareIndex, (1, 3)))
    with pytest.raises(ThresholdParameterError, match="2 helpers, 3 are needed"):
        require_helpers(pair, LOST, Threshold(3, 5))
    dealings = [dealt(index, pair) for index in pair]
    sigmas = [weighted_sum([dealing.delta_for(helper) for dealing in dealings]) for helper in pair]
    with (
        SecretShare(LOST, weighted_sum(sigmas)) as made,
        pytest.raises(ShareMismatchError),
    ):
        made.verify(VECTOR)


@pytest.mark.case("C22", "repair of a share that the group does not have, or of a helper's own")
@pytest.mark.case("C22", "a helper twice, out of order, none, one")
@pytest.mark.parametrize(
    ("helpers", "lost"),
    [
        ((1, 3, 4), 3),
        ((1, 3, 3), 2),
        ((3, 1, 4), 2),
        ((1, 1, 3, 4), 2),
        ((), 2),
        ((3,), 2),
    ],
)
def test_who_may_repair(helpers: tuple[int, ...], lost: int) -> None:
    indices = tuple(map(ShareIndex, helpers))
    with pytest.raises(ThresholdParameterError, match="repair"):
        require_helpers(indices, ShareIndex(lost))
    with pytest.raises(ThresholdParameterError, match="repair"):
        require_helpers(indices, ShareIndex(lost), Threshold(3, 5))
    with pytest.raises(ThresholdParameterError, match="repair"):
        deal_repair(share_of(3), indices, ShareIndex(lost), seed_of(7), CEREMONY)
    row, public = dealt(3).commitments, VECTOR.public_share(ShareIndex(3))
    with pytest.raises(ThresholdParameterError, match="repair"):
        check_repair_commitments(row, public, indices, ShareIndex(3), ShareIndex(lost))


@pytest.mark.case("C22", "repair that would mint a share: an index that is not in the group")
def test_no_share_is_minted() -> None:
    for helpers, lost in (((1, 3, 4), 6), ((1, 3, 6), 2)):
        indices = tuple(map(ShareIndex, helpers))
        with pytest.raises(ThresholdParameterError, match="only 5 shares"):
            require_helpers(indices, ShareIndex(lost), Threshold(3, 5))


def test_a_stranger_is_no_helper() -> None:
    with pytest.raises(ThresholdParameterError, match="holder 5 is none of the helpers"):
        dealt(5)
    with dealt(3) as dealing, pytest.raises(ThresholdParameterError, match="none of the helpers"):
        dealing.delta_for(LOST)
    with pytest.raises(ThresholdParameterError, match="none of the helpers"):
        sigma_commitment(rows(), HELPERS, LOST)


def test_commitments_of_all_helpers_make_a_sigma() -> None:
    table = rows()
    for wrong in ([], table[:2], [*table, table[0]], [table[0][:2], *table[1:]]):
        with pytest.raises(ValueError, match="for each helper"):
            sigma_commitment(wrong, HELPERS, HELPERS[0])


def test_no_single_helper_sees_anothers_term() -> None:
    """All that helper 1 gets of helper 3 is one delta of his seed; the term needs all of them."""
    with dealt(3) as dealing:
        deltas = [number_of(dealing.delta_for(helper)) for helper in HELPERS]
    term = NUMBERS[2]
    for kept in itertools.chain.from_iterable(
        itertools.combinations(deltas, size) for size in (1, 2)
    ):
        assert sum(kept) % R != term


def test_wiped_and_does_not_print() -> None:
    share = share_of(3)
    before = number_of(share.scalar)
    with dealt(3) as dealing:
        kept = list(dealing._deltas)
        with dealing.delta_for(HELPERS[0]) as delta:
            number_of(delta)
        assert number_of(dealing.delta_for(HELPERS[0]))  # the copy's end is not its end
    assert all(delta._buffer.raw == bytes(32) for delta in kept)
    assert repr(dealing) == "RepairDealing(<redacted>)"
    assert number_of(share.scalar) == before


def test_a_machine_that_errs_lets_no_delta_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SecretScalar] = []

    def remember(seed: SecretBytes, label: bytes) -> SecretScalar:
        made.append(derive_scalar(seed, label))
        return made[-1]

    monkeypatch.setattr(repairing, "derive_scalar", remember)
    monkeypatch.setattr(repairing, "check_repair_commitments", lambda *_: False)
    with pytest.raises(EngineError, match="this machine erred"):
        dealt(3)
    assert len(made) == 2
    assert all(delta._buffer.raw == bytes(32) for delta in made)


def test_lengths() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        deal_repair(share_of(3), HELPERS, LOST, seed_of(7), CEREMONY[:31])

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.combination import Combination
from signer.bls.encoding import Signature, UncheckedSignature
from signer.bls.points import g2_multi_multiply
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign, sign_many
from signer.errors import (
    BadPartialsError,
    EncodingError,
    EngineError,
    ThresholdParameterError,
    TooFewPartialsError,
)
from signer.threshold import combine as module
from signer.threshold.combine import CombineResult, combine, combine_batch
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.share import split
from signer.threshold.vector import VerificationVector

ENCODING, SUBGROUP, INVALID = "E_PARTIAL_ENCODING", "E_PARTIAL_SUBGROUP", "E_PARTIAL_INVALID"
ORDER_13 = bytes.fromhex(
    "a0a3faa5930a2d3532eff5f8014d935c0f0144fedbe864906314ce154a76cbb2"
    "eb49852b9b58090c06db44b84301daef12495cb1d0edd684373c68feea4cbfd8"
    "90de88b5c24707af95f987975a5d00b5c45cc993880a674350a86f464b58ed6b"
)

Columns = dict[ShareIndex, list[bytes | None]]


@dataclass
class Pool:
    """A group with everybody's good partials for some items; tests spoil a copy of them."""

    key: SecretScalar
    vector: VerificationVector
    roots: list[bytes]
    expected: list[bytes]
    partials: Columns

    @classmethod
    def deal(cls, t: int, n: int, items: int) -> "Pool":
        key = SecretScalar.random(os.urandom)
        vector, shares = split(key, Threshold(t, n), os.urandom)
        roots = [os.urandom(32) for _ in range(items)]
        return cls(
            key=key,
            vector=vector,
            roots=roots,
            expected=[bytes(entry) for entry in sign_many(key, roots)[0]],
            partials={
                share.index: [bytes(entry) for entry in sign_many(share.scalar, roots)[0]]
                for share in shares
            },
        )

    def columns(self, *holders: int) -> Columns:
        return {ShareIndex(x): list(self.partials[ShareIndex(x)]) for x in holders}

    def combine(self, columns: Columns) -> CombineResult:
        result = combine_batch(self.roots, columns, self.vector, os.urandom)
        for signature, expected in zip(result.signatures, self.expected, strict=True):
            assert signature is None or bytes(signature) == expected
        assert set(result.good_partials) == {
            position for position, entry in enumerate(result.signatures) if entry is None
        }
        return result

    def good(self, holder: int, position: int) -> bytes:
        partial = self.partials[ShareIndex(holder)][position]
        assert partial is not None
        return partial


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.deal(3, 6, items=9)


def added(partial: bytes, other: bytes) -> bytes:
    """Return the sum of two points, whatever group it is in."""
    points = [UncheckedSignature(partial).affine, UncheckedSignature(other).affine]
    affine = g2_multi_multiply(points, b"\x01\x01", 8)
    assert affine is not None
    return bytes(Signature.from_affine(affine))


def negated(partial: bytes) -> bytes:
    return bytes([partial[0] ^ 0x20]) + partial[1:]


def outside_group() -> bytes:
    for x in range(1, 100):
        data = b"\x80" + x.to_bytes(95, "big")
        try:
            UncheckedSignature(data)
        except EncodingError:
            continue
        return data
    raise AssertionError("no point")


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 8), st.integers(0, 5), st.integers())
def test_any_t_of_n_make_the_signature_of_the_whole_key(t: int, more: int, seed: int) -> None:
    rng = random.Random(seed)
    key = SecretScalar.random(rng.randbytes)
    vector, shares = split(key, Threshold(t, t + more), rng.randbytes)
    root = rng.randbytes(32)
    chosen = {share.index: bytes(sign(share.scalar, root)) for share in rng.sample(shares, t)}
    signature, culprits = combine(root, chosen, vector, os.urandom)
    assert signature == sign(key, root)
    assert culprits == {}
    chosen.popitem()
    with pytest.raises(TooFewPartialsError) as caught:
        combine(root, chosen, vector, os.urandom)
    assert (caught.value.have, caught.value.need) == (t - 1, t)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (4, 5, 6), (6, 2, 4), (1, 2, 3, 4, 5, 6)])
def test_a_batch_and_any_order_of_holders(pool: Pool, order: tuple[int, ...]) -> None:
    result = pool.combine(pool.columns(*order))
    assert all(result.signatures)
    assert (result.culprits, result.good_partials) == ({}, {})
    assert result.signers == set(sorted(order)[:3])


def test_holders_that_signed_different_items(pool: Pool) -> None:
    columns = pool.columns(1, 2, 3, 4)
    columns[ShareIndex(1)][0] = None
    columns[ShareIndex(2)][1] = columns[ShareIndex(3)][1] = None
    columns[ShareIndex(4)][2] = None
    result = pool.combine(columns)
    assert [position for position, entry in enumerate(result.signatures) if entry is None] == [1]
    assert result.good_partials == {1: 2}
    assert result.culprits == {}
    assert result.signers == {1, 2, 3, 4}


def test_no_items_and_no_holders(pool: Pool) -> None:
    empty = combine_batch([], {}, pool.vector, os.urandom)
    assert (empty.signatures, empty.culprits, empty.signers) == ([], {}, frozenset())
    result = pool.combine({})
    assert result.good_partials == dict.fromkeys(range(9), 0)


def test_67_of_100() -> None:
    large = Pool.deal(67, 100, items=2)
    columns = large.columns(*range(1, 101))
    for holder in range(5, 38):
        columns[ShareIndex(holder)][1] = large.good(holder, 0)
    result = large.combine(columns)
    assert all(result.signatures)
    assert result.culprits == {ShareIndex(holder): INVALID for holder in range(5, 38)}


# One bad partial of holder 2 at item 4; everybody else is honest.
SPOILT: dict[str, tuple[Callable[[Pool], bytes], str]] = {
    "S2 infinity": (lambda pool: b"\xc0" + bytes(95), ENCODING),
    "S3 outside the group": (lambda pool: outside_group(), SUBGROUP),
    "S3 shifted by a point of order 13": (
        lambda pool: added(pool.good(2, 4), ORDER_13),
        SUBGROUP,
    ),
    "S4 95 bytes": (lambda pool: pool.good(2, 4)[:95], ENCODING),
    "S4 97 bytes": (lambda pool: pool.good(2, 4) + b"\0", ENCODING),
    "S4 192 bytes": (lambda pool: pool.good(2, 4) * 2, ENCODING),
    "S4 no bytes": (lambda pool: b"", ENCODING),
    "S5 other root": (lambda pool: pool.good(2, 5), INVALID),
    "S6 other key": (lambda pool: bytes(sign(pool.key, pool.roots[4])), INVALID),
    "S8 negated": (lambda pool: negated(pool.good(2, 4)), INVALID),
    "S9 points of G1": (lambda pool: bytes(public_key(pool.key)) * 2, ENCODING),
    "S9 x not below p": (lambda pool: b"\x9f" + b"\xff" * 95, ENCODING),
    "S11 another holder's": (lambda pool: pool.good(3, 4), INVALID),
}


@pytest.mark.case("S2", "infinity among the partials")
@pytest.mark.case("S3", "outside the group among the partials, a shift of order 13")
@pytest.mark.case("S4", "95, 97, 192, no bytes among the partials")
@pytest.mark.case("S5", "a partial of another root")
@pytest.mark.case("S6", "a valid signature by another key")
@pytest.mark.case("S8", "a negated partial")
@pytest.mark.case("S9", "G1 bytes among the partials")
@pytest.mark.case("S11", "a partial again as another holder's")
@pytest.mark.parametrize("name", SPOILT)
def test_one_bad_partial_costs_nobody_but_its_sender(pool: Pool, name: str) -> None:
    make, code = SPOILT[name]
    columns = pool.columns(1, 2, 3, 4)
    columns[ShareIndex(2)][4] = make(pool)
    result = pool.combine(columns)
    assert result.culprits == {ShareIndex(2): code}
    assert all(result.signatures)


@pytest.mark.case("S10", "t - 1 good and one bad")
@pytest.mark.parametrize("name", SPOILT)
def test_one_bad_partial_and_nobody_to_stand_in(pool: Pool, name: str) -> None:
    make, code = SPOILT[name]
    partials = {ShareIndex(x): pool.good(x, 4) for x in (1, 2, 3)}
    partials[ShareIndex(2)] = make(pool)
    with pytest.raises(BadPartialsError) as caught:
        combine(pool.roots[4], partials, pool.vector, os.urandom)
    error = caught.value
    assert (error.have, error.need, error.culprits) == (2, 3, ((2, code),))
    assert error.exit_status == 5


@pytest.mark.case("S7", "σ₁ + Δ and σ₂ - Δ of two colluding holders")
@pytest.mark.parametrize("delta", ["in the group", "of order 13"])
def test_errors_that_cancel_in_a_plain_sum(pool: Pool, delta: str) -> None:
    shift = ORDER_13 if delta == "of order 13" else bytes(sign(pool.key, b"delta"))
    code = SUBGROUP if delta == "of order 13" else INVALID
    columns = pool.columns(1, 2, 3, 4, 5)
    columns[ShareIndex(1)][0] = added(pool.good(1, 0), shift)
    columns[ShareIndex(2)][0] = added(pool.good(2, 0), negated(shift))
    result = pool.combine(columns)
    assert all(result.signatures)
    assert result.culprits == {1: code, 2: code}


@pytest.mark.case("S7", "σ + Δ at one item and σ - Δ at another, of one holder")
def test_errors_that_cancel_between_items(pool: Pool) -> None:
    delta = bytes(sign(pool.key, b"delta"))
    columns = pool.columns(1, 2, 3, 4)
    columns[ShareIndex(3)][2] = added(pool.good(3, 2), delta)
    columns[ShareIndex(3)][6] = added(pool.good(3, 6), negated(delta))
    result = pool.combine(columns)
    assert all(result.signatures)
    assert result.culprits == {3: INVALID}


@pytest.mark.case("S7", "errors that cancel in the Lagrange sum: nothing is wrong then")
def test_errors_that_cancel_in_the_combination(pool: Pool) -> None:
    """λ₁ = 3 and λ₃ = 1 for {1, 2, 3}: σ₁ + Δ and σ₃ - 3Δ. The signature is the right one."""
    delta = bytes(sign(pool.key, b"delta"))
    columns = pool.columns(1, 2, 3)
    columns[ShareIndex(1)][0] = added(pool.good(1, 0), delta)
    thrice = g2_multi_multiply([UncheckedSignature(delta).affine], b"\x03", 8)
    assert thrice is not None
    minus = negated(bytes(Signature.from_affine(thrice)))
    columns[ShareIndex(3)][0] = added(pool.good(3, 0), minus)
    result = pool.combine(columns)
    assert all(result.signatures)
    assert result.culprits == {}


@pytest.mark.case("S10", "all partials bad")
def test_all_bad(pool: Pool) -> None:
    columns = {index: column[1:] + column[:1] for index, column in pool.partials.items()}
    result = pool.combine(columns)
    assert result.signatures == [None] * 9
    assert result.culprits == dict.fromkeys(columns, INVALID)
    assert result.good_partials == dict.fromkeys(range(9), 0)
    assert result.signers == frozenset()


@pytest.mark.case("S10", "t good and many bad, each in its own way and place")
def test_t_good_and_many_bad() -> None:
    many = Pool.deal(3, 12, items=5)
    columns = many.columns(*range(1, 13))
    columns[ShareIndex(1)] = [many.good(1, (i + 1) % 5) for i in range(5)]
    columns[ShareIndex(2)][4] = b""
    columns[ShareIndex(3)][0] = outside_group()
    columns[ShareIndex(5)][1] = many.good(6, 1)
    columns[ShareIndex(7)][2] = negated(many.good(7, 2))
    columns[ShareIndex(8)][3] = b"\xc0" + bytes(95)
    columns[ShareIndex(9)] = [b"\x9f" + b"\xff" * 95] * 5
    columns[ShareIndex(10)] = [bytes(many.expected[i]) for i in range(5)]
    columns[ShareIndex(11)][0] = None
    result = many.combine(columns)
    assert all(result.signatures)
    for index, code in result.culprits.items():
        assert code == {1: INVALID, 2: ENCODING, 3: SUBGROUP, 5: INVALID, 7: INVALID,
                        8: ENCODING, 9: ENCODING, 10: INVALID}[index]  # fmt: skip
    assert {1, 2, 3} <= set(result.culprits)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(1, 6)), st.randoms(use_true_random=False))
def test_only_liars_are_named_and_every_count_is_true(
    pool: Pool, liars: set[int], rng: random.Random
) -> None:
    columns = pool.columns(*range(1, 7))
    for liar in liars:
        for position in rng.sample(range(9), rng.randint(1, 9)):
            columns[ShareIndex(liar)][position] = rng.choice(
                [pool.good(liar, (position + 1) % 9), b"\xc0" + bytes(95), ORDER_13]
            )
    result = pool.combine(columns)
    honest_or_unseen = set(columns) - set(result.culprits)
    assert set(result.culprits) <= liars
    assert all(result.signatures) or len(honest_or_unseen) < 3
    for position, count in result.good_partials.items():
        assert count == len(honest_or_unseen)
        for holder in honest_or_unseen:
            assert columns[holder][position] == pool.good(holder, position)


def test_a_culprit_counts_nowhere_that_is_open(pool: Pool) -> None:
    """Holder 1 lies at item 8 only; with him gone item 8 and what was not verified lack a third."""
    columns = pool.columns(1, 2, 3)
    columns[ShareIndex(1)][8] = pool.good(1, 7)
    result = pool.combine(columns)
    assert result.culprits == {1: INVALID}
    assert result.good_partials[8] == 2
    assert result.signatures[:4] == pool.expected[:4]


def test_liars_are_named_where_partials_are_too_few(pool: Pool) -> None:
    columns = pool.columns(1, 2)
    columns[ShareIndex(1)][3] = pool.good(1, 4)
    columns[ShareIndex(2)][5] = None
    result = pool.combine(columns)
    assert result.culprits == {1: INVALID}
    assert result.good_partials == {**dict.fromkeys(range(9), 1), 5: 0}


@pytest.mark.case("S10", "bad partials where even good ones would be too few")
def test_too_few_anyway(pool: Pool) -> None:
    partials = {ShareIndex(1): pool.good(1, 1)}
    with pytest.raises(TooFewPartialsError) as caught:
        combine(pool.roots[0], partials, pool.vector, os.urandom)
    assert (caught.value.have, caught.value.culprits) == (0, ((1, INVALID),))
    assert caught.value.exit_status == 4


@pytest.mark.case("S1", "partials under index 0, 101, -1")
@pytest.mark.parametrize("index", [0, 101, -1, True, "1"])
def test_index_that_is_none(pool: Pool, index: int) -> None:
    with pytest.raises(ThresholdParameterError):
        combine(pool.roots[0], {index: pool.good(1, 0)}, pool.vector, os.urandom)  # type: ignore[dict-item]


@pytest.mark.case("S1", "one partial counted twice")
def test_one_partial_under_every_index(pool: Pool) -> None:
    partials = {ShareIndex(x): pool.good(1, 0) for x in range(1, 7)}
    with pytest.raises(BadPartialsError) as caught:
        combine(pool.roots[0], partials, pool.vector, os.urandom)
    assert caught.value.have == 1
    assert [index for index, _ in caught.value.culprits] == [2, 3, 4, 5, 6]


def test_columns_have_one_entry_an_item(pool: Pool) -> None:
    columns = pool.columns(1, 2, 3)
    columns[ShareIndex(3)].pop()
    with pytest.raises(ValueError, match="one entry an item"):
        pool.combine(columns)


@pytest.mark.case("S5", "a group file of another group")
def test_other_group(pool: Pool) -> None:
    other = Pool.deal(3, 6, items=1)
    result = combine_batch(pool.roots, pool.partials, other.vector, os.urandom)
    assert result.signatures == [None] * 9
    assert result.culprits == dict.fromkeys(pool.partials, INVALID)


@pytest.mark.case("X122", "a machine that combines good partials wrongly")
def test_a_machine_that_errs(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Combination, "combine", lambda *_: sign(pool.key, b"a fault"))
    with pytest.raises(EngineError, match="wrong signature"):
        pool.combine(pool.columns(1, 2, 3))


def test_good_batches_look_at_no_single_partial(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "verify_hashed_partial", fail)
    monkeypatch.setattr(module, "decode_partial", fail)
    assert all(pool.combine(pool.columns(1, 2, 3, 4)).signatures)
    with pytest.raises(AssertionError):
        pool.combine({**pool.columns(2, 3), ShareIndex(1): pool.columns(4)[ShareIndex(4)]})

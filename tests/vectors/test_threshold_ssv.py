"""Shares that others dealt: ssvlabs/ssv-spec's key sets, 3 of 4 to 9 of 13."""

import itertools
import os
from collections.abc import Callable
from typing import Any

from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import public_key, sign
from signer.secret import SecretBytes
from signer.threshold.combine import combine
from signer.threshold.dealing import Dealing
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex
from signer.threshold.repairing import deal_repair
from signer.threshold.share import SecretShare, weighted_sum
from signer.threshold.vector import VerificationVector, weigh_vectors

Vectors = Callable[[str], Any]
CEREMONY = b"\x11" * 32


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


def polynomial_through(points: dict[int, int]) -> list[int]:
    """Interpolate over the integers mod r (published test keys, so Python ints will do)."""
    total = [0] * len(points)
    for x, y in points.items():
        basis, scale = [1], y
        for other in points:
            if other == x:
                continue
            basis = [
                (low - other * high) % GROUP_ORDER
                for low, high in zip([0, *basis], [*basis, 0], strict=True)
            ]
            scale = scale * pow(x - other, -1, GROUP_ORDER) % GROUP_ORDER
        total = [(a + scale * b) % GROUP_ORDER for a, b in zip(total, basis, strict=True)]
    return total


def test_key_sets(vectors: Vectors) -> None:
    key_sets = vectors("threshold/ssv-spec-keysets.json")
    for key_set in key_sets:
        t = key_set["threshold"]
        shares = {ShareIndex(int(i)): int(text, 16) for i, text in key_set["shares"].items()}
        polynomial = polynomial_through(dict(itertools.islice(shares.items(), t)))
        vector = VerificationVector([public_key(scalar_of(a)) for a in polynomial])
        message = bytes.fromhex(key_set["message"].removeprefix("0x"))
        assert polynomial[0] == int(key_set["secret_key"], 16)
        assert vector.group_public_key.hex() == key_set["public_key"].removeprefix("0x")
        partials = {}
        for index, number in shares.items():
            with SecretShare(index, scalar_of(number)) as share:
                share.verify(vector)
                partials[index] = bytes(sign(share.scalar, message))
            expected = key_set["public_shares"][str(int(index))].removeprefix("0x")
            assert vector.public_share(index).hex() == expected
        for chosen in (sorted(shares)[:t], sorted(shares)[-t:]):
            fractions = lagrange_at_zero(tuple(chosen))
            total = sum(n * shares[i] for n, i in zip(fractions.numerators, chosen, strict=True))
            inverse = pow(fractions.denominator, -1, GROUP_ORDER)
            assert total * inverse % GROUP_ORDER == polynomial[0]
            signature, culprits = combine(
                message, {i: partials[i] for i in chosen}, vector, os.urandom
            )
            assert signature.hex() == key_set["signature"].removeprefix("0x")
            assert culprits == {}
    assert {(k["threshold"], k["share_count"]) for k in key_sets} == {
        (3, 4),
        (5, 7),
        (7, 10),
        (9, 13),
    }


def test_shares_of_others_are_repaired_as_they_were(vectors: Vectors) -> None:
    """The last share of each set by the first t, and by all the others."""
    for key_set in vectors("threshold/ssv-spec-keysets.json"):
        numbers = {ShareIndex(int(i)): int(text, 16) for i, text in key_set["shares"].items()}
        *others, lost = sorted(numbers)
        expected = key_set["public_shares"][str(int(lost))].removeprefix("0x")
        for helpers in (tuple(others[: key_set["threshold"]]), tuple(others)):
            dealings = []
            for helper in helpers:
                with SecretShare(helper, scalar_of(numbers[helper])) as share:
                    seed = SecretBytes(bytes([helper]) * 32)
                    dealings.append(deal_repair(share, helpers, lost, seed, CEREMONY))
            sigmas = [
                weighted_sum([dealing.delta_for(helper) for dealing in dealings])
                for helper in helpers
            ]
            with weighted_sum(sigmas) as repaired:
                assert repaired == scalar_of(numbers[lost])
                assert public_key(repaired).hex() == expected


def test_shares_of_others_are_reshared_for_the_same_key(vectors: Vectors) -> None:
    for key_set in vectors("threshold/ssv-spec-keysets.json"):
        numbers = {ShareIndex(int(i)): int(text, 16) for i, text in key_set["shares"].items()}
        dealers = tuple(sorted(numbers)[-key_set["threshold"] :])
        dealings = [
            Dealing.derive(SecretBytes(bytes([i]) * 32), CEREMONY, 2, scalar_of(numbers[i]))
            for i in dealers
        ]
        weights = lagrange_at_zero(dealers)
        vector = weigh_vectors([dealing.commitments for dealing in dealings], weights)
        assert vector.group_public_key.hex() == key_set["public_key"].removeprefix("0x")
        message = bytes.fromhex(key_set["message"].removeprefix("0x"))
        partials = {}
        for index in (ShareIndex(1), ShareIndex(3)):
            parts = [dealing.share_for(index) for dealing in dealings]
            with SecretShare(index, weighted_sum(parts, weights)) as share:
                share.verify(vector)
                partials[index] = bytes(sign(share.scalar, message))
        signature, _ = combine(message, partials, vector, os.urandom)
        assert signature.hex() == key_set["signature"].removeprefix("0x")

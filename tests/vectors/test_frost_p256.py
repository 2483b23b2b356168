"""Key generation and repair against FROST's P-256 numbers (ZcashFoundation/frost, see the JSON).

Our curve is another, but the fractions are exact numbers of no field: here they are taken modulo
the order of P-256, where somebody else's implementation says what must come out.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.threshold.lagrange import lagrange_at, lagrange_at_zero
from signer.threshold.params import ShareIndex

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
VECTORS = json.loads(Path(__file__).with_name("frost_p256.json").read_text())
DKG = VECTORS["dkg"]
PARTICIPANTS: dict[ShareIndex, dict[str, Any]] = {
    ShareIndex(int(index)): values for index, values in DKG["participants"].items()
}
SHARES = {index: int(values["signing_share"], 16) for index, values in PARTICIPANTS.items()}
PAIRS = list(itertools.combinations(sorted(SHARES), 2))


def interpolated(indices: tuple[ShareIndex, ...], x: int) -> int:
    weights = lagrange_at(indices, x).modulo(ORDER)
    return sum(w * SHARES[index] for w, index in zip(weights, indices, strict=True)) % ORDER


def point_of(number: int) -> str:
    public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint).hex()


def test_the_share_is_the_sum_of_what_was_received() -> None:
    for index, values in PARTICIPANTS.items():
        own = int(values["signing_key"], 16) + int(values["coefficient"], 16) * index
        received = {int(j): int(text, 16) for j, text in values["signing_shares"].items()}
        assert sorted({*received, index}) == [1, 2, 3]
        assert (own + sum(received.values())) % ORDER == SHARES[index]
        for dealer, number in received.items():
            theirs = PARTICIPANTS[ShareIndex(dealer)]
            a, b = int(theirs["signing_key"], 16), int(theirs["coefficient"], 16)
            assert (a + b * index) % ORDER == number
        assert point_of(SHARES[index]) == values["verifying_share"]


@pytest.mark.parametrize("pair", PAIRS)
def test_any_two_are_the_group_key(pair: tuple[ShareIndex, ...]) -> None:
    key = interpolated(pair, 0)
    assert key == sum(int(p["signing_key"], 16) for p in PARTICIPANTS.values()) % ORDER
    assert point_of(key) == DKG["verifying_key"]
    assert lagrange_at(pair, 0) == lagrange_at_zero(pair)


@pytest.mark.parametrize("pair", PAIRS)
def test_two_repair_the_third(pair: tuple[ShareIndex, ...]) -> None:
    (lost,) = set(SHARES) - set(pair)
    assert interpolated(pair, lost) == SHARES[lost]


def test_sums_of_a_repair() -> None:
    repair = VECTORS["repair"]
    for parts, total in (("deltas", "sigma"), ("sigmas", "share")):
        numbers = [int(text, 16) for text in repair[parts]]
        assert sum(numbers) % ORDER == int(repair[total], 16)

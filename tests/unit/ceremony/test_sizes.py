"""How large a ceremony's files are where it is largest: 100 members, of whom 67 sign."""

from functools import cache

import pytest

from signer.ceremony.bundle import Bundle
from signer.ceremony.checking import check_deal, check_slim_deal
from signer.ceremony.deal import Deal, SlimDeal
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering

N, T = 100, 67
KB = 1000
_DIGEST, _SIGNATURE = 32, 64


@cache
def large() -> tuple[Gathering, Deal]:
    gathering = Gathering.dkg(T, N)
    return gathering, gathering.deal(1)


def content(deal: Deal | SlimDeal) -> int:
    """Return the bytes of a deal: points, proof, ciphertexts, signature, path."""
    sealed = deal.ciphertexts if isinstance(deal, Deal) else (deal.ciphertext,)
    path = () if isinstance(deal, Deal) else deal.path
    return (
        T * 48 + 48 + 32 + _SIGNATURE + sum(map(len, path))
        + sum(len(entry.enc) + len(entry.ciphertext) for entry in sealed)
        + (_DIGEST if isinstance(deal, SlimDeal) else 0)  # the root that the path leads to
    )  # fmt: skip


def test_a_deal_for_a_hundred() -> None:
    gathering, deal = large()
    check_deal(deal, gathering.setting, 1)
    assert content(deal) <= 20 * KB
    assert len(deal.to_bytes()) <= 45 * KB


@pytest.mark.parametrize("member", [1, 50, 64, 65, 96, 97, 100])
def test_a_slim_deal_equals_the_whole_one(member: int) -> None:
    gathering, deal = large()
    index = ShareIndex(member)
    part = check_slim_deal(deal.slim(index), gathering.setting, 1, index)
    assert part.digest == deal.digest
    assert part.ciphertexts == {member: deal.ciphertexts[member - 1]}
    assert len(deal.slim(index).path) <= 7


def test_a_slim_bundle_for_a_hundred() -> None:
    gathering, deal = large()
    index = ShareIndex(50)
    deals = dict.fromkeys(range(1, N + 1), deal)  # one for all: they are of one size
    bundle = Bundle.of(gathering.setting.roster, index, deals, {})
    assert sum(map(content, bundle.deals.values())) <= 400 * KB
    raw = bundle.to_bytes()
    assert len(raw) <= 1000 * KB
    assert len(Bundle.parse(raw).deals) == N

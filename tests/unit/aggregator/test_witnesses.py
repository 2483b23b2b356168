"""A reply counts under the holder's own signature; what he signed wrongly is evidence."""

from dataclasses import replace
from typing import Any

import pytest

from signer.aggregator.outcome import outcome_of
from signer.aggregator.tally import Tally
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.strict import canonical
from tests.simulators.holders import SimulatedPool, seeded

POOL = SimulatedPool.new()
REQUEST = POOL.request(11, 12, 13)


def tally_of(request: SignRequest = REQUEST) -> Tally:
    return Tally(request, POOL.group, seeded(3))


def lie_of(index: int) -> SignReply:
    """Return a reply whose first two partials are swapped, without its witness."""
    true = POOL.reply(index, REQUEST)
    first, second, third = true.partials
    return replace(true, partials=(second, first, third), witness=None)


def names(tally: Tally) -> list[tuple[int, str, str]]:
    return [(culprit.index, culprit.source, culprit.code) for culprit in tally.culprits]


def test_a_true_reply_counts() -> None:
    tally = tally_of()
    assert tally.add("agent-1", POOL.reply(1, REQUEST))
    assert (names(tally), tally.rolled_back) == ([], [])


@pytest.mark.case("X401", "partials with no witness, or one that says something else")
@pytest.mark.parametrize(
    "changes",
    [
        {"group": bytes(32)},
        {"epoch": 2},
        {"index": 2},
        {"request_digest": bytes(32)},
        {"partials_sha256": bytes(32)},
    ],
)
def test_a_witness_says_what_it_must(changes: dict[str, Any]) -> None:
    true = POOL.reply(1, REQUEST)
    for reply in (POOL.witnessed(1, true, **changes), replace(true, witness=None)):
        tally = tally_of()
        assert not tally.add("agent-1", reply)
        assert tally.answers == {}
        assert names(tally) == [(1, "agent-1", "E_WITNESS")]
        assert outcome_of(tally, []).to_json()["evidence"] == []


@pytest.mark.case("S12", "partials whose witness another holder signed")
def test_a_witness_is_the_holders_own() -> None:
    true = POOL.reply(1, REQUEST)
    said_of_one = POOL.witness(
        2, index=1, request_digest=REQUEST.digest, partials_sha256=true.partials_digest
    )
    tally = tally_of()
    assert not tally.add("agent-2", replace(true, witness=said_of_one))
    assert names(tally) == [(1, "agent-2", "E_WITNESS")]


@pytest.mark.case("S12", "witness whose signature is of other bytes")
def test_a_witness_is_not_altered() -> None:
    true = POOL.reply(1, REQUEST)
    assert true.witness is not None
    for forged in (
        replace(true.witness, signature=bytes(64)),
        replace(true.witness, payload=true.witness.payload.replace(b'"moment":18', b'"moment":19')),
        POOL.group.cards[0].signed,
    ):
        tally = tally_of()
        assert not tally.add("agent-1", replace(true, witness=forged))


@pytest.mark.case("X452", "partials that a spare token witnessed: right, and with one that is not")
def test_a_spares_partials_count_if_they_are_right() -> None:
    true = POOL.reply(1, REQUEST)
    assert true.witness is not None
    spares = replace(true, witness=replace(true.witness, key_id=bytes(32)))
    tally = tally_of()
    assert tally.add("agent-1", spares)
    assert names(tally) == []
    first, second, third = true.partials
    swapped = replace(spares, partials=(second, first, third))
    said = POOL.witness(1, request_digest=REQUEST.digest, partials_sha256=swapped.partials_digest)
    tally = tally_of()
    assert not tally.add("liar", replace(swapped, witness=replace(said, key_id=bytes(32))))
    assert not tally.add("other", replace(swapped, witness=spares.witness))
    assert names(tally) == [(1, "liar", "E_WITNESS"), (1, "other", "E_WITNESS")]


@pytest.mark.case("X704", "right partials under a spare's witness that names others")
def test_a_spares_witness_says_which_partials() -> None:
    true = POOL.reply(1, REQUEST)
    said = POOL.witness(1, request_digest=REQUEST.digest, partials_sha256=bytes(32))
    tally = tally_of()
    assert not tally.add("moved", replace(true, witness=replace(said, key_id=bytes(32))))
    assert names(tally) == [(1, "moved", "E_WITNESS")]


@pytest.mark.case("X501", "partials moved to other items, or a denial made a partial")
def test_partials_stay_with_their_items() -> None:
    first, _, third = POOL.reply(1, REQUEST).partials
    true = replace(
        POOL.reply(1, REQUEST), partials=(first, None, third), denied=(Denial(1, "E_X", "no"),)
    )
    honest = POOL.witnessed(1, true)
    assert tally_of().add("agent-1", honest)
    for moved in ((first, third, None), (first, bytes(96), third), (None, first, third)):
        tally = tally_of()
        assert not tally.add("relay", replace(honest, partials=moved))
        assert names(tally) == [(1, "relay", "E_WITNESS")]
        assert tally.culprits[0].evidence is None


@pytest.mark.case("X402", "bad partials, signed by the holder himself: evidence")
def test_a_lie_that_was_signed_is_evidence() -> None:
    lie = POOL.witnessed(1, lie_of(1))
    tally = tally_of()
    for index, reply in ((1, lie), (2, POOL.reply(2, REQUEST)), (3, POOL.reply(3, REQUEST))):
        assert tally.add(f"agent-{index}", reply)
    tally.combine()
    assert names(tally) == [(1, "agent-1", "E_PARTIAL_INVALID")]
    (evidence,) = outcome_of(tally, []).to_json()["evidence"]
    assert evidence["index"] == 1
    assert SignReply.parse(canonical(evidence["reply"]), REQUEST) == lie


@pytest.mark.case("X403", "good witness, partials altered on the way: the source is named, no more")
def test_a_lie_that_was_not_signed_blames_the_source() -> None:
    true = POOL.reply(1, REQUEST)
    tally = tally_of()
    assert not tally.add("liar", replace(lie_of(1), witness=true.witness))
    assert tally.add("agent-1", true)
    assert names(tally) == [(1, "liar", "E_WITNESS")]
    assert outcome_of(tally, []).to_json()["evidence"] == []


@pytest.mark.case("S13", "good partial, its journal not beyond one the request knows of")
@pytest.mark.parametrize(
    ("known", "found"),
    [
        ({"sequence": 0}, []), ({"sequence": 1}, []),  # the second is its own, given once more
        ({"sequence": 1, "head": bytes(32)}, [(1, "agent-1")]),
        ({"sequence": 7}, [(1, "agent-1")]), ({"sequence": 7, "group": bytes(32)}, []),
    ],
)  # fmt: skip
def test_an_answer_from_an_older_journal_is_told(known: dict[str, Any], found: list[Any]) -> None:
    others = POOL.witness(2, sequence=100)
    request = replace(REQUEST, witnesses=(POOL.witness(1, **known), others))
    assert request.digest == REQUEST.digest
    tally = tally_of(request)
    assert tally.add("agent-1", POOL.reply(1, request))
    assert tally.rolled_back == found
    told = outcome_of(tally, []).to_json()["rolled_back"]
    assert told == [{"index": index, "agent": source} for index, source in found]
    kept = tally_of(request)
    assert kept.add("agent-1", POOL.reply(1, request), kept=True)  # it was made before
    assert kept.rolled_back == []


@pytest.mark.case("X452", "somebody's witness on the holder's own partials, given before his")
def test_the_holders_own_witness_stands() -> None:
    true = POOL.reply(1, REQUEST)
    assert true.witness is not None
    tally = tally_of()
    assert tally.add("relay", replace(true, witness=replace(true.witness, key_id=bytes(32))))
    assert not tally.add("agent-1", true)
    assert [a.reply.witness for a in tally.answers.values()] == [true.witness]
    assert not tally.add("relay", replace(true, witness=replace(true.witness, key_id=bytes(32))))
    assert [a.source for a in tally.answers.values()] == ["agent-1"]

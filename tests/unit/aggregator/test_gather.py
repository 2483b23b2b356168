import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from signer.aggregator import tally as tally_module
from signer.aggregator.gather import Agent, Asking, Gathering
from signer.aggregator.outcome import Outcome, outcome_of, result_file
from signer.aggregator.tally import Tally
from signer.bls.scheme import verify
from signer.errors import BadPartialsError, DeniedError, TooFewPartialsError
from signer.messages.items import Change
from signer.messages.reply import SignReply
from signer.messages.request import OperatorPartial, SignRequest
from signer.threshold.combine import combine_batch
from signer.threshold.params import ShareIndex
from tests.simulators.holders import SimulatedAgent, SimulatedPool, seeded

POOL = SimulatedPool.new(3, 5)
REQUEST = POOL.request(11, 12, 13)
QUICK = Asking(seconds=0.3, patience=0.05)


def negate(partials: list[bytes]) -> list[bytes]:
    return [bytes([partial[0] ^ 0x20]) + partial[1:] for partial in partials]


def infinity(partials: list[bytes]) -> list[bytes]:
    return [b"\xc0" + bytes(95)] * len(partials)


def swap_first_two(partials: list[bytes]) -> list[bytes]:
    return [partials[1], partials[0], *partials[2:]]


def gather(
    agents: Sequence[Agent], *, request: SignRequest = REQUEST, asking: Asking = QUICK,
    pool: SimulatedPool = POOL, prepared: Callable[[Tally], object] = lambda tally: None,
) -> tuple[Tally, Outcome]:  # fmt: skip
    tally = Tally(request, pool.group, seeded(3))
    prepared(tally)
    gathering = Gathering(tally, agents, asking)
    asyncio.run(asyncio.wait_for(gathering.run(), 20))
    for root, signature in zip(tally.roots, tally.signatures, strict=True):
        assert signature is None or verify(pool.group.public_key, root, signature)
    return tally, outcome_of(tally, gathering.failures)


def test_the_t_lowest_indices_sign_and_nobody_else_is_asked() -> None:
    agents = POOL.agents()
    _, outcome = gather(agents)
    assert outcome.signed == 3
    assert outcome.signers == (1, 2, 3)
    assert outcome.exit_status == 0
    assert [agent.asked for agent in agents] == [1, 1, 1, 0, 0]


def test_spares_are_asked_from_the_start() -> None:
    agents = POOL.agents()
    gather(agents, asking=Asking(seconds=1, patience=5, spares=1))
    assert [agent.asked for agent in agents] == [1, 1, 1, 1, 0]


@dataclass
class Case:
    """A pool with faults, and what must come of it."""

    name: str
    faults: dict[int, dict[str, object]]
    signed: int = 3
    culprits: dict[int, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    signers: tuple[int, ...] | None = None


CASES = [
    Case("one dead", {1: {"dead": True}}, failed={"agent-1": "E_UNREACHABLE"}, signers=(2, 3, 4)),
    Case("two dead", {1: {"dead": True}, 4: {"dead": True}}, signers=(2, 3, 5)),
    Case("one slow", {2: {"seconds": 0.2}}, signers=(1, 3, 4)),
    Case(
        "one silent after its status",
        {2: {"mute_after_status": True}},
        signers=(1, 3, 4),
    ),
    Case("one denies", {1: {"denies_all": "E_EXPIRED"}}, failed={"agent-1": "E_EXPIRED"}),
    Case(
        "one lies",
        {1: {"tamper": negate}},
        culprits={1: "E_PARTIAL_INVALID"},
        signers=(2, 3, 4),
    ),
    Case(
        "two lie",
        {1: {"tamper": negate}, 3: {"tamper": infinity}},
        culprits={1: "E_PARTIAL_INVALID", 3: "E_PARTIAL_ENCODING"},
        signers=(2, 4, 5),
    ),
    Case(
        "one swaps two items' partials",
        {2: {"tamper": swap_first_two}},
        culprits={2: "E_PARTIAL_INVALID"},
    ),
    Case(
        "one answers for another",
        {1: {"claims": 2}},
        culprits={2: "E_WITNESS"},
        signers=(2, 3, 4),
    ),
    Case("one claims a share that nobody has", {1: {"claims": 6}}, signers=(2, 3, 4)),
    Case("one dead, one slow", {1: {"dead": True}, 2: {"seconds": 0.2}}, signers=(3, 4, 5)),
]


@pytest.mark.case("S10", "t good partials and some bad, dead, slow or denying holders")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_faults_are_moved_past_and_named(case: Case) -> None:
    agents = POOL.agents()
    for index, faults in case.faults.items():
        for name, value in faults.items():
            setattr(agents[index - 1], name, value)
    _, outcome = gather(agents)
    assert outcome.signed == case.signed
    named = {culprit.index: culprit.code for culprit in outcome.culprits}
    assert named == case.culprits
    failed = {failure.source: failure.code for failure in outcome.failures}
    assert failed.items() >= case.failed.items()
    if case.signers is not None:
        assert outcome.signers == case.signers


@pytest.mark.case("S11", "one partial counted twice: two agents with one share")
def test_a_partial_counts_once() -> None:
    agents = [*POOL.agents()[:2], SimulatedAgent(POOL, 2), SimulatedAgent(POOL, 1)]
    _, outcome = gather(agents)
    assert outcome.signed == 0
    assert outcome.signers == ()
    assert isinstance(outcome.error(), TooFewPartialsError)
    assert outcome.error().exit_status == 4
    assert outcome.unsigned[0].partials == 2


@pytest.mark.case("S11", "the same partials resubmitted as another share's")
def test_a_partial_under_another_index_is_named() -> None:
    agents = POOL.agents()[:2]
    thief = SimulatedAgent(POOL, 2, claims=3)
    _, outcome = gather([*agents, thief])
    assert outcome.signed == 0
    assert [(c.index, c.source) for c in outcome.culprits] == [(3, "agent-2")]
    error = outcome.error()
    assert isinstance(error, BadPartialsError)
    assert error.exit_status == 5
    assert error.culprits == ((3, "E_WITNESS"),)


@pytest.mark.case("S10", "two answers for one index, the first a lie")
def test_the_honest_one_of_two_answers_for_an_index_is_found() -> None:
    honest = POOL.agents()[:3]
    liar = SimulatedAgent(POOL, 1, tamper=negate)
    _, outcome = gather([liar, *honest])
    assert outcome.signed == 3
    assert [culprit.source for culprit in outcome.culprits] == ["agent-1"]
    assert outcome.signers == (1, 2, 3)


@pytest.mark.case("S10", "all partials bad")
def test_when_all_lie_all_are_named() -> None:
    agents = POOL.agents()
    for agent in agents:
        agent.tamper = negate
    _, outcome = gather(agents)
    assert outcome.signed == 0
    assert {culprit.index for culprit in outcome.culprits} == {1, 2, 3, 4, 5}
    assert outcome.error().exit_status == 5


@pytest.mark.case("S10", "t - 1 good partials, one bad, nobody else")
def test_too_few_because_of_a_liar_is_not_the_same_as_too_few() -> None:
    agents = POOL.agents()[:3]
    agents[0].tamper = negate
    _, outcome = gather(agents)
    assert outcome.error().exit_status == 5
    assert outcome.unsigned[0].partials == 2
    agents = POOL.agents()[:3]
    agents[0].dead = True
    assert gather(agents)[1].error().exit_status == 4


def test_denied_by_too_many_is_denied() -> None:
    agents = POOL.agents()
    for agent in agents[:3]:
        agent.denies_all = "E_EXPIRED"
    _, outcome = gather(agents)
    error = outcome.error()
    assert isinstance(error, DeniedError)
    assert (error.exit_status, error.code) == (3, "E_EXPIRED")
    for agent in agents[:3]:
        agent.denies_all, agent.denies = "", frozenset({11, 12, 13})
    _, outcome = gather(agents)
    error = outcome.error()
    assert (error.exit_status, error.code) == (3, "E_TARGET")


def test_an_item_denied_by_too_many_stops_only_itself_and_asks_nobody_in_vain() -> None:
    agents = POOL.agents()
    for agent in agents:
        agent.denies = frozenset({12})
    _, outcome = gather(agents)
    assert outcome.signed == 2
    assert outcome.exit_status == 6
    assert [agent.asked for agent in agents] == [1, 1, 1, 0, 0]
    (item,) = outcome.unsigned
    assert isinstance(item.item, Change)
    assert item.item.validator_index == 12
    assert item.position == 1
    assert item.denials == ((1, "E_TARGET"), (2, "E_TARGET"), (3, "E_TARGET"))
    assert item.to_json()["result"] == "denied"


def test_an_item_denied_by_one_is_signed_by_others() -> None:
    agents = POOL.agents()
    agents[0].denies = frozenset({12})
    tally, outcome = gather(agents)
    assert outcome.signed == 3
    assert outcome.signers == (1, 2, 3, 4)
    assert all(tally.signatures)


def test_nobody_is_asked_when_everything_is_at_hand() -> None:
    def prepared(tally: Tally) -> None:
        for index in (2, 4, 5):
            tally.add(f"reply-{index}", POOL.reply(index, REQUEST))

    agents = POOL.agents()
    _, outcome = gather(agents, prepared=prepared)
    assert outcome.signers == (2, 4, 5)
    assert sum(agent.asked for agent in agents) == 0


def test_a_kept_reply_that_is_bad_is_named_and_replaced() -> None:
    def prepared(tally: Tally) -> None:
        good = POOL.reply(2, REQUEST)
        partials = tuple(negate([bytes(p) for p in good.partials if p]))
        bad = SignReply(
            request_digest=good.request_digest,
            group_id=good.group_id,
            epoch=good.epoch,
            index=good.index,
            partials=partials,
            denied=(),
        )
        tally.add("reply-002.json", bad)

    _, outcome = gather(POOL.agents(), prepared=prepared)
    assert outcome.signed == 3
    assert [culprit.source for culprit in outcome.culprits] == ["reply-002.json"]


@pytest.mark.case("S5", "partials of another epoch")
def test_partials_of_another_epoch_do_not_combine() -> None:
    other = SimulatedPool.new(3, 5, epoch=2, seed=77)
    assert other.group.public_key == POOL.group.public_key
    agents: list[SimulatedAgent] = POOL.agents()

    def of_the_other_epoch(_: list[bytes]) -> list[bytes]:
        return other.partials(1, REQUEST)

    agents[0].tamper = of_the_other_epoch
    _, outcome = gather(agents)
    assert {culprit.index: culprit.code for culprit in outcome.culprits} == {1: "E_PARTIAL_INVALID"}
    assert outcome.signed == 3
    _, outcome = gather([SimulatedAgent(other, index) for index in (1, 2, 3)])
    assert outcome.signed == 0
    assert {failure.code for failure in outcome.failures} == {"E_EPOCH"}


def test_an_agent_of_another_group_is_not_asked() -> None:
    stranger = SimulatedPool.new(3, 5, role="validator")
    agents = [SimulatedAgent(stranger, 1), *POOL.agents()[1:]]
    _, outcome = gather(agents)
    assert outcome.signed == 3
    assert [failure.code for failure in outcome.failures] == ["E_GROUP"]
    assert agents[0].asked == 0


@pytest.mark.case("X18", "agent that denies in another holder's name")
@pytest.mark.parametrize("lie", ["status and reply", "reply only", "status only"])
def test_a_denial_in_anothers_name_blocks_nobody(lie: str) -> None:
    agents = POOL.agents()[:4]
    forger = SimulatedAgent(POOL, 5, denies=frozenset({11, 12, 13}))
    forger.claims = 2 if lie != "reply only" else None
    forger.answers_as = 2 if lie != "status only" else 5
    _, outcome = gather([forger, *agents[1:]])
    assert outcome.signed == 3, outcome
    assert outcome.signers == (2, 3, 4)
    assert outcome.culprits == ()


@pytest.mark.case("X18", "reply under another index than the agent's own status")
def test_an_agent_answers_for_the_share_it_said_it_is() -> None:
    agents = POOL.agents()
    agents[0].answers_as = 2
    agents[0].tamper = negate
    _, outcome = gather(agents)
    assert outcome.signers == (2, 3, 4)
    assert outcome.culprits == ()
    assert [(f.source, f.code) for f in outcome.failures] == [("agent-1", "E_AGENT")]


@pytest.mark.case("X18", "three sockets that deny in three holders' names")
def test_many_denials_in_others_names_block_nobody() -> None:
    forgers = [
        SimulatedAgent(POOL, 5, claims=index, denies=frozenset({11, 12, 13})) for index in (1, 2, 3)
    ]
    _, outcome = gather([*forgers, *POOL.agents()])
    assert outcome.signed == 3


def test_a_kept_denial_is_asked_for_again() -> None:
    def prepared(tally: Tally) -> None:
        for index in (1, 2, 3):
            tally.add("kept", denial_of(index), kept=True)

    def denial_of(index: int) -> SignReply:
        agent = SimulatedAgent(POOL, index, denies=frozenset({11, 12, 13}))
        return asyncio.run(agent.sign(REQUEST, seconds=1))

    agents = POOL.agents()
    _, outcome = gather(agents, prepared=prepared)
    assert outcome.signed == 3
    assert outcome.signers == (1, 2, 3)


def test_garbage_in_anothers_name_is_not_laid_at_his_door() -> None:
    liar = SimulatedAgent(POOL, 5, claims=2, tamper=negate)
    _, outcome = gather([liar, *POOL.agents()[:4]])
    assert outcome.signed == 3
    assert [(culprit.index, culprit.source) for culprit in outcome.culprits] == [(2, "agent-5")]
    assert 2 in outcome.signers


def test_the_operators_own_partials_count() -> None:
    operator = OperatorPartial(ShareIndex(4), tuple(POOL.partials(4, REQUEST)))
    reply = SignReply.of_operator(REQUEST, operator)
    agents = POOL.agents()[:2]
    _, outcome = gather(
        agents, prepared=lambda tally: bool(tally.add("request", reply, operator=True))
    )
    assert outcome.signers == (1, 2, 4)


@pytest.mark.case("X18", "an honest answer arrives for a liar's index while the lie is looked at")
def test_an_answer_that_comes_while_combining_is_not_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forged = SimulatedAgent(POOL, 1, denies=frozenset({13}), tamper=negate)
    tally = Tally(REQUEST, POOL.group, seeded(3))
    tally.add("forger", asyncio.run(forged.sign(REQUEST, seconds=1)))
    for index in (2, 3):
        tally.add(f"agent-{index}", POOL.reply(index, REQUEST))
    real = combine_batch

    def slow(*arguments: Any) -> Any:
        result = real(*arguments)
        tally.add("agent-1", POOL.reply(1, REQUEST))  # more partials: it stands first now
        return result

    monkeypatch.setattr(tally_module, "combine_batch", slow)
    tally.combine()
    assert [culprit.source for culprit in tally.culprits] == ["forger"]
    assert all(tally.signatures)
    assert tally.answers[ShareIndex(1)].source == "agent-1"


def test_liars_who_lie_once_each_do_not_cost_a_round_each() -> None:
    """Every liar spoils an item of his own; the work stays near that of an honest run."""
    pool = SimulatedPool.new(5, 20)
    request = pool.request(*range(40))
    agents = pool.agents()
    for agent in agents[:15]:
        agent.tamper = lie_at(agent.index)
    _, outcome = gather(agents, request=request, pool=pool, asking=Asking(seconds=60, patience=60))
    assert outcome.signed == 40
    named = {culprit.index for culprit in outcome.culprits}
    assert named <= set(range(1, 16))  # no honest holder is named
    assert len(named) >= 5


def lie_at(position: int) -> Callable[[list[bytes]], list[bytes]]:
    def tamper(partials: list[bytes]) -> list[bytes]:
        return [
            negate([partial])[0] if place == position else partial
            for place, partial in enumerate(partials)
        ]

    return tamper


def test_a_large_pool() -> None:
    pool = SimulatedPool.new(67, 100)
    request = pool.request(1, 2)
    agents = pool.agents()
    for agent in agents[:20]:
        agent.tamper = negate
    _, outcome = gather(agents, request=request, pool=pool, asking=Asking(seconds=60, patience=60))
    assert outcome.signed == 2
    assert {culprit.index for culprit in outcome.culprits} == set(range(1, 21))


def test_the_file_holds_what_was_signed_in_validator_order() -> None:
    import json

    agents = POOL.agents()
    for agent in agents:
        agent.denies = frozenset({12})
    tally, _ = gather(agents)
    entries = json.loads(result_file(tally, metadata=True))
    assert [entry["message"]["validator_index"] for entry in entries] == ["11", "13"]


# Holders who have to say yes


PATIENT = Asking(seconds=5, wait=5, patience=0.05)


def test_a_holder_who_has_to_say_yes_holds_nobody_up() -> None:
    agents = POOL.agents()
    agents[0].holder_takes = agents[1].holder_takes = 60
    started = time.monotonic()
    _, outcome = gather(agents, asking=PATIENT)
    assert time.monotonic() - started < 3
    assert outcome.signed == 3
    assert outcome.signers == (3, 4, 5)
    waiting = [(failure.index, failure.code, failure.result) for failure in outcome.failures]
    assert waiting == [(1, "E_WAITING", "waiting"), (2, "E_WAITING", "waiting")]
    assert REQUEST.digest.hex()[:16] in outcome.failures[0].message


def test_a_holder_who_says_yes_in_time_counts() -> None:
    agents = POOL.agents()[:3]
    agents[2].holder_takes = 0.3
    _, outcome = gather(agents, asking=PATIENT)
    assert (outcome.signed, outcome.signers, outcome.failures) == (3, (1, 2, 3), ())


def test_the_account_says_who_waits_still() -> None:
    agents = POOL.agents()[:3]
    for agent in agents[1:]:
        agent.holder_takes = 60
    _, outcome = gather(agents, asking=Asking(seconds=5, wait=0.1, patience=0.05))
    assert outcome.signed == 0
    assert sorted(failure.index or 0 for failure in outcome.failures) == [2, 3]
    assert [entry["result"] for entry in outcome.to_json()["failed"]] == ["waiting"] * 2
    error = outcome.error()
    assert isinstance(error, TooFewPartialsError)
    assert "same command again" in error.hint


def test_who_waits_is_told_while_it_lasts() -> None:
    agents = POOL.agents()[:3]
    agents[2].holder_takes = 0.3
    seen: list[dict[str, tuple[int, str]]] = []
    gathering = Gathering(Tally(REQUEST, POOL.group, seeded(3)), agents, PATIENT)
    gathering.on_change = lambda: seen.append(dict(gathering.waiting))
    asyncio.run(gathering.run())
    assert {"agent-3": (3, REQUEST.digest.hex()[:16])} in seen
    assert gathering.waiting == {}

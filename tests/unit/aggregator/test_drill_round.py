import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from signer.aggregator.drill import DrillRound
from signer.errors import AgentError, DeniedError
from signer.messages.drill_certificate import Drill, DrillCertificate
from tests.simulators.drills import DrillingAgent, DrillPool
from tests.simulators.holders import NOW

HOLDERS = DrillPool()


def asked(agents: Sequence[DrillingAgent]) -> DrillRound:
    drill = DrillRound(HOLDERS.order, HOLDERS.group, lambda: NOW + 120)
    asyncio.run(drill.ask(agents, seconds=5, wait=5))
    return drill


def agents() -> list[DrillingAgent]:
    return [DrillingAgent(HOLDERS, index) for index in range(1, 6)]


def test_everybody_drills() -> None:
    drill = asked(agents())
    assert sorted(drill.reports) == [1, 2, 3, 4, 5]
    assert drill.failures == []
    certificate = DrillCertificate.of(
        HOLDERS.group, [Drill(HOLDERS.order, tuple(drill.reports.values()))]
    )
    assert certificate.missing == ()


@pytest.mark.case("X460", "agents that are dead, deny, fail or lie in a drill")
def test_each_trouble_is_named_with_its_holder() -> None:
    dead, denies, broken, liar, good = agents()
    dead.dead = True
    denies.fault = DeniedError("no", code="E_PEER")
    broken.fault = AgentError("share 3 does not belong to this group file", code="E_SHARE")
    liar.answers_as = 1
    liar.tamper = lambda signed: replace(signed, signature=bytes(64))
    drill = asked([dead, denies, broken, liar, good])
    assert list(drill.reports) == [5]
    found = [(failure.index, failure.code) for failure in drill.failures]
    assert found == [(None, "E_UNREACHABLE"), (2, "E_PEER"), (3, "E_SHARE"), (4, "E_DRILL")]
    assert "agent-4" in drill.failures[3].message


def test_a_wrong_share_is_named() -> None:
    holders = DrillPool()
    holders.pool.shares[2] = holders.pool.shares[3]
    with pytest.raises(Exception, match="do not verify"):
        holders.partial(2, holders.order)  # the worker's own check finds it first
    other = DrillPool(seed=5)
    mixed = DrillingAgent(HOLDERS, 2)
    body = HOLDERS.body(2)
    wrong = replace(body.devices[0], partial=other.partial(2, HOLDERS.order))
    signed = HOLDERS.seal(2, replace(body, devices=(wrong,)).to_payload())
    mixed.tamper = lambda _: signed
    drill = asked([mixed])
    assert [(f.index, f.code) for f in drill.failures] == [(2, "E_PARTIAL_INVALID")]


def test_an_agent_of_another_group_is_not_asked() -> None:
    drill = DrillRound(HOLDERS.order, replace(HOLDERS.group, epoch=2), lambda: NOW)
    asyncio.run(drill.ask(agents()[:1], seconds=5, wait=5))
    assert drill.reports == {}
    assert "another group or epoch" in drill.failures[0].message


def test_a_report_dated_later_than_now_does_not_count() -> None:
    drill = DrillRound(HOLDERS.order, HOLDERS.group, lambda: NOW - 301)
    asyncio.run(drill.ask(agents()[:1], seconds=5, wait=5))
    assert [failure.code for failure in drill.failures] == ["E_DRILL"]


def test_who_waits_for_his_holder_is_shown_until_he_answers() -> None:
    drill = DrillRound(HOLDERS.order, HOLDERS.group, lambda: NOW + 120)
    first, second = agents()[:2]
    second.waits = drill
    changes: list[dict[str, int]] = []
    asyncio.run(
        drill.ask([first, second], seconds=5, wait=5,
                  on_change=lambda: changes.append(dict(drill.waiting)))
    )  # fmt: skip
    assert second.seen_waiting == {"agent-2": 2}
    assert {"agent-2": 2} in changes
    assert drill.waiting == {}
    assert sorted(drill.reports) == [1, 2]

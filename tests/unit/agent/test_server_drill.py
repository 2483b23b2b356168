"""POST /v1/drill: who may, what comes back, what is refused."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from signer.agent.config import AgentConfig
from signer.client import AgentClient
from signer.errors import AgentError, ConfigError, DeniedError
from signer.messages.drill import MAX_ORDER_BYTES
from signer.messages.drill_report import DrillReport
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import NOW
from tests.simulators.server import EVERYBODY, serving
from tests.unit.custody.test_drill import HOLDERS, DrillingWorker

ME = frozenset({os.geteuid()})
DRILLERS: Mapping[str, frozenset[int]] = {**EVERYBODY, "drill": ME}


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    desk = SimulatedDesk(HOLDERS.pool, tmp_path)
    desk.custodian.worker = DrillingWorker()
    return desk


def test_a_client_gets_a_report_that_holds(desk: SimulatedDesk) -> None:
    async def main() -> None:
        async with serving(desk, peers=DRILLERS) as server:
            signed = await AgentClient(server.path).drill(HOLDERS.order, seconds=10)
            report = DrillReport.open(signed, HOLDERS.order, HOLDERS.group, NOW, "report")
            assert report.index == 1
            (event,) = [event for event in server.events if event["event"] == "drilled"]
            assert event["order"] == HOLDERS.order.digest.hex()
            await server.still_serves()

    asyncio.run(main())


@pytest.mark.case("X461", "a drill asked for by a user who may only sign")
def test_nobody_drills_unless_named(desk: SimulatedDesk) -> None:
    async def main() -> None:
        async with serving(desk) as server:
            with pytest.raises(DeniedError) as refused:
                await AgentClient(server.path).drill(HOLDERS.order, seconds=10)
            assert refused.value.code == "E_PEER"
            assert desk.records() == ["OPENED"]

    asyncio.run(main())


BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "E_SCHEMA"),
    "no order": (b"{}", 400, "E_SCHEMA"),
    "too large": (b"{" + b" " * MAX_ORDER_BYTES + b"}", 400, "E_SCHEMA"),
    "far too large": (b"{" + b" " * 20000 + b"}", 413, "E_SCHEMA"),
    "another group": (HOLDERS.new_order(group_id=bytes(32)).to_bytes(), 403, "E_GROUP"),
    "over": (HOLDERS.new_order(moment=NOW - 9, expires=NOW).to_bytes(), 403, "E_EXPIRED"),
}


@pytest.mark.case("X451", "drill orders that are none")
@pytest.mark.parametrize("name", BODIES)
def test_what_is_no_order_for_now_is_refused(desk: SimulatedDesk, name: str) -> None:
    body, status, code = BODIES[name]

    async def main() -> None:
        async with serving(desk, peers=DRILLERS) as server:
            answer = await server.ask("POST", "/v1/drill", body)
            assert (answer.status, answer.code) == (status, code)
            assert desk.records() == ["OPENED"]
            await server.still_serves()

    asyncio.run(main())


def test_the_holders_trouble_reaches_the_runner(desk: SimulatedDesk) -> None:
    worker = desk.custodian.worker
    assert isinstance(worker, DrillingWorker)
    worker.fault = AgentError("share 1 does not belong to this group file", code="E_SHARE")

    async def main() -> None:
        async with serving(desk, peers=DRILLERS) as server:
            with pytest.raises(AgentError) as failed:
                await AgentClient(server.path).drill(HOLDERS.order, seconds=10)
            assert failed.value.code == "E_SHARE"

    asyncio.run(main())


def settings(drill: str) -> str:
    peers = f"{{status: [0], sign: [0]{drill}}}"
    return (
        "version: 1\nsocket: a.sock\nstate: state\ngroup: g\nenvelope: e\npolicy: p\n"
        f"token: {{profile: softhsm2, label: t}}\npin: {{file: pin}}\npeers: {peers}\n"
    )


@pytest.mark.parametrize(
    ("drill", "expected"), [("", None), (", drill: []", frozenset()), (", drill: [7]", {7})]
)
def test_who_may_drill_is_a_setting(tmp_path: Path, drill: str, expected: Any) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(settings(drill))
    assert AgentConfig.load(path).peers.get("drill") == expected


@pytest.mark.parametrize("drill", [", drill: 7", ", drill: [-1]", ", drills: [0]"])
def test_a_wrong_setting_is_refused(tmp_path: Path, drill: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(settings(drill))
    with pytest.raises(ConfigError):
        AgentConfig.load(path)

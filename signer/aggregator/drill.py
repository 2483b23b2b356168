"""Run a drill over agents: ask them all, verify each report, say who is missing and why."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from signer.client import AgentStatus
from signer.errors import AgentError, DeniedError, InputError
from signer.messages.drill import DrillOrder
from signer.messages.drill_report import DrillReport
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile


class DrillAgent(Protocol):
    """An agent as a drill sees it."""

    async def status(self) -> AgentStatus:
        """Tell which share it serves."""

    async def drill(self, order: DrillOrder, *, seconds: float) -> SignedFile:
        """Drill its device and return the report, unverified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFailure:
    """An agent that brought no report which holds."""

    agent: str
    index: int | None  # the share it says it serves
    code: str
    message: str


@dataclass(slots=True)
class DrillRound:
    """The answers to one order."""

    order: DrillOrder
    group: GroupFile
    clock: Callable[[], float]
    reports: dict[int, DrillReport] = field(default_factory=dict)
    failures: list[DrillFailure] = field(default_factory=list)

    async def ask(
        self,
        agents: Sequence[DrillAgent],
        *,
        seconds: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask every agent at once; none holds up another."""

        async def ask_one(agent: DrillAgent) -> None:
            await self._ask(agent, seconds)
            on_change()

        await asyncio.gather(*(ask_one(agent) for agent in agents))
        self.failures.sort(key=lambda failure: (failure.index or 0, failure.agent))

    async def _ask(self, agent: DrillAgent, seconds: float) -> None:
        index = None
        try:
            status = await agent.status()
            index = int(status.index)
            if (status.group_id, status.epoch) != (self.group.group_id, self.group.epoch):
                raise AgentError(f"agent {str(agent)!r}: it serves another group or epoch")
            signed = await agent.drill(self.order, seconds=seconds)
            what = f"report of agent {str(agent)!r}"
            report = DrillReport.open(signed, self.order, self.group, int(self.clock()), what)
        except (AgentError, DeniedError, InputError) as error:
            failure = DrillFailure(
                agent=str(agent), index=index, code=error.code, message=error.message
            )
            self.failures.append(failure)
        else:
            self.reports.setdefault(int(report.index), report)

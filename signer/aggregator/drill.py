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

OnWaiting = Callable[[str], None]


class DrillAgent(Protocol):
    """An agent as a drill sees it."""

    async def status(self) -> AgentStatus:
        """Tell which share it serves."""

    async def drill(
        self, order: DrillOrder, *, seconds: float, wait: float, on_waiting: OnWaiting
    ) -> SignedFile:
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
    waiting: dict[str, int] = field(default_factory=dict)  # agent: index of who must say yes

    async def ask(
        self,
        agents: Sequence[DrillAgent],
        *,
        seconds: float,
        wait: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask every agent at once; none holds up another.

        Args:
            agents: whom to ask.
            seconds: for one answer.
            wait: seconds for a holder to give his PIN, where only he can.
            on_change: told whenever an agent answered, or turned out to wait for its holder.
        """

        async def ask_one(agent: DrillAgent) -> None:
            await self._ask(agent, seconds, wait, on_change)
            self.waiting.pop(str(agent), None)
            on_change()

        await asyncio.gather(*(ask_one(agent) for agent in agents))
        self.failures.sort(key=lambda failure: (failure.index or 0, failure.agent))

    async def _ask(
        self, agent: DrillAgent, seconds: float, wait: float, on_change: Callable[[], None]
    ) -> None:
        index = None
        try:
            status = await agent.status()
            index = int(status.index)
            if (status.group_id, status.epoch) != (self.group.group_id, self.group.epoch):
                raise AgentError(f"agent {str(agent)!r}: it serves another group or epoch")
            holder = index

            def waits(_: str) -> None:
                self.waiting[str(agent)] = holder
                on_change()

            signed = await agent.drill(self.order, seconds=seconds, wait=wait, on_waiting=waits)
            what = f"report of agent {str(agent)!r}"
            report = DrillReport.open(signed, self.order, self.group, int(self.clock()), what)
        except (AgentError, DeniedError, InputError) as error:
            failure = DrillFailure(
                agent=str(agent), index=index, code=error.code, message=error.message
            )
            self.failures.append(failure)
        else:
            self.reports.setdefault(int(report.index), report)

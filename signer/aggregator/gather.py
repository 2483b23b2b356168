"""Ask agents for partials until the request is signed: t of them, and another for each that fails.

Every agent is asked at once who it is, which is cheap and finds the dead. Then t are asked to sign,
those with the lowest share indices of all who answered within a second.
One that is dead, denies, or turns out to have lied is replaced by the next; one that is slow, or
waits for its holder to say yes, is not waited for alone: after `patience` seconds the next is asked
as well, and whoever answers first counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from signer.aggregator.tally import Tally
from signer.client import AgentStatus, OnWaiting
from signer.errors import AgentError, DeniedError, SignerError
from signer.messages.group_file import GroupFile
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest

WAITING = "E_WAITING"  # code of an agent whose holder has not said yes or no

_ROLL_CALL_SECONDS = 1.0


class Agent(Protocol):
    """What the aggregator asks of an agent; `signer.client.AgentClient` is one."""

    async def status(self) -> AgentStatus:
        """Tell who the agent is."""

    async def sign(
        self, request: SignRequest, *, seconds: float, wait: float, on_waiting: OnWaiting
    ) -> SignReply:
        """Sign the request, or say why not; see `signer.client.AgentClient.sign`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An agent that gave no reply: dead, slow, waiting, in trouble, or denying it all."""

    source: str
    index: int | None  # what it said it is, if it said anything
    code: str
    message: str
    denied: bool  # its policy said no, as against trouble

    @property
    def result(self) -> str:
        """In a word: denied, waiting (for its holder), or failed."""
        return "denied" if self.denied else "waiting" if self.code == WAITING else "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How agents are asked."""

    seconds: float  # how long one agent may take to sign
    wait: float = 0.0  # how long its holder may take to say yes, if he has to
    patience: float = 3.0  # after this the next agent is asked as well
    spares: int = 0  # asked from the start beyond t


@dataclass(slots=True)
class Gathering:
    """One run over the agents. `run()` once; then read `tally` and `failures`."""

    tally: Tally
    agents: Sequence[Agent]
    asking: Asking
    on_reply: Callable[[str, SignReply], None] = lambda source, reply: None
    on_change: Callable[[], None] = lambda: None
    failures: list[Failure] = field(default_factory=list)
    waiting: dict[str, tuple[int, str]] = field(default_factory=dict)  # source: index, ticket
    _meeting: set["asyncio.Task[None]"] = field(default_factory=set)
    _willing: list[tuple[Agent, AgentStatus]] = field(default_factory=list)
    _asked: dict["asyncio.Task[None]", int] = field(default_factory=dict)  # to share index

    async def run(self) -> None:
        """Ask until everything that can be signed is signed, or nobody is left to ask."""
        if await self._finished():
            return
        self._meeting = {asyncio.create_task(self._meet(agent)) for agent in self.agents}
        try:
            if self._meeting:
                await asyncio.wait(self._meeting, timeout=_ROLL_CALL_SECONDS)
            await self._ask_all()
            if self.tally.open_positions():
                # Too few for a signature, yet a liar among them is named.
                await asyncio.to_thread(self.tally.combine)
        finally:
            pending = (*self._meeting, *self._asked)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for source, (index, ticket) in self.waiting.items():
                words = f"agent {source!r} waits for its holder: ticket {ticket}"
                self.failures.append(Failure(source, index, WAITING, words, denied=False))

    async def _ask_all(self) -> None:
        beyond = self.asking.spares  # how many are asked beside those that are needed
        while True:
            self._forget_finished_tasks()
            self._ask_next(beyond)
            if not (self._meeting or self._asked):
                return
            done, _ = await asyncio.wait(
                self._meeting | self._asked.keys(),
                timeout=self.asking.patience if self._asked else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                beyond += 1
            elif await self._finished():
                return

    def _forget_finished_tasks(self) -> None:
        for task in [task for task in (*self._meeting, *self._asked) if task.done()]:
            self._meeting.discard(task)
            self._asked.pop(task, None)
            task.result()  # a bug of ours in there is not swallowed

    def _ask_next(self, beyond: int) -> None:
        """Start as many signings as are wanted now, lowest share index first.

        Nobody proves which share he answers for. So one agent at a time answers for an index, and
        another that claims the same one stays in `_willing`: it is asked if the first turns out a
        liar, and in any case if the first denied something, since anybody can deny in another's
        name.
        """
        self._willing.sort(key=lambda friend: friend[1].index)
        wanted = self.tally.need + beyond - self._have()
        for agent, status in list(self._willing):
            if status.index in self._asked.values() or not self.tally.wanted(status.index):
                continue
            if len(self._asked) < wanted or status.index in self.tally.answers:
                self._willing.remove((agent, status))
                self._asked[asyncio.create_task(self._sign(agent, status))] = status.index

    def _have(self) -> int:
        """Return for how many holders the least provided open item has a partial."""
        counts = [len(self.tally.partials_of(p)) for p in self.tally.open_positions()]
        return min(counts, default=self.tally.need)

    async def _meet(self, agent: Agent) -> None:
        try:
            status = await agent.status()
            _same_group(status, self.tally.group, str(agent))
        except SignerError as error:
            self._failed(agent, None, error)
        else:
            self._willing.append((agent, status))

    async def _sign(self, agent: Agent, status: AgentStatus) -> None:
        try:
            reply = await agent.sign(
                self.tally.request,
                seconds=self.asking.seconds,
                wait=self.asking.wait,
                on_waiting=lambda ticket: self._waits(agent, status, ticket),
            )
            self.waiting.pop(str(agent), None)
            if reply.index != status.index:
                raise AgentError(
                    f"agent {str(agent)!r} is share {status.index} and answered as another"
                )
        except SignerError as error:
            self._failed(agent, status.index, error)
            return
        if self.tally.by_unknown_key(reply):  # verified at once: others would seem late meanwhile
            new = await asyncio.to_thread(self.tally.add, str(agent), reply)
        else:
            new = self.tally.add(str(agent), reply)
        if new:
            self.on_reply(str(agent), reply)
        self.on_change()

    def _waits(self, agent: Agent, status: AgentStatus, ticket: str) -> None:
        if str(agent) not in self.waiting:
            self.waiting[str(agent)] = (int(status.index), ticket)
            self.on_change()

    def _failed(self, agent: Agent, index: int | None, error: SignerError) -> None:
        self.waiting.pop(str(agent), None)
        denied = isinstance(error, DeniedError)
        self.failures.append(Failure(str(agent), index, error.code, error.message, denied))
        self.on_change()

    async def _finished(self) -> bool:
        """Combine if that can bring anything, and tell whether anything is left to do."""
        if self.tally.open_positions() and self.tally.ready():
            # Not in the event loop: agents that answer meanwhile would seem to be late.
            await asyncio.to_thread(self.tally.combine)
            self.on_change()
        if self.tally.open_positions():
            return False
        return not any(
            status.index in self.tally.answers and self.tally.wanted(status.index)
            for _, status in self._willing
        )


def _same_group(status: AgentStatus, group: GroupFile, who: str) -> None:
    if status.group_id != group.group_id:
        raise AgentError(f"agent {who!r} holds a share of another group", code="E_GROUP")
    if status.epoch != group.epoch:
        raise AgentError(
            f"agent {who!r} holds a share of epoch {status.epoch}, not {group.epoch}",
            code="E_EPOCH",
        )
    if status.index > group.threshold.n:
        raise AgentError(f"agent {who!r} claims share {status.index}, which nobody has")

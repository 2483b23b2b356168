"""Where requests come in: answered at once, or kept as tickets until a person has spoken.

The event loop owns the tickets; what takes time is done in threads of its own, so that reading
one request does not wait for the signing of another. Signing is one at a time.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from signer.agent.log import EventLog
from signer.agent.metrics import Metrics
from signer.agent.tickets import DENIED, DONE, EXPIRED, FAILED, Ticket, TicketBook
from signer.custody.custodian import Custodian
from signer.errors import AgentError, DeniedError
from signer.messages.drill import DrillOrder
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.strict import canonical

_T = TypeVar("_T")

SIGN, DRILL = "sign", "drill"  # a ticket's purpose


class Intake:
    """One custodian's work, asked for by requesters. Without `tickets` nothing waits."""

    def __init__(
        self,
        custodian: Custodian,
        log: EventLog,
        tickets: TicketBook | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.custodian = custodian
        self.tickets = tickets
        self._log = log
        self._metrics = metrics if metrics is not None else Metrics()
        self._turns = 0
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading")
        self._holder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holder")
        self._signing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="signing")

    def close(self) -> None:
        """Wait for the signature under way, if there is one."""
        self._signing.shutdown(wait=True)
        self._reading.shutdown(wait=True)
        self._holder.shutdown(wait=True)

    async def sign(self, raw: bytes, uid: int) -> bytes | Ticket:
        """Answer a request: the reply's bytes, or the ticket under which it waits for a person.

        Raises:
            SignerError: it is refused, or something failed.
        """
        request = await self.read(SignRequest.parse, raw)
        if self.tickets is not None:
            review = await self.read(self.custodian.review, request, uid)
            if review.needs_person and review.approved:
                return self._wait_for_person(self.tickets, _ticket_of(request, uid, self.now()))
        return (await self.sign_now(request, uid)).to_bytes()

    async def drill(self, raw: bytes, uid: int) -> bytes | Ticket:
        """Answer a drill's order: the report's bytes, or the ticket under which it waits.

        It waits where only a person can give the PIN.
        """
        order = DrillOrder.parse(raw)
        if self.tickets is not None and self.custodian.attended:
            return self._wait_for_person(self.tickets, _ticket_of_drill(order, uid, self.now()))
        return await self.drill_now(order, uid)

    def look(self, ticket: str, uid: int) -> bytes | Ticket:
        """Say how a ticket stands: the reply's bytes when it is done.

        Raises:
            AgentError: `uid` has no such ticket (E_NOT_FOUND).
            DeniedError: the holder said no (E_DENIED), or its time is over (E_EXPIRED).
            SignerError: signing it failed.
        """
        if self.tickets is None:
            raise AgentError("this agent has no tickets", code="E_NOT_FOUND")
        return _settled(self.tickets.find(ticket, self.now(), uid=uid))

    def _wait_for_person(self, book: TicketBook, ticket: Ticket) -> bytes | Ticket:
        found = book.ask(ticket, self.now())
        if found is ticket:
            self.log_ticket(found, uid=found.owner)
            if found.purpose == SIGN:
                self._metrics.request("waiting", "", 0.0)
        return _settled(found)

    # Also for the holder's side

    async def sign_now(self, request: SignRequest, uid: int, **options: Any) -> SignReply:
        """Have the custodian sign when it is the request's turn."""
        started = time.monotonic()
        reply = await self.in_turn(lambda: self.custodian.sign(request, uid, **options))
        self._log_reply(reply, uid, round(time.monotonic() - started, 3))
        return reply

    async def drill_now(self, order: DrillOrder, uid: int, **options: Any) -> bytes:
        """Have the custodian drill when it is the order's turn; return the report's bytes."""
        report = await self.in_turn(lambda: self.custodian.drill(order, uid, **options))
        self._log.write("drilled", order=order.digest.hex(), uid=uid)
        return canonical(report.signed.to_json()) + b"\n"

    def approved_in_vain(self, code: str) -> None:
        """Count an approval that ended without a reply; its requester has been answered before."""
        self._metrics.request("failed", code, 0.0)

    async def in_turn(self, work: Callable[[], _T]) -> _T:
        """Do what the custodian does one at a time."""
        self._turns += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._signing, work)
        finally:
            self._turns -= 1

    async def read(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Parse or judge something, beside a signature under way."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, *arguments)

    async def read_for_holder(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """As `read`, for the holder, who does not wait for what strangers have to be read."""
        return await asyncio.get_running_loop().run_in_executor(self._holder, work, *arguments)

    @property
    def busy(self) -> bool:
        """Whether something is being done in turn."""
        return self._turns > 0

    def now(self) -> int:
        """Return the custodian's time, Unix seconds."""
        return int(self.custodian.clock())

    def log_ticket(self, ticket: Ticket, **fields: int | str) -> None:
        """Log that a ticket came to stand as it does."""
        self._log.write(
            "ticket",
            ticket=ticket.id,
            state=ticket.state,
            request=ticket.digest.hex(),
            **fields,
        )

    def _log_reply(self, reply: SignReply, uid: int, seconds: float) -> None:
        denied, signed = len(reply.denied), len(reply.partials) - len(reply.denied)
        code = reply.denied[0].code if denied else None
        self._metrics.request(
            ("partly" if denied else "signed") if signed else "denied", code or "", seconds
        )
        self._metrics.items(signed=signed, denied=denied)
        self._log.write(
            "signed" if signed else "denied",
            request=reply.request_digest.hex(),
            uid=uid,
            items=len(reply.partials),
            denied=denied,
            code=code,
            seconds=seconds,
        )


def _ticket_of(request: SignRequest, uid: int, now: int) -> Ticket:
    return Ticket(
        purpose=SIGN,
        digest=request.digest,
        raw=request.to_bytes(),
        kind=request.kind,
        items=len(request.items),
        expires=request.expires,
        asked=now,
        owner=uid,
        askers={uid},
    )


def _ticket_of_drill(order: DrillOrder, uid: int, now: int) -> Ticket:
    return Ticket(
        purpose=DRILL,
        digest=order.digest,
        raw=order.to_bytes(),
        kind=DRILL,
        items=0,
        expires=order.expires,
        asked=now,
        owner=uid,
        askers={uid},
    )


def _settled(ticket: Ticket) -> bytes | Ticket:
    if ticket.state == DONE:
        return ticket.reply
    if ticket.state == DENIED:
        raise _said_no()
    if ticket.state == EXPIRED:
        raise DeniedError("nobody answered in the request's time", code="E_EXPIRED")
    if ticket.state == FAILED and ticket.trouble is not None:
        raise ticket.trouble.with_traceback(None)  # else each poll would add to what it keeps alive
    return ticket


def _said_no() -> DeniedError:
    return DeniedError("the holder said no to this request", code="E_DENIED")

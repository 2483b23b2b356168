"""What a holder says to what waits for him: shown whole, answered once, carried out once.

Reached over the private control socket only.
"""

from typing import Any

from signer.agent.commands import Command
from signer.agent.intake import DRILL, SIGN, Intake
from signer.agent.tickets import Ticket, TicketBook
from signer.custody.jobs.sources import SecretSource
from signer.custody.journal_state import Signed
from signer.errors import DeniedError, PinError, SignerError, TokenError, WorkerError
from signer.messages.confirmation import challenge, twelve_words
from signer.messages.drill import DrillOrder
from signer.messages.items import Change, Exit
from signer.messages.request import SignRequest


class Approvals:
    """The holder's side of an `Intake` that keeps tickets."""

    def __init__(self, intake: Intake) -> None:
        if intake.tickets is None:
            raise ValueError("an intake that keeps no tickets")
        self._book: TicketBook = intake.tickets
        self._intake = intake
        self._custodian = intake.custodian

    def pending(self) -> dict[str, Any]:
        """Return each ticket that is open, oldest first."""
        return {"tickets": [_row(ticket) for ticket in self._book.pending(self._intake.now())]}

    async def show(self, name: str) -> dict[str, Any]:
        """Return all that was asked, for the holder's own terminal to decode and judge."""
        ticket = self._book.find(name, self._intake.now())
        value = _row(ticket) | {
            "content": ticket.raw.decode(),
            "asks_pin": self._custodian.pin is None,
            "denied": [],
            "history": {},
        }
        if ticket.purpose == SIGN and ticket.raw:
            value |= await self._intake.read_for_holder(self._findings, ticket)
        return value

    def _findings(self, ticket: Ticket) -> dict[str, Any]:
        """Return what policy and journal say to a request."""
        request = SignRequest.parse(ticket.raw)
        review = self._custodian.review(request, ticket.owner)
        indices = {
            item.validator_index for item in request.items if isinstance(item, Change | Exit)
        }
        history = {index: self._custodian.journal.history(index) for index in sorted(indices)}
        return {
            "denied": [verdict.to_json() for verdict in review.verdicts if verdict is not None],
            "history": {
                str(index): [_signed_json(entry) for entry in entries]
                for index, entries in history.items()
                if entries
            },
        }

    async def approve(self, command: Command, holder: int, pipe: int | None) -> dict[str, Any]:
        """Have done what a person said yes to; `pipe` is where the worker reads the PIN.

        It stays the caller's to close. If his connection ends meanwhile he goes on: what was
        approved is carried out.

        Raises:
            DeniedError: another request than he saw, or a wrong answer (E_CONFIRM); or policy and
                journal forbid it now.
            AgentError: no such ticket, or it does not wait.
            SignerError: it failed. Where a person can mend that, the ticket waits again.
        """
        name, digest = _about(command)
        ticket = self._book.require_waiting(name, digest, self._intake.now())
        if pipe is None and self._custodian.pin is None:
            raise PinError("this agent has no PIN of its own, and none came with the approval")
        await self._intake.read_for_holder(_require_answer, ticket.purpose, ticket.raw, command)
        ticket = self._book.begin(name, digest, self._intake.now())
        self._intake.log_ticket(ticket, holder=holder)
        pin = None if pipe is None else SecretSource(pipe=pipe, final_try=command.final_try)
        return await self._carry_out(ticket, pin, holder)

    async def _carry_out(
        self, ticket: Ticket, pin: SecretSource | None, holder: int
    ) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if pin is not None:
            options = {"pin": pin, "descriptors": pin.descriptors}
        try:
            if ticket.purpose == DRILL:
                order = DrillOrder.parse(ticket.raw)
                raw, signed = await self._intake.drill_now(order, ticket.owner, **options), 0
            else:
                request = await self._intake.read_for_holder(SignRequest.parse, ticket.raw)
                reply = await self._intake.sign_now(request, ticket.owner, approved=True, **options)
                raw, signed = reply.to_bytes(), len(reply.partials) - len(reply.denied)
        except SignerError as error:
            if _a_person_can_mend(error):
                self._book.put_back(ticket)
            else:
                self._book.fail(ticket, error, self._intake.now())
            self._intake.log_ticket(ticket, holder=holder, code=error.code)
            if ticket.purpose == SIGN:
                self._intake.approved_in_vain(error.code)
            raise
        except BaseException:
            self._book.put_back(ticket)  # a bug of ours must not leave it in between
            raise
        self._book.done(ticket, raw, self._intake.now())
        self._intake.log_ticket(ticket, holder=holder)
        return _row(ticket) | {"signed": signed}

    async def deny(self, command: Command, holder: int) -> dict[str, Any]:
        """Say no, for good: the journal remembers it."""
        name, digest = _about(command)
        ticket = self._book.begin(name, digest, self._intake.now())
        try:
            if ticket.purpose == SIGN:
                request = await self._intake.read_for_holder(SignRequest.parse, ticket.raw)
                await self._intake.in_turn(
                    lambda: self._custodian.record_denial(request, ticket.owner, command.reason)
                )
        except BaseException:
            self._book.put_back(ticket)
            raise
        self._book.deny(ticket, self._intake.now())
        self._intake.log_ticket(ticket, holder=holder, code=command.reason)
        return _row(ticket)

    async def unlatch(self) -> dict[str, Any]:
        """Let a PIN that the token refused be tried again."""
        await self._intake.read_for_holder(self._custodian.guard.release)
        return {}

    def status(self) -> dict[str, Any]:
        """Return how things stand, for the holder."""
        return {
            "waiting": len(self._book.pending(self._intake.now())),
            "asks_pin": self._custodian.pin is None,
            "busy": self._custodian.busy,
        }


def _row(ticket: Ticket) -> dict[str, Any]:
    return {
        "ticket": ticket.id,
        "state": ticket.state,
        "purpose": ticket.purpose,
        "request": ticket.digest.hex(),
        "uid": ticket.owner,
        "kind": ticket.kind,
        "items": ticket.items,
        "asked": ticket.asked,
        "expires": ticket.expires,
    }


def _signed_json(entry: Signed) -> dict[str, Any]:
    """Return a signature of before: when, and to which address or from which epoch."""
    if isinstance(entry.item, Change):
        return {"moment": entry.moment, "address": entry.item.address.wire}
    return {"moment": entry.moment, "epoch": entry.item.epoch}


def _about(command: Command) -> tuple[str, bytes]:
    if command.ticket is None or command.request is None:
        raise ValueError("a command without its ticket")
    return command.ticket, command.request


def _require_answer(purpose: str, raw: bytes, command: Command) -> None:
    """Check again here what the person had to type, or the words he compared."""
    if purpose == DRILL:
        words = twelve_words(DrillOrder.parse(raw).digest)
        right = command.words == words if command.words else command.typed == (DRILL,)
    else:
        asked = challenge(SignRequest.parse(raw))
        right = asked.words == command.words if command.words else asked.matches(command.typed)
    if not right:
        raise DeniedError(
            "what was typed does not match the request",
            code="E_CONFIRM",
            hint="nothing was signed; the ticket still waits",
        )


def _a_person_can_mend(error: SignerError) -> bool:
    """Tell whether the same request can be approved again: another PIN, the token put in."""
    return isinstance(error, TokenError | WorkerError) or error.code == "E_SECRET_FILE"

"""Requests that wait for a person: which there are, how each stands, who may ask after it.

No I/O: the time is an argument, and one thread at a time calls. A ticket's name is the beginning of
the request's digest, so the same request is the same ticket, also after a restart; nothing of it
has to be kept on disk. What a person answers is not decided here, only kept.

::

    waiting ─ begin ─▶ signing ─ done ─▶ done
       │  ▲               │ └─── fail ──▶ failed       asked again: waits again
       │  └── put_back ───┘
       ├─ deny ────▶ denied
       └─ time ────▶ expired
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from signer.errors import AgentError, DeniedError, SignerError

MAX_WAITING = 32
MAX_WAITING_OF_ONE = 8  # of one uid
MAX_FINISHED = 64
MAX_BYTES = 64 * 1024 * 1024  # of the requests that wait; as much again of the replies to fetch …
MAX_BYTES_OF_ONE = MAX_BYTES // 4  # … and so much of one uid's requests
MAX_ASKERS = 64
KEPT_SECONDS = 3600  # a finished ticket; no longer than its request lives …
FETCH_SECONDS = 60  # … but so long at least, for who polls every few seconds
ID_HEX = 16

WAITING, SIGNING = "waiting", "signing"
DONE, DENIED, FAILED, EXPIRED = "done", "denied", "failed", "expired"
OPEN = (WAITING, SIGNING)


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One thing that a person has to say yes or no to."""

    purpose: str  # what the bytes are: "sign" or "drill"
    digest: bytes
    raw: bytes  # what was asked, canonical; empty once it is finished
    kind: str  # printable, for the list of pending ones
    items: int
    expires: int  # Unix seconds
    asked: int
    owner: int  # uid that asked first
    askers: set[int]
    state: str = WAITING
    finished: int = 0  # Unix seconds, once it is
    reply: bytes = b""  # when done
    trouble: SignerError | None = None  # when failed

    @property
    def id(self) -> str:
        """The ticket's name."""
        return ticket_id(self.digest)

    @property
    def size(self) -> int:
        """How many bytes it holds: a request while it waits, then a reply."""
        return len(self.raw) + len(self.reply)

    def to_json(self) -> dict[str, Any]:
        """Return what its askers are told."""
        return {
            "type": "signer-ticket",
            "version": 1,
            "ticket": self.id,
            "state": self.state,
            "request": self.digest.hex(),
            "expires": self.expires,
        }

    def forgotten_at(self) -> int:
        """Return when a finished ticket is forgotten."""
        longest = min(self.finished + KEPT_SECONDS, self.expires)
        return max(longest, self.finished + FETCH_SECONDS)


@dataclass(slots=True)
class TicketBook:
    """All tickets of one agent. Bounded in number, by uid and in bytes."""

    _tickets: dict[str, Ticket] = field(default_factory=dict)  # in the order they were asked

    def ask(self, new: Ticket, now: int) -> Ticket:
        """Take `new`, or find the ticket that its request has already.

        A request that failed or expired before, asked again, waits again.

        Raises:
            AgentError: no room (E_BUSY).
        """
        self._tidy(now)
        known = self._tickets.get(new.id)
        if known is not None and known.digest != new.digest:
            raise _busy("another request has the same ticket")
        if known is not None and known.state not in (FAILED, EXPIRED):
            if len(known.askers) < MAX_ASKERS:
                known.askers |= new.askers
            return known
        self._require_room(new)
        self._tickets.pop(new.id, None)
        self._tickets[new.id] = new
        return new

    def find(self, ticket: str, now: int, *, uid: int | None = None) -> Ticket:
        """Return the ticket; for `uid`, only if he asked for what it is about.

        Raises:
            AgentError: there is none (E_NOT_FOUND).
        """
        self._tidy(now)
        found = self._tickets.get(ticket)
        if found is None or (uid is not None and uid not in found.askers):
            raise AgentError(
                f"there is no ticket {ticket[:ID_HEX]!r}",
                code="E_NOT_FOUND",
                hint="it may have expired, or the agent was started anew: ask again",
            )
        return found

    def pending(self, now: int) -> list[Ticket]:
        """Return the tickets that wait or are being signed, oldest first."""
        self._tidy(now)
        return [ticket for ticket in self._tickets.values() if ticket.state in OPEN]

    @property
    def waiting(self) -> int:
        """How many wait for a person."""
        return sum(ticket.state == WAITING for ticket in self._tickets.values())

    def require_waiting(self, ticket: str, digest: bytes, now: int) -> Ticket:
        """Return the ticket of exactly this request, which must wait for a person.

        Raises:
            AgentError: there is none (E_NOT_FOUND), or it does not wait (E_TICKET).
            DeniedError: it is about another request than the person saw (E_CONFIRM).
        """
        found = self.find(ticket, now)
        if found.digest != digest:
            raise DeniedError(
                f"ticket {ticket} is not about the request that was shown", code="E_CONFIRM"
            )
        if found.state != WAITING:
            raise AgentError(f"ticket {ticket} does not wait: it is {found.state}", code="E_TICKET")
        return found

    def begin(self, ticket: str, digest: bytes, now: int) -> Ticket:
        """Let one approval through: the ticket is being signed. Raises as `require_waiting`."""
        found = self.require_waiting(ticket, digest, now)
        found.state = SIGNING
        return found

    def put_back(self, ticket: Ticket) -> None:
        """Let it wait again: what stopped it a person can mend and say yes once more."""
        ticket.state = WAITING

    def done(self, ticket: Ticket, reply: bytes, now: int) -> None:
        """Keep the reply for whoever asked."""
        self._finish(ticket, DONE, now)
        ticket.reply = reply
        self._forget_some()

    def fail(self, ticket: Ticket, trouble: SignerError, now: int) -> None:
        """Keep why nothing could be signed."""
        self._finish(ticket, FAILED, now)
        ticket.trouble = trouble

    def deny(self, ticket: Ticket, now: int) -> None:
        """Keep that a person said no."""
        self._finish(ticket, DENIED, now)

    def _finish(self, ticket: Ticket, state: str, now: int) -> None:
        ticket.state, ticket.finished, ticket.raw = state, now, b""

    def _require_room(self, new: Ticket) -> None:
        waiting = [ticket for ticket in self._tickets.values() if ticket.state in OPEN]
        if len(waiting) >= MAX_WAITING:
            raise _busy(f"{MAX_WAITING} requests wait for the holder")
        if sum(ticket.owner == new.owner for ticket in waiting) >= MAX_WAITING_OF_ONE:
            raise _busy(f"{MAX_WAITING_OF_ONE} requests of user {new.owner} wait for the holder")
        of_one = sum(ticket.size for ticket in waiting if ticket.owner == new.owner)
        if of_one + new.size > MAX_BYTES_OF_ONE:
            raise _busy(f"the requests of user {new.owner} that wait are too large together")
        if sum(ticket.size for ticket in waiting) + new.size > MAX_BYTES:
            raise _busy("the requests that wait for the holder are too large together")
        self._forget_some()

    def _forget_some(self) -> None:
        """Forget finished tickets until they are within their limits, which are their own.

        Whoever has most of them loses his oldest first: nobody can crowd out another's reply.
        """
        while finished := list(self._finished()):
            total = sum(ticket.size for ticket in finished)
            if len(finished) <= MAX_FINISHED and total <= MAX_BYTES:
                return
            of_owner = Counter(ticket.owner for ticket in finished)
            oldest = min(finished, key=lambda ticket: (-of_owner[ticket.owner], ticket.finished))
            del self._tickets[oldest.id]

    def _finished(self) -> Iterator[Ticket]:
        return (ticket for ticket in self._tickets.values() if ticket.state not in OPEN)

    def _tidy(self, now: int) -> None:
        """Let those expire whose time is over, and forget those that were finished long ago."""
        for ticket in list(self._tickets.values()):
            if ticket.state == WAITING and now >= ticket.expires:
                self._finish(ticket, EXPIRED, now)
            elif ticket.state not in OPEN and now >= ticket.forgotten_at():
                del self._tickets[ticket.id]


def ticket_id(digest: bytes) -> str:
    """Return the name of the ticket for the request with this digest."""
    return digest.hex()[:ID_HEX]


def _busy(why: str) -> AgentError:
    return AgentError(why, code="E_BUSY", hint="ask again later")

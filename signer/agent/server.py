"""The agent's HTTP face on its socket: who calls, how much, how long. Decides nothing itself."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

from aiohttp import web

from signer.agent.answers import (
    answer,
    body_of,
    http_status,
    http_trouble,
    reply_or_ticket,
    trouble,
)
from signer.agent.intake import Intake
from signer.agent.log import EventLog
from signer.agent.metrics import CONTENT_TYPE, Metrics
from signer.agent.peer import Peer, require
from signer.agent.status import readings_of, status_of
from signer.agent.tickets import TicketBook
from signer.custody.custodian import Custodian
from signer.custody.token_watch import TokenState
from signer.errors import AgentError, DeniedError, SignerError
from signer.messages.request import MAX_BYTES as MAX_REQUEST_BYTES

MAX_OTHER_BYTES = 16 * 1024
HEAD_SECONDS = 10.0  # from connecting, or from the last answer, to a whole head
MAX_WAITING = 8  # requests signed or waiting to be; one more is told to come back

_SIGN = "/v1/sign"
_NOBODY_LOOKS = TokenState(state="unknown", since=0, reason="nobody looks at the token")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AgentServer:
    """Routes what requesters ask to one custodian. There is no way to approve anything here."""

    def __init__(
        self,
        custodian: Custodian,
        peers: Mapping[str, frozenset[int]],
        log: EventLog,
        *,
        tickets: TicketBook | None = None,
        token_state: Callable[[], TokenState] = lambda: _NOBODY_LOOKS,
        metrics: Metrics | None = None,
    ) -> None:
        self._custodian = custodian
        self._peers = peers
        self._log = log
        self._token_state = token_state
        self._metrics = metrics if metrics is not None else Metrics()
        self._tickets = tickets if tickets is not None else TicketBook()
        self.intake = Intake(custodian, log, tickets, self._metrics)
        self._busy = 0

    def application(self) -> web.Application:
        """Return the aiohttp application, ready to run."""
        app = web.Application(
            client_max_size=MAX_REQUEST_BYTES, middlewares=[self._errors_as_answers]
        )
        app.router.add_get("/v1/status", self._status, allow_head=False)
        app.router.add_get("/v1/metrics", self._metrics_page, allow_head=False)
        app.router.add_post(_SIGN, self._sign)
        app.router.add_get("/v1/tickets/{ticket}", self._ticket, allow_head=False)
        app.router.add_post("/v1/drill", self._drill)
        return app

    def close(self) -> None:
        """Wait for the signature under way, if there is one."""
        self.intake.close()

    async def _status(self, request: web.Request) -> web.Response:
        self._admit(request, "status")
        await body_of(request, MAX_OTHER_BYTES)
        status = status_of(
            self._custodian,
            self._token_state(),
            self._metrics.exposure,
            busy=self._busy > 0 or self.intake.busy,
            waiting=self._tickets.waiting,
        )
        return answer(200, status)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        self._admit(request, "metrics")
        await body_of(request, MAX_OTHER_BYTES)
        readings = readings_of(self._custodian, self._token_state(), waiting=self._tickets.waiting)
        page = self._metrics.text(readings).encode()
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})

    async def _sign(self, request: web.Request) -> web.Response:
        peer = self._admit(request, "sign")
        with self._room():  # a body being read counts: it takes memory
            raw = await body_of(request, MAX_REQUEST_BYTES)
            return reply_or_ticket(await self.intake.sign(raw, peer.uid))

    async def _drill(self, request: web.Request) -> web.Response:
        peer = self._admit(request, "drill")
        with self._room():
            raw = await body_of(request, MAX_OTHER_BYTES)
            return reply_or_ticket(await self.intake.drill(raw, peer.uid))

    async def _ticket(self, request: web.Request) -> web.Response:
        peer = self._admit(request, "sign", "drill")
        await body_of(request, MAX_OTHER_BYTES)
        try:
            return reply_or_ticket(self.intake.look(request.match_info["ticket"], peer.uid))
        except DeniedError as error:
            if error.code == "E_EXPIRED":
                return trouble(error, 410)  # it was there, and is over
            raise

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Hold one of the few places for requests under way."""
        if self._busy >= MAX_WAITING:
            raise AgentError("too many requests are waiting", code="E_BUSY", hint="ask again later")
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _admit(self, request: web.Request, *methods: str) -> Peer:
        """Return the peer, who may call one of `methods`."""
        connection = request.get_extra_info("socket")
        if connection is None:
            raise AgentError("the connection is gone")
        peer = Peer.of(connection)
        allowed = [method for method in methods if peer.uid in self._peers.get(method, ())]
        require(peer, (allowed or methods)[0], self._peers)
        return peer

    @web.middleware
    async def _errors_as_answers(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Turn every error into one JSON form; nothing of a traceback leaves."""
        started = time.monotonic()
        try:
            return await handler(request)
        except SignerError as error:
            self._count_refusal(request, http_status(error), error.code, started)
            self._log.write(
                "refused",
                path=request.path[:64],
                uid=_uid_of(request),
                code=error.code,
                why=error.message,
            )
            return trouble(error)
        except web.HTTPException as error:
            self._count_refusal(request, error.status, f"HTTP_{error.status}", started)
            self._log.write("refused", path=request.path[:64], code=f"HTTP_{error.status}")
            return http_trouble(error)
        except Exception as error:  # a bug of ours; the client learns no more than that
            self._count_refusal(request, 500, "E_FAILED", started)
            self._log.write("bug", path=request.path[:64], kind=type(error).__name__, at=at(error))
            return trouble(SignerError("internal error", hint="see the agent's log"))

    def _count_refusal(self, request: web.Request, status: int, code: str, started: float) -> None:
        if request.path == _SIGN:
            result = "denied" if status == 403 else "refused" if status < 500 else "failed"
            self._metrics.request(result, code, time.monotonic() - started)


def _uid_of(request: web.Request) -> int | None:
    connection = request.get_extra_info("socket")
    with contextlib.suppress(OSError):
        return Peer.of(connection).uid if connection is not None else None
    return None


def at(error: BaseException) -> str:
    """Return where a bug happened, without a value of anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"

"""The agent's HTTP face on its socket: who calls, how much, how long. Decides nothing itself."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from signer import __version__
from signer.agent.log import EventLog
from signer.agent.peer import Peer, require
from signer.custody.custodian import Custodian
from signer.errors import AgentError, DeniedError, InputError, SecretFileError, SignerError
from signer.messages.reply import SignReply
from signer.messages.request import MAX_BYTES as MAX_REQUEST_BYTES
from signer.messages.request import SignRequest
from signer.strict import canonical

MAX_OTHER_BYTES = 16 * 1024
HEAD_SECONDS = 10.0  # from connecting, or from the last answer, to a whole head
BODY_SECONDS = 10.0
MAX_WAITING = 8  # requests signed or waiting to be; one more is told to come back

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AgentServer:
    """Routes `/v1/status` and `/v1/sign` to one custodian."""

    def __init__(
        self, custodian: Custodian, peers: Mapping[str, frozenset[int]], log: EventLog
    ) -> None:
        self._custodian = custodian
        self._peers = peers
        self._log = log
        self._waiting = 0
        self._signing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="signing")

    def application(self) -> web.Application:
        """Return the aiohttp application, ready to run."""
        app = web.Application(
            client_max_size=MAX_REQUEST_BYTES, middlewares=[self._errors_as_answers]
        )
        app.router.add_get("/v1/status", self._status, allow_head=False)
        app.router.add_post("/v1/sign", self._sign)
        return app

    def close(self) -> None:
        """Wait for the signature under way, if there is one."""
        self._signing.shutdown(wait=True)

    async def _status(self, request: web.Request) -> web.Response:
        self._admit(request, "status")
        await _body(request, MAX_OTHER_BYTES)
        desk, journal = self._custodian.desk, self._custodian.journal
        group = desk.group
        return _answer(
            200,
            {
                "type": "signer-status",
                "version": 1,
                "software": f"threshold-signer {__version__}",
                "group": group.group_id.hex(),
                "network": group.network.name,
                "role": group.role,
                "epoch": group.epoch,
                "index": int(desk.index),
                "holder": group.card_of(desk.index).body.name,
                "threshold": group.threshold.t,
                "holders_count": group.threshold.n,
                "policy_digest": desk.policy.digest.hex(),
                "journal": {"sequence": journal.sequence, "head": journal.head.hex()},
                "token": {
                    "profile": self._custodian.token.profile.name,
                    "label": self._custodian.token.label,
                    "serial": self._custodian.token.serial,
                },
                "busy": self._waiting > 0,
            },
        )

    async def _sign(self, request: web.Request) -> web.Response:
        peer = self._admit(request, "sign")
        if self._waiting >= MAX_WAITING:
            raise AgentError("too many requests are waiting", code="E_BUSY", hint="ask again later")
        self._waiting += 1  # a body being read counts: it takes memory
        started = time.monotonic()
        try:
            raw = await _body(request, MAX_REQUEST_BYTES)
            answer = await asyncio.get_running_loop().run_in_executor(
                self._signing, self._sign_bytes, raw, peer
            )
        finally:
            self._waiting -= 1
        seconds = round(time.monotonic() - started, 3)
        self._log_reply(answer, peer, seconds)
        return web.Response(body=answer.to_bytes(), content_type="application/json")

    def _sign_bytes(self, raw: bytes, peer: Peer) -> SignReply:
        return self._custodian.sign(SignRequest.parse(raw), peer.uid)

    def _log_reply(self, reply: SignReply, peer: Peer, seconds: float) -> None:
        self._log.write(
            "signed" if len(reply.denied) < len(reply.partials) else "denied",
            request=reply.request_digest.hex(),
            uid=peer.uid,
            items=len(reply.partials),
            denied=len(reply.denied),
            code=reply.denied[0].code if reply.denied else None,
            seconds=seconds,
        )

    def _admit(self, request: web.Request, method: str) -> Peer:
        connection = request.get_extra_info("socket")
        if connection is None:
            raise AgentError("the connection is gone")
        peer = Peer.of(connection)
        require(peer, method, self._peers)
        return peer

    @web.middleware
    async def _errors_as_answers(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Turn every error into one JSON form; nothing of a traceback leaves."""
        try:
            return await handler(request)
        except SignerError as error:
            self._log.write(
                "refused",
                path=request.path[:64],
                uid=_uid_of(request),
                code=error.code,
                why=error.message,
            )
            return _answer(_http_status(error), _words(error.code, error.message, error.hint))
        except web.HTTPException as error:
            self._log.write("refused", path=request.path[:64], code=f"HTTP_{error.status}")
            code = {404: "E_NOT_FOUND", 405: "E_METHOD", 413: "E_SCHEMA"}.get(
                error.status, "E_HTTP"
            )
            answer = _answer(error.status, _words(code, error.reason, ""))
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        except Exception as error:  # a bug of ours; the client learns no more than that
            self._log.write("bug", path=request.path[:64], kind=type(error).__name__, at=_at(error))
            return _answer(500, _words("E_FAILED", "internal error", "see the agent's log"))


def _uid_of(request: web.Request) -> int | None:
    connection = request.get_extra_info("socket")
    with contextlib.suppress(OSError):
        return Peer.of(connection).uid if connection is not None else None
    return None


async def _body(request: web.Request, max_bytes: int) -> bytes:
    """Read the body, bounded in size and time."""
    announced = request.content_length or 0
    if announced > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes, announced)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > max_bytes:
                    raise web.HTTPRequestEntityTooLarge(max_bytes, len(body))
    except TimeoutError:
        raise AgentError(f"no whole body within {BODY_SECONDS:.0f} s", code="E_SLOW") from None
    return bytes(body)


def _http_status(error: SignerError) -> int:
    if isinstance(error, DeniedError):
        return 403
    if isinstance(error, InputError) and not isinstance(error, SecretFileError):
        return 400  # a PIN file that is wrong is not the requester's doing
    return {"E_BUSY": 503, "E_SLOW": 408}.get(error.code, 500)


def _answer(status: int, value: Mapping[str, object]) -> web.Response:
    return web.Response(
        status=status, body=canonical(value) + b"\n", content_type="application/json"
    )


def _words(code: str, message: str, hint: str) -> dict[str, object]:
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in message)
    return {"code": code, "message": printable[:500], "hint": hint}


def _at(error: BaseException) -> str:
    """Return where a bug happened, without a value of anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"

"""One agent over its socket. Believes nothing it says beyond its form."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from signer.errors import AgentError, DeniedError, SchemaError
from signer.messages.drill import DrillOrder
from signer.messages.drill_report import MAX_FILE_BYTES as MAX_REPORT_BYTES
from signer.messages.drill_report import signed_report
from signer.messages.dsse import SignedFile
from signer.messages.reply import CODE_PATTERN, SignReply
from signer.messages.reply import MAX_BYTES as MAX_REPLY_BYTES
from signer.messages.request import SignRequest
from signer.strict import Fields, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_STATUS_BYTES = 16 * 1024
STATUS_SECONDS = 5.0
FIRST_POLL_SECONDS = 0.5  # from one look at a ticket to the next …
LAST_POLL_SECONDS = 5.0  # … in the end
GONE_SECONDS = 60.0  # an agent that is not heard of so long is not just being started anew
_PASSING = ("E_UNREACHABLE", "E_TIMEOUT", "E_BUSY")
_PRINTABLE = r"[ -~]*"
_PROVEN = {"strict": True, "unproven": False}  # a later word is not told

OnWaiting = Callable[[str], None]  # takes a ticket's name


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatus:
    """What an agent says of its token."""

    state: str = "unknown"  # absent, present, locked, ready, busy, unknown, or a later agent's word
    reason: str = ""
    since: int = 0  # Unix seconds
    proven: bool | None = None  # whether it can prove where its keys were made; None: not told
    uri: str = ""  # RFC 7512; empty of an agent of before

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take it from a status; an agent of before says nothing of the state."""
        if not fields.has("state"):
            return cls()
        return cls(
            state=fields.string("state", pattern=r"[a-z]{1,16}"),
            reason=fields.string("reason", pattern=_PRINTABLE, max_length=300),
            since=fields.integer("since", low=0, high=2**53 - 1),
            proven=_PROVEN.get(fields.string("provenance", pattern=r"[a-z]{1,16}"))
            if fields.has("provenance")
            else None,
            uri=fields.string("uri", pattern=r"pkcs11:[!-~]*", max_length=1024)
            if fields.has("uri")
            else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """What an agent says of itself at `/v1/status`."""

    group_id: bytes
    network: str
    epoch: int
    index: ShareIndex
    holder: str
    policy_digest: bytes
    busy: bool
    token: TokenStatus
    document: dict[str, Any]  # all of it, for people

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read a status; fields this client does not use may be there, in any number."""
        value = parse_object(raw, what=what, max_bytes=MAX_STATUS_BYTES)
        fields = Fields(value, what)
        fields.constant("type", "signer-status")
        fields.constant("version", 1)
        return cls(
            group_id=fields.hex_bytes("group", 32),
            network=fields.string("network", pattern=r"[a-z0-9-]{1,32}"),
            epoch=fields.integer("epoch", low=1, high=2**32 - 1),
            index=ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS)),
            holder=fields.string("holder", pattern=_PRINTABLE, max_length=64),
            policy_digest=fields.hex_bytes("policy_digest", 32),
            busy=fields.boolean("busy"),
            token=TokenStatus.take(fields.nested("token"))
            if fields.has("token")
            else TokenStatus(),
            document=value,
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Something whose outcome may take a person."""

    path: str
    body: bytes
    digest: bytes
    most: int  # bytes of the outcome


class AgentClient:
    """The agent behind one unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def __str__(self) -> str:
        return str(self.socket)

    async def status(self, *, seconds: float = STATUS_SECONDS) -> AgentStatus:
        """Ask the agent who it is.

        Raises:
            AgentError: unreachable, silent, or no agent.
            DeniedError: it does not talk to this user.
        """
        body = await self._call("GET", "/v1/status", None, seconds, MAX_STATUS_BYTES)
        with self._well_formed():
            return AgentStatus.parse(body, f"agent {str(self)!r}")

    async def sign(
        self,
        request: SignRequest,
        *,
        seconds: float,
        wait: float | None = None,
        on_waiting: OnWaiting = lambda ticket: None,
    ) -> SignReply:
        """Ask the agent to sign `request` and return its reply, partials unverified.

        Args:
            request: what to sign.
            seconds: how long one answer may take.
            wait: how long its holder may take to say yes; as `seconds` if not given.
            on_waiting: told the ticket's name whenever the request turns out to wait for him.

        Raises:
            AgentError: unreachable (E_UNREACHABLE), silent (E_TIMEOUT), busy (E_BUSY), in trouble
                of its own (its code), waiting for its holder still (E_WAITING), or an answer that
                is no reply (E_AGENT).
            DeniedError: its policy, or its holder, refused the whole request.
        """
        asked = _Asked("/v1/sign", request.to_bytes(), request.digest, MAX_REPLY_BYTES)
        body = await self._outcome(asked, seconds, seconds if wait is None else wait, on_waiting)
        with self._well_formed():
            return SignReply.parse(body, request, f"agent {str(self)!r}")

    async def drill(
        self,
        order: DrillOrder,
        *,
        seconds: float,
        wait: float | None = None,
        on_waiting: OnWaiting = lambda ticket: None,
    ) -> SignedFile:
        """Have the agent drill its device and return the report, unverified.

        Raises:
            AgentError: as for `sign`.
            DeniedError: it does not drill for this user, or not this order.
        """
        asked = _Asked("/v1/drill", order.to_bytes(), order.digest, MAX_REPORT_BYTES)
        body = await self._outcome(asked, seconds, seconds if wait is None else wait, on_waiting)
        with self._well_formed():
            what = f"agent {str(self)!r}"
            return signed_report(parse_object(body, what=what, max_bytes=MAX_REPORT_BYTES), what)

    async def _outcome(
        self, asked: "_Asked", seconds: float, wait: float, on_waiting: OnWaiting
    ) -> bytes:
        """Ask, and while it waits for a person ask after it. The same request is the same ticket.

        An agent that is started anew meanwhile knows its tickets no more, so it is asked again.
        """
        clock = asyncio.get_running_loop().time
        deadline, heard, pause = clock() + wait, clock(), FIRST_POLL_SECONDS
        status, answer = await self._exchange("POST", asked.path, asked.body, seconds, asked.most)
        while status == 202:
            ticket = self._ticket(answer, asked)
            on_waiting(ticket)
            if (left := deadline - clock()) <= 0:
                raise AgentError(
                    f"agent {str(self)!r} waits for its holder: ticket {ticket}",
                    code="E_WAITING",
                    hint="he says yes with: signer agent approve",
                )
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LAST_POLL_SECONDS)
            try:
                found = await self._exchange(
                    "GET", f"/v1/tickets/{ticket}", None, seconds, asked.most
                )
                if found[0] == 404:
                    found = await self._exchange(
                        "POST", asked.path, asked.body, seconds, asked.most
                    )
            except AgentError as error:
                if error.code not in _PASSING or clock() - heard > GONE_SECONDS:
                    raise
                continue
            (status, answer), heard = found, clock()
        return self._good(status, answer)

    def _ticket(self, answer: bytes, asked: "_Asked") -> str:
        """Return the name of the ticket that an agent gave for exactly this request."""
        what = f"agent {str(self)!r}: ticket"
        with self._well_formed():
            fields = Fields(parse_object(answer, what=what, max_bytes=MAX_STATUS_BYTES), what)
            fields.constant("type", "signer-ticket")
            fields.constant("version", 1)
            ticket = fields.string("ticket", pattern=r"[0-9a-f]{16}", max_length=16)
            if fields.hex_bytes("request", 32) != asked.digest:
                fields.fail("request", "is another request's")
            return ticket

    async def _call(
        self, method: str, path: str, body: bytes | None, seconds: float, max_bytes: int
    ) -> bytes:
        return self._good(*await self._exchange(method, path, body, seconds, max_bytes))

    def _good(self, status: int, answer: bytes) -> bytes:
        if status != 200:
            raise self._trouble(status, answer)
        return answer

    async def _exchange(
        self, method: str, path: str, body: bytes | None, seconds: float, max_bytes: int
    ) -> tuple[int, bytes]:
        what = f"agent {str(self)!r}"
        try:
            async with self._request(method, path, body, seconds) as response:
                answer = await _read(response, max_bytes)
                status = response.status
        except TimeoutError:
            raise AgentError(f"{what}: no answer in {seconds:.0f} s", code="E_TIMEOUT") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AgentError(
                f"{what}: {_reason(error)}",
                code="E_UNREACHABLE",
                hint="is it running, and may this user open its socket?",
            ) from None
        if answer is None:
            raise AgentError(f"{what}: its answer is over {max_bytes} bytes")
        return status, answer

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        connector = aiohttp.UnixConnector(path=str(self.socket))
        timeout = aiohttp.ClientTimeout(total=seconds)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(
                method,
                f"http://agent{path}",
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            yield response

    def _trouble(self, status: int, answer: bytes) -> AgentError | DeniedError:
        what = f"agent {str(self)!r}"
        try:
            fields = Fields(parse_object(answer, what=what, max_bytes=MAX_STATUS_BYTES), what)
            code = fields.string("code", pattern=CODE_PATTERN, max_length=32)
            message = fields.string("message", pattern=_PRINTABLE, max_length=2000)
        except SchemaError:
            return AgentError(f"{what}: HTTP status {status} and no reason")
        if status == 403:
            return DeniedError(f"{what}: {message}", code=code)
        return AgentError(f"{what}: {message}", code=code)

    @contextlib.contextmanager
    def _well_formed(self) -> Any:
        try:
            yield
        except SchemaError as error:
            raise AgentError(error.message, hint="it is no agent, or a faulty one") from None


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """Return the body, or None as soon as it grows over `max_bytes`."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or error
    text = getattr(cause, "strerror", None) or type(error).__name__
    return str(text).lower()

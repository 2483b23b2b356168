"""One agent over its socket. Believes nothing it says beyond its form."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from signer.errors import AgentError, DeniedError, SchemaError
from signer.messages.reply import CODE_PATTERN, SignReply
from signer.messages.reply import MAX_BYTES as MAX_REPLY_BYTES
from signer.messages.request import SignRequest
from signer.strict import Fields, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_STATUS_BYTES = 16 * 1024
STATUS_SECONDS = 5.0
_PRINTABLE = r"[ -~]*"


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
            document=value,
        )


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

    async def sign(self, request: SignRequest, *, seconds: float) -> SignReply:
        """Ask the agent to sign `request` and return its reply, partials unverified.

        Raises:
            AgentError: unreachable (E_UNREACHABLE), silent (E_TIMEOUT), busy (E_BUSY), in trouble
                of its own (its code), or an answer that is no reply (E_AGENT).
            DeniedError: its policy refused the whole request.
        """
        body = await self._call("POST", "/v1/sign", request.to_bytes(), seconds, MAX_REPLY_BYTES)
        with self._well_formed():
            return SignReply.parse(body, request, f"agent {str(self)!r}")

    async def _call(
        self, method: str, path: str, body: bytes | None, seconds: float, max_bytes: int
    ) -> bytes:
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
        if status != 200:
            raise self._trouble(status, answer)
        return answer

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

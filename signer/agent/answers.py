"""The forms of HTTP that the agent's socket speaks: bodies in, one JSON object out."""

import asyncio
import re
from collections.abc import Mapping

from aiohttp import web

from signer.agent.tickets import Ticket
from signer.errors import AgentError, DeniedError, InputError, SecretFileError, SignerError
from signer.strict import canonical

BODY_SECONDS = 10.0
MAX_WORDS = 500  # characters of a message

_STATUS = {"E_BUSY": 503, "E_TOKEN_ABSENT": 503, "E_SLOW": 408, "E_NOT_FOUND": 404}
_PLACE = re.compile(r""" ?(['"])/.*?\1""")  # a local path as messages quote it
_BARE_PLACE = re.compile(r"(^|[\s'\"=])/[^\s/]")


async def body_of(request: web.Request, max_bytes: int) -> bytes:
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


def answer(status: int, value: Mapping[str, object]) -> web.Response:
    """Return a JSON object as an answer."""
    return answer_bytes(status, canonical(value) + b"\n")


def answer_bytes(status: int, body: bytes) -> web.Response:
    """Return bytes that are JSON already as an answer."""
    return web.Response(status=status, body=body, content_type="application/json")


def reply_or_ticket(result: bytes | Ticket) -> web.Response:
    """Return what there is: 200 and the reply, or 202 and the ticket it waits under."""
    if isinstance(result, bytes):
        return answer_bytes(200, result)
    waiting = answer(202, result.to_json())
    waiting.headers["Location"] = f"/v1/tickets/{result.id}"
    return waiting


def trouble(error: SignerError, status: int | None = None) -> web.Response:
    """Return an error as an answer. What it says of this machine's files stays here."""
    return answer(status or http_status(error), _words(error.code, error.message, error.hint))


def http_trouble(error: web.HTTPException) -> web.Response:
    """Return aiohttp's own refusals in the same form."""
    code = {404: "E_NOT_FOUND", 405: "E_METHOD", 413: "E_SCHEMA"}.get(error.status, "E_HTTP")
    refusal = answer(error.status, _words(code, error.reason, ""))
    if "Allow" in error.headers:
        refusal.headers["Allow"] = error.headers["Allow"]
    return refusal


def http_status(error: SignerError) -> int:
    """Return the HTTP status that goes with an error."""
    if isinstance(error, DeniedError):
        return 403
    if isinstance(error, InputError) and not isinstance(error, SecretFileError):
        return 400  # a PIN file that is wrong is not the requester's doing
    return _STATUS.get(error.code, 500)


def _words(code: str, message: str, hint: str) -> dict[str, object]:
    told = _PLACE.sub("", message)
    if _BARE_PLACE.search(told):
        told = "the agent has trouble with a file of its own"
    if _PLACE.search(hint) or _BARE_PLACE.search(hint):
        hint = "see the agent's log"
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in told)
    return {"code": code, "message": printable[:MAX_WORDS], "hint": hint}

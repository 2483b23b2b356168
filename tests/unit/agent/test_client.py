"""The client against servers that are no agents, or bad ones."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from signer.client import AgentClient
from signer.errors import AgentError, DeniedError, SignerError
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import NOW, OTHER, SimulatedPool
from tests.simulators.server import serving

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2)
STATUS = {
    "type": "signer-status", "version": 1, "group": "00" * 32, "network": "mainnet", "epoch": 1,
    "index": 1, "holder": "Ada", "policy_digest": "00" * 32, "busy": False,
}  # fmt: skip


@contextlib.asynccontextmanager
async def answering(path: Path, raw: bytes | None) -> AsyncIterator[AgentClient]:
    """Answer every connection with `raw` whatever it asks; None is silence."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if raw is None:
                await reader.read()
            else:
                writer.write(raw)
                await writer.drain()
                writer.write_eof()
                await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield AgentClient(path)
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


def http(body: bytes, status: int = 200, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), headers) + body


def trouble(status: int, **changes: Any) -> bytes:
    value = {"code": "E_PIN_REFUSED", "message": "no", "hint": ""} | changes
    return http(json.dumps(value).encode(), status)


def failure(
    tmp_path: Path, raw: bytes | None, call: Callable[[AgentClient], Awaitable[Any]]
) -> SignerError:
    async def main() -> SignerError:
        async with answering(tmp_path / "s", raw) as client:
            with pytest.raises(SignerError) as failed:
                await call(client)
            return failed.value

    return asyncio.run(main())


async def status(client: AgentClient) -> Any:
    return await client.status(seconds=0.3)


async def sign(client: AgentClient) -> Any:
    return await client.sign(REQUEST, seconds=0.3)


def test_an_honest_agent_is_understood(tmp_path: Path) -> None:
    desk = SimulatedDesk(POOL, tmp_path)

    async def main() -> None:
        async with serving(desk) as agent:
            client = AgentClient(agent.path)
            word = await client.status()
            assert (word.group_id, word.index, word.holder) == (POOL.group.group_id, 1, "holder 1")
            assert word.document["journal"]["sequence"] == 1
            reply = await client.sign(REQUEST, seconds=5)
            assert reply.partials == POOL.reply(1, REQUEST).partials
            denied = await client.sign(POOL.request(1, to=OTHER), seconds=5)
            assert [denial.code for denial in denied.denied] == ["E_TARGET"]
            with pytest.raises(DeniedError) as refused:
                await client.sign(POOL.request(1, expires=NOW), seconds=5)
            assert refused.value.code == "E_EXPIRED"

    asyncio.run(main())


def test_fields_of_a_later_version_are_borne(tmp_path: Path) -> None:
    async def main() -> None:
        raw = http(json.dumps(STATUS | {"news": [1, 2]}).encode())
        async with answering(tmp_path / "s", raw) as client:
            assert (await client.status()).holder == "Ada"

    asyncio.run(main())


@pytest.mark.case("X222", "agent that is absent, silent, speaks no HTTP, says nothing readable")
@pytest.mark.parametrize("call", [status, sign])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (None, "E_TIMEOUT"),
        (b"", "E_UNREACHABLE"),
        (b"\x16\x03\x01 no http", "E_UNREACHABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "E_UNREACHABLE"),
        (http(b""), "E_AGENT"),
        (http(b"[]"), "E_AGENT"),
        (http(b"\xff"), "E_AGENT"),
        (http(b"{}"), "E_AGENT"),
        (http(b"[" * 1000), "E_AGENT"),
        (http(b"", 302, b"Location: http://agent/v1/elsewhere\r\n"), "E_AGENT"),
        (http(b"", 204), "E_AGENT"),
        (http(b"<html>", 502), "E_AGENT"),
        (trouble(500, code="\x1b[2J"), "E_AGENT"),
        (trouble(500, message="\x1b[2J"), "E_AGENT"),
        (trouble(500, message=7), "E_AGENT"),
        (trouble(500), "E_PIN_REFUSED"),
        (trouble(503, code="E_BUSY"), "E_BUSY"),
        (trouble(200), "E_AGENT"),
    ],
)
def test_what_is_no_answer_is_the_agents_trouble(
    tmp_path: Path, raw: bytes | None, code: str, call: Callable[[AgentClient], Awaitable[Any]]
) -> None:
    error = failure(tmp_path, raw, call)
    assert type(error) is AgentError
    assert error.code == code
    assert error.line().isprintable()


@pytest.mark.case("F3", "agent that answers more than a reply can be, plain or compressed")
@pytest.mark.parametrize("call", [status, sign])
def test_answers_are_bounded(tmp_path: Path, call: Callable[[AgentClient], Awaitable[Any]]) -> None:
    for raw in (
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (9 * 2**20),
        http(gzip.compress(bytes(2**20)) * 64, 200, b"Content-Encoding: gzip\r\n"),
    ):
        error = failure(tmp_path, raw, call)
        assert error.code in ("E_AGENT", "E_UNREACHABLE")


@pytest.mark.case("S1", "status with an index, holder, group that cannot be")
@pytest.mark.parametrize(
    "changes",
    [
        {"index": 0}, {"index": 101}, {"index": True}, {"epoch": 0}, {"group": "00"},
        {"holder": "\x1b[2J"}, {"holder": "x" * 65}, {"network": "Main Net"}, {"busy": 0},
        {"type": "signer-reply"}, {"version": 2},
    ],
    ids=str,
)  # fmt: skip
def test_a_status_has_its_form(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert failure(tmp_path, http(json.dumps(STATUS | changes).encode()), status).code == "E_AGENT"


@pytest.mark.case("S5", "reply to another request")
def test_a_reply_to_another_request_is_none(tmp_path: Path) -> None:
    other = POOL.reply(1, POOL.request(7, 8)).to_bytes()
    assert failure(tmp_path, http(other), sign).code == "E_AGENT"


def test_a_denial_is_a_denial(tmp_path: Path) -> None:
    error = failure(tmp_path, trouble(403, code="E_PEER"), status)
    assert (type(error), error.code, error.exit_status) == (DeniedError, "E_PEER", 3)


@pytest.mark.case("X222", "socket that is absent, a plain file, a dead agent's")
def test_who_is_not_there_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("absent", "file", "x" * 200):
        with pytest.raises(AgentError) as failed:
            asyncio.run(AgentClient(tmp_path / name).status())
        assert failed.value.code == "E_UNREACHABLE"

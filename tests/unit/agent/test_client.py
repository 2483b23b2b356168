"""The client against servers that are no agents, or bad ones."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from signer import client as client_module
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


# Tickets


DIGEST = REQUEST.digest.hex()
TICKET = {
    "type": "signer-ticket", "version": 1, "ticket": DIGEST[:16], "state": "waiting",
    "request": DIGEST, "expires": NOW + 3600,
}  # fmt: skip
WAITS = http(json.dumps(TICKET).encode(), 202)
REPLY = http(POOL.reply(1, REQUEST).to_bytes())


@contextlib.asynccontextmanager
async def scripted(
    path: Path, answers: list[bytes]
) -> AsyncIterator[tuple[AgentClient, list[str]]]:
    """Answer request after request with `answers`, the last one for ever; b"" hangs up."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(" ".join(head.decode().split()[:2]))
            raw = answers.pop(0) if len(answers) > 1 else answers[0]
            writer.write(raw)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield AgentClient(path), asked
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll at once."""
    monkeypatch.setattr(client_module, "FIRST_POLL_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "LAST_POLL_SECONDS", 0.02)


def outcome(path: Path, answers: list[bytes], wait: float) -> tuple[Any, list[str], list[str]]:
    """Ask for a signature; return the reply or the error, what was asked, and tickets told."""

    async def main() -> tuple[Any, list[str], list[str]]:
        told: list[str] = []
        async with scripted(path / "s", answers) as (client, asked):
            try:
                result: Any = await client.sign(
                    REQUEST, seconds=2, wait=wait, on_waiting=told.append
                )
            except SignerError as error:
                result = error
            return result, asked, told

    return asyncio.run(main())


ASK, LOOK = "POST /v1/sign", f"GET /v1/tickets/{DIGEST[:16]}"


def test_a_ticket_is_polled_until_it_is_done(tmp_path: Path, brisk: None) -> None:
    reply, asked, told = outcome(tmp_path, [WAITS, WAITS, WAITS, REPLY], 5)
    assert reply == POOL.reply(1, REQUEST)
    assert asked == [ASK, LOOK, LOOK, LOOK]
    assert set(told) == {DIGEST[:16]}


def test_the_time_of_a_ticket_ends(tmp_path: Path, brisk: None) -> None:
    error, asked, _ = outcome(tmp_path, [WAITS], 0.1)
    assert (error.code, asked[0]) == ("E_WAITING", ASK)
    assert DIGEST[:16] in error.message
    assert "signer agent approve" in error.hint
    error, asked, _ = outcome(tmp_path.parent, [WAITS], 0)
    assert (error.code, asked) == ("E_WAITING", [ASK])


@pytest.mark.case("X436", "agent gone and back while its ticket is polled; one that stays away")
def test_an_agent_that_was_started_anew_is_asked_anew(
    tmp_path: Path, brisk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = trouble(404, code="E_NOT_FOUND")
    reply, asked, _ = outcome(tmp_path, [WAITS, b"", lost, WAITS, REPLY], 5)
    assert reply == POOL.reply(1, REQUEST)
    assert asked == [ASK, LOOK, LOOK, ASK, LOOK]
    monkeypatch.setattr(client_module, "GONE_SECONDS", 0.1)
    error, _, _ = outcome(tmp_path.parent, [WAITS, b""], 30)
    assert error.code == "E_UNREACHABLE"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "E_DENIED", DeniedError),
        (410, "E_EXPIRED", AgentError),
        (500, "E_JOURNAL", AgentError),
    ],
)
def test_a_ticket_may_end_badly(
    tmp_path: Path, brisk: None, status: int, code: str, kind: type[SignerError]
) -> None:
    error, asked, _ = outcome(tmp_path, [WAITS, trouble(status, code=code)], 5)
    assert (type(error), error.code, len(asked)) == (kind, code, 2)


@pytest.mark.case("X440", "agent that answers a ticket of another request, or one that is a path")
@pytest.mark.parametrize(
    "changes",
    [
        {"request": "00" * 32}, {"ticket": "../../etc/passwd"}, {"ticket": "0" * 15}, {"type": "x"},
        {"ticket": None}, {"request": DIGEST[:-1]}, {"version": 2}, {"ticket": "0" * 15 + "\n"},
    ],
)  # fmt: skip
def test_a_ticket_is_believed_no_further_than_its_form(
    tmp_path: Path, brisk: None, changes: dict[str, Any]
) -> None:
    raw = http(json.dumps(TICKET | changes).encode(), 202)
    error, asked, told = outcome(tmp_path, [raw], 5)
    assert (type(error), error.code, asked, told) == (AgentError, "E_AGENT", [ASK], [])

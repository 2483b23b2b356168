"""How much, how long and how many the server bears; any bytes at all."""

import asyncio
import contextlib
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from signer.agent import answers, daemon, server
from signer.messages.request import MAX_BYTES
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import SimulatedPool
from tests.simulators.server import RunningServer, parse_answer, run

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2, 3)
BODY = REQUEST.to_bytes()
UID = os.geteuid()
HEAD = b"POST /v1/sign HTTP/1.1\r\nHost: agent\r\n"


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


# How much


@pytest.mark.case("F3", "9 MiB announced, and sent; 8 MiB and a byte")
@pytest.mark.parametrize("size", [9 * 2**20, MAX_BYTES + 1, 2**62])
def test_too_much_is_refused_before_it_is_read(desk: SimulatedDesk, size: int) -> None:
    async def use(agent: RunningServer) -> None:
        sent = os.urandom(min(size, 9 * 2**20)) if size < 2**40 else b""
        reader, writer = await agent.connect()
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert parse_answer(head).status == 413
        await agent.still_serves()
        writer.close()

    run(desk, use)


def test_exactly_8_mib_are_read(desk: SimulatedDesk) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", BODY.ljust(MAX_BYTES))
        assert answer.status == 200

    run(desk, use)


@pytest.mark.case("K2", "chunked body without a length that grows over the limit")
def test_a_chunked_body_is_counted(desk: SimulatedDesk) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    megabyte = b"100000\r\n" + b" " * 2**20 + b"\r\n"

    async def use(agent: RunningServer) -> None:
        small = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        assert parse_answer(await agent.send(chunked + small)).status == 200
        answer = parse_answer(await agent.send(chunked + megabyte * 9 + b"0\r\n\r\n"))
        assert (answer.status, answer.code) == (413, "E_SCHEMA")

    run(desk, use)


@pytest.mark.case("K2", "status asked with a body over 16 KiB")
def test_status_reads_little(desk: SimulatedDesk) -> None:
    async def use(agent: RunningServer) -> None:
        assert (await agent.ask("GET", "/v1/status", b" " * 16 * 1024)).status == 200
        assert (await agent.ask("GET", "/v1/status", b" " * 16 * 1024 + b" ")).status == 413

    run(desk, use)


@pytest.mark.case("X219", "heads too long: the path, one header, ten thousand headers")
@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
    ],
)
def test_heads_are_bounded(desk: SimulatedDesk, raw: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        assert parse_answer(await agent.send(raw)).status == 400

    run(desk, use)


# How long


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every limit of time 0.2 s."""
    monkeypatch.setattr(answers, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(daemon, "HEAD_SECONDS", 0.2)


def test_the_limits_are_what_the_design_says() -> None:
    assert (server.HEAD_SECONDS, answers.BODY_SECONDS) == (10, 10)
    assert vars(daemon)["HEAD_SECONDS"] == server.HEAD_SECONDS
    assert (MAX_BYTES, server.MAX_OTHER_BYTES) == (8 * 2**20, 16 * 1024)


@pytest.mark.case("K1", "silence; half a head, then silence")
@pytest.mark.parametrize(
    "raw", [b"", b"P", HEAD, b"GET /v1/status HTTP/1.1\r\n", b"GET /v1/status HTTP/1.1\r\nA: b\r"]
)
def test_who_sends_no_head_is_disconnected(desk: SimulatedDesk, hurried: None, raw: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        started = time.monotonic()
        assert await agent.send(raw, seconds=3) == b""
        assert 0.15 < time.monotonic() - started < 2

    run(desk, use)


@pytest.mark.case("K3", "head at a byte every twentieth of a second; a second head so")
@pytest.mark.parametrize("first", [b"", b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_who_drips_a_head_is_disconnected(desk: SimulatedDesk, hurried: None, first: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        reader, writer = await agent.connect()
        if first:
            writer.write(first)
            await reader.readuntil(b"}\n")
        started = time.monotonic()
        for byte in b"GET /v1/status HTTP/1.1\r\nHost: " + b"a" * 50:
            with contextlib.suppress(ConnectionError):
                writer.write(bytes([byte]))
                await writer.drain()
            if reader.at_eof() or reader.exception():
                break
            await asyncio.sleep(0.05)
        assert 0.15 < time.monotonic() - started < 2

    run(desk, use)


@pytest.mark.case("K3", "body of one byte a tenth of a second; half a body, then silence")
@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked"])
def test_who_sends_no_body_gets_408(
    desk: SimulatedDesk, hurried: None, drip: bool, framing: bytes
) -> None:
    chunked = b"chunked" in framing

    async def use(agent: RunningServer) -> None:
        reader, writer = await agent.connect()
        writer.write(HEAD + framing + (b"\r\n\r\n" if chunked else b""))
        started = time.monotonic()
        part = b"1\r\n \r\n" if chunked else b" "

        async def dripping() -> None:
            with contextlib.suppress(ConnectionError):
                while drip:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.05)

        task = asyncio.create_task(dripping())
        answer = parse_answer(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3))
        assert answer.status == 408
        assert 0.15 < time.monotonic() - started < 2
        task.cancel()
        writer.close()

    run(desk, use)


@pytest.mark.case("K9", "client closes before the reply")
def test_a_client_that_leaves_harms_nobody(desk: SimulatedDesk) -> None:
    desk.worker.hold = threading.Event()

    async def use(agent: RunningServer) -> None:
        _, writer = await agent.connect()
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        while not desk.worker.jobs:
            await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        assert desk.worker.hold is not None
        desk.worker.hold.set()
        while len(desk.records()) < 3:
            await asyncio.sleep(0.005)
        assert desk.records() == ["OPENED", "INTENT", "RELEASED"]
        assert (await agent.ask("POST", "/v1/sign", BODY)).status == 200

    run(desk, use)


# How many


@pytest.mark.case("K10", "200 connections at once: silent ones, and 200 that ask")
def test_200_connections_are_borne(desk: SimulatedDesk) -> None:
    async def use(agent: RunningServer) -> None:
        silent = [await agent.connect() for _ in range(200)]
        for _ in range(4):  # no more at once than the kernel queues for us, the client's loop
            answers = await asyncio.gather(*(agent.ask("GET", "/v1/status") for _ in range(50)))
            assert {answer.status for answer in answers} == {200}
        for _, writer in silent:
            writer.close()

    run(desk, use)


@pytest.mark.case("X220", "more requests than may wait: 503, and the ones that wait are served")
def test_too_many_waiting_are_told_to_come_back(desk: SimulatedDesk) -> None:
    desk.worker.hold = threading.Event()

    async def use(agent: RunningServer) -> None:
        assert desk.worker.hold is not None
        waiting = []
        for number in range(server.MAX_WAITING):
            body = POOL.request(number).to_bytes()
            waiting.append(asyncio.create_task(agent.ask("POST", "/v1/sign", body)))
        while not desk.worker.jobs:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert (await agent.ask("GET", "/v1/status")).json["busy"] is True
        for _ in range(3):
            answer = await agent.ask("POST", "/v1/sign", BODY)
            assert (answer.status, answer.code) == (503, "E_BUSY")
        desk.worker.hold.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert (await agent.ask("GET", "/v1/status")).json["busy"] is False
        assert (await agent.ask("POST", "/v1/sign", BODY)).status == 200

    run(desk, use)
    assert len(desk.worker.jobs) == server.MAX_WAITING + 1


# Any bytes


FRAGMENTS = st.sampled_from(
    [HEAD, b"GET /v1/status HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"\r\n\r\n", BODY, b"\0", b"{",
     b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 6\r\n", b"5\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n",
     b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n",
     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n",
     b"CONNECT a:1 HTTP/1.1\r\n", b"FFFFFFFFFFFFFFFFF\r\n"]
)  # fmt: skip
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=30), max_size=12).map(b"".join)


@pytest.mark.case("K5", "any bytes at all: garbage, several messages in one write, other protocols")
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(streams=st.lists(STREAMS, min_size=10, max_size=10))
@example(streams=[HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY] * 10)
def test_any_bytes_leave_it_serving(
    desk: SimulatedDesk, hurried: None, streams: list[bytes]
) -> None:
    async def use(agent: RunningServer) -> None:
        await asyncio.gather(*(agent.send(raw, seconds=5) for raw in streams))

    run(desk, use)

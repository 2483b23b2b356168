import asyncio
import contextlib
import gzip
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from signer.agent import answers, daemon, peer, server
from signer.agent.peer import Peer, require
from signer.errors import (
    DeniedError,
    JournalError,
    PinError,
    SchemaError,
    SecretFileError,
    SignerError,
    WorkerError,
)
from signer.messages.reply import SignReply
from signer.messages.request import MAX_BYTES
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import OTHER, SimulatedPool
from tests.simulators.server import RunningServer, parse_answer, serving

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2, 3)
BODY = REQUEST.to_bytes()
UID = os.geteuid()
HEAD = b"POST /v1/sign HTTP/1.1\r\nHost: agent\r\n"


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


def run(
    desk: SimulatedDesk, use: Callable[[RunningServer], Awaitable[None]], **options: Any
) -> None:
    """Run `use` against a server, which must serve the next client afterwards."""

    async def main() -> None:
        async with serving(desk, **options) as agent:
            await use(agent)
            if not options:
                await agent.still_serves()
        assert {event["event"] for event in agent.events} <= {
            "listening", "signed", "denied", "refused", "worker_done", "library",
        }  # fmt: skip

    asyncio.run(main())


def test_a_request_is_answered_with_this_shares_partials(desk: SimulatedDesk) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", BODY)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/json")
        assert SignReply.parse(answer.body, REQUEST).partials == POOL.reply(1, REQUEST).partials
        (signed,) = (event for event in agent.events if event["event"] == "signed")
        assert signed["request"] == REQUEST.digest.hex()
        assert (signed["uid"], signed["items"], signed["denied"]) == (UID, 3, 0)

    run(desk, use)


def test_one_connection_serves_many_requests(desk: SimulatedDesk) -> None:
    async def use(agent: RunningServer) -> None:
        reader, writer = await agent.connect()
        for _ in range(3):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            head = await reader.readuntil(b"\r\n\r\n")
            answer = parse_answer(head)
            body = await reader.readexactly(int(answer.headers["content-length"]))
            assert SignReply.parse(body, REQUEST).denied == ()
        writer.close()

    run(desk, use)


# What is asked


@pytest.mark.case("K8", "unknown path, unknown method, HEAD, a path that climbs")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "E_NOT_FOUND"),
        ("GET", "/v1", 404, "E_NOT_FOUND"),
        ("GET", "/v2/status", 404, "E_NOT_FOUND"),
        ("GET", "/v1/status/", 404, "E_NOT_FOUND"),
        ("GET", "/v1/../../etc/passwd", 404, "E_NOT_FOUND"),
        ("POST", "/v1/approve", 404, "E_NOT_FOUND"),
        ("POST", "/v1/sign%00", 404, "E_NOT_FOUND"),
        ("GET", "/v1/sign", 405, "E_METHOD"),
        ("PUT", "/v1/sign", 405, "E_METHOD"),
        ("DELETE", "/v1/sign", 405, "E_METHOD"),
        ("OPTIONS", "/v1/sign", 405, "E_METHOD"),
        ("POST", "/v1/status", 405, "E_METHOD"),
        ("PATCH", "/v1/status", 405, "E_METHOD"),
    ],
)
def test_what_is_not_offered_is_refused(
    desk: SimulatedDesk, method: str, path: str, status: int, code: str
) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await agent.ask(method, path)
        assert (answer.status, answer.code) == (status, code)
        if status == 405:
            assert answer.headers["allow"] == ("post" if path == "/v1/sign" else "get")

    run(desk, use)
    assert desk.worker.jobs == []


@pytest.mark.case("K8", "HEAD")
@pytest.mark.parametrize("path", ["/v1/status", "/v1/sign"])
def test_head_is_not_offered(desk: SimulatedDesk, path: str) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("HEAD", path)
        assert answer.status == 405

    run(desk, use)


def altered(**changes: Any) -> bytes:
    return json.dumps(REQUEST.to_json() | changes).encode()


@pytest.mark.case("K4", "body that is a JSON array, number, null, text, nothing, no JSON, gzip")
@pytest.mark.case("K15", "PIN field sent by the client")
@pytest.mark.case("R3", "a supplied root, a supplied domain")
@pytest.mark.case("R9", "a raw 32-byte root")
@pytest.mark.case("K6", "half a UTF-8 sequence, lone surrogates")
@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"7", b"null", b'"x"', b"true", b"{}", b"\0", b"{" * 9, b"[" * 100_000,
        b'{"a":' * 100_000, bytes(32), BODY + BODY, BODY[:-10], gzip.compress(BODY), b"\xef\xbb\xbf"
        + BODY, BODY.replace(b"mainnet", b"mainne\xc3"), BODY.replace(b"mainnet", b"\\ud800"),
        BODY.replace(b'"kind"', b'"\\udfff"'), BODY.replace(b'"epoch":1', b'"epoch":1.0'),
        BODY.replace(b'"epoch":1', b'"epoch":1,"epoch":1'), BODY.replace(b":1,", b":NaN,"),
        altered(pin="1234"), altered(signing_root="00" * 32), altered(domain="0a" + "00" * 31),
        altered(root="0x" + "00" * 32), altered(type="raw", message="00" * 32),
        altered(network=["mainnet"]), altered(expires=2**64), altered(changes=[[[[[[[[[]]]]]]]]]),
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_a_body_that_is_no_request_gets_400(desk: SimulatedDesk, body: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", body)
        assert (answer.status, answer.code) == (400, "E_SCHEMA")
        answer.body.decode("ascii")

    run(desk, use)
    assert desk.records() == ["OPENED"]
    assert desk.worker.jobs == []


@pytest.mark.case("X218", "compressed bodies: an honest one, and a bomb of 1 GiB")
def test_compressed_bodies_are_not_unpacked(desk: SimulatedDesk) -> None:
    bomb = gzip.compress(bytes(2**20)) * 1024

    async def use(agent: RunningServer) -> None:
        for body in (gzip.compress(BODY), bomb):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = await agent.ask("POST", "/v1/sign", body, {"Content-Encoding": "gzip"})
            assert (answer.status, answer.code) == (400, "E_SCHEMA")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 64 * 1024  # KiB

    run(desk, use)


@pytest.mark.case("K7", "bodies that are a parser's worst case: escaped quotes, a doubled field")
@pytest.mark.parametrize(
    "body",  # some 100 KB of the 8 MiB that are allowed
    [
        b"[]" * 9 + b'"' + b'\\"' * 16_000,
        b"{" + b",".join(b'"%x":1' % n for n in range(12_000)) + b',"z":1,"z":2}',
    ],
    ids=["text without end", "last field twice"],
)
def test_no_body_holds_the_agent_up(desk: SimulatedDesk, body: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        started = time.monotonic()
        assert (await agent.ask("POST", "/v1/sign", body)).code == "E_SCHEMA"
        assert time.monotonic() - started < 0.5

    run(desk, use)


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


# Who asks


@pytest.mark.case("K11", "wrong uid, for status and for sign apart")
@pytest.mark.parametrize(
    ("status", "sign"), [((), (UID,)), ((UID,), ()), ((), ()), ((UID + 1,),) * 2]
)
def test_each_method_has_its_callers(
    desk: SimulatedDesk, status: tuple[int, ...], sign: tuple[int, ...]
) -> None:
    async def use(agent: RunningServer) -> None:
        for method, path, allowed in (("GET", "/v1/status", status), ("POST", "/v1/sign", sign)):
            answer = await agent.ask(method, path, BODY if method == "POST" else b"")
            assert (answer.status == 200) == (UID in allowed)
            if UID not in allowed:
                assert (answer.status, answer.code) == (403, "E_PEER")

    run(desk, use, peers={"status": frozenset(status), "sign": frozenset(sign)})
    assert len(desk.worker.jobs) == (UID in sign)


@pytest.mark.case("K11", "uid of another user namespace, pid 0, a method nobody listed")
@pytest.mark.parametrize("caller", [Peer(1, 65534), Peer(0, 1000), Peer(1, 1001)])
def test_whom_the_kernel_does_not_know_is_nobody(caller: Peer) -> None:
    allowed = {"sign": frozenset({65534, 1000})}
    with pytest.raises(DeniedError) as refused:
        require(caller, "sign", allowed)
    assert refused.value.code == "E_PEER"
    require(Peer(1, 1000), "sign", allowed)
    with pytest.raises(DeniedError):
        require(Peer(1, 1000), "approve", allowed)


def test_the_peer_is_the_kernels_word() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Peer.of(ours) == Peer(os.getpid(), UID)
    assert peer._NOBODY == 65534


CALLER = """
import os, socket, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.chdir(sys.argv[3])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect("agent.sock")
except PermissionError:
    sys.exit("no way in")
client.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
print(client.recv(4096).split()[1].decode())
"""


@pytest.mark.case("K11", "another user: in the folder's group and listed, not listed, not in it")
@pytest.mark.skipif(UID != 0, reason="only root may become another user")
@pytest.mark.parametrize(
    ("uid", "gid", "heard"), [(4711, 0, "200"), (4712, 0, "403"), (4711, 4711, "no way in")]
)
def test_another_user_is_who_the_kernel_says(
    desk: SimulatedDesk, uid: int, gid: int, heard: str
) -> None:
    def call(folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CALLER, str(uid), str(gid), str(folder)],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
        return (done.stdout + done.stderr).strip()

    async def use(agent: RunningServer) -> None:
        assert await asyncio.to_thread(call, agent.path.parent) == heard

    run(desk, use, peers={"status": frozenset({4711}), "sign": frozenset()})


@pytest.mark.case("K13", "a descriptor attached to the request")
def test_descriptors_sent_along_are_not_taken(desk: SimulatedDesk) -> None:
    def send_with_descriptor(path: str) -> bytes:
        read, write = os.pipe()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            socket.send_fds(
                client,
                [b"GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
                [write],
            )
            os.close(write)
            answer = client.recv(100)
            assert os.read(read, 1) == b""  # nobody holds the other end
        os.close(read)
        return answer

    async def use(agent: RunningServer) -> None:
        answer = await asyncio.wait_for(asyncio.to_thread(send_with_descriptor, str(agent.path)), 5)
        assert answer.startswith(b"HTTP/1.1 200")

    run(desk, use)


# What is said


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (WorkerError("hung", code="E_TIMEOUT"), 500),
        (PinError("no", code="E_PIN_REFUSED"), 500),
        (SecretFileError("PIN file '/x': open to others"), 500),
        (DeniedError("no", code="E_ROLE"), 403),
        (JournalError("full"), 500),
        (SchemaError("x"), 400),
    ],
)
def test_each_trouble_has_its_status(desk: SimulatedDesk, fault: SignerError, status: int) -> None:
    desk.worker.fault = fault

    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", BODY)
        assert (answer.status, answer.code) == (status, fault.code)
        refused = [event for event in agent.events if event["event"] == "refused"]
        assert [event["code"] for event in refused] == [fault.code]

    run(desk, use)


@pytest.mark.case("X221", "a bug in the agent: the client learns nothing of it, the next is served")
def test_a_bug_stays_inside(desk: SimulatedDesk) -> None:
    desk.worker.fault = ZeroDivisionError("the secret is swordfish")

    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", BODY)
        assert (answer.status, answer.code) == (500, "E_FAILED")
        assert b"swordfish" not in answer.body
        await agent.still_serves()
        assert "swordfish" not in agent.stream.getvalue()
        assert agent.events[-1]["kind"] == "ZeroDivisionError"

    async def main() -> None:
        async with serving(desk) as agent:
            await use(agent)

    asyncio.run(main())


@pytest.mark.case(
    "R10", "request with escapes and newlines in its fields: log and answer are plain"
)
def test_what_strangers_write_does_not_reach_the_terminal(desk: SimulatedDesk) -> None:
    evil = "\x1b[2J\n\u202e\x07"

    async def use(agent: RunningServer) -> None:
        for body in (altered(**{evil: 1}), altered(kind=evil), altered(network=evil)):
            answer = await agent.ask("POST", "/v1/sign", body)
            assert answer.status == 400
            assert all(" " <= letter <= "~" for letter in answer.body.decode().rstrip("\n"))
        await agent.send(b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n")
        await agent.send(b"GET /v1/status HTTP/1.1\r\n\x1b[2J evil\r\n\r\n")
        await agent.ask("GET", "/%1b%5b2J%0a" + "x" * 100)
        log = agent.stream.getvalue()
        assert all(" " <= letter <= "~" or letter == "\n" for letter in log)
        assert "Traceback" not in log
        library = [event for event in agent.events if event["event"] == "library"]
        assert {event["logger"] for event in library} == {"aiohttp.server"}
        assert len(agent.events) == len(log.splitlines())

    run(desk, use)


@pytest.mark.case("P11", "batch of denials over the socket: 200, each with its code")
def test_denials_of_items_are_a_reply(desk: SimulatedDesk) -> None:
    request = POOL.request(1, 2, to=OTHER)

    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", request.to_bytes())
        assert answer.status == 200
        denied = SignReply.parse(answer.body, request).denied
        assert [denial.code for denial in denied] == ["E_TARGET"] * 2
        assert [e["code"] for e in agent.events if e["event"] == "denied"] == ["E_TARGET"]

    run(desk, use)


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

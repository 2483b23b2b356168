"""What a requester may ask the server, and what it says."""

import asyncio
import gzip
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

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
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import OTHER, SimulatedPool
from tests.simulators.server import RunningServer, parse_answer, run, serving

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2, 3)
BODY = REQUEST.to_bytes()
UID = os.geteuid()
HEAD = b"POST /v1/sign HTTP/1.1\r\nHost: agent\r\n"


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


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
        b'{"a":' * 100_000, bytes(32), BODY + BODY, BODY[:-10], gzip.compress(BODY, mtime=0),
        b"\xef\xbb\xbf" + BODY, BODY.replace(b"mainnet", b"mainne\xc3"),
        BODY.replace(b"mainnet", b"\\ud800"),
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


@pytest.mark.case("X441", "troubles that name files of the agent's machine: not told")
@pytest.mark.parametrize(
    ("fault", "told", "hint"),
    [
        (SecretFileError("PIN file '/home/ada/pin': open to others",
                         hint="chmod 600 '/home/ada/pin'"),
         "PIN file: open to others", "see the agent's log"),
        (JournalError("journal '/var/x y/j': disk full", hint="free /var/x"),
         "journal: disk full", "see the agent's log"),
        (WorkerError('module "/a\'b/m.so": no'), "module: no", ""),
        (WorkerError("cannot open /etc/ada/secret"),
         "the agent has trouble with a file of its own", ""),
        (WorkerError("hung", hint="try again"), "hung", "try again"),
        (DeniedError("for mainnet; 1/2 of it", code="E_ROLE"), "for mainnet; 1/2 of it", ""),
    ],
)  # fmt: skip
def test_local_paths_are_not_told(
    desk: SimulatedDesk, fault: SignerError, told: str, hint: str
) -> None:
    desk.worker.fault = fault

    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/sign", BODY)
        assert answer.json == {"code": fault.code, "message": told, "hint": hint}
        (refused,) = (event for event in agent.events if event["event"] == "refused")
        assert refused["why"] == fault.message

    run(desk, use)

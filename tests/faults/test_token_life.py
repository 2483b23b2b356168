"""A real token goes away and comes back, and its module hangs and crashes, under a real agent."""

import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.tokens import SetUpToken
from signer.custody.token_watch import TokenState, TokenWatch
from signer.custody.worker_process import run_worker
from signer.errors import SignerError
from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.module import load_module
from signer.hsm.profile import load_profile
from signer.hsm.public_view import public_keys
from signer.messages.address import ExecutionAddress
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from signer.testing.softhsm import SoftHSM, module_path

PROFILE = load_profile("softhsm2")


class Desk:
    """One token with keys, a module file of its own, and a watch on it."""

    def __init__(self, folder: Path) -> None:
        self.token = SoftHSM.create(folder / "token", "desk")
        self.environment = {"SOFTHSM2_CONF": str(self.token.config)}
        self.module = Path(shutil.copy(module_path(), folder / "module.so"))
        self.module.chmod(0o644)
        self.make_keys("desk")
        self.points = self.points_of("desk")
        self.changes: list[TokenState] = []

    @property
    def choice(self) -> TokenChoice:
        return TokenChoice(profile=PROFILE, module=str(self.module), label="desk")

    def make_keys(self, label: str) -> None:
        job = SetUpToken(
            token=replace(self.choice, label=label),
            pin=SecretSource(file=str(self.token.pin_file)),
        )
        run_worker(job, environment=self.environment, seconds=20)

    def points_of(self, label: str) -> tuple[bytes, ...]:
        code = (
            "import sys\nfrom tests.faults.test_token_life import shown\n"
            "print(*(point.hex() for point in shown(*sys.argv[1:])))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.module), label],
            env=self.token.environment, check=True, capture_output=True, text=True, timeout=30,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        return tuple(bytes.fromhex(word) for word in done.stdout.split())

    @property
    def tokens(self) -> Path:
        return self.token.folder / "tokens"

    def watch(self, **options: Any) -> TokenWatch:
        settings: dict[str, Any] = {"every": 0.1, "limit": 3.0, "on_change": self.changes.append}
        return TokenWatch(self.choice, self.points, self.environment, **settings | options)


def shown(module: str, label: str) -> frozenset[bytes]:
    """Return the points that a token shows to anybody. Run in a process of its own."""
    with load_module(Path(module)) as loaded:
        return public_keys(find_token(loaded, TokenSelector(label)), "epoch-kex", "hpke-p256")


@pytest.fixture
def desk(softhsm_here: None, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    until(lambda: not processes_with(desk.token.config), 5)


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def reaches(watch: TokenWatch, state: str, code: str = "") -> TokenState:
    until(lambda: (watch.state().state, watch.state().code) == (state, code))
    return watch.state()


def processes_with(config: Path) -> list[int]:
    """Return the worker and probe processes that were given this SoftHSM configuration."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (path / "stat").read_text().rpartition(")")[2].split()[0]
            ours = str(config).encode() in (path / "environ").read_bytes()
            worker = b"signer.custody.worker" in (path / "cmdline").read_bytes()
            if ours and worker and status not in "ZX":
                found.append(int(path.name))
    return found


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees inside a probe process")


# The supervisor and real tokens


@pytest.mark.case("T4", "token pulled and put back: known again by serial and key")
def test_a_token_goes_and_comes_back(desk: Desk) -> None:
    away = desk.token.folder / "away"
    with desk.watch() as watch:
        reaches(watch, "ready")
        for _ in range(2):
            desk.tokens.rename(away)
            assert "module" in reaches(watch, "absent", "E_MODULE").reason
            with pytest.raises(SignerError, match="absent"):
                watch.require()
            away.rename(desk.tokens)
            reaches(watch, "ready")
            watch.require()
        (place,) = desk.tokens.iterdir()  # the reader stays, the card goes
        place.rename(away)
        assert "no token has label" in reaches(watch, "absent", "E_TOKEN_ABSENT").reason
        away.rename(place)
        reaches(watch, "ready")
    assert all("/" not in change.reason for change in desk.changes)


@pytest.mark.case("T4", "token absent at the start, put in later")
def test_a_token_that_comes_late(desk: Desk) -> None:
    away = desk.token.folder / "away"
    desk.tokens.rename(away)
    with desk.watch() as watch:
        reaches(watch, "absent", "E_MODULE")
        away.rename(desk.tokens)
        reaches(watch, "ready")


@pytest.mark.case("T4", "token swapped for another with the same label, with and without such keys")
@pytest.mark.parametrize("keys", [False, True])
def test_another_token_with_the_same_label_is_not_ours(desk: Desk, keys: bool) -> None:
    away = desk.token.folder / "away"
    with desk.watch() as watch:
        reaches(watch, "ready")
        with watch.at_work():  # nobody sees the moment between
            desk.tokens.rename(away)
            desk.tokens.mkdir(mode=0o700)
            desk.token.initialise("desk")
            if keys:
                desk.make_keys("desk")
        assert "another token" in reaches(watch, "present", "E_TOKEN_UNKNOWN").reason
        with pytest.raises(SignerError) as refused:
            watch.require()
        assert refused.value.code == "E_TOKEN_UNKNOWN"
        with desk.watch() as fresh:  # an agent that was started only now goes by the key
            assert "epoch-kex" in reaches(fresh, "present", "E_TOKEN_KEY").reason
        for place in away.iterdir():
            place.rename(desk.tokens / place.name)
        reaches(watch, "present", "E_TOKEN_AMBIGUOUS")
        shutil.rmtree(desk.tokens)
        desk.tokens.mkdir(mode=0o700)
        reaches(watch, "absent", "E_TOKEN_ABSENT")


@pytest.mark.case("T12", "epoch-kex destroyed, the token otherwise as it was")
def test_a_token_that_lost_its_key_is_not_ready(desk: Desk) -> None:
    with desk.watch() as watch:
        reaches(watch, "ready")
        (place,) = desk.tokens.iterdir()
        objects = [path for path in place.glob("*.object") if b"epoch-kex" in path.read_bytes()]
        assert len(objects) == 1  # the public one: of the private one the label is encrypted
        objects[0].unlink()
        assert "epoch-kex" in reaches(watch, "present", "E_TOKEN_KEY").reason


@pytest.mark.case("T5", "probe process killed and stopped, again and again, on a real module")
def test_a_probe_that_dies_or_stops_is_replaced(desk: Desk) -> None:
    ended = 0
    with desk.watch(limit=1.0) as watch:
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL):
            until(lambda: processes_with(desk.token.config) not in ([], [ended]))  # noqa: B023
            reaches(watch, "ready")
            (ended,) = processes_with(desk.token.config)
            os.kill(ended, number)
            reaches(watch, "absent", "E_TIMEOUT" if number == signal.SIGSTOP else "E_WORKER")
        reaches(watch, "ready")
    reasons = [change.reason for change in desk.changes if change.state == "absent"]
    assert any("signal 11" in reason for reason in reasons)
    assert any("no answer within 1 s" in reason for reason in reasons)


@root_only
def test_a_probe_keeps_nothing_open_and_is_no_good_to_steal_from(desk: Desk) -> None:
    with desk.watch(every=0.05) as watch:
        reaches(watch, "ready")
        (pid,) = processes_with(desk.token.config)
        place = Path(f"/proc/{pid}")
        counts: list[int] = []
        quietest: list[str] = []
        for _ in range(40):
            time.sleep(0.03)
            found = open_files(place)
            counts.append(len(found))
            quietest = found if len(found) == min(counts) else quietest
        # What is open during a look is not there at the quietest moment, early or late.
        assert min(counts[20:]) <= min(counts[:20]) <= 5
        assert str(desk.tokens) not in "".join(quietest)
        before = resident_kib(place)
        watch._every = 0.001
        time.sleep(1.5)
        assert resident_kib(place) - before < 1024  # uncollected, each look would leave 6 KiB
        assert "NoNewPrivs:\t1" in (place / "status").read_text()
        assert processes_with(desk.token.config) == [pid]


def resident_kib(place: Path) -> int:
    return int((place / "status").read_text().split("VmRSS:")[1].split()[0])


def open_files(place: Path) -> list[str]:
    found = []
    for path in (place / "fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(path.readlink()))
    return found


# Modules that hang and crash


@pytest.mark.case("T5", "module hangs in C_Initialize: its configuration is a FIFO")
def test_a_module_that_hangs(desk: Desk) -> None:
    config, away = desk.token.config, desk.token.folder / "away.conf"
    with desk.watch(limit=1.0) as watch:
        reaches(watch, "ready")
        config.rename(away)
        os.mkfifo(config)
        assert "no answer within 1 s" in reaches(watch, "absent", "E_TIMEOUT").reason
        with pytest.raises(SignerError) as refused:
            watch.require()
        assert refused.value.code == "E_TOKEN_ABSENT"
        away.rename(config)
        reaches(watch, "ready")


INSTRUCTIONS = {  # undefined; jump to itself
    "x86_64": {"crash": b"\x0f\x0b", "hang": b"\xeb\xfe"},
    "aarch64": {"crash": b"\x00\x00\x00\x00", "hang": b"\x00\x00\x00\x14"},
}


def broken(module: Path, how: str) -> bytes:
    """Return the module's bytes with C_GetFunctionList made to crash or to hang."""
    code = (
        "import ctypes, sys\n"
        "entry = ctypes.CDLL(sys.argv[1]).C_GetFunctionList\n"
        "print(ctypes.cast(entry, ctypes.c_void_p).value)\n"
        "print(open('/proc/self/maps').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(module)], check=True, capture_output=True, text=True
    )
    address, _, maps = done.stdout.partition("\n")
    at = int(address)
    for line in maps.splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) ", line)
        if found and str(module) in line:
            start, end, offset = (int(word, 16) for word in found.groups())
            if start <= at < end:
                data = bytearray(module.read_bytes())
                instruction = INSTRUCTIONS[platform.machine()][how]
                place = at - start + offset
                data[place : place + len(instruction)] = instruction
                return bytes(data)
    raise AssertionError("the function is not in the module's file")


@pytest.mark.skipif(platform.machine() not in INSTRUCTIONS, reason="instructions not known here")
@pytest.mark.case("T5", "module that crashes, module that spins, then a good one again")
@pytest.mark.parametrize(
    ("how", "code", "words"),
    [("crash", "E_WORKER", "ended with signal 4"), ("hang", "E_TIMEOUT", "no answer within")],
)
def test_a_module_that_is_broken(desk: Desk, how: str, code: str, words: str) -> None:
    good, bad = desk.module.read_bytes(), broken(desk.module, how)

    def install(data: bytes) -> None:
        fresh = desk.module.with_name("fresh.so")
        fresh.write_bytes(data)
        fresh.rename(desk.module)

    install(bad)
    with desk.watch(limit=1.0) as watch:
        assert words in reaches(watch, "absent", code).reason
        install(good)
        reaches(watch, "ready")


@pytest.mark.case("T8", "module: missing, a FIFO, garbage, an ELF file cut short, for anybody")
def test_a_module_that_is_none(desk: Desk) -> None:
    good = desk.module.read_bytes()

    def fifo() -> None:
        desk.module.unlink()
        os.mkfifo(desk.module)

    faults: list[Callable[[], object]] = [
        lambda: desk.module.unlink(),
        fifo,
        lambda: desk.module.write_bytes(b"#!/bin/sh\n" * 100),
        lambda: desk.module.write_bytes(good[:5000]),
        lambda: desk.module.chmod(0o666),
    ]
    for fault in faults:
        fault()
        with desk.watch() as watch:
            state = reaches(watch, "absent", "E_MODULE")
            assert str(desk.module) in state.detail
            assert "/" not in state.reason
        desk.module.unlink(missing_ok=True)
        desk.module.write_bytes(good)
        desk.module.chmod(0o644)


@pytest.mark.case("T11", "the process that loads the module makes no other")
def test_a_probe_makes_no_child(desk: Desk) -> None:
    with desk.watch(every=0.05) as watch:
        reaches(watch, "ready")
        (pid,) = processes_with(desk.token.config)
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


# Under an agent


def status(holder: Holder) -> dict[str, Any]:
    document = asyncio.run(AgentClient(holder.socket).status()).document
    token = document["token"]
    assert isinstance(token, dict)
    return token


def request_of(pool: Pool, *validators: int) -> SignRequest:
    address = ExecutionAddress.parse(TEST_ADDRESS)
    group = read_group(pool.group)
    return SignRequest.new(
        group, [(index, address) for index in validators], expires=int(time.time()) + 3600
    )


def post(holder: Holder, request: SignRequest) -> tuple[int, dict[str, Any]]:
    """Return HTTP status and body of a sign request, as any client would see them."""
    body = request.to_bytes()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(holder.socket))
        head = f"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    lines, _, content = answer.partition(b"\r\n\r\n")
    value = json.loads(content)
    assert isinstance(value, dict)
    return int(lines.split()[1]), value


def records(holder: Holder) -> list[str]:
    return [json.loads(line)["type"] for line in holder.journal.read_text().splitlines()]


def token_events(holder: Holder) -> list[str]:
    events = [json.loads(line) for line in holder.log.read_text().splitlines()]
    return [event["state"] for event in events if event["event"] == "token_state"]


@pytest.mark.case("T4", "request while the token is away: 503 at once, nothing recorded")
def test_an_agent_lives_through_an_unplugged_token(pool: Pool) -> None:
    holder = pool.holders[0]
    tokens, away = holder.token.folder / "tokens", holder.token.folder / "away"
    pool.start_agent(holder, probe_seconds="1")
    assert holder.agent is not None
    until(lambda: status(holder)["state"] == "ready")
    since = status(holder)["since"]
    assert abs(since - time.time()) < 30
    assert status(holder)["reason"] == ""
    tokens.rename(away)
    until(lambda: status(holder)["state"] == "absent")
    before = records(holder)
    started = time.monotonic()
    code, body = post(holder, request_of(pool, 1, 2))
    assert time.monotonic() - started < 1
    assert (code, body["code"]) == (503, "E_TOKEN_ABSENT")
    assert str(pool.folder) not in json.dumps(body)
    assert records(holder) == before == ["OPENED", "POLICY"]
    done = pool.run("agent", "status", holder.socket)
    assert re.search(r"^token +absent since 20.* UTC: the PKCS#11 module", done.stdout, re.M)
    away.rename(tokens)
    until(lambda: status(holder)["state"] == "ready")
    code, body = post(holder, request_of(pool, 1, 2))
    assert code == 200, body
    assert all(body["partials"])
    assert holder.agent.poll() is None
    assert token_events(holder) == ["ready", "absent", "ready"]
    assert "softhsm" not in Path(f"/proc/{holder.agent.pid}/maps").read_text()


def test_status_says_busy_while_a_worker_signs(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder, probe_seconds="1")
    until(lambda: status(holder)["state"] == "ready")
    (worker,) = processes_with(holder.token.config)
    os.kill(worker, signal.SIGSTOP)  # who looks is not who signs
    client = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tests.faults.test_token_life import ask_many; "
         "ask_many(*sys.argv[1:])", str(pool.group), str(holder.socket)],
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        until(lambda: status(holder)["state"] == "busy")
    finally:
        assert client.wait(60) == 0
    until(lambda: status(holder)["state"] == "ready")


def ask_many(group: str, agent: str) -> None:
    address = ExecutionAddress.parse(TEST_ADDRESS)
    request = SignRequest.new(
        read_group(Path(group)),
        [(index, address) for index in range(2000)],
        expires=int(time.time()) + 3600,
    )
    asyncio.run(AgentClient(Path(agent)).sign(request, seconds=60))


@pytest.mark.case("H1", "agent killed: no probe process stays, not one that hangs either")
@pytest.mark.parametrize("hangs", [False, True])
def test_a_killed_agent_leaves_no_probe(pool: Pool, hangs: bool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder, probe_seconds="1")
    until(lambda: status(holder)["state"] == "ready")
    (probe,) = processes_with(holder.token.config)
    if hangs:
        os.kill(probe, signal.SIGSTOP)
    assert holder.agent is not None
    holder.agent.kill()
    holder.agent.wait()
    holder.agent = None
    until(lambda: not processes_with(holder.token.config), 3)


def test_an_agent_whose_module_hangs_stops_when_told(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder, probe_seconds="1")
    until(lambda: status(holder)["state"] == "ready")
    (probe,) = processes_with(holder.token.config)
    os.kill(probe, signal.SIGSTOP)
    time.sleep(1.5)  # somebody is being asked
    started = time.monotonic()
    assert pool.stop_agent(holder) == 0
    assert time.monotonic() - started < 4
    assert not processes_with(holder.token.config)


@pytest.mark.case("X332", "agent started while its token is away")
def test_an_agent_starts_without_its_token(pool: Pool) -> None:
    holder = pool.holders[0]
    tokens, away = holder.token.folder / "tokens", holder.token.folder / "away"
    tokens.rename(away)
    pool.start_agent(holder, probe_seconds="1")
    until(lambda: status(holder)["state"] == "absent")
    assert post(holder, request_of(pool, 1))[0] == 503
    away.rename(tokens)
    until(lambda: status(holder)["state"] == "ready")

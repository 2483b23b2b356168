"""The supervisor against probe processes that are not what they should be. No device."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.agent.config import AgentConfig
from signer.client import AgentStatus
from signer.custody import token_watch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.watching import Poll, Sight
from signer.custody.probe_process import ProbeProcess
from signer.custody.token_watch import TokenState, TokenWatch
from signer.errors import (
    ConfigError,
    PinFinalTryError,
    PinLockedError,
    SchemaError,
    SignerError,
    WorkerError,
)
from signer.hsm.profile import load_profile
from signer.strict import Fields
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import SimulatedPool

POOL = SimulatedPool.new()
CHOICE = TokenChoice(profile=load_profile("softhsm2"), label="desk")
POINT = b"\x04" + b"\x01" * 64
READY = {
    "version": 1, "state": "ready", "code": "", "reason": "", "detail": "", "serial": "0001",
}  # fmt: skip
LOCKED = READY | {"state": "locked", "code": "E_PIN_LOCKED", "reason": "it is locked"}
PRELUDE = """\
import json, os, signal, socket, sys, time
FOLDER = {folder!r}
order = json.loads(sys.stdin.buffer.read())
channel = socket.socket(fileno=order["channel"])
open(FOLDER + "/starts", "a").write(str(os.getpid()) + "\\n")
polls = channel.makefile("r")
def say(answer):
    channel.sendall(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\\n")
def asked():
    line = polls.readline()
    if not line:
        sys.exit()
    open(FOLDER + "/polls", "a").write(line)
READY = {ready!r}
"""
HONEST = "while True: asked(); say(READY)"


class Stage:
    """Plays the probe process by a script, and keeps what was seen of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.path = folder / "probe"
        self.changes: list[TokenState] = []
        self._python = sys.executable
        monkeypatch.setattr(sys, "executable", str(self.path))

    def plays(self, script: str) -> None:
        """Let probe processes that start from now on run `script`."""
        prelude = PRELUDE.format(folder=str(self.folder), ready=READY)
        temporary = self.folder / "next"
        temporary.write_text(f"#!{self._python} -IS\n{prelude}\n{script}\n")
        temporary.chmod(0o700)
        temporary.rename(self.path)

    def watch(self, **options: Any) -> TokenWatch:
        settings: dict[str, Any] = {"every": 0.03, "limit": 5.0, "on_change": self.changes.append}
        return TokenWatch(CHOICE, (POINT,), {"A": "b"}, **settings | options)

    def starts(self) -> list[int]:
        path = self.folder / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def polls(self) -> list[dict[str, Any]]:
        path = self.folder / "polls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path, monkeypatch)
    yield stage
    until(lambda: not any(map(runs, stage.starts())))
    assert "token-watch" not in {thread.name for thread in threading.enumerate()}


def until(true: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def states(watch: TokenWatch, wanted: str) -> TokenState:
    until(lambda: watch.state().state == wanted)
    return watch.state()


# What it sees


def test_a_ready_token_is_told_and_bound_by_its_serial(stage: Stage) -> None:
    stage.plays(HONEST)
    with stage.watch(clock=lambda: 1234.9) as watch:
        assert states(watch, "ready") == TokenState(state="ready", since=1234)
        watch.require()
        until(lambda: len(stage.polls()) > 3)
    assert stage.polls()[0]["serial"] is None
    assert {poll["serial"] for poll in stage.polls()[1:]} == {"0001"}
    assert len(stage.starts()) == 1  # one process looks many times
    assert [change.state for change in stage.changes] == ["ready"]


def test_a_configured_serial_is_asked_for_from_the_first_look(stage: Stage) -> None:
    stage.plays(HONEST)
    watch = TokenWatch(TokenChoice(profile=CHOICE.profile, serial="0007"), (POINT,), {}, every=0.03)
    with watch:
        until(lambda: len(stage.polls()) > 2)
    assert {poll["serial"] for poll in stage.polls()} == {"0007"}


def test_before_the_first_look_a_request_may_pass(stage: Stage) -> None:
    watch = stage.watch()
    assert watch.state().state == "unknown"
    watch.require()
    assert stage.starts() == []
    watch.start()
    watch.close()


def test_the_probe_has_what_its_module_needs_and_no_more(stage: Stage) -> None:
    stage.plays(
        "asked(); open(FOLDER + '/seen', 'w').write(json.dumps("
        "[dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), order])); say(READY)\n"
        + HONEST
    )
    with stage.watch() as watch:
        states(watch, "ready")
    environment, place, own_session, order = json.loads((stage.folder / "seen").read_text())
    environment.pop("LC_CTYPE", None)  # Python's own
    assert (environment, place, own_session) == ({"A": "b"}, "/", True)
    assert order["job"] == "watch_token"
    assert order["recipients"] == [POINT.hex()]
    assert "pin" not in order


@pytest.mark.parametrize(
    ("sight", "kind", "code"),
    [
        (LOCKED, "PinLockedError", "E_PIN_LOCKED"),
        (LOCKED | {"code": "E_PIN_FINAL_TRY"}, "PinFinalTryError", "E_PIN_FINAL_TRY"),
        (LOCKED | {"state": "absent", "code": "E_MODULE"}, "TokenNotFoundError", "E_TOKEN_ABSENT"),
        (LOCKED | {"state": "present", "code": "E_TOKEN_KEY"}, "TokenError", "E_TOKEN_KEY"),
        (LOCKED | {"state": "present", "code": "E_TOKEN"}, "TokenError", "E_TOKEN"),
    ],
)
def test_a_token_that_cannot_be_used_is_a_clear_refusal(
    stage: Stage, sight: dict[str, Any], kind: str, code: str
) -> None:
    stage.plays(f"while True: asked(); say({sight!r})")
    with stage.watch() as watch:
        assert states(watch, sight["state"]).reason == "it is locked"
        with pytest.raises(SignerError) as refused:
            watch.require()
    assert (type(refused.value).__name__, refused.value.code) == (kind, code)
    assert refused.value.hint
    assert "it is locked" in refused.value.message


def test_a_refusal_writes_nothing_into_the_journal(tmp_path: Path, stage: Stage) -> None:
    stage.plays(f"while True: asked(); say({LOCKED!r})")
    desk = SimulatedDesk(POOL, tmp_path)
    with stage.watch() as watch:
        states(watch, "locked")
        desk.custodian.require_token = watch.require
        assert desk.code_of(POOL.request(1)) == "E_PIN_LOCKED"
    assert desk.records() == ["OPENED"]
    assert desk.worker.jobs == []
    desk.journal.close()


@pytest.mark.case("T1", "last try left, and a person who says that it may be spent")
def test_a_person_may_spend_the_last_try(tmp_path: Path, stage: Stage) -> None:
    stage.plays(f"while True: asked(); say({LOCKED | {'code': 'E_PIN_FINAL_TRY'}!r})")
    desk = SimulatedDesk(POOL, tmp_path)
    request = POOL.request(1)
    with stage.watch() as watch:
        states(watch, "locked")
        desk.custodian.require_token = watch.require
        for source in (None, SecretSource(pad=True)):
            with pytest.raises(PinFinalTryError):
                desk.custodian.sign(request, 0, approved=True, pin=source)
        assert desk.records() == ["OPENED"]
        last = SecretSource(pad=True, final_try=True)
        assert desk.custodian.sign(request, 0, approved=True, pin=last).denied == ()
        stage.plays(f"while True: asked(); say({LOCKED!r})")
        until(lambda: watch.state().code == "E_PIN_LOCKED")
        with pytest.raises(PinLockedError):
            desk.custodian.sign(request, 0, approved=True, pin=last)
    assert len(desk.worker.jobs) == 1
    desk.journal.close()


def test_since_is_when_the_state_began_not_its_latest_reason(stage: Stage) -> None:
    stage.plays(HONEST)
    now = 100
    with stage.watch(clock=lambda: now) as watch:
        states(watch, "ready")
        now = 200
        stage.plays(
            f"count = len(open(FOLDER + '/starts').readlines())\n"
            f"asked(); say({LOCKED!r} | {{'reason': f'because of {{count}}'}})"
        )
        os.kill(stage.starts()[0], signal.SIGKILL)
        first = states(watch, "locked")
        now = 300
        until(lambda: watch.state().reason != first.reason)
        assert watch.state().since == first.since == 200
    assert [change.state for change in stage.changes][:4] == ["ready", "absent", "locked", "locked"]


def test_a_process_that_saw_no_ready_token_is_replaced(stage: Stage) -> None:
    stage.plays(f"asked(); say({LOCKED!r}); asked(); say(READY)")
    with stage.watch() as watch:
        states(watch, "locked")
        until(lambda: len(stage.starts()) > 3)
        assert watch.state().state == "locked"  # no process is asked a second time


def test_a_process_is_replaced_after_many_looks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_watch, "_MOST_ANSWERS", 4)
    stage.plays(HONEST)
    with stage.watch(every=0.005) as watch:
        until(lambda: len(stage.starts()) == 3)
        assert watch.state().state == "ready"
    assert [change.state for change in stage.changes] == ["ready"]


# A probe that fails


@pytest.mark.case("X320", "probe process: garbage, wrong fields, a state that is the agent's word")
@pytest.mark.parametrize(
    "answer",
    [
        b"\n",
        b"ready\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        json.dumps(READY).encode() + b"{}\n",
        json.dumps(READY).encode() + b"\n" + json.dumps(LOCKED).encode() + b"\n",
        *(
            json.dumps(READY | change).encode() + b"\n"
            for change in (
                {"version": 2},
                {"state": "busy"},
                {"state": "unknown"},
                {"state": None},
                {"more": 1},
                {"serial": None},
                {"serial": "1" * 17},
                {"reason": "but why"},
                {"code": "E_TOKEN"},
                {"state": "absent"},
                {"state": "absent", "code": "E_TOKEN_ABSENT", "reason": "\x1b[2J"},
                {"state": "absent", "code": "E_TOKEN_ABSENT", "reason": "x" * 301},
                {"state": "absent", "code": "OK", "reason": "no"},
            )
        ),
    ],
)
def test_what_is_no_answer_counts_as_absent(stage: Stage, answer: bytes) -> None:
    stage.plays(f"asked(); say({answer!r}); time.sleep(60)")
    with stage.watch() as watch:
        state = states(watch, "absent")
        assert (state.code, state.reason) == (
            "E_WORKER", "the process that looks at the token gave no sense",
        )  # fmt: skip
        stage.plays(HONEST)
        states(watch, "ready")
    assert not runs(stage.starts()[0])


@pytest.mark.case("X321", "probe process: 10 MB, with and without an end of line")
@pytest.mark.parametrize("answer", ["b'7' * 10_000_000", "b'7' * 10_000_000 + b'\\n'"])
def test_a_flood_is_cut_off(stage: Stage, answer: str) -> None:
    stage.plays(f"asked(); say({answer}); time.sleep(60)")
    with stage.watch() as watch:
        assert "no sense" in states(watch, "absent").reason
        assert not runs(stage.starts()[0])


@pytest.mark.case("X322", "probe process: ends before, instead of or in mid-answer")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sys.exit(3)", "ended with status 3"),
        ("asked()", "ended with status 0"),
        ("asked(); say(b'{')", "ended with status 0"),
        ("asked(); os.kill(os.getpid(), signal.SIGSEGV)", "ended with signal 11"),
        ("asked(); os.abort()", "ended with signal 6"),
    ],
)
def test_a_crash_counts_as_absent_and_is_recovered_from(
    stage: Stage, script: str, words: str
) -> None:
    stage.plays(script)
    with stage.watch() as watch:
        assert states(watch, "absent").reason.endswith(words)
        stage.plays(HONEST)
        states(watch, "ready")
        watch.require()


@pytest.mark.case("X323", "probe process: killed from outside while it waits for a poll")
def test_a_killed_probe_is_hired_anew(stage: Stage) -> None:
    stage.plays(HONEST)
    with stage.watch() as watch:
        states(watch, "ready")
        os.kill(stage.starts()[0], signal.SIGKILL)
        until(lambda: len(stage.starts()) == 2)
        states(watch, "ready")


@pytest.mark.case("X324", "probe process: hangs, closes its channel and lives, stopped by a signal")
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("asked(); time.sleep(60)", "E_TIMEOUT"),
        ("time.sleep(60)", "E_TIMEOUT"),
        ("asked(); say(b'{'); time.sleep(60)", "E_TIMEOUT"),
        ("asked(); os.kill(os.getpid(), signal.SIGSTOP)", "E_TIMEOUT"),
        ("asked(); say(b'{'); time.sleep(0.3); say(b'{'); time.sleep(60)", "E_TIMEOUT"),
        ("asked()\nwhile True: say(b'{'); time.sleep(0.2)", "E_TIMEOUT"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)", "E_TIMEOUT"),
        ("asked(); polls.close(); channel.close(); time.sleep(60)", "E_WORKER"),
    ],
)
def test_a_hang_has_an_end(stage: Stage, script: str, code: str) -> None:
    stage.plays(script)
    with stage.watch(limit=0.5) as watch:
        started = time.monotonic()
        assert states(watch, "absent").code == code
        assert time.monotonic() - started < 3
        assert not runs(stage.starts()[0])
        stage.plays(HONEST)
        states(watch, "ready")


def test_what_a_hanging_probe_started_dies_with_it(stage: Stage) -> None:
    stage.plays(
        "child = os.fork()\n"
        "if child: open(FOLDER + '/child', 'w').write(str(child) + '.')\n"
        "time.sleep(60)"
    )
    with stage.watch(limit=0.5) as watch:
        states(watch, "absent")
        text = (stage.folder / "child").read_text()
        until(lambda: not runs(int(text.rstrip("."))), 2)


@pytest.mark.case("X325", "probe process: dies at once, always: restarts grow rare")
def test_restarts_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_watch, "_SOONEST", 0.01)
    stage.plays("sys.exit(1)")
    with stage.watch(every=0.05) as watch:
        states(watch, "absent")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:  # 0, 0.05, 0.15, 0.35, 0.75, 1.55, 3.15 s and the starts
            with pytest.raises(SignerError):
                watch.require()  # who asks does not make it faster
            time.sleep(0.01)
        assert 3 <= len(stage.starts()) <= 6
    assert len(stage.changes) == 1  # and the log is not filled


def test_the_pause_after_failures_has_an_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_watch, "_LONGEST_BACKOFF", 0.1)
    stage.plays("sys.exit(1)")
    with stage.watch() as watch:
        until(lambda: len(stage.starts()) > 8)
        stage.plays(HONEST)
        states(watch, "ready")


@pytest.mark.case("X326", "probe process: cannot be started at all")
def test_no_process_at_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.watch() as watch:  # there is no script
        assert "could be started" in states(watch, "absent").reason
        assert str(stage.folder) not in watch.state().reason
        stage.plays(HONEST)
        states(watch, "ready")


@pytest.mark.case("X327", "probe process: hangs in the kernel and cannot be killed")
def test_a_process_that_cannot_be_ended_gets_no_second(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.plays("time.sleep(60)")
    monkeypatch.setattr(ProbeProcess, "gone", property(lambda probe: False))
    with stage.watch(limit=0.3) as watch:
        until(lambda: "cannot be ended" in watch.state().reason)
        time.sleep(0.2)
        assert len(stage.starts()) == 1
        monkeypatch.undo()
        monkeypatch.setattr(sys, "executable", str(stage.path))
        stage.plays(HONEST)
        states(watch, "ready")


def test_a_bug_of_ours_does_not_end_the_watch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.plays(HONEST)
    real = ProbeProcess.ask
    monkeypatch.setattr(ProbeProcess, "ask", lambda *_, **__: 1 // 0)
    with stage.watch() as watch:
        assert "ZeroDivisionError" in states(watch, "absent").reason
        monkeypatch.setattr(ProbeProcess, "ask", real)
        states(watch, "ready")


def test_a_log_that_fails_does_not_end_the_watch(stage: Stage) -> None:
    def fails(state: TokenState) -> None:
        raise ValueError

    stage.plays(HONEST)
    with stage.watch(on_change=fails) as watch:
        states(watch, "ready")
        until(lambda: len(stage.polls()) > 3)


# While a worker has the token


def test_nobody_looks_while_a_worker_has_the_token(stage: Stage) -> None:
    stage.plays(HONEST)
    with stage.watch(clock=lambda: 77) as watch:
        states(watch, "ready")
        with watch.at_work(), watch.at_work():
            assert watch.state() == TokenState(state="busy", since=77)
            before = len(stage.polls())
            time.sleep(0.3)
            assert len(stage.polls()) == before
        assert watch.state().state == "ready"
        until(lambda: len(stage.polls()) > before)
    assert [change.state for change in stage.changes] == ["ready"]


def test_a_worker_waits_for_a_look_under_way_but_not_for_a_hang(stage: Stage) -> None:
    stage.plays("asked(); time.sleep(0.4); say(READY); asked(); time.sleep(60)")
    with stage.watch() as watch:
        until(stage.polls)
        with watch.at_work():
            pass
        assert watch.state().state == "ready"
        until(lambda: len(stage.polls()) == 2)
        started = time.monotonic()
        with watch.at_work():
            assert 0.9 < time.monotonic() - started < 2


def test_after_a_failed_worker_somebody_looks_soon(stage: Stage) -> None:
    stage.plays(HONEST)
    with stage.watch(every=60) as watch:
        states(watch, "ready")
        hired = watch.during(lambda order, **options: Fields({"order": order} | options, "x"))
        assert hired("o", seconds=2).take("seconds") == 2
        time.sleep(1.2)
        assert len(stage.polls()) == 1

        def fails(order: str) -> Fields:
            assert watch.state().state == "busy"
            raise WorkerError("no")

        with pytest.raises(WorkerError):
            watch.during(fails)("o")
        assert watch.state().state == "ready"
        until(lambda: len(stage.polls()) == 2, 3)


def test_a_refused_request_makes_somebody_look_soon(stage: Stage) -> None:
    stage.plays(f"asked(); say({LOCKED!r})")
    with stage.watch(every=60) as watch:
        states(watch, "locked")
        stage.plays(HONEST)
        with pytest.raises(SignerError):
            watch.require()
        until(lambda: watch.state().state == "ready", 4)


# The end


@pytest.mark.parametrize("script", [HONEST, "time.sleep(60)", "asked(); time.sleep(60)"])
def test_closing_ends_the_process_at_once(stage: Stage, script: str) -> None:
    stage.plays(script)
    watch = stage.watch(limit=30)
    watch.start()
    until(stage.starts)
    started = time.monotonic()
    watch.close()
    assert time.monotonic() - started < 2
    assert not runs(stage.starts()[0])
    assert "absent" not in {change.state for change in stage.changes}


# What is said on the channel, and of the state


@pytest.mark.case("X328", "poll line that is none")
@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b'{"version":1}\n', b'{"version":1,"serial":7}\n',
     b'{"version":1,"serial":null,"pin":"1"}\n', b'{"version":1,"serial":"' + b"x" * 5000 + b'"}'],
)  # fmt: skip
def test_a_poll_is_read_strictly(line: bytes) -> None:
    with pytest.raises(SchemaError):
        Poll.parse(line)


def test_polls_and_sights_survive_the_way() -> None:
    for serial in (None, "0001", "\n\u20ac\x01"):
        assert Poll.parse(Poll(serial).to_line()) == Poll(serial)
    sight = Sight(state="absent", code="E_MODULE", reason="no", detail="/x", serial=None)
    assert Sight.parse(sight.to_line()) == sight
    assert sight.to_line().count(b"\n") == 1
    longest = Sight(state="absent", code="E_MODULE", reason="r" * 999, detail="d" * 9999)
    assert len(Sight.parse(longest.to_line()).reason) == 300


@pytest.mark.case("X329", "probe_seconds: 0, 3601, a text, a bool")
@pytest.mark.parametrize("value", ["0", "3601", "-1", "'5'", "true", "null", "1.5", "[5]"])
def test_the_interval_is_within_bounds(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError):
        configured(tmp_path, f"probe_seconds: {value}\n")


def test_the_interval_is_optional(tmp_path: Path) -> None:
    assert configured(tmp_path, "").probe_seconds == 10
    for value in (1, 3600):
        assert configured(tmp_path, f"probe_seconds: {value}\n").probe_seconds == value


def configured(folder: Path, more: str) -> AgentConfig:
    path = folder / "agent.yaml"
    path.write_text(
        "version: 1\nsocket: s\nstate: t\ngroup: g\nenvelope: e\npolicy: p\n"
        "token: {profile: softhsm2, label: x}\npin: {file: pin}\n"
        f"peers: {{status: [], sign: []}}\n{more}"
    )
    path.chmod(0o600)
    return AgentConfig.load(path)


STATUS = {
    "type": "signer-status", "version": 1, "group": "00" * 32, "network": "mainnet", "epoch": 1,
    "index": 1, "holder": "Ada", "policy_digest": "00" * 32, "busy": False,
}  # fmt: skip


def status_with(token: object) -> AgentStatus:
    return AgentStatus.parse(json.dumps(STATUS | {"token": token}).encode(), "agent")


def test_a_client_reads_the_tokens_state() -> None:
    told = status_with({"label": "x", "state": "absent", "reason": "no", "since": 5, "new": []})
    assert (told.token.state, told.token.reason, told.token.since) == ("absent", "no", 5)
    assert status_with({"profile": "softhsm2"}).token.state == "unknown"
    assert AgentStatus.parse(json.dumps(STATUS).encode(), "agent").token.state == "unknown"


@pytest.mark.case("X330", "status whose token state is none, or would move the terminal")
@pytest.mark.parametrize(
    "change",
    [{"state": "READY"}, {"state": ""}, {"reason": "\x1b[2J"}, {"reason": "x" * 301},
     {"since": -1}, {"since": "now"}],
)  # fmt: skip
def test_a_client_refuses_what_is_no_state(change: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        status_with({"state": "ready", "reason": "", "since": 1} | change)

"""The holder's private socket, as real sockets see it: who may, what comes along, how long."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from signer.agent import control
from signer.agent.commands import APPROVE, DENY, PENDING, SHOW, STATUS, UNLATCH, Command
from signer.agent.control_client import tell
from signer.errors import (
    ConfigError,
    JournalError,
    PinError,
    SelfCheckError,
    SignerError,
    TokenNotFoundError,
    WorkerError,
)
from signer.messages.confirmation import challenge, twelve_words
from signer.messages.drill import DrillOrder
from signer.messages.reply import SignReply
from tests.simulators.attended import AttendedCustodian
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import NOW, OTHER, SimulatedPool
from tests.simulators.server import RunningServer, serving

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2, 3)
CHALLENGE = challenge(REQUEST)
TYPED = tuple(part.answer for part in CHALLENGE.parts)
TICKET = REQUEST.digest.hex()[:16]
UID = os.geteuid()
Use = Callable[[RunningServer], Awaitable[None]]


@pytest.fixture
def holder(tmp_path: Path) -> AttendedCustodian:
    """Return a custodian whose holder is asked."""
    return AttendedCustodian(SimulatedDesk(POOL, tmp_path))


def run(holder: AttendedCustodian, use: Use, **options: Any) -> None:
    async def main() -> None:
        async with serving(holder.simulated, attended=holder, **options) as agent:
            await use(agent)
            log = agent.stream.getvalue()
            assert "Traceback" not in log
            assert all(" " <= letter <= "~" or letter == "\n" for letter in log)

    asyncio.run(main())


async def ask(agent: RunningServer, body: bytes = b"") -> Any:
    return await agent.ask("POST", "/v1/sign", body or REQUEST.to_bytes())


async def poll(agent: RunningServer, ticket: str = TICKET) -> Any:
    return await agent.ask("GET", f"/v1/tickets/{ticket}")


async def order(agent: RunningServer, command: Command, *descriptors: int) -> dict[str, Any]:
    fields = await asyncio.to_thread(tell, agent.control, command, descriptors=descriptors)
    return dict(fields._left)


async def refusal(agent: RunningServer, command: Command, *descriptors: int) -> str:
    with pytest.raises(SignerError) as refused:
        await order(agent, command, *descriptors)
    return refused.value.code


def approve(**changes: Any) -> Command:
    values = {"ticket": TICKET, "request": REQUEST.digest, "typed": TYPED} | changes
    return Command(name=APPROVE, **values)


@contextlib.contextmanager
def pin(text: bytes = b"1234") -> Any:
    """Yield the read end of a finished pipe."""
    read_end, write_end = os.pipe()
    os.write(write_end, text)
    os.close(write_end)
    try:
        yield read_end
    finally:
        os.close(read_end)


# The way of a request


def test_a_request_waits_and_is_signed_when_the_holder_says_yes(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await ask(agent)
        assert answer.status == 202
        assert answer.headers["location"] == f"/v1/tickets/{TICKET}"
        assert answer.json == {
            "type": "signer-ticket", "version": 1, "ticket": TICKET, "state": "waiting",
            "request": REQUEST.digest.hex(), "expires": REQUEST.expires,
        }  # fmt: skip
        (row,) = (await order(agent, Command(name=PENDING)))["tickets"]
        assert (row["ticket"], row["uid"], row["items"]) == (TICKET, UID, 3)
        shown = await order(agent, Command(name=SHOW, ticket=TICKET))
        assert shown["content"].encode() == REQUEST.to_bytes()
        assert (shown["denied"], shown["history"], shown["asks_pin"]) == ([], {}, True)
        assert (await poll(agent)).status == 202
        assert holder.signed == []
        with pin() as pipe:
            done = await order(agent, approve(), pipe)
        assert (done["state"], done["signed"]) == ("done", 3)
        for again in (await poll(agent), await ask(agent)):
            assert again.status == 200
            assert SignReply.parse(again.body, REQUEST).denied == ()
        assert holder.pins == [b"1234"]
        assert holder.final_tries == [False]
        assert holder.signed == [REQUEST.digest]
        states = [e["state"] for e in agent.events if e["event"] == "ticket"]
        assert states == ["waiting", "signing", "done"]

    run(holder, use)
    assert holder.simulated.records() == ["OPENED", "INTENT", "RELEASED"]


def test_the_twelve_words_do_instead_of_typing(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        words = {"typed": (), "words": CHALLENGE.words}
        with pin() as pipe:
            assert await refusal(agent, approve(typed=(), words="abandon"), pipe) == "E_CONFIRM"
            assert (await order(agent, approve(**words), pipe))["state"] == "done"

    run(holder, use)


@pytest.mark.case("R15", "wrong tail, wrong count, too few or too many answers: waits, not signed")
@pytest.mark.parametrize(
    "typed", [("000000", "3"), (TYPED[0], "4"), TYPED[:1], (*TYPED, "3"), ("", ""), ("y", "y")]
)
def test_a_wrong_answer_signs_nothing(holder: AttendedCustodian, typed: tuple[str, ...]) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        with pin() as pipe:
            assert await refusal(agent, approve(typed=typed), pipe) == "E_CONFIRM"
        assert (await poll(agent)).json["state"] == "waiting"
        assert (holder.signed, holder.pins) == ([], [])

    run(holder, use)


@pytest.mark.case("X434", "approval of a digest that is not the ticket's")
def test_only_what_was_shown_is_approved(holder: AttendedCustodian) -> None:
    other = POOL.request(9)

    async def use(agent: RunningServer) -> None:
        await ask(agent)
        with pin() as pipe:
            wrong = approve(request=other.digest)
            assert await refusal(agent, wrong, pipe) == "E_CONFIRM"
            assert await refusal(agent, approve(ticket="0" * 16), pipe) == "E_NOT_FOUND"
        assert holder.signed == []
        denial = Command(name=DENY, ticket=TICKET, request=other.digest, reason="E_DENIED")
        assert await refusal(agent, denial) == "E_CONFIRM"
        assert (await poll(agent)).json["state"] == "waiting"

    run(holder, use)


@pytest.mark.case("R2", "two terminals approve at once: one signature")
def test_two_approvals_are_one_signature(holder: AttendedCustodian) -> None:
    holder.before = threading.Event()

    async def use(agent: RunningServer) -> None:
        assert holder.before is not None
        await ask(agent)
        with pin() as one, pin() as two:
            first = asyncio.create_task(order(agent, approve(), one))
            while (await poll(agent)).json["state"] != "signing":
                await asyncio.sleep(0.01)
            assert await refusal(agent, approve(), two) == "E_TICKET"
            denial = Command(name=DENY, ticket=TICKET, request=REQUEST.digest, reason="E_DENIED")
            assert await refusal(agent, denial) == "E_TICKET"
            holder.before.set()
            assert (await first)["state"] == "done"
        assert holder.signed == [REQUEST.digest]

    run(holder, use)


@pytest.mark.case("X435", "holder's terminal is closed after he said yes")
def test_what_was_approved_is_done_though_nobody_listens(holder: AttendedCustodian) -> None:
    holder.before = threading.Event()

    async def use(agent: RunningServer) -> None:
        assert holder.before is not None
        await ask(agent)
        with socket.socket(socket.AF_UNIX) as terminal, pin() as pipe:
            terminal.connect(str(agent.control))
            socket.send_fds(terminal, [approve().to_line()], [pipe])
            while (await poll(agent)).json.get("state") != "signing":
                await asyncio.sleep(0.01)
        holder.before.set()
        while (await poll(agent)).status == 202:
            await asyncio.sleep(0.01)
        assert (await poll(agent)).status == 200

    run(holder, use)


@pytest.mark.case("K9", "requester gone while his request waits; it is signed, and found again")
def test_a_requester_may_go_and_come_back(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        _, writer = await agent.connect()
        body = REQUEST.to_bytes()
        head = b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        while not (await order(agent, Command(name=PENDING)))["tickets"]:
            await asyncio.sleep(0.01)
        writer.close()
        with pin() as pipe:
            await order(agent, approve(), pipe)
        assert (await ask(agent)).status == 200

    run(holder, use)


def test_a_denial_is_for_good(holder: AttendedCustodian) -> None:
    denial = Command(name=DENY, ticket=TICKET, request=REQUEST.digest, reason="E_TARGET")

    async def use(agent: RunningServer) -> None:
        await ask(agent)
        assert (await order(agent, denial))["state"] == "denied"
        for answer in (await poll(agent), await ask(agent)):
            assert (answer.status, answer.code) == (403, "E_DENIED")
        with pin() as pipe:
            assert await refusal(agent, approve(), pipe) == "E_TICKET"

    async def after_a_restart(agent: RunningServer) -> None:
        answer = await ask(agent)
        assert (answer.status, answer.code) == (403, "E_DENIED")
        assert (await order(agent, Command(name=PENDING)))["tickets"] == []

    run(holder, use)
    assert holder.simulated.records() == ["OPENED", "DENIED"]
    holder.simulated.reopen()
    run(holder, after_a_restart)
    assert holder.signed == []


@pytest.mark.case("X436", "agent started anew while a ticket waits: asked again, the same ticket")
def test_after_a_restart_the_same_request_is_the_same_ticket(holder: AttendedCustodian) -> None:
    async def first(agent: RunningServer) -> None:
        assert (await ask(agent)).json["ticket"] == TICKET

    async def second(agent: RunningServer) -> None:
        assert (await poll(agent)).status == 404
        assert (await ask(agent)).json["ticket"] == TICKET

    run(holder, first)
    holder.simulated.reopen()
    run(holder, second)


def test_nothing_waits_where_nothing_could_be_signed(holder: AttendedCustodian) -> None:
    request = POOL.request(1, to=OTHER)

    async def use(agent: RunningServer) -> None:
        answer = await ask(agent, request.to_bytes())
        assert answer.status == 200
        assert [denial.code for denial in SignReply.parse(answer.body, request).denied] == [
            "E_TARGET"
        ]
        holder.asks_person = False
        assert (await ask(agent)).status == 200
        assert (await order(agent, Command(name=PENDING)))["tickets"] == []

    run(holder, use)


def test_what_was_signed_before_is_shown(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        with pin() as pipe:
            await order(agent, approve(), pipe)
        more = POOL.request(3, 4)
        ticket = (await ask(agent, more.to_bytes())).json["ticket"]
        shown = await order(agent, Command(name=SHOW, ticket=ticket))
        assert set(shown["history"]) == {"3"}
        (before,) = shown["history"]["3"]
        assert before["address"] == next(iter(REQUEST.targets())).wire

    run(holder, use)


# Troubles


@pytest.mark.case("T1", "PIN of the approval refused: the ticket waits, then the right one")
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (PinError("refused", code="E_PIN_REFUSED"), "waiting"),
        (TokenNotFoundError("no token"), "waiting"),
        (WorkerError("hung", code="E_TIMEOUT"), "waiting"),
        (JournalError("disk full"), "failed"),
        (SelfCheckError("broken"), "failed"),
    ],
)
def test_what_a_person_can_mend_waits_again(
    holder: AttendedCustodian, fault: SignerError, state: str
) -> None:
    holder.fault = fault

    async def use(agent: RunningServer) -> None:
        await ask(agent)
        with pin(b"wrong") as pipe:
            assert await refusal(agent, approve(), pipe) == fault.code
        answer = await poll(agent)
        assert (answer.json["state"] if state == "waiting" else answer.code) == (
            state if state == "waiting" else fault.code
        )
        holder.fault = None
        await ask(agent)
        with pin() as pipe:
            assert (await order(agent, approve(), pipe))["state"] == "done"
        assert holder.pins == [b"wrong", b"1234"]

    run(holder, use)


def test_what_waits_and_what_fails_is_counted(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        holder.fault = WorkerError("died")
        with pin() as pipe:
            assert await refusal(agent, approve(), pipe) == "E_WORKER"
        page = (await agent.ask("GET", "/v1/metrics")).body.decode()
        assert 'signer_requests_total{result="waiting",code=""} 1' in page
        assert 'signer_requests_total{result="failed",code="E_WORKER"} 1' in page

    uids = frozenset({UID})
    run(holder, use, peers={"status": uids, "sign": uids, "metrics": uids})


@pytest.mark.case("X433", "requests that take long to read, while the holder says no")
def test_the_holder_does_not_wait_for_what_strangers_have_read(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        held, began = threading.Event(), threading.Event()

        def slow(*_: Any) -> None:
            began.set()
            held.wait(20)
            raise WorkerError("was held up")

        holder.review = slow  # type: ignore[method-assign, assignment]
        reading = asyncio.ensure_future(ask(agent, POOL.request(9).to_bytes()))
        assert await asyncio.to_thread(began.wait, 5)
        denial = Command(name=DENY, ticket=TICKET, request=REQUEST.digest, reason="E_TARGET")
        try:
            assert (await order(agent, denial))["state"] == "denied"
            assert not reading.done()
        finally:
            held.set()
            await reading

    run(holder, use)


@pytest.mark.case("X437", "a bug while an approval is carried out: told as such, the ticket waits")
def test_a_bug_leaves_no_ticket_in_between(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        holder.sign = None  # type: ignore[method-assign, assignment]
        with pin() as pipe:
            assert await refusal(agent, approve(), pipe) == "E_FAILED"
        assert (await poll(agent)).json["state"] == "waiting"
        assert [e["kind"] for e in agent.events if e["event"] == "bug"] == ["TypeError"]

    run(holder, use)


DRILL = DrillOrder(
    group_id=POOL.group.group_id, epoch=POOL.group.epoch, nonce=bytes(32), moment=NOW,
    expires=NOW + 600,
)  # fmt: skip


@pytest.mark.case("R15", "wrong answer to a drill that waits, wrong words")
@pytest.mark.parametrize(
    ("typed", "words"), [(("drill",), ""), ((), twelve_words(DRILL.digest))], ids=["typed", "words"]
)
def test_a_drill_waits_where_only_a_person_has_the_pin(
    holder: AttendedCustodian, typed: tuple[str, ...], words: str
) -> None:
    drill, name = DRILL, DRILL.digest.hex()[:16]

    async def use(agent: RunningServer) -> None:
        answer = await agent.ask("POST", "/v1/drill", drill.to_bytes())
        assert (answer.status, answer.json["ticket"]) == (202, name)
        shown = await order(agent, Command(name=SHOW, ticket=name))
        assert (shown["purpose"], shown["content"].encode()) == ("drill", drill.to_bytes())
        yes = {"ticket": name, "request": drill.digest}
        with pin() as pipe:
            assert await refusal(agent, approve(**yes, typed=("yes",)), pipe) == "E_CONFIRM"
            assert await refusal(agent, approve(**yes, typed=TYPED), pipe) == "E_CONFIRM"
            wrong = CHALLENGE.words
            assert await refusal(agent, approve(**yes, typed=(), words=wrong), pipe) == "E_CONFIRM"
            done = await order(agent, approve(**yes, typed=typed, words=words), pipe)
            assert done["state"] == "done"
        assert (await poll(agent, name)).json == {"order": "00" * 32}
        assert (holder.pins, holder.signed) == ([b"1234"], [])

    uids = frozenset({UID})
    run(holder, use, peers={"status": uids, "sign": frozenset(), "drill": uids})


def test_the_other_commands(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        status = await order(agent, Command(name=STATUS))
        assert status == {"waiting": 1, "asks_pin": True, "busy": False}
        assert (await agent.ask("GET", "/v1/status")).json["tickets_waiting"] == 1
        await order(agent, Command(name=UNLATCH))
        assert holder.released == 1
        assert "pin_released" in {event["event"] for event in agent.events}

    run(holder, use)


def test_the_last_try_is_spent_only_if_told_so(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        with pin() as pipe:
            await order(agent, approve(final_try=True), pipe)
        assert holder.final_tries == [True]

    run(holder, use)


# Descriptors


@pytest.mark.case("X438", "no PIN pipe; a file, a terminal's or a write end; one still open; empty")
def test_only_a_finished_pipe_is_taken(holder: AttendedCustodian, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("1234")

    async def use(agent: RunningServer) -> None:
        await ask(agent)
        assert await refusal(agent, approve()) == "E_PIN"
        read_end, write_end = os.pipe()
        with contextlib.ExitStack() as opened, (tmp_path / "pin").open() as file:
            opened.callback(os.close, read_end)
            os.write(write_end, b"1234")
            assert await refusal(agent, approve(), read_end) == "E_PIN"
            assert await refusal(agent, approve(), write_end) == "E_PIN"
            os.close(write_end)
            assert await refusal(agent, approve(), file.fileno()) == "E_PIN"
            with pin(b"") as empty:
                assert await refusal(agent, approve(), empty) == "E_PIN_EMPTY"
        assert holder.pins == []
        assert (await poll(agent)).json["state"] == "waiting"

    run(holder, use)


def send_descriptors(path: Path, line: bytes, descriptors: list[int], *, apart: bool) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        with contextlib.suppress(OSError):
            if apart:
                for descriptor in descriptors:
                    socket.send_fds(client, [b" "], [descriptor])
                client.sendall(line)
            else:
                socket.send_fds(client, [line], descriptors)
        with contextlib.suppress(ConnectionError):
            return client.recv(65536)
        return b""


@pytest.mark.case("K13", "descriptors nobody asked for: two, 200, one a message, with `pending`")
@pytest.mark.parametrize("count", [2, 5, 200])
@pytest.mark.parametrize("apart", [False, True])
def test_unexpected_descriptors_are_closed(
    holder: AttendedCustodian, count: int, apart: bool
) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for command in (approve(), Command(name=PENDING)):
            read_end, write_end = os.pipe()
            answer = await asyncio.to_thread(
                send_descriptors, agent.control, command.to_line(), [write_end] * count, apart=apart
            )
            os.close(write_end)
            assert b"ok" not in answer
            assert await asyncio.to_thread(os.read, read_end, 1) == b""  # nobody holds the end
            os.close(read_end)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
        assert (await order(agent, Command(name=PENDING)))["tickets"]
        assert holder.signed == []

    run(holder, use)


@pytest.mark.case("K13", "one descriptor with a command that takes none")
def test_a_descriptor_belongs_to_an_approval(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        with pin() as pipe:
            assert await refusal(agent, Command(name=PENDING), pipe) == "E_SCHEMA"

    run(holder, use)


# How much, how long, how many


@pytest.mark.case("K2", "control command over 64 KiB, with and without an end")
@pytest.mark.case("K5", "two control commands in one write")
@pytest.mark.case("K6", "half a UTF-8 sequence in a control command")
@pytest.mark.parametrize(
    "raw",
    [
        b"x" * 70_000, b'{"version":1}' + b" " * 70_000 + b"\n", b"\n", b"\0\n", b"\xc3\n",
        Command(name=PENDING).to_line() * 2, Command(name=PENDING).to_line() + b"x",
        b"[" * 5000 + b"\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_what_is_no_command_gets_an_error(holder: AttendedCustodian, raw: bytes) -> None:
    async def use(agent: RunningServer) -> None:
        answer = await asyncio.to_thread(send_descriptors, agent.control, raw, [], apart=True)
        assert json.loads(answer)["error"]["code"] == "E_SCHEMA"
        assert (await order(agent, Command(name=PENDING)))["tickets"] == []

    run(holder, use)


@pytest.mark.case("K3", "control command at a byte every now and then")
@pytest.mark.case("K1", "silence on the control socket")
@pytest.mark.parametrize("drip", [b"", b" "])
def test_slow_ones_are_put_out(
    holder: AttendedCustodian, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(control, "COMMAND_SECONDS", 0.2)

    def loris(path: Path) -> float:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.settimeout(0.05)
            started = time.monotonic()
            while time.monotonic() - started < 3:
                try:
                    if drip:
                        client.send(drip)
                    if client.recv(100) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            return time.monotonic() - started

    async def use(agent: RunningServer) -> None:
        assert 0.15 < await asyncio.to_thread(loris, agent.control) < 2
        assert "E_SLOW" in {event.get("code") for event in agent.events}

    run(holder, use)


@pytest.mark.case("K10", "more idle connections than are kept: the newest is served at once")
def test_idle_connections_keep_nobody_out(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        with contextlib.ExitStack() as idle:
            for _ in range(3 * control.MAX_READING):
                client = idle.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(agent.control))
                await asyncio.sleep(0)
            started = time.monotonic()
            assert (await order(agent, Command(name=PENDING)))["tickets"] == []
            assert time.monotonic() - started < 1

    run(holder, use)


def test_the_limits_are_what_the_documents_say() -> None:
    assert (control.COMMAND_SECONDS, control.MAX_READING) == (5, 16)


@pytest.mark.case("X433", "ticket flood over the socket: 503, and the ones that wait are kept")
def test_a_flood_of_requests_is_bounded(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        answers = [await ask(agent, POOL.request(n).to_bytes()) for n in range(12)]
        assert [answer.status for answer in answers] == [202] * 8 + [503] * 4
        assert answers[-1].code == "E_BUSY"
        assert len((await order(agent, Command(name=PENDING)))["tickets"]) == 8

    run(holder, use)


# Who


def test_the_socket_is_the_holders_alone(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        def mode(path: Path) -> int:
            return stat.S_IMODE(path.lstat().st_mode)

        assert (mode(agent.control), mode(agent.control.parent)) == (0o600, 0o700)

    run(holder, use)
    assert not (holder.simulated.folder / "private" / "control.sock").exists()


@pytest.mark.case("K11", "control socket: a uid that is no holder, by the kernel's word")
def test_who_is_no_holder_is_refused(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        for command in (Command(name=PENDING), Command(name=SHOW, ticket=TICKET), approve()):
            assert await refusal(agent, command) == "E_PEER"
        assert holder.signed == []

    run(holder, use, holders=frozenset({UID + 1}))


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(4711)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
except PermissionError:
    sys.exit("no way in")
try:
    client.sendall(b'{"version":1,"command":"pending"}\\n')
except BrokenPipeError:
    pass
print(client.recv(4096).decode())
"""


@pytest.mark.case("K11", "control socket: another user, also where the folder was opened to all")
@pytest.mark.skipif(UID != 0, reason="only root may become another user")
def test_another_user_has_no_way_in(holder: AttendedCustodian) -> None:
    def call(path: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, str(path)],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
        return done.stdout + done.stderr

    async def use(agent: RunningServer) -> None:
        assert "no way in" in await asyncio.to_thread(call, agent.control)
        folder = agent.control.parent
        with contextlib.ExitStack() as closed:
            for path in (agent.control, folder, *folder.parents):
                if path.stat().st_uid == UID and path != Path("/"):
                    closed.callback(path.chmod, stat.S_IMODE(path.stat().st_mode))
                    path.chmod(path.stat().st_mode | 0o777)
            assert "E_PEER" in await asyncio.to_thread(call, agent.control)

    run(holder, use)


@pytest.mark.case("K12", "control socket in a folder that others may enter; in the requesters' own")
def test_the_folder_must_be_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o750)
    with pytest.raises(ConfigError), control.control_socket(folder / "control.sock"):
        pass
    assert list(folder.iterdir()) == []


@pytest.mark.case("K8", "approving over the requesters' socket")
def test_requesters_cannot_approve(holder: AttendedCustodian) -> None:
    async def use(agent: RunningServer) -> None:
        await ask(agent)
        line = approve().to_line()
        for method, path, status in (
            ("POST", f"/v1/tickets/{TICKET}", 405),
            ("PUT", f"/v1/tickets/{TICKET}", 405),
            ("DELETE", f"/v1/tickets/{TICKET}", 405),
            ("POST", f"/v1/tickets/{TICKET}/approve", 404),
            ("POST", "/v1/approve", 404),
            ("POST", "/v1/sign", 400),
        ):
            assert (await agent.ask(method, path, line)).status == status
        assert (await poll(agent)).json["state"] == "waiting"
        assert (await agent.ask("GET", "/v1/tickets/..%2f..")).status == 404

    run(holder, use)
    assert holder.signed == []

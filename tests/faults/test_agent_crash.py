"""kill -9 at the worst moments: no binding is lost, and no second address is ever signed."""

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path

import pytest

from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import AgentError
from signer.messages.address import ExecutionAddress
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from tests.conftest import SECOND_ADDRESS


def request_of(pool: Pool, count: int, to: str = TEST_ADDRESS) -> SignRequest:
    address = ExecutionAddress.parse(to)
    items = [(index, address) for index in range(count)]
    return SignRequest.new(read_group(pool.group), items, expires=int(time.time()) + 3600)


def ask(holder: Holder, request: SignRequest) -> SignReply:
    return asyncio.run(AgentClient(holder.socket).sign(request, seconds=60))


def records(holder: Holder) -> list[str]:
    """The types of the whole lines."""
    return [json.loads(line)["type"] for line in whole(holder.journal)]


def whole(journal: Path) -> list[bytes]:
    return [line for line in journal.read_bytes().split(b"\n")[:-1] if line]


def kill(holder: Holder) -> None:
    assert holder.agent is not None
    holder.agent.kill()
    holder.agent.wait()
    holder.agent = None


def workers_of(holder: Holder) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            ours = str(holder.token.config).encode() in (path / "environ").read_bytes()
            worker = b"signer.custody.worker" in (path / "cmdline").read_bytes()
            if ours and worker and state != "Z":
                found.append(path.name)
    return found


@pytest.mark.case("H1", "kill -9 between INTENT and RELEASED")
def test_a_crash_after_intent_forgets_nothing(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder)
    request = request_of(pool, 4000)
    replies: list[SignReply | str] = []

    def client() -> None:
        try:
            replies.append(ask(holder, request))
        except AgentError as error:
            replies.append(error.code)

    thread = threading.Thread(target=client)
    thread.start()
    size = holder.journal.stat().st_size
    while holder.journal.stat().st_size == size:
        time.sleep(0.001)
    kill(holder)
    thread.join(10)
    assert replies == ["E_UNREACHABLE"]
    assert records(holder) == ["OPENED", "POLICY", "INTENT"]
    deadline = time.monotonic() + 3
    while workers_of(holder):
        assert time.monotonic() < deadline, "the worker outlived its agent"
        time.sleep(0.01)
    assert holder.socket.exists()  # nobody took it away
    holder.socket.unlink()  # start_agent waits for it to appear
    pool.start_agent(holder)
    other = ask(holder, request_of(pool, 4000, to=SECOND_ADDRESS))
    assert {denial.code for denial in other.denied} == {"E_EQUIVOCATION"}
    assert not any(other.partials)
    assert all(ask(holder, request).partials)
    assert records(holder) == ["OPENED", "POLICY", "INTENT", "INTENT", "RELEASED"]


@pytest.mark.case("H1", "kill -9 at any moment of a request, again and again")
def test_any_crash_leaves_one_address(pool: Pool) -> None:
    holder = pool.holders[0]
    first, second = request_of(pool, 50), request_of(pool, 50, to=SECOND_ADDRESS)
    signed: set[str] = set()
    for number, delay in enumerate((0.0, 0.03, 0.1, 0.2)):
        pool.start_agent(holder)
        request, address = ((first, "first"), (second, "second"))[number % 2]

        def client(request: SignRequest = request, address: str = address) -> None:
            with contextlib.suppress(AgentError):
                if any(ask(holder, request).partials):
                    signed.add(address)

        thread = threading.Thread(target=client)
        thread.start()
        time.sleep(delay)
        kill(holder)
        thread.join(10)
        holder.socket.unlink(missing_ok=True)
    pool.start_agent(holder)
    for request, address in ((first, "first"), (second, "second")):
        if any(ask(holder, request).partials):
            signed.add(address)
    assert len(signed) == 1
    assert len({json.dumps(json.loads(line)["body"]["changes"][0]["to_execution_address"])
                for line in whole(holder.journal)
                if b'"INTENT"' in line and json.loads(line)["body"]["changes"]}) == 1  # fmt: skip


@pytest.mark.case("K12", "socket of an agent that was killed: the next start replaces it")
def test_a_killed_agents_socket_is_replaced(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder)
    kill(holder)
    before = holder.socket.lstat().st_ino, holder.socket.lstat().st_mtime_ns
    pool.start_agent(holder)
    deadline = time.monotonic() + 20
    while (holder.socket.lstat().st_ino, holder.socket.lstat().st_mtime_ns) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.05)
    assert ask(holder, request_of(pool, 2)).denied == ()

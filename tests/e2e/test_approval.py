"""A person says yes: real agents, tokens and terminals, from the operator's request to the file."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.messages.confirmation import twelve_words
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, Holder, Pool, summary
from signer.testing.softhsm import USER_PIN
from tests.conftest import copy_of
from tests.simulators.terminal import Seen, at_terminal

pytestmark = pytest.mark.softhsm

TAIL = TEST_ADDRESS[-6:]
WRONG_PIN = "wrong-pin-4711"
TYPED = [("last 6 characters of the address: ", TAIL + "\n"), ("number of validators: ", "3\n")]
PIN = ("PIN of holder-1: ", USER_PIN + "\n")


@pytest.fixture(scope="module")
def prepared(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Return a pool of three, two of whom sign together, whose policy wants a person always."""
    pool = Pool.with_tokens(tmp_path_factory.mktemp("approval") / "p", ["Ada", "Boris", "Cy"])
    pool.write_policy(approval="always")
    pool.split(2)
    return pool


@pytest.fixture
def pool(prepared: Pool, tmp_path: Path) -> Iterator[Pool]:
    """Yield a copy of it. Ada's agent asks for the PIN, Boris's has a file; Cy's does not run."""
    with copy_of(prepared, tmp_path / "p") as copied:
        start(copied, copied.holders[0], pin="{ask: true}")
        start(copied, copied.holders[1])
        yield copied


def start(pool: Pool, holder: Holder, **changes: str) -> None:
    pool.start_agent(holder, control="private/control.sock", **changes)


def config(holder: Holder) -> Path:
    return holder.folder / "agent.yaml"


def pending(pool: Pool, holder: Holder) -> list[dict[str, Any]]:
    done = pool.run("agent", "pending", "--config", config(holder), "--json")
    tickets = summary(done)["tickets"]
    assert isinstance(tickets, list)
    return tickets


def ticket_at(pool: Pool, holder: Holder) -> str:
    """Wait until one request waits for the holder; return its ticket."""
    deadline = time.monotonic() + 30
    while not (tickets := pending(pool, holder)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return str(tickets[0]["ticket"])


def approve(holder: Holder, ticket: str, answers: list[tuple[str, str]]) -> Seen:
    return at_terminal(
        ["agent", "approve", ticket, "--config", config(holder)], answers, holder.token.environment
    )


class Operator:
    """`signer sign` in the background."""

    def __init__(self, pool: Pool, request: Path, *, wait: str = "2m") -> None:
        self.pool, self.out = pool, pool.folder / "out"
        agents = [holder.socket for holder in pool.holders[:2]]
        self._thread = threading.Thread(
            target=lambda: setattr(
                self,
                "done",
                pool.sign(request, self.out, "--wait", wait, agents=agents, expect=None),
            )
        )
        self.done: subprocess.CompletedProcess[str] | None = None
        self._thread.start()

    def end(self) -> "subprocess.CompletedProcess[str]":
        self._thread.join(90)
        assert self.done is not None
        return self.done


def records(holder: Holder) -> list[str]:
    return [json.loads(line)["type"] for line in holder.journal.read_text().splitlines()]


def memory_of(pid: int) -> bytes:
    """Return all that a process has in memory and may be written."""
    found = b""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            begin, end = (int(part, 16) for part in where.split("-"))
            try:
                memory.seek(begin)
                found += memory.read(end - begin)
            except (OSError, ValueError):
                continue
    return found


@pytest.mark.case("K15", "PIN typed to approve: nowhere in the agent's memory, log, journal")
def test_the_whole_way(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    operator = Operator(pool, pool.request([5, 6, 7]))
    ticket = ticket_at(pool, ada)
    seen = approve(ada, ticket, [*TYPED, PIN])
    assert seen.status == 0, seen.screen
    assert f"signed 3 of 3; ticket {ticket} is done" in seen.stdout
    for words in ("mainnet", "treasury 1", "cannot be undone", "nothing was signed for them"):
        assert words in seen.screen
    assert USER_PIN not in seen.screen + seen.stdout
    assert approve(boris, ticket_at(pool, boris), TYPED).status == 0
    done = operator.end()
    assert done.returncode == 0, done.stderr
    assert summary(done)["signers"] == [1, 2]
    (signed,) = pool.folder.glob("out/bls_to_execution_change-*.json")
    entries = json.loads(signed.read_text())
    assert [entry["message"]["validator_index"] for entry in entries] == ["5", "6", "7"]
    assert records(ada)[-2:] == ["INTENT", "RELEASED"]
    assert ada.agent is not None
    memory = memory_of(ada.agent.pid)
    assert ticket.encode() in memory  # what is there is found
    assert USER_PIN.encode() not in memory
    for file in (ada.log, ada.journal, boris.log, boris.journal):
        assert USER_PIN not in file.read_text()


@pytest.mark.case("R15", "wrong tail, wrong count, Ctrl-C and Ctrl-D at each question, no terminal")
def test_whoever_does_not_answer_right_signs_nothing(pool: Pool) -> None:
    ada = pool.holders[0]
    operator = Operator(pool, pool.request([5, 6, 7]))
    ticket = ticket_at(pool, ada)
    for answers, status, words in (
        ([(TYPED[0][0], "000000\n"), TYPED[1]], 3, "E_CONFIRM"),
        ([TYPED[0], (TYPED[1][0], "4\n")], 3, "E_CONFIRM"),
        ([(TYPED[0][0], "yes\n"), (TYPED[1][0], "yes\n")], 3, "E_CONFIRM"),
        ([(TYPED[0][0], "\x03")], 130, "interrupted"),
        ([(TYPED[0][0], "\x04")], 130, "interrupted"),
        ([TYPED[0], (TYPED[1][0], "\x04")], 130, "interrupted"),
        ([*TYPED, (PIN[0], "\x04")], 7, "E_PIN"),
        ([*TYPED, (PIN[0], "\n")], 7, "E_PIN_EMPTY"),
    ):
        seen = approve(ada, ticket, answers)
        assert (seen.status, words in seen.screen) == (status, True), seen.screen
        assert "Traceback" not in seen.screen
    no_terminal = pool.run("agent", "approve", ticket, "--config", config(ada), expect=2)
    assert "E_USAGE" in no_terminal.stderr
    (row,) = pending(pool, ada)
    assert row["state"] == "waiting"
    assert "INTENT" not in records(ada)
    assert approve(ada, ticket, [*TYPED, PIN]).status == 0
    pool.run("agent", "deny", ticket_at(pool, pool.holders[1]), "--config",
             config(pool.holders[1]))  # fmt: skip
    assert operator.end().returncode in (3, 4)


@pytest.mark.case("T1", "wrong PIN when approving: told, not latched; then the right one")
def test_a_wrong_pin_then_the_right_one(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    operator = Operator(pool, pool.request([5, 6, 7]))
    ticket = ticket_at(pool, ada)
    wrong = approve(ada, ticket, [*TYPED, (PIN[0], WRONG_PIN + "\n")])
    assert wrong.status == 7, wrong.screen
    assert "E_PIN_REFUSED" in wrong.screen
    assert wrong.screen.count(PIN[0].strip()) == 1
    (row,) = pending(pool, ada)
    assert row["state"] == "waiting"
    right = approve(ada, ticket, [*TYPED, PIN])
    assert right.status == 0, right.screen
    assert approve(boris, ticket_at(pool, boris), TYPED).status == 0
    assert operator.end().returncode == 0
    assert WRONG_PIN not in ada.log.read_text() + ada.journal.read_text()


def test_a_no_is_for_good(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    request = pool.request([5, 6, 7])
    operator = Operator(pool, request)
    tickets = {holder.index: ticket_at(pool, holder) for holder in (ada, boris)}
    for holder in (ada, boris):
        denied = pool.run("agent", "deny", tickets[holder.index], "--config", config(holder))
        assert "will not be signed here" in denied.stdout
    done = operator.end()
    assert done.returncode == 3
    assert "E_DENIED" in done.stderr
    pool.stop_agent(ada)
    start(pool, ada, pin="{ask: true}")
    again = pool.sign(request, pool.folder / "again", agents=[ada.socket], expect=None)
    assert again.returncode in (3, 4)
    assert "E_DENIED" in again.stderr
    assert pending(pool, ada) == []
    assert records(ada)[-1] == "DENIED"


@pytest.mark.case("X436", "agent started anew while a request waits for its holder")
def test_a_restart_loses_nothing(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    operator = Operator(pool, pool.request([5, 6, 7]))
    ticket = ticket_at(pool, ada)
    pool.stop_agent(ada)
    start(pool, ada, pin="{ask: true}")
    assert ticket_at(pool, ada) == ticket
    assert approve(ada, ticket, [*TYPED, PIN]).status == 0
    assert approve(boris, ticket_at(pool, boris), TYPED).status == 0
    assert operator.end().returncode == 0


def test_a_script_gives_the_words(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    path = pool.request([5, 6, 7])
    words = twelve_words(SignRequest.parse(path.read_bytes()).digest)
    operator = Operator(pool, path)
    ticket = ticket_at(pool, ada)
    base: list[str | Path] = [
        "agent",
        "approve",
        ticket,
        "--config",
        config(ada),
        "--pin-file",
        ada.token.pin_file,
    ]
    wrong = pool.run(*base, "--yes-i-checked", words.rsplit(" ", 1)[0] + " zoo", expect=3)
    assert "E_CONFIRM" in wrong.stderr
    pool.run(*base, "--yes-i-checked", "", expect=3)
    done = pool.run(*base, "--yes-i-checked", words, "--json")
    assert (summary(done)["state"], summary(done)["signed"]) == ("done", 3)
    ticket = ticket_at(pool, boris)
    pool.run("agent", "approve", ticket, "--config", config(boris), "--yes-i-checked", words)
    assert operator.end().returncode == 0


def test_the_operator_is_told_who_still_waits(pool: Pool) -> None:
    request = pool.request([5, 6, 7])
    sockets = [holder.socket for holder in pool.holders[:2]]
    done = pool.sign(request, pool.folder / "out", "--timeout", "2", agents=sockets, expect=4)
    assert done.stderr.count("still waits: E_WAITING") == 2
    assert {entry["result"] for entry in summary(done)["failed"]} == {"waiting"}
    for holder in pool.holders[:2]:
        answers = [*TYPED, PIN] if holder.index == 1 else TYPED
        assert approve(holder, ticket_at(pool, holder), answers).status == 0
    assert pool.sign(request, pool.folder / "out", agents=sockets).returncode == 0


@pytest.mark.case("R2", "two terminals say yes to one ticket")
def test_two_terminals_are_one_signature(pool: Pool) -> None:
    ada, boris = pool.holders[:2]
    operator = Operator(pool, pool.request([5, 6, 7]))
    ticket = ticket_at(pool, ada)
    seen: list[Seen] = []
    people = [
        threading.Thread(target=lambda: seen.append(approve(ada, ticket, [*TYPED, PIN])))
        for _ in range(2)
    ]
    for person in people:
        person.start()
    for person in people:
        person.join(60)
    assert sorted(one.status for one in seen) == [0, 1], [one.screen for one in seen]
    assert records(ada).count("INTENT") == records(ada).count("RELEASED") == 1
    assert approve(boris, ticket_at(pool, boris), TYPED).status == 0
    assert operator.end().returncode == 0

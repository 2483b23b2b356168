"""Real agents: started, asked, stopped and robbed as on a holder's machine."""

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import AgentError, SignerError
from signer.messages.address import ExecutionAddress
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.strict import canonical
from signer.testing.pool import TEST_ADDRESS, Holder, Pool, summary
from signer.threshold.partial import verify_partial
from tests.conftest import SECOND_ADDRESS

NETWORK: dict[str, Any] = {
    "type": "signer-network", "version": 1, "name": "devnet-7",
    "genesis_fork_version": "0x10000038", "genesis_validators_root": "0x" + "07" * 32,
    "capella_fork_version": "0x40000038", "chain_id": 7042,
}  # fmt: skip


def request_of(pool: Pool, *validators: int, to: str = TEST_ADDRESS) -> SignRequest:
    address = ExecutionAddress.parse(to)
    return SignRequest.new(
        read_group(pool.group),
        [(index, address) for index in validators],
        expires=int(time.time()) + 3600,
    )


def ask(holder: Holder, request: SignRequest) -> SignReply:
    return asyncio.run(AgentClient(holder.socket).sign(request, seconds=30))


def code_of(holder: Holder, request: SignRequest) -> str:
    with pytest.raises(SignerError) as failed:
        ask(holder, request)
    return failed.value.code


def records(holder: Holder) -> list[str]:
    return [json.loads(line)["type"] for line in holder.journal.read_text().splitlines()]


def events(holder: Holder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in holder.log.read_text().splitlines()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refused_start(pool: Pool, holder: Holder, **changes: str) -> tuple[int, str]:
    """Run an agent that must not start; return its exit status and its one line."""
    config = pool.write_agent_config(holder, **changes)
    done = pool.run("agent", "run", "--config", config, holder=holder, expect=None)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0].split(":")[0]


def test_an_agent_signs_and_holds_no_secret(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder)
    assert holder.agent is not None
    request = request_of(pool, 5, 6)
    reply = ask(holder, request)
    group = read_group(pool.group)
    for root, partial in zip(
        request.signing_roots(group.network, group.public_key), reply.partials, strict=True
    ):
        assert partial is not None
        verify_partial(group.vector.public_share(reply.index), root, partial)
    maps = Path(f"/proc/{holder.agent.pid}/maps").read_text()
    assert "softhsm" not in maps
    assert "_pkcs11" not in maps
    assert (mode(holder.socket), mode(holder.socket.parent)) == (0o660, 0o750)
    assert (mode(holder.journal), mode(holder.journal.parent)) == (0o600, 0o700)
    names = [event["event"] for event in events(holder) if event["event"] != "token_state"]
    assert names == ["journal_anchor", "listening", "worker_done", "signed"]
    done = pool.run("agent", "status", holder.socket, "--json")
    assert summary(done)["journal"] == {
        "sequence": 4, "head": json.loads(holder.journal.read_text().splitlines()[-1])["head"],
        "anchor": "token", "state": "verified",
    }  # fmt: skip


def test_the_agents_code_does_not_reach_for_secrets() -> None:
    code = "import sys, signer.cli.agent, signer.agent.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "signer.custody.custodian" in loaded
    forbidden = {
        "pkcs11", "mnemonic", "getpass", "signer.bls.scalar", "signer.bls.keystore",
        "signer.bls.mnemonic", "signer.custody.worker", "signer.hsm.keys", "signer.hsm.module",
        "signer.hsm.pin", "signer.hsm.session", "signer.threshold.share",
    }  # fmt: skip
    assert not forbidden & loaded


# Stopping


@pytest.mark.case("X227", "SIGTERM and SIGINT while idle, with a silent client connected")
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_an_idle_agent_stops_at_once(pool: Pool, signal_name: str) -> None:
    import signal

    holder = pool.holders[0]
    pool.start_agent(holder)
    assert holder.agent is not None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(holder.socket))
        time.sleep(0.1)
        started = time.monotonic()
        holder.agent.send_signal(getattr(signal, signal_name))
        assert holder.agent.wait(10) == 0
        assert time.monotonic() - started < 3
    assert not holder.socket.exists()
    names = [event["event"] for event in events(holder) if event["event"] != "token_state"]
    assert names == ["journal_anchor", "listening", "stopping", "stopped"]
    pool.start_agent(holder)
    assert ask(holder, request_of(pool, 1)).denied == ()


@pytest.mark.case("X228", "SIGTERM in mid-batch: the reply still arrives")
def test_a_batch_under_way_is_finished_before_the_end(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder)
    assert holder.agent is not None
    request = request_of(pool, *range(3000))
    replies: list[SignReply] = []
    client = threading.Thread(target=lambda: replies.append(ask(holder, request)))
    client.start()
    while records(holder)[-1] != "INTENT":
        time.sleep(0.002)
    holder.agent.terminate()
    assert holder.agent.wait(30) == 0
    client.join(5)
    assert len(replies) == 1
    assert all(replies[0].partials)
    assert records(holder) == ["OPENED", "POLICY", "INTENT", "RELEASED"]
    assert not holder.socket.exists()
    with pytest.raises(AgentError):
        ask(holder, request)


# Starting


@pytest.mark.case("K14", "second agent on the same share; another share on the same socket")
def test_a_second_agent_does_not_start(pool: Pool) -> None:
    first, second = pool.holders[:2]
    pool.start_agent(first)
    assert refused_start(pool, first, socket="run/other.sock") == (8, "E_JOURNAL")
    assert refused_start(pool, second, socket=f'"{first.socket}"') == (1, "E_CONFIG")
    assert ask(first, request_of(pool, 1)).denied == ()


@pytest.mark.case("F17", "journal open to others, damaged, another share's; state folder open")
def test_an_agent_does_not_start_on_a_bad_journal(pool: Pool) -> None:
    holder, other = pool.holders[:2]
    pool.start_agent(holder)
    ask(holder, request_of(pool, 1))
    pool.stop_agent(holder)
    raw = holder.journal.read_bytes()
    holder.journal.chmod(0o644)
    assert refused_start(pool, holder) == (8, "E_JOURNAL")
    holder.journal.chmod(0o600)
    holder.journal.write_bytes(raw.replace(b"INTENT", b"INTENd"))
    assert refused_start(pool, holder) == (8, "E_JOURNAL")
    holder.journal.write_bytes(raw)
    assert refused_start(pool, other, state=f'"{holder.journal.parent}"') == (8, "E_JOURNAL")
    holder.journal.parent.chmod(0o770)
    assert refused_start(pool, holder) == (1, "E_CONFIG")
    holder.journal.parent.chmod(0o700)
    assert holder.journal.read_bytes() == raw
    pool.start_agent(holder)


@pytest.mark.case("P11", "agent with another policy, another holder's envelope, a wrong config")
def test_an_agent_does_not_start_on_papers_that_do_not_fit(pool: Pool) -> None:
    holder = pool.holders[0]
    policy = pool.folder / "other.yaml"
    policy.write_text(pool.policy.read_text().replace("treasury 1", "treasury 7"))
    assert refused_start(pool, holder, policy=f'"{policy}"') == (1, "E_CONFIG")
    assert refused_start(pool, holder, group=f'"{holder.envelope}"') == (1, "E_SCHEMA")
    assert refused_start(pool, holder, peers="{status: [], sign: [], pin: []}") == (1, "E_CONFIG")
    assert refused_start(pool, holder, token="{profile: nothing, label: x}") == (1, "E_PROFILE")
    assert not (holder.folder / "state").exists()
    pin = refused_start(pool, holder, pin="{value: geheim}")
    assert pin == (1, "E_CONFIG")


@pytest.mark.case("X211", "group of a custom network: unpinned, pinned by a wrong digest, pinned")
def test_a_custom_network_must_be_pinned(pool: Pool) -> None:
    holder = pool.holders[0]
    network = pool.folder / "devnet.json"
    network.write_bytes(canonical(NETWORK))
    shutil.rmtree(pool.group.parent)
    pool.split(3, network=("--network-file", str(network)))
    digest = read_group(pool.group).network.digest.hex()
    assert refused_start(pool, holder) == (1, "E_CONFIG")
    wrong = f'{{file: "{network}", digest: "{"00" * 32}"}}'
    assert refused_start(pool, holder, network=wrong) == (1, "E_CONFIG")
    assert not (holder.folder / "state").exists()
    pool.start_agent(holder, network=f'{{file: "{network}", digest: "{digest}"}}')
    assert ask(holder, request_of(pool, 1)).denied == ()


# What policy and journal say, over the command line


@pytest.mark.case("R1", "second address for validators that were signed, over the command line")
def test_a_second_address_is_denied_for_ever(pool: Pool) -> None:
    for holder in pool.holders[:3]:
        pool.start_agent(holder)
    agents = [holder.socket for holder in pool.holders[:3]]
    first = pool.request([1, 2, 3], name="first.json")
    pool.sign(first, pool.folder / "out", agents=agents)
    second = pool.request([2, 3], to=SECOND_ADDRESS, name="second.json")
    denied = pool.sign(second, pool.folder / "out-2", agents=agents, expect=3)
    assert "E_EQUIVOCATION" in denied.stderr
    assert not list((pool.folder / "out-2").iterdir())
    mixed = pool.request([3, 4], to=SECOND_ADDRESS, name="mixed.json")
    some = pool.sign(mixed, pool.folder / "out-3", agents=agents, expect=6)
    assert summary(some)["signed"] == 1
    strange = pool.request([9], to="0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", name="s.json")
    assert "E_TARGET" in pool.sign(strange, pool.folder / "out-4", agents=agents, expect=3).stderr
    for holder in pool.holders[:3]:
        assert pool.stop_agent(holder) == 0
        pool.start_agent(holder)
    pool.sign(second, pool.folder / "out-5", agents=agents, expect=3)


@pytest.mark.case("K11", "caller whom the table does not list, over the command line")
def test_a_caller_who_is_not_listed_is_denied(pool: Pool) -> None:
    holder = pool.holders[0]
    uid = os.geteuid()
    pool.start_agent(holder, peers=f"{{status: [{uid}], sign: [{uid + 1}]}}")
    assert code_of(holder, request_of(pool, 1)) == "E_PEER"
    pool.run("agent", "status", holder.socket)
    assert records(holder) == ["OPENED", "POLICY"]


# PINs and tokens


@pytest.mark.case("T1", "wrong PIN: tried once however often asked; a corrected file then works")
def test_a_wrong_pin_is_tried_once(pool: Pool) -> None:
    holder = pool.holders[0]
    right = holder.token.pin_file.read_text()
    holder.token.pin_file.write_text("wrong-pin-1\n")
    pool.start_agent(holder)
    request = request_of(pool, 1)
    for _ in range(3):
        assert code_of(holder, request) == "E_PIN_REFUSED"
    assert records(holder) == ["OPENED", "POLICY"]
    listed = pool.run("token", "list", "--json", holder=holder)
    states = {row["pin_state"] for row in summary(listed)["tokens"] if row["initialized"]}
    assert states == {"low"}
    holder.token.pin_file.write_text(right)
    assert ask(holder, request).denied == ()
    assert records(holder)[2:] == ["INTENT", "RELEASED"]
    assert "wrong-pin-1" not in holder.log.read_text() + holder.journal.read_text()


@pytest.mark.case("T2", "PIN file missing, empty, open to others, while the agent runs")
def test_a_bad_pin_file_is_the_agents_trouble(pool: Pool) -> None:
    holder = pool.holders[0]
    pin = holder.token.pin_file
    right = pin.read_text()
    pool.start_agent(holder)
    request = request_of(pool, 1)
    pin.unlink()
    assert code_of(holder, request) == "E_SECRET_FILE"
    pin.touch(mode=0o600)
    assert code_of(holder, request) == "E_PIN_EMPTY"
    pin.write_text(right)
    pin.chmod(0o644)
    assert code_of(holder, request) == "E_SECRET_FILE"
    pin.chmod(0o600)
    assert ask(holder, request).denied == ()


@pytest.mark.case("T4", "token gone, and back")
def test_a_token_may_go_and_come_back(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder, probe_seconds="1")
    request = request_of(pool, 1)
    tokens = holder.token.folder / "tokens"
    tokens.rename(tokens.with_name("pocket"))
    tokens.mkdir()
    assert code_of(holder, request) == "E_TOKEN_ABSENT"
    assert asyncio.run(AgentClient(holder.socket).status()).busy is False
    tokens.rmdir()
    tokens.with_name("pocket").rename(tokens)
    deadline = time.monotonic() + 20
    while asyncio.run(AgentClient(holder.socket).status()).document["token"]["state"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ask(holder, request).denied == ()


@pytest.mark.case("H7", "agent started with umask 000, and with standard input closed")
def test_the_umask_of_the_start_does_not_matter(pool: Pool) -> None:
    holder = pool.holders[0]
    config = pool.write_agent_config(holder)
    command = f'umask 000; exec "{sys.executable}" -m signer agent run --config "{config}" <&-'
    with holder.log.open("ab") as log:
        agent = subprocess.Popen(
            ["/bin/sh", "-c", command], env=holder.token.environment, stderr=log, stdout=log
        )
    try:
        deadline = time.monotonic() + 20
        while not holder.socket.exists():
            assert agent.poll() is None, holder.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.1)
        assert (mode(holder.socket), mode(holder.socket.parent)) == (0o660, 0o750)
        assert ask(holder, request_of(pool, 1)).denied == ()
        assert (mode(holder.journal), mode(holder.journal.parent)) == (0o600, 0o700)
    finally:
        agent.terminate()
        agent.wait(20)

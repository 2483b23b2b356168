"""`signer_pool`: sealed shares, agents that run, a client; and hostile tokens under agents."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from signer.client import AgentClient
from signer.custody.custodian import module_environment
from signer.custody.jobs.shares import VerifyShare
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker_process import run_worker
from signer.errors import SignerError, TooFewPartialsError
from signer.hsm.profile import load_profile
from signer.testing.hostile.token import Ckr
from signer.testing.mint import TokenMint
from signer.testing.running import RunningPool

pytestmark = pytest.mark.softhsm

Pools = Callable[..., RunningPool]
MOST_SECONDS = 2.0  # for a running 3 of 5; a busy machine is granted three times as much


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def pids_of(pool: RunningPool) -> list[int]:
    return [holder.agent.pid for holder in pool.holders if holder.agent is not None]


def token_of(pool: RunningPool, index: int) -> tuple[str, str]:
    status = asyncio.run(pool.client(index).status())
    return status.token.state, status.token.reason


def test_any_three_of_five_sign(signer_pool: Pools) -> None:
    pool = signer_pool(3, 5)
    for among in ({1, 2, 3}, {3, 4, 5}):
        signed = pool.sign([7, 9], among=among)
        assert [entry["message"]["validator_index"] for entry in signed.messages] == ["7", "9"]
        assert set(signed.outcome.signers) == among
        assert signed.failures == {}
    with pytest.raises(TooFewPartialsError):
        pool.sign([8], among={1, 2})


def test_agents_stop_and_start_again(signer_pool: Pools) -> None:
    pool = signer_pool(2, 2)
    first = pids_of(pool)
    pool.stop(1)
    with pytest.raises(TooFewPartialsError):
        pool.sign([1])
    pool.start()
    assert pool.sign([1]).outcome.signed == 1
    assert pids_of(pool)[0] != first[0]
    assert pids_of(pool)[1] == first[1]


def test_two_pools_of_one_test_are_apart(signer_pool: Pools) -> None:
    one, other = signer_pool(2, 2), signer_pool(2, 2)
    assert {c.body.kex for c in one.group.cards}.isdisjoint(c.body.kex for c in other.group.cards)
    assert one.sign([1]).outcome.signed == other.sign([2]).outcome.signed == 1


def test_the_client_asks_one_agent(signer_pool: Pools) -> None:
    pool = signer_pool(2, 3)

    async def ask() -> int:
        reply = await pool.client(3).sign(pool.request([5]), seconds=20)
        assert (await AgentClient(pool.sockets[1]).status()).index == 2
        assert (await pool.sign_request(pool.request([5]))).outcome.signed == 1
        return int(reply.index)

    assert asyncio.run(ask()) == 3


def test_nothing_is_left_behind(
    softhsm_mint: TokenMint, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("p") / "pool"
    pool = RunningPool.make(folder, softhsm_mint, 2, 2)
    pids = pids_of(pool)
    assert len(pids) == 2
    pool.close()
    assert not folder.exists()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.case("X742", "an agent of the fixture that cannot start: its log is in the error")
def test_an_agent_that_cannot_start_says_why(signer_pool: Pools) -> None:
    with pytest.raises(AssertionError, match=r"(?s)agent 1: .*E_CONFIG"):
        signer_pool(2, 2, threads="0")


def test_a_killed_nursery_takes_its_agents_along(signer_pool: Pools) -> None:
    pool = signer_pool(2, 2)
    pids = pids_of(pool)
    os.kill(pool.nursery.pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))
    for holder in pool.holders:
        holder.agent = None


def test_a_killed_test_run_leaves_no_agent(tmp_path: Path) -> None:
    """pytest is killed with a pool running: the nursery ends the agents."""
    test = tmp_path / "test_hang.py"
    test.write_text(
        "import time\n"
        "def test_hang(signer_pool):\n"
        "    pool = signer_pool(2, 2)\n"
        "    for holder in pool.holders:\n"
        "        print(holder.agent.pid, flush=True)\n"
        "    print(pool.pool.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-s", "--no-header", "-p", "no:cacheprovider",
         "-c", "/dev/null", "--rootdir", str(tmp_path), str(test)],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        pids: list[int] = []
        while len(pids) < 2:
            line = process.stdout.readline()
            assert line, "pytest ended"
            if line.strip().isdigit():
                pids.append(int(line))
        left = Path(process.stdout.readline().strip())
        assert all(alive(pid) for pid in pids)
        process.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))
    assert left.is_dir()  # files stay, as with any test that was killed
    subprocess.run(["rm", "-r", str(left.parent)], check=True)


def test_a_pool_runs_within_two_seconds(
    softhsm_mint: TokenMint, signer_pool: Pools, record_property: Callable[[str, object], None]
) -> None:
    start = time.monotonic()
    pool = signer_pool(3, 5)
    spent = time.monotonic() - start
    record_property("fixture_pool_s", round(spent, 3))
    assert len(pids_of(pool)) == 5
    assert spent < 3 * MOST_SECONDS


# Hostile tokens under agents and workers


def test_a_failing_token_costs_only_its_partial(signer_pool: Pools) -> None:
    pool = signer_pool(2, 3, hostile={1})
    pool.hostile[1].fail("C_DeriveKey", Ckr.DEVICE_ERROR)
    signed = pool.sign([1])
    assert signed.outcome.signers == (2, 3)
    assert signed.failures == {1: "E_TOKEN"}
    pool.hostile[1].calm()
    assert set(pool.sign([2], among={1, 2}).outcome.signers) == {1, 2}


@pytest.mark.case("X743", "a token unplugged under an agent: status says so, and it comes back")
def test_an_agent_sees_its_token_go_and_come_back(signer_pool: Pools) -> None:
    pool = signer_pool(2, 2, hostile={2}, probe_seconds="1")
    until(lambda: token_of(pool, 2)[0] == "ready")
    pool.hostile[2].unplug()
    until(lambda: token_of(pool, 2)[0] == "absent")
    assert "no token has label 'holder-2'" in token_of(pool, 2)[1]
    with pytest.raises(TooFewPartialsError):
        pool.sign([1])
    pool.hostile[2].plug()
    until(lambda: token_of(pool, 2)[0] == "ready")
    assert pool.sign([1]).outcome.signed == 1


@pytest.mark.case("X744", "a token under an agent refuses the right PIN: tried once, never again")
def test_an_agent_tries_a_refused_pin_once(signer_pool: Pools) -> None:
    pool = signer_pool(2, 3, hostile={1}, probe_seconds="1")
    pool.hostile[1].refuse_pin()
    codes = [pool.sign([number]).failures[1] for number in (1, 2, 3)]
    assert codes == ["E_PIN_REFUSED"] * 3
    assert len(pool.hostile[1].faults) == 1


@pytest.mark.case("X745", "a token under an agent that has one try left, or is locked")
def test_an_agent_never_spends_the_last_try(signer_pool: Pools) -> None:
    pool = signer_pool(2, 3, hostile={1}, probe_seconds="1")
    pool.hostile[1].lock_after(1)
    until(lambda: token_of(pool, 1)[0] == "locked")
    assert pool.sign([1]).failures == {1: "E_PIN_FINAL_TRY"}
    pool.hostile[1].lock_after(0)
    until(lambda: "is locked" in token_of(pool, 1)[1])
    assert pool.sign([2]).failures == {1: "E_PIN_LOCKED"}
    assert pool.hostile[1].faults == []  # no PIN was tried meanwhile


def verify(pool: RunningPool, seconds: float) -> None:
    """Have a worker open the first holder's share with his hostile module."""
    holder = pool.holder(1)
    token = TokenChoice(
        profile=load_profile("softhsm2"), module=str(pool.hostile[1].module),
        label=holder.token.label,
    )  # fmt: skip
    job = VerifyShare(
        token=token, pin=SecretSource(file=str(holder.token.pin_file)),
        group=pool.pool.group.read_text(), envelope=holder.envelope.read_text(),
        card=None,
    )  # fmt: skip
    run_worker(job, environment=module_environment(()), seconds=seconds)


@pytest.mark.case("X746", "a module that hangs, kills its process or gives a false ECDH result")
def test_a_worker_ends_in_time_whatever_its_module_does(signer_pool: Pools) -> None:
    pool = signer_pool(2, 2, hostile={1})
    hostile = pool.hostile[1]
    codes = {}

    def trial(name: str, seconds: float = 10) -> None:
        start = time.monotonic()
        try:
            verify(pool, seconds)
            codes[name] = "ok"
        except SignerError as error:
            codes[name] = error.code
        assert time.monotonic() - start < seconds + 2
        hostile.calm()

    trial("calm")
    hostile.delay("C_Login", 0.5)
    trial("slow")
    hostile.delay("C_Login", 3600)
    trial("hangs", 1.5)
    hostile.crash("C_DeriveKey")
    trial("crashes")
    hostile.crash("C_Initialize", signal.SIGABRT)
    trial("crashes at once")
    before_secret = reads_before_secret(pool)
    hostile.garble("C_GetAttributeValue", skip=before_secret)
    trial("garbled ECDH")
    hostile.truncate("C_GetAttributeValue", 31, skip=before_secret)
    trial("short ECDH")
    trial("calm again")
    assert codes == {
        "calm": "ok",
        "slow": "ok",
        "hangs": "E_TIMEOUT",
        "crashes": "E_WORKER",
        "crashes at once": "E_WORKER",
        "garbled ECDH": "E_UNSEAL",
        "short ECDH": "E_TOKEN",
        "calm again": "ok",
    }


def reads_before_secret(pool: RunningPool) -> int:
    """Return how often a worker reads attributes before it reads the ECDH result."""
    hostile = pool.hostile[1]
    before = len(hostile.faults)
    hostile.delay("C_GetAttributeValue", 0)
    hostile.delay("C_DeriveKey", 0)
    verify(pool, 10)
    hostile.calm()
    calls = [fault.function for fault in hostile.faults[before:]]
    return calls.index("C_DeriveKey") + 2  # python-pkcs11 asks twice what was derived

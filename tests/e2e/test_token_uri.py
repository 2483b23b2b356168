"""Tokens by URI on real ones: what is listed goes into a shell and into agent.yaml as it stands."""

import asyncio
import json
import shlex
import subprocess
import sys
import time

import pytest

from signer.client import AgentClient, AgentStatus
from signer.custody.desk import read_group
from signer.errors import AgentError
from signer.messages.address import ExecutionAddress
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, Holder, Pool, summary

pytestmark = pytest.mark.softhsm


@pytest.fixture
def twins(pool: Pool) -> Holder:
    """Return a holder beside whose token is another with the same label, without keys."""
    holder = pool.holders[0]
    holder.token.initialise(holder.token.label)
    return holder


def listed(pool: Pool, holder: Holder) -> tuple[str, str]:
    """Return the last cell of `signer token list` for his token and for the other, as printed.

    His is the one with the keys; `setup` says so.
    """
    rows = pool.run("token", "list", holder=holder).stdout.splitlines()
    cells = [row.split("  ")[-1] for row in rows if holder.token.label in row]
    own = []
    for cell in cells:
        card = holder.folder / "looked.json"
        done = pool.run("token", "card", "--token", shlex.split(cell)[0], "--pin-file",
                        holder.token.pin_file, "--name", "x", "--out", card,
                        holder=holder, expect=None)  # fmt: skip
        own.append(done.returncode == 0)
        card.unlink(missing_ok=True)
    assert sorted(own) == [False, True]
    return cells[own.index(True)], cells[own.index(False)]


def ask(pool: Pool, holder: Holder) -> SignReply:
    group, address = read_group(pool.group), ExecutionAddress.parse(TEST_ADDRESS)
    request = SignRequest.new(group, [(5, address)], expires=int(time.time()) + 3600)
    return asyncio.run(AgentClient(holder.socket).sign(request, seconds=30))


def state_of(holder: Holder) -> AgentStatus:
    """Return the agent's status once it has looked at its token."""
    for _ in range(200):
        status = asyncio.run(AgentClient(holder.socket).status())
        if status.token.state != "unknown":
            return status
        time.sleep(0.05)
    pytest.fail("the agent has not looked at its token")


@pytest.mark.case("X930", "agent.yaml: a label that two tokens have, against the URI of one")
def test_an_agent_starts_from_a_uri(pool: Pool, twins: Holder) -> None:
    ours, _ = listed(pool, twins)
    pool.start_agent(twins)
    assert state_of(twins).token.state == "present"
    with pytest.raises(AgentError) as refused:
        ask(pool, twins)
    assert refused.value.code == "E_TOKEN_AMBIGUOUS"
    assert "serial=" in twins.log.read_text()
    pool.stop_agent(twins)
    token = f"{{profile: softhsm2, uri: {ours}}}"  # quoted as it was printed
    pool.start_agent(twins, token=token)
    status = state_of(twins)
    assert (status.token.state, status.token.uri) == ("ready", shlex.split(ours)[0])
    assert status.document["token"]["label"] == twins.token.label
    assert all(partial is not None for partial in ask(pool, twins).partials)
    assert ours in pool.run("agent", "status", twins.socket).stdout
    config = twins.folder / "agent.yaml"
    found = json.loads(
        pool.run("doctor", "--config", config, "--json", holder=twins, expect=None).stdout
    )["findings"]
    (token_found,) = (entry for entry in found if entry["code"] == "D_TOKEN")
    assert token_found["state"] == "ok"
    assert ours in token_found["what"]
    assert "D_TOKEN_SERIAL" not in {entry["code"] for entry in found}


def test_an_agent_takes_the_module_of_its_uri(pool: Pool) -> None:
    holder = pool.holders[1]
    uri = (
        f"pkcs11:token={holder.token.label}?module-path={holder.token.module}"
        f"&pin-source=file:{holder.token.pin_file}"
    )
    pool.start_agent(holder, token=f"{{profile: softhsm2, uri: '{uri}'}}")
    assert all(partial is not None for partial in ask(pool, holder).partials)
    assert state_of(holder).token.uri == f"pkcs11:token={holder.token.label}"
    absent = uri.replace("module.so", "absent.so")
    pool.stop_agent(holder)
    pool.start_agent(holder, token=f"{{profile: softhsm2, uri: '{absent}'}}")
    assert state_of(holder).token.state == "absent"
    assert "absent.so" in holder.log.read_text()


@pytest.mark.case("X931", "a URI pasted into a shell, of one of two tokens with the same label")
def test_what_is_listed_goes_into_a_shell(pool: Pool, twins: Holder) -> None:
    def made(cell: str) -> list[str]:
        line = f"{shlex.quote(sys.executable)} -m signer token setup --token {cell} "
        line += f"--pin-file {shlex.quote(str(twins.token.pin_file))} --json"
        done = subprocess.run(["sh", "-c", line], env=twins.token.environment, text=True,
                              capture_output=True, check=True, timeout=60)  # fmt: skip
        made: list[str] = json.loads(done.stdout)["made"]
        return made

    ours, other = listed(pool, twins)
    assert made(ours) == []
    assert made(other) == ["id-sign", "epoch-kex"]
    line = pool.run("token", "setup", "--token", "pkcs11:token=holder-1", "--pin-file",
                    twins.token.pin_file, holder=twins, expect=7).stderr  # fmt: skip
    assert line.startswith("E_TOKEN_AMBIGUOUS")
    assert ours in line
    assert other in line
    line = pool.run("token", "setup", "--token", "pkcs11:token=holder-1;serial=00", "--pin-file",
                    twins.token.pin_file, holder=twins, expect=7).stderr  # fmt: skip
    assert line.startswith("E_TOKEN_ABSENT")
    assert ours in line


def test_a_uri_brings_module_and_pin_to_a_command(pool: Pool) -> None:
    holder = pool.holders[2]
    uri = (
        f"pkcs11:token={holder.token.label}?module-path={holder.token.module}"
        f"&pin-source=file:{holder.token.pin_file}"
    )
    done = pool.run("token", "setup", "--token", uri, "--json", holder=holder)
    assert summary(done)["present"] == ["id-sign", "epoch-kex"]
    wrong = uri.replace("module.so", "absent.so")
    done = pool.run("token", "setup", "--token", wrong, holder=holder, expect=7)
    assert "absent.so" in done.stderr

"""The doctor's findings about one agent: its configuration, socket, journal, process."""

import fcntl
import os
import socket
import time
from pathlib import Path

import pytest

from signer.agent.doctor import (
    Confinement,
    examine,
    examine_device,
    journal_holder,
    pin_finding,
    socket_finding,
    unit_finding,
)
from signer.custody import doctor_token
from signer.custody.doctor import Finding
from signer.custody.doctor_device import Wanted
from signer.custody.doctor_files import Inspector
from signer.custody.jobs.sources import SecretSource
from signer.custody.journal import Journal
from signer.errors import ProfileError
from signer.hsm.profile import load_profile
from signer.messages.items import Change
from tests.simulators.holders import ADDRESS, SimulatedPool

CONFINED = Confinement(
    status={"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000"},
    limits=(
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max core file size        0                    0                    bytes\n"
        "Max locked memory         unlimited            unlimited            bytes\n"
    ),
)

DEVICE = {"D_DEVICE", "D_DEVICE_NODE", "D_PCSC"}


def states(findings: list[Finding]) -> dict[str, str]:
    return {found.code: found.state for found in findings}


def config(tmp_path: Path, **changes: str) -> Path:
    settings = {
        "version": "1", "socket": "run/agent.sock", "state": "state", "group": "group.json",
        "envelope": "e.json", "policy": "policy.yaml",
        "token": "{profile: softhsm2, serial: 'aa', module: /nowhere/module.so}",
        "pin": "{file: pin}", "peers": "{status: [0], sign: [0]}",
    } | changes  # fmt: skip
    path = tmp_path / "agent.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    path.chmod(0o640)
    return path


MACHINE = {"D_WORKER", "D_CORE", "D_MEMLOCK", "D_SWAP", "D_PTRACE", "D_CLOCK"}


def test_without_a_configuration_the_machine_and_what_is_plugged_in_are_looked_at() -> None:
    assert {"D_DEVICE"} <= set(states(examine_device(None, None))) - MACHINE
    assert set(states(examine_device(None, None))) - MACHINE <= DEVICE
    assert set(states(examine_device("luna", None))) - MACHINE == {"D_MODULE", "D_TOKEN"}
    with pytest.raises(ProfileError):
        examine_device("no-such-profile", None)


def test_an_agents_device_is_looked_for_as_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Wanted] = []

    def look(wanted: Wanted) -> list[Finding]:
        asked.append(wanted)
        return [Finding("D_PCSC", "ok", "x")]

    monkeypatch.setattr(doctor_token, "look_for_device", look)
    token = "{profile: yubikey-piv, serial: 'aa', module: /nowhere/libykcs11.so}"
    found = states(examine(config(tmp_path, token=token)))
    assert (found["D_PCSC"], found["D_MODULE"]) == ("ok", "bad")
    (wanted,) = asked
    assert wanted.agent
    assert not wanted.reached
    assert wanted.person.uid == os.geteuid()
    assert wanted.profile == load_profile("yubikey-piv")
    assert wanted.module == Path("/nowhere/libykcs11.so")


def test_a_configuration_whose_files_are_all_missing_gives_findings(tmp_path: Path) -> None:
    found = states(examine(config(tmp_path)))
    for code in ("D_GROUP_FILE", "D_ENVELOPE_FILE", "D_POLICY_FILE", "D_PIN_FILE", "D_PAPERS"):
        assert found[code] == "bad", code
    assert found["D_CONFIG"] == found["D_STATE_FOLDER"] == found["D_SOCKET_FOLDER"] == "ok"
    assert found["D_JOURNAL"] == found["D_JOURNAL_MARK"] == found["D_PIN_GUARD"] == "ok"
    assert found["D_SOCKET"] == found["D_UNIT"] == found["D_TOKEN"] == "skipped"
    assert found["D_MODULE"] == "bad"


@pytest.mark.case("X345", "doctor: configuration absent, empty, binary, a folder, a FIFO, a link")
@pytest.mark.parametrize("kind", ["absent", "empty", "binary", "folder", "fifo", "loop", "open"])
def test_a_configuration_that_cannot_be_read_is_one_finding(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "agent.yaml"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "open":
        config(tmp_path).chmod(0o666)
    found = states(examine(path))
    assert found["D_CONFIG"] == "bad"
    assert found["D_AGENT"] == "skipped"
    assert found["D_WORKER"] == "ok"


@pytest.mark.case("X346", "doctor: files that are folders, FIFOs, loops, garbage")
@pytest.mark.parametrize("kind", ["folder", "fifo", "loop", "garbage", "long"])
def test_no_file_makes_it_stumble(tmp_path: Path, kind: str) -> None:
    names = ("group.json", "e.json", "policy.yaml", "pin", "state", "run")
    changes: dict[str, str] = {}
    for name in names:
        path = tmp_path / name
        if kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "garbage":
            path.write_bytes(bytes(range(256)))
    if kind == "long":
        changes = {"group": "x" * 300, "state": "y" * 300 + "/z"}
    found = states(examine(config(tmp_path, **changes)))
    assert found["D_GROUP_FILE" if kind != "garbage" else "D_PAPERS"] == "bad"


@pytest.mark.case("X705", "doctor: journal and PIN guard that an agent would not start with")
def test_what_the_agent_keeps_is_looked_at(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "journal.jsonl").write_text("garbage\n")
    (state / "journal.jsonl").chmod(0o600)
    (state / "pin-guard.json").write_text("{")
    (tmp_path / "e.json.journal").write_text("{}")
    found = states(examine(config(tmp_path)))
    assert [found[code] for code in ("D_JOURNAL", "D_JOURNAL_MARK", "D_PIN_GUARD")] == ["bad"] * 3


def test_the_clock_is_held_against_the_last_intent(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    ahead = time.time() + 200
    pool = SimulatedPool.new()
    with Journal.open(state / "journal.jsonl", pool.group, 1, clock=lambda: ahead) as journal:
        assert states(examine(config(tmp_path)))["D_CLOCK"] == "ok"
        journal.intent(bytes(32), [Change(1, ADDRESS)], 0)
        assert states(examine(config(tmp_path)))["D_CLOCK"] == "bad"


def test_who_has_the_journal_is_found(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    locks = Path("/proc/locks")
    assert journal_holder(journal, locks.read_text()) is None
    with journal.open("w") as file:
        assert journal_holder(journal, locks.read_text()) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        assert journal_holder(journal, locks.read_text()) == os.getpid()
    assert journal_holder(journal, "garbage\n1: FLOCK\n") is None


def test_a_running_agent_is_judged_by_what_confines_it() -> None:
    assert unit_finding(CONFINED).state == "ok"
    assert unit_finding(None).state == "skipped"
    for name, value, word in (
        ("NoNewPrivs", "0", "privileges"),
        ("Seccomp", "0", "system calls"),
        ("CapEff", "0000000000000001", "capabilities"),
    ):
        found = unit_finding(
            Confinement(status=CONFINED.status | {name: value}, limits=CONFINED.limits)
        )
        assert found.state == "warn"
        assert word in found.what
    without = unit_finding(Confinement(status={}, limits=""))
    assert without.what.count(",") == 4


@pytest.mark.case("H3", "doctor: an agent that runs under a finite memory limit")
def test_the_lock_that_counts_is_the_running_agents() -> None:
    finite = CONFINED.limits.replace("unlimited", "8388608  ")
    assert not Confinement(status=CONFINED.status, limits=finite).locks_memory
    may = CONFINED.status | {"CapEff": "0000000000004000"}  # CAP_IPC_LOCK
    assert Confinement(status=may, limits=finite).locks_memory
    assert Confinement(status={"CapEff": "x"}, limits=CONFINED.limits).locks_memory


def test_this_process_can_be_looked_at() -> None:
    running = Confinement.of(os.getpid())
    assert running is not None
    assert running.limit("Max open files") is not None
    assert Confinement.of(2**22 + 1) is None


@pytest.mark.case("K12", "doctor: the socket's path is a file, a link, open to anybody")
def test_the_socket_is_looked_at_and_nobody_connects(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    assert socket_finding(path).state == "skipped"
    path.write_text("x")
    assert socket_finding(path).state == "bad"
    path.unlink()
    path.symlink_to(tmp_path)
    assert socket_finding(path).state == "bad"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o660)
        assert socket_finding(path).state == "ok"
        path.chmod(0o666)
        assert socket_finding(path).state == "warn"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert socket_finding(path / "x").state == "bad"


def test_a_pin_that_is_in_no_file_is_no_trouble(tmp_path: Path) -> None:
    inspector = Inspector(os.geteuid())
    assert pin_finding(None, inspector).state == "ok"
    assert pin_finding(SecretSource(terminal=5), inspector).state == "ok"
    absent = SecretSource(file="/run/credentials/no-such-unit.service/pin")
    assert pin_finding(absent, inspector).state == "skipped"
    assert pin_finding(SecretSource(file=str(tmp_path / "pin")), inspector).state == "bad"

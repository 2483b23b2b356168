"""The units are as confined as they claim, and what they confine still works."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from signer.testing.pool import Pool
from tests.conftest import unavailable
from tests.simulators.confined import allowed_calls, settings

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
SERVICE = UNITS / "signer-agent@.service"
SOCKET = UNITS / "signer-agent@.socket"
DROP_INS = sorted((UNITS / "drop-ins").glob("*.conf"))


@pytest.fixture(scope="module", autouse=True)
def systemd_analyze() -> None:
    """Skip where systemd's tools are not installed; in CI that is a failure."""
    if shutil.which("systemd-analyze") is None:
        unavailable("no systemd-analyze on this machine")


def exposure(unit: Path) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+) ", done.stdout)
    assert match is not None, done.stdout[-300:]
    return float(match[1])


def merged(drop_in: Path | None, folder: Path, *, program: str | None = None) -> Path:
    """Write the unit with a drop-in's lines in their sections, as systemd would merge them."""
    text = SERVICE.read_text()
    if program is not None:
        text = text.replace("/opt/signer/bin/signer", program)
    sections = re.split(r"^(?=\[)", drop_in.read_text(), flags=re.MULTILINE) if drop_in else []
    for section in sections[1:]:
        head, _, lines = section.partition("\n")
        assert text.count(f"{head}\n") == 1
        before, _, after = text.partition(f"{head}\n")
        own, mark, rest = after.partition("\n[")
        text = f"{before}{head}\n{own}\n{lines}{mark}{rest}"
    path = folder / SERVICE.name
    path.write_text(text)
    return path


@pytest.mark.parametrize("drop_in", [None, *DROP_INS], ids=lambda p: p.stem if p else "unit")
def test_exposure_is_under_two(drop_in: Path | None, tmp_path: Path) -> None:
    found = exposure(merged(drop_in, tmp_path))
    assert 0 < found < 2.0
    assert drop_in is not None or found < 1.0


def test_the_number_is_of_this_unit(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > 9


@pytest.mark.parametrize("drop_in", [None, *DROP_INS], ids=lambda p: p.stem if p else "unit")
def test_systemd_understands_every_line(drop_in: Path | None, tmp_path: Path) -> None:
    merged(drop_in, tmp_path, program="/bin/true").rename(tmp_path / "signer-agent@h3.service")
    shutil.copy(SOCKET, tmp_path / "signer-agent@h3.socket")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
         tmp_path / "signer-agent@h3.service", tmp_path / "signer-agent@h3.socket"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "signer-agent" not in said, said
    if done.returncode != 0:
        pytest.skip(f"systemd-analyze verify cannot be used here: {said[:200]}")


def test_what_the_agent_needs_is_not_taken_away() -> None:
    values = settings(SERVICE)
    calls = allowed_calls(values["SystemCallFilter"])
    assert {"setrlimit", "prlimit64", "mlockall", "prctl", "clone", "execve", "flock"} <= calls
    assert calls.isdisjoint({"ptrace", "mount", "bpf", "kexec_load", "setuid", "init_module"})
    assert values["PrivateUsers"] == ["no"]  # else every caller is `nobody`
    assert values["LimitMEMLOCK"] == ["infinity"]
    assert values["LimitCORE"] == ["0"]
    assert values["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert values["Type"] == ["notify"]


def test_socket_service_and_example_name_the_same_places() -> None:
    example = (ROOT / "deploy/agent.example.yaml").read_text()
    socket = re.search(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE)
    assert socket is not None
    assert f"socket: {socket[1].replace('%i', 'h3')}\n" in example
    assert (
        f"state: /var/lib/{settings(SERVICE)['StateDirectory'][0].replace('%i', 'h3')}\n" in example
    )
    control = settings(SERVICE)["RuntimeDirectory"][0].replace("%i", "h3")
    assert f"control: /run/{control}/" in example
    assert "envelope: /etc/signer/h3/share/" in example


@pytest.mark.parametrize("tool", ["systemd-sysusers", "systemd-tmpfiles"])
def test_users_and_folders_can_be_made(tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None or os.geteuid() != 0:
        unavailable(f"no {tool}, or not root")
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).write_text("root:x:0:0::/root:/bin/sh\n" if name == "passwd"
                                             else "root:x:0:\nsigner:x:990:\n")  # fmt: skip
    kind = tool.removeprefix("systemd-")
    conf = ROOT / "deploy" / f"{kind}.d" / "signer.conf"
    options = [f"--root={tmp_path}", *(["--create"] if kind == "tmpfiles" else [])]
    done = subprocess.run(
        [tool, *options, conf], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    if kind == "sysusers":
        groups = (tmp_path / "etc/group").read_text()
        assert "signer-clients:" in groups
        assert "signer:" in (tmp_path / "etc/passwd").read_text()
    else:
        assert (tmp_path / "etc/signer").stat().st_mode & 0o777 == 0o750
        assert (tmp_path / "var/lib/signer").is_dir()


def test_an_agent_signs_under_the_units_system_calls(pool: Pool) -> None:
    """Seccomp, no capabilities, no writable executable memory; mounts and name spaces not."""
    probe = [sys.executable, str(ROOT / "tests/simulators/confined.py"), str(SERVICE)]
    tried = subprocess.run(
        [*probe, sys.executable, "-c", "import os; os.nice(1)"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "confined.py" in tried.stderr:
        pytest.skip(f"this kernel or machine cannot confine: {tried.stderr.splitlines()[-1]}")
    assert "PermissionError" in tried.stderr  # the filter is there
    holders = pool.holders[:3]
    with pool:
        for holder in holders:
            config = pool.write_agent_config(holder)
            with holder.log.open("ab") as log:
                holder.agent = subprocess.Popen(
                    [*probe, sys.executable, "-m", "signer", "agent", "run", "--config", config],
                    env=holder.token.environment, stderr=log, stdin=subprocess.DEVNULL,
                )  # fmt: skip
        deadline = time.monotonic() + 20
        while not all(holder.socket.exists() for holder in holders):
            assert time.monotonic() < deadline, [h.log.read_text() for h in holders]
            time.sleep(0.05)
        pool.sign(pool.request([1, 2]), pool.folder / "out", agents=[h.socket for h in holders])

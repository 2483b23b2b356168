"""`signer doctor` as people and programs see it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signer.custody.doctor import Finding
from tests.conftest import unavailable

CODES = {"D_MODULE", "D_PROFILE", "D_TOKEN", "D_PIN_STATE"}


def signer(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "signer", *arguments],
        env=os.environ | environment,
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_programs_get_findings_by_name(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    done = signer("doctor", "--config", str(path), "--json")
    value = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(value) == {"version", "findings", "bad", "warn"}
    assert value["version"] == 1
    assert value["bad"] == sum(found["state"] == "bad" for found in value["findings"]) == 1
    for found in value["findings"]:
        assert set(found) == {"code", "state", "what", "fix"}
        assert all(isinstance(part, str) for part in found.values())


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("ok", 0, "All is well."),
        ("skipped", 0, "All is well."),
        ("warn", 0, "1 warn; nothing is bad."),
        ("bad", 1, "1 bad."),
    ],
)
def test_people_get_a_table_what_to_do_and_a_verdict(
    monkeypatch: pytest.MonkeyPatch, state: str, status: int, words: str
) -> None:
    from click.testing import CliRunner

    from signer.agent import doctor
    from signer.cli.doctor import command
    from signer.cli.printer import Printer

    finding = Finding("D_X", state, "what\x1b[2J", "mend\nit")
    monkeypatch.setattr(doctor, "examine", lambda config: [finding])
    done = CliRunner().invoke(command, ["--config", "x"], obj=Printer(), standalone_mode=False)
    assert done.return_value == status
    assert done.output.endswith(f"{words}\n")
    assert "\x1b" not in done.output
    assert ("What to do\n  D_X: mend\\nit\n" in done.output) == (state in ("warn", "bad"))


@pytest.mark.case("X979", "doctor with a configuration and a profile; a profile that there is not")
def test_options_that_do_not_go_together() -> None:
    for option, value in (("--profile", "softhsm2"), ("--module", "/nowhere.so")):
        done = signer("doctor", "--config", "x.yaml", option, value)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("E_USAGE: --config names profile and module itself")
    done = signer("doctor", "--profile", "no-such")
    assert done.returncode == 1
    assert done.stderr.startswith("E_PROFILE: no device profile is called 'no-such'")
    assert "softhsm2" in done.stderr


def test_completion_knows_the_profiles() -> None:
    from signer.cli.doctor import _profiles

    assert "yubihsm2" in _profiles(None, None, "yubi")  # type: ignore[arg-type]
    assert "softhsm2" not in _profiles(None, None, "yubi")  # type: ignore[arg-type]


@pytest.mark.softhsm
def test_a_device_is_looked_at_without_a_configuration_and_without_a_pin(
    softhsm_store: Path,
) -> None:
    def looked_at() -> tuple[int, dict[str, str], dict[str, str]]:
        done = signer("doctor", "--profile", "softhsm2", "--json", SOFTHSM2_CONF=str(softhsm_store))
        assert done.stderr == ""
        found = [f for f in json.loads(done.stdout)["findings"] if f["code"] in CODES]
        return (
            done.returncode,
            {f["code"]: f["state"] for f in found},
            {f["code"]: f["fix"] for f in found},
        )

    status, states, fixes = looked_at()
    assert (status, states) == (1, {"D_MODULE": "ok", "D_PROFILE": "ok", "D_TOKEN": "bad"})
    assert fixes["D_TOKEN"] == "once: softhsm2-util --init-token --free --label NAME"
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "desk", "--so-pin", "12345678",
         "--pin", "1234"],
        env={"SOFTHSM2_CONF": str(softhsm_store)}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    before = contents(softhsm_store.parent)
    status, states, _ = looked_at()
    assert (status, set(states)) == (0, CODES)
    assert set(states.values()) == {"ok"}
    assert contents(softhsm_store.parent) == before  # it changed nothing


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def softhsm_store(tmp_path: Path) -> Path:
    """Return the configuration of a SoftHSM without tokens."""
    if shutil.which("softhsm2-util") is None:
        unavailable("SoftHSM (softhsm2) is not installed")
    (tmp_path / "tokens").mkdir(mode=0o700)
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    return config


@pytest.mark.case("H8", "doctor under LANG=C, a Turkish locale, no locale at all")
@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8", "POSIX", ""])
def test_any_locale_will_do(locale: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "signer", "doctor", "--json"],
        env={"LANG": locale, "LC_ALL": locale}, cwd=Path(__file__).resolve().parents[3],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in (0, 1)
    assert json.loads(done.stdout)["findings"]
    assert done.stderr == ""


@pytest.mark.case("H9", "doctor with standard input closed")
def test_a_closed_standard_input_will_do() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m signer doctor --json <&-', sys.executable],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    found = {entry["code"]: entry["state"] for entry in json.loads(done.stdout)["findings"]}
    assert found["D_WORKER"] == "ok"

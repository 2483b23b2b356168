"""`signer doctor` as people and programs see it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from signer.custody.doctor import Finding


def signer(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "signer", *arguments],
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
    done = CliRunner().invoke(command, [], obj=Printer(), standalone_mode=False)
    assert done.return_value == status
    assert done.output.endswith(f"{words}\n")
    assert "\x1b" not in done.output
    assert ("What to do\n  D_X: mend\\nit\n" in done.output) == (state in ("warn", "bad"))


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

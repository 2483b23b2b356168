"""`signer token udev`: stdout is a rules file, whatever else is said."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from signer.hsm.udev import RULES_NAME, load_rules
from tests.unit.cli.test_completion import completions

SIGNER = Path(sys.executable).with_name("signer")
RULES = (Path(__file__).parents[3] / "udev" / RULES_NAME).read_bytes()


def run(*words: str) -> tuple[int, bytes, str]:
    done = subprocess.run(
        [SIGNER, "token", "udev", *words], capture_output=True, check=False, timeout=30
    )
    return done.returncode, done.stdout, done.stderr.decode()


def at_a_terminal(*words: str) -> tuple[bytes, str]:
    """Run with stderr on a terminal, stdout piped, as before `| sudo tee`."""
    parent, child = pty.openpty()
    try:
        done = subprocess.run(
            [SIGNER, "token", "udev", *words],
            stdout=subprocess.PIPE, stderr=child, check=True, timeout=30,
        )  # fmt: skip
    finally:
        os.close(child)
    said = b""
    try:
        while part := os.read(parent, 65536):
            said += part
    except OSError:  # what a terminal without a writer says at its end
        pass
    finally:
        os.close(parent)
    return done.stdout, said.decode().replace("\r\n", "\n")


def test_stdout_is_the_file_byte_for_byte() -> None:
    assert run() == (0, RULES, "")
    assert run("--device", "yubihsm2") == (0, RULES, "")


def test_another_group() -> None:
    status, out, said = run("--group", "hsm-users")
    assert (status, said) == (0, "")
    assert out == RULES.replace(b'GROUP="signer"', b'GROUP="hsm-users"') != RULES


def test_json() -> None:
    status, out, said = run("--json", "--group", "hsm")
    assert (status, said) == (0, "")
    value = json.loads(out)
    assert value["version"] == 1
    assert value["path"] == "/etc/udev/rules.d/70-signer-hsm.rules"
    assert value["rules"] == load_rules().for_group("hsm").text
    assert value["devices"] == [
        {
            "name": "yubihsm2", "title": "YubiHSM 2", "vendor": "1050", "product": "0030",
            "group": "hsm", "mode": "0660", "tags": ["uaccess"],
        }
    ]  # fmt: skip


def test_at_a_terminal_it_says_how_to_install() -> None:
    out, said = at_a_terminal("--device", "yubihsm2", "--group", "daemon")
    assert out == load_rules().for_group("daemon").text.encode()
    assert said.splitlines() == [
        "install: signer token udev --device yubihsm2 --group daemon "
        "| sudo tee /etc/udev/rules.d/70-signer-hsm.rules",
        "reload:  sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb",
    ]


def test_at_a_terminal_it_says_that_the_group_is_missing() -> None:
    out, said = at_a_terminal("--group", "no-such-group-here")
    assert out.count(b"no-such-group-here") == 1
    assert "there is no group no-such-group-here" in said


def test_json_is_alone_at_a_terminal_too() -> None:
    out, said = at_a_terminal("--json")
    assert said == ""
    assert json.loads(out)["version"] == 1


@pytest.mark.case("X850", "udev group: what udev, a shell or a terminal would read as more")
@pytest.mark.parametrize("group", ['x", RUN+="/bin/sh', "", "46"])
def test_a_group_that_is_none(group: str) -> None:
    status, out, said = run("--group", group)
    assert (status, out) == (2, b"")
    assert said.startswith("E_USAGE: ")
    assert said.count("\n") == 1


@pytest.mark.case("X851", "udev device that no rule is for")
def test_a_device_without_a_rule() -> None:
    status, out, said = run("--device", "nitrokey")
    assert (status, out) == (2, b"")
    assert said.startswith("E_USAGE: there is no udev rule for a device called 'nitrokey'")
    assert "known: yubihsm2" in said


def test_completion() -> None:
    assert "udev" in completions("token", "")
    assert {"--device", "--group", "--json"} <= set(completions("token", "udev", "--"))
    assert completions("token", "udev", "--device", "") == ["yubihsm2"]
    assert "yubihsm2" not in completions("token", "udev", "--device", "n")

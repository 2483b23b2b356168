"""`--device`: the suite on one token that somebody names, and on no other."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.keys import ensure_keys

pytestmark = pytest.mark.softhsm

SUITE = Path(__file__).parent
FILES = ("test_discovery.py", "test_epoch_keys.py", "test_data_objects.py", "test_lockout.py")


def suite(softhsm: Any, *options: str, files: tuple[str, ...] = FILES) -> tuple[int, str]:
    """Run some files of the suite with these options; return the status and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [str(SUITE / name) for name in files]
    done = subprocess.run(
        [*command, "--device-module", str(softhsm.module), *options],
        cwd=SUITE.parents[1], env={**os.environ, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def options(softhsm: Any, serial: str, pin: bytes = b"1234") -> tuple[str, ...]:
    path = str(softhsm.pin_file(pin).path)
    return ("--device", serial, "--device-profile", "softhsm2", "--device-pin-file", path)


def serial_of(softhsm: Any, label: str) -> str:
    with softhsm.load() as module:
        return str(find_token(module, TokenSelector(label)).serial)


def test_a_device_is_tested_and_left_empty(softhsm: Any) -> None:
    softhsm.add_token("desk")
    softhsm.add_token("other")
    status, said = suite(softhsm, *options(softhsm, serial_of(softhsm, "desk")))
    assert status == 0, said
    found = re.search(r"(\d+) passed, (\d+) deselected", said)
    assert found, said
    assert int(found[1]) >= 20
    assert "skipped" not in said
    with softhsm.load() as module:
        for label in ("desk", "other"):
            assert not find_token(module, TokenSelector(label)).count_low
            with softhsm.session(module, label) as session:
                assert list(session.session.get_objects({})) == []


@pytest.mark.case("X895", "suite told to run on a serial that no token has: nobody logs in")
def test_another_serial_is_not_touched(softhsm: Any) -> None:
    softhsm.add_token("desk")
    wrong = options(softhsm, "0badc0de", b"99999")  # its try would show
    status, said = suite(softhsm, *wrong, files=("test_data_objects.py",))
    assert status == 1
    assert "E_TOKEN_ABSENT" in said or "TokenNotFoundError" in said
    assert " passed" not in said
    with softhsm.load() as module:
        assert not find_token(module, TokenSelector("desk")).count_low


@pytest.mark.case("X896", "suite told to run on a token that holds keys: they stay")
def test_a_token_with_keys_is_not_tested(softhsm: Any) -> None:
    softhsm.add_token("desk")
    with softhsm.load() as module, softhsm.session(module) as session:
        ensure_keys(session)
    chosen = options(softhsm, serial_of(softhsm, "desk"))
    status, said = suite(softhsm, *chosen, files=("test_data_objects.py",))
    assert status == 1
    assert "holds 4 keys or anchors" in said
    assert " passed" not in said
    with softhsm.load() as module, softhsm.session(module) as session:
        assert len(list(session.session.get_objects({}))) == 4
        assert ensure_keys(session).made == ()


@pytest.mark.case("X897", "suite told to run on a device without its module, profile or PIN file")
def test_an_option_is_missing(softhsm: Any) -> None:
    softhsm.add_token("desk")
    serial = serial_of(softhsm, "desk")
    status, said = suite(softhsm, "--device", serial, files=("test_data_objects.py",))
    assert status == 1
    assert "are given together" in said

"""report.json: one form, strictly read; nothing in it tells whose token it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signer.errors import SchemaError
from signer.hsm.probe.facts import MAX_MECHANISMS
from signer.hsm.probe.report import MAX_BYTES, ProbeReport
from signer.hsm.probe.steps import MAX_DETAIL, MAX_TIMES, STEP_NAMES, Seen
from tests.simulators.probed import REPORT, otherwise, saying

Change = Callable[[dict[str, Any]], Any]


def test_it_comes_out_as_it_went_in() -> None:
    report = otherwise(REPORT, "hpke-p256", "refused", code="CKR_MECHANISM_INVALID",
                       detail="said so", times=(1, 2, 3))  # fmt: skip
    assert ProbeReport.parse(report.to_bytes()) == report
    assert ProbeReport.parse(report.to_bytes()).to_bytes() == report.to_bytes()
    named = replace(REPORT, profile="yubihsm2", keys="token")
    assert ProbeReport.parse(named.to_bytes()) == named


def test_the_largest_that_there_can_be_fits() -> None:
    names = tuple(sorted(f"CKM_{'X' * 50}_{number:05}" for number in range(MAX_MECHANISMS)))
    seen = tuple(
        Seen(step=step, outcome="works", code=f"CKR_{'X' * 48}", detail="d" * MAX_DETAIL,
             times=(10**7,) * MAX_TIMES) for step in STEP_NAMES
    )  # fmt: skip
    report = replace(saying(REPORT, mechanisms=names), seen=seen)
    assert len(report.to_bytes()) <= MAX_BYTES
    assert ProbeReport.parse(report.to_bytes()) == report


def _drop(name: str) -> Change:
    return lambda value: value.pop(name)


def _set(path: str, new: Any) -> Change:
    *folders, last = path.split(".")

    def change(value: dict[str, Any]) -> None:
        at: Any = value
        for folder in folders:
            at = at[int(folder) if folder.isdigit() else folder]
        at[int(last) if last.isdigit() else last] = new

    return change


@pytest.mark.case("X951", "a probe report with a field missing, unknown, of another type or range")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("type", "signer-probe"), "type"),
        (_set("version", 2), "version"),
        (_set("version", True), "version"),
        (_drop("made"), "made"),
        (_set("label", "ada"), "label"),
        (_set("serial", "0001"), "serial"),
        (_set("made", -1), "made"),
        (_set("module", "/usr/lib/x.so"), "module"),
        (_set("module", ""), "module"),
        (_set("keys", "both"), "keys"),
        (_set("seconds", 0), "seconds"),
        (_set("profile", "../x"), "profile"),
        (_set("token.serial", "0001"), "serial"),
        (_set("token.serial_sha256", "00"), "serial_sha256"),
        (_set("token.serial_empty", 0), "serial_empty"),
        (_set("token.manufacturer", "Acme\n"), "manufacturer"),
        (_set("token.model", "m" * 17), "model"),
        (_set("token.firmware", "1"), "firmware"),
        (_set("token.flags", ["CKF_RNG", "CKF_RNG"]), "flags"),
        (_set("token.flags", ["CKF_RNG", "CKF_LOGIN_REQUIRED"]), "flags"),
        (_set("token.flags", ["CKF_OTHER"]), "flags"),
        (_set("token.max_sessions", -1), "max_sessions"),
        (_set("token.max_sessions", True), "max_sessions"),
        (_set("token.mechanisms", ["ECDSA"]), "mechanisms"),
        (_set("token.mechanisms", ["CKM_B", "CKM_A"]), "mechanisms"),
        (_set("token.mechanisms", [1]), "mechanisms"),
        (_set("token.mechanisms", ["CKM_A"] * 513), "mechanisms"),
        (_set("seen", []), "seen"),
        (_set("seen.0.step", "dance"), "step"),
        (_set("seen.0.step", "login"), "seen"),
        (_set("seen.0.outcome", "maybe"), "outcome"),
        (_set("seen.0.code", "E_TOKEN"), "code"),
        (_set("seen.0.detail", "a\x1b[2J"), "detail"),
        (_set("seen.0.detail", "d" * 201), "detail"),
        (_set("seen.0.facts", {"serial": 1}), "serial"),
        (_set("seen.0.facts", {"open": -1}), "open"),
        (_set("seen.0.facts", {"open": "8"}), "open"),
        (_set("seen.0.times", [-1]), "times"),
        (_set("seen.0.times", [True]), "times"),
        (_set("seen.0.times", [1] * 33), "times"),
        (_set("seen.0.pin", "1234"), "pin"),
    ],
)
def test_another_form_is_refused(change: Change, words: str) -> None:
    value = json.loads(REPORT.to_bytes())
    change(value)
    with pytest.raises(SchemaError, match=words):
        ProbeReport.parse(json.dumps(value).encode())


@pytest.mark.case("X952", "a probe report that is too large, cut short, or a step twice")
def test_another_length_is_refused() -> None:
    raw = REPORT.to_bytes()
    with pytest.raises(SchemaError, match=f"at most {MAX_BYTES}"):
        ProbeReport.parse(raw + b" " * MAX_BYTES)
    with pytest.raises(SchemaError):
        ProbeReport.parse(raw[:-10])
    value = json.loads(raw)
    value["seen"][1] = value["seen"][0]
    with pytest.raises(SchemaError, match="every step once"):
        ProbeReport.parse(json.dumps(value).encode())

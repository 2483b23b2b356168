"""Reports of probes in memory: a device that does everything and that no profile knows."""

from dataclasses import replace
from typing import Any

from signer.hsm.probe.facts import TokenFacts
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import HISTORY, STEP_NAMES, STEPS, Seen

ORIGIN: dict[str, int] = {"sensitive": True, "extractable": False}


def _says(local: int, sensitive: int, closed: int) -> dict[str, int]:
    """Return what a key says of its past."""
    return dict(zip(HISTORY, map(bool, (local, sensitive, closed)), strict=True))


_FACTS: dict[str, dict[str, int]] = {
    "login": {"count_low_before": False, "count_low_after": False},
    "token-objects": {"objects": 4},
    "objects-left": {"objects": 4},
    "login-scope": {"process": True},
    "sessions": {"open": 8},
    "data-objects": {"largest": 16384},
    "attributes": {"point_raw": False, "missing_raises": False},
    "p256-keys": {"explicit_refused": False},
    "aes-keys": {"explicit_refused": False},
    "rsa-keys": {"explicit_refused": False, "rsa_bits": 2048},
    **{f"{kind}-made": ORIGIN | _says(1, 1, 1) for kind in ("p256", "aes", "rsa")},
    **{f"{kind}-imported": ORIGIN | _says(0, 0, 0) for kind in ("p256", "aes")},
    **{f"{kind}-extractable": ORIGIN | _says(1, 0, 0) for kind in ("p256", "aes")},
}  # fmt: skip
TOKEN = TokenFacts(
    manufacturer="Acme Devices",
    model="Vault 9",
    serial_sha256=bytes(range(32)),
    serial_empty=False,
    hardware="1.0",
    firmware="2.3",
    library="Acme PKCS#11 driver",
    library_version="4.5",
    cryptoki="2.40",
    hardware_slot=True,
    flags=("CKF_LOGIN_REQUIRED", "CKF_RNG", "CKF_TOKEN_INITIALIZED", "CKF_USER_PIN_INITIALIZED"),
    max_sessions=16,
    max_rw_sessions=16,
    open_sessions=0,
    pin_min=6,
    pin_max=64,
    total_private=None,
    free_private=None,
    mechanisms=tuple(sorted({name for step in STEPS for name in step.claims})),
)
REPORT = ProbeReport(
    program="0.1.0",
    made=1_700_000_000,
    module="libacme.so",
    keys="session",
    seconds=20,
    profile=None,
    token=TOKEN,
    seen=tuple(Seen(step=name, outcome="works", facts=_FACTS.get(name, {})) for name in STEP_NAMES),
)


def otherwise(report: ProbeReport, step: str, outcome: str = "works", **fields: Any) -> ProbeReport:
    """Return the report with something else seen of one step; `facts` are added to those there."""
    seen = report.by_step[step]
    facts = {**seen.facts, **fields.pop("facts", {})}
    other = replace(seen, outcome=outcome, facts=facts, **fields)
    return replace(report, seen=tuple(other if one is seen else one for one in report.seen))


def saying(report: ProbeReport, **fields: Any) -> ProbeReport:
    """Return the report of a token that says something else of itself."""
    return replace(report, token=replace(report.token, **fields))


def without(report: ProbeReport, *mechanisms: str) -> ProbeReport:
    """Return the report of a token that does not list `mechanisms`."""
    left = tuple(name for name in report.token.mechanisms if name not in mechanisms)
    return saying(report, mechanisms=left)

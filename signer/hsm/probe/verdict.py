"""What follows from what a probe saw: a table, what the token can be used for, where it lies. Pure.

What was not seen is not concluded: a step that crashed the module, came too late or was not tried
counts as one that does not work, and its row says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import BY_NAME, STEPS, Seen, Step
from signer.hsm.profile import CEREMONY_SEAL
from signer.recipient import AES_256_GCM, HPKE_P256, METHODS, RSA_OAEP_SHA1, RSA_OAEP_SHA256

_WORKS = {
    "works": "yes",
    "refused": "no",
    "wrong": "WRONG",
    "crashed": "CRASHED",
    "late": "too slow",
    "skipped": "not tried",
}
KEYS_OF = {HPKE_P256: "p256", AES_256_GCM: "aes", RSA_OAEP_SHA256: "rsa", RSA_OAEP_SHA1: "rsa"}
READ_ONLY = "CKR_SESSION_READ_ONLY"  # of the session, not of what was asked
_ORIGINS = ("p256-made", "p256-imported", "p256-extractable", "aes-made", "aes-imported",
            "aes-extractable", "rsa-made")  # fmt: skip
CEREMONY_STEPS = ("p256-keys", HPKE_P256, "ecdsa-p256")
# Those a probe sees, if they are so; of others it says nothing.
SEEN_QUIRKS = (
    "attribute-missing-raises",
    "ec-point-raw",
    "explicit-capabilities-refused",
    "mechanism-list-incomplete",
    "no-local-attribute",
    "oaep-sha1-only",
    "serial-empty",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    claimed: str
    works: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """What the token can be used for, in the words of a device profile."""

    seal: tuple[str, ...]  # methods that work, best first; maybe none
    provenance: str
    lies: tuple[str, ...]  # what it says of keys that is not so
    ceremony: bool
    login: str | None  # None: not seen
    max_sessions: int | None
    data_objects: bool
    max_data_bytes: int | None  # None: no limit was met
    quirks: tuple[str, ...]


def rows(report: ProbeReport) -> tuple[Row, ...]:
    """Return the table, a line for each step."""
    return tuple(
        Row(step.title, _claimed(report, step), works_word(seen), _detail(seen))
        for step, seen in zip(STEPS, report.seen, strict=True)
    )


def conclude(report: ProbeReport) -> Conclusions:
    """Return what the token can be used for."""
    seen = report.by_step
    working = [method for method in METHODS if seen[method].works]
    if RSA_OAEP_SHA256 in working and RSA_OAEP_SHA1 in working:
        working.remove(RSA_OAEP_SHA1)
    lies = tuple(seen[name].detail for name in _ORIGINS if seen[name].outcome == "wrong")
    kind = KEYS_OF[working[0]] if working else "p256"
    proven = seen[f"{kind}-made"].works and not lies
    quirks = _quirks(report)
    ceremony = (
        proven
        and all(seen[name].works and _claimed(report, BY_NAME[name]) == "yes"
                for name in CEREMONY_STEPS)
        and "explicit-capabilities-refused" not in quirks
        and kind == KEYS_OF[CEREMONY_SEAL]
    )  # fmt: skip
    data = seen["data-objects"]
    return Conclusions(
        seal=tuple(working),
        provenance="strict" if proven else "unproven",
        lies=lies,
        ceremony=ceremony,
        login=_login(seen["login-scope"]),
        max_sessions=_max_sessions(report),
        data_objects=data.works,
        max_data_bytes=data.facts.get("largest") if data.works and data.code else None,
        quirks=quirks,
    )


def pin_lengths(report: ProbeReport) -> tuple[int, int]:
    """Return the bytes of a PIN by CK_TOKEN_INFO, within what a profile can say."""
    low = min(max(report.token.pin_min, 1), 255)
    return low, max(low, min(report.token.pin_max, 255))


def latency(times: Sequence[int]) -> str:
    """Return median, least and most of some microseconds; empty for none."""
    if not times:
        return ""
    ordered = sorted(times)
    middle = ordered[len(ordered) // 2]
    if len(ordered) == 1:
        return _milliseconds(middle)
    spread = f"{_milliseconds(ordered[0])} to {_milliseconds(ordered[-1])}"
    return f"{_milliseconds(middle)} ({spread}, {len(ordered)} tries)"


def _milliseconds(micros: int) -> str:
    if micros >= 100_000:
        return f"{micros // 1000} ms"
    return f"{micros / 1000:.2g} ms" if micros < 10_000 else f"{micros / 1000:.0f} ms"


def _claimed(report: ProbeReport, step: Step) -> str:
    """Return what the token said before; `-` where it says nothing of that."""
    token = report.token
    if step.claims:
        return "yes" if set(step.claims) <= set(token.mechanisms) else "no"
    if step.name == "random":
        return "yes" if "CKF_RNG" in token.flags else "no"
    if step.name == "sessions":
        said = {None: "not told", 0: "no limit"}
        return said.get(token.max_sessions, f"{token.max_sessions}")
    return "-"


def works_word(seen: Seen) -> str:
    """Return the outcome of a step for people."""
    return _WORKS[seen.outcome]


def _detail(seen: Seen) -> str:
    return "; ".join(part for part in (seen.code, seen.detail, latency(seen.times)) if part)


def tried(report: ProbeReport, *steps: str) -> bool:
    """Tell whether the token could show of all `steps` what it does."""
    seen = [report.by_step[step] for step in steps]
    return all(one.outcome != "skipped" and one.code != READ_ONLY for one in seen)


def makes_no_session_keys(report: ProbeReport) -> bool:
    """Tell whether only a probe with token keys could show more."""
    kinds = [report.by_step[f"{kind}-keys"] for kind in ("p256", "aes", "rsa")]
    return report.keys == "session" and not any(seen.works for seen in kinds)


def _login(scope: Seen) -> str | None:
    if "process" not in scope.facts:
        return None
    return "process" if scope.facts["process"] else "session"


def _max_sessions(report: ProbeReport) -> int | None:
    """Return the most sessions: as many as could be opened before one was refused, or as told."""
    sessions = report.by_step["sessions"]
    if sessions.outcome == "refused" and sessions.facts.get("open"):
        return sessions.facts["open"]
    return report.token.max_sessions or None


def _quirks(report: ProbeReport) -> tuple[str, ...]:
    seen = report.by_step
    attributes = seen["attributes"].facts
    made = [seen[f"{kind}-made"].facts for kind in ("p256", "aes", "rsa")]
    told = [facts for facts in made if facts]
    unlisted = any(
        seen[step.name].works and _claimed(report, step) == "no" for step in STEPS if step.claims
    )
    found = {
        "attribute-missing-raises": bool(attributes.get("missing_raises")),
        "ec-point-raw": bool(attributes.get("point_raw")),
        "explicit-capabilities-refused": any(
            seen[f"{kind}-keys"].facts.get("explicit_refused") for kind in ("p256", "aes", "rsa")
        ),
        "mechanism-list-incomplete": unlisted,
        "no-local-attribute": any(not facts.get("local") for facts in told),
        "oaep-sha1-only": seen[RSA_OAEP_SHA1].works and seen[RSA_OAEP_SHA256].outcome == "refused",
        "serial-empty": report.token.serial_empty,
    }
    return tuple(quirk for quirk in SEEN_QUIRKS if found[quirk])


def could_be_seen(report: ProbeReport, quirk: str) -> bool:
    """Tell whether a quirk that was not seen would have been."""
    seen = report.by_step
    looked = {
        "attribute-missing-raises": False,  # of one attribute only
        "ec-point-raw": seen["attributes"].works,
        "explicit-capabilities-refused": False,  # of some keys only
        "mechanism-list-incomplete": False,
        "no-local-attribute": any(seen[f"{kind}-made"].facts for kind in ("p256", "aes", "rsa")),
        "oaep-sha1-only": seen[RSA_OAEP_SHA256].works,
        "serial-empty": True,
    }
    return looked[quirk]

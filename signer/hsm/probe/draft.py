"""A draft of a device profile from what a probe saw, for a person to finish. Pure.

What was seen is `run here`. What cannot be seen without harm (when a PIN locks, whether a vendor
clones keys) is taken from the packaged profile that describes the token, as `documented`, or from
the cautious side, and says `not known: fill in`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import letters
from signer.hsm.probe.verdict import (
    READ_ONLY,
    SEEN_QUIRKS,
    Conclusions,
    conclude,
    could_be_seen,
    pin_lengths,
)
from signer.hsm.profile import DeviceProfile
from signer.hsm.profile_facts import FACTS, PRINTABLE, QUIRKS, Evidence, Match, ModulePlace

UNKNOWN = "not known: fill in"
_SEEN, _READ = "run here", "documented"
_MAX_SOURCE = 512
_MAX_MODULES = 16
# Of these a packaged profile may tell where a probe cannot look; of others it is of no help.
_TOLD = ("key_backup", "pin", "touch", "journal_anchor")


def draft_of(
    report: ProbeReport,
    module: Path,
    environment: tuple[str, ...] = (),
    known: DeviceProfile | None = None,
) -> DeviceProfile:
    """Return the draft.

    Args:
        report: what was seen.
        module: where the module is, absolute.
        environment: the variables that it was given.
        known: the packaged profile that describes the token best.
    """
    found = conclude(report)
    low, high = pin_lengths(report)
    base = _cautious(report) if known is None else known
    return replace(
        base,
        name=_name(report),
        title=f"{_title(report)} (draft)",
        match=Match(_pattern(report.token.manufacturer, 32), _pattern(report.token.model, 16)),
        modules=_modules(module, known),
        environment=environment,
        seal_methods=_best_first(found.seal, base) or ("hpke-p256",),
        allow_weak=False,
        ceremony=found.ceremony,
        provenance=found.provenance,
        pin_min=low,
        pin_max=high,
        max_sessions=found.max_sessions,
        login=base.login if found.login is None else found.login,
        data_objects=found.data_objects,
        max_data_bytes=found.max_data_bytes,
        max_objects=base.max_objects,
        journal_anchor=base.journal_anchor if found.data_objects else "host",
        quirks=_quirks(report, found, base),
        evidence=_evidence(report, found, known),
        notes=_notes(report, found),
    )


def _best_first(working: tuple[str, ...], base: DeviceProfile) -> tuple[str, ...]:
    """Return the methods that work, those of the packaged profile in its order before others."""
    known = [method for method in base.seal_methods if method in working]
    return (*known, *(method for method in working if method not in known))


def _modules(module: Path, known: DeviceProfile | None) -> tuple[ModulePlace, ...]:
    """Return the places that are known, and this one if a profile can name it."""
    places = () if known is None else known.modules
    sayable = re.fullmatch(r"/[ -~]{1,255}", str(module)) is not None
    if not sayable or module in [place.path for place in places]:
        return places
    return (ModulePlace(module, UNKNOWN), *places)[:_MAX_MODULES]


def _cautious(report: ProbeReport) -> DeviceProfile:
    """Return what is assumed of a token that no profile describes."""
    return DeviceProfile(
        name="draft",
        title="draft",
        match=Match("*", "*"),
        modules=(),
        environment=(),
        initialise=UNKNOWN,
        seal_methods=("hpke-p256",),
        allow_weak=False,
        ceremony=False,
        provenance="unproven",
        key_backup="possible",
        software=not report.token.hardware_slot,
        pin_min=1,
        pin_max=255,
        pin_tries=None,
        pin_lock="silent",
        max_sessions=None,
        login="process",
        data_objects=False,
        max_data_bytes=None,
        max_objects=None,
        journal_anchor="host",
        touch="none",
        quirks=(),
        evidence=(),
        notes="",
    )


def _name(report: ProbeReport) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", (report.token.model or "token").lower()).strip("-")
    return f"draft-{words or 'token'}"[:32].rstrip("-")


def _title(report: ProbeReport) -> str:
    words = f"{report.token.manufacturer} {report.token.model}".strip()
    return words or "a token without a name"


def _pattern(text: str, room: int) -> str:
    """Return what matches `text`: itself, or its beginning up to what a pattern cannot hold."""
    whole = re.match(r"[ -)+-~]*", text)
    start = whole[0] if whole else ""
    return start if start == text and text else f"{start[:room]}*"


def _quirks(report: ProbeReport, found: Conclusions, base: DeviceProfile) -> tuple[str, ...]:
    """Return those that were seen, and what the packaged profile says where none can be."""
    unseen = {
        quirk for quirk in base.quirks
        if quirk not in SEEN_QUIRKS or not could_be_seen(report, quirk)
    }  # fmt: skip
    return tuple(quirk for quirk in QUIRKS if quirk in unseen or quirk in found.quirks)


def _evidence(
    report: ProbeReport, found: Conclusions, known: DeviceProfile | None
) -> tuple[Evidence, ...]:
    seen = _sources(report, found)
    return tuple(
        Evidence(fact, _SEEN, seen[fact][:_MAX_SOURCE]) if fact in seen
        else Evidence(fact, _READ, _read(fact, found, known)[:_MAX_SOURCE])
        for fact in FACTS
    )  # fmt: skip


def _read(fact: str, found: Conclusions, known: DeviceProfile | None) -> str:
    if fact not in _TOLD:
        return f"unverified: not seen by the probe; {UNKNOWN}"
    own_anchor = fact == "journal_anchor" and not found.data_objects
    if known is None or own_anchor:
        return f"unverified: {UNKNOWN}"
    source = next(entry.source for entry in known.evidence if entry.fact == fact)
    return f"profile {known.name}: {source}"


def _sources(report: ProbeReport, found: Conclusions) -> Mapping[str, str]:
    """Return of each fact that was seen how; the others are absent."""
    token, steps = report.token, report.by_step
    how = f"signer token probe {report.program}, {report.keys} keys"
    if report.profile is None:
        sources = {"modules": f"{how}: this file; {UNKNOWN} who installs it"}
    else:
        sources = {"modules": f"{how}: this file"}
    sources["match"] = f"{how}: library {token.library_version}, firmware {token.firmware}"
    if found.seal:
        sources["seal"] = f"{how}, known answers: {', '.join(found.seal)}"
        sources["ceremony"] = f"{how}: P-256 keys, ECDH and ECDSA, and its list of mechanisms"
    made = [f"{kind}: {_origin(report, kind)}" for kind in ("p256", "aes", "rsa")
            if steps[f"{kind}-made"].facts]  # fmt: skip
    if made:
        sources["provenance"] = f"{how}: LOCAL/ALWAYS_SENSITIVE/NEVER_EXTRACTABLE {', '.join(made)}"
    if found.login is not None and steps["sessions"].outcome in ("works", "refused"):
        sources["sessions"] = f"{how}: {steps['sessions'].facts.get('open', 0)} open at once"
    if (
        steps["data-objects"].outcome in ("works", "refused")
        and steps["data-objects"].code != READ_ONLY
    ):
        sources["objects"] = f"{how}: session objects of up to {_largest(report)}; none was stored"
    if steps["attributes"].works:
        sources["quirks"] = f"{how}: those that it can see"
    return {fact: text for fact, text in sources.items() if re.fullmatch(PRINTABLE, text)}


def _largest(report: ProbeReport) -> str:
    return f"{report.by_step['data-objects'].facts.get('largest', 0)} bytes"


def _origin(report: ProbeReport, kind: str) -> str:
    """Return what keys say of themselves: made on it, brought in, made extractable."""
    parts = []
    for way in ("made", "imported", "extractable"):
        seen = report.by_step.get(f"{kind}-{way}")
        if seen is not None and seen.facts:
            parts.append(f"{way} {letters(seen.facts)}")
    return ", ".join(parts)


def _notes(report: ProbeReport, found: Conclusions) -> str:
    """Return what a reader must know of this draft."""
    notes = [f"Draft by signer token probe {report.program}. Look for `{UNKNOWN}`."]
    if not found.seal:
        notes.append("No way to seal works: this profile is of no use as it is.")
    if found.lies:
        notes.append(f"Says of keys what is not so: {'; '.join(found.lies)}.")
    return " ".join(notes)

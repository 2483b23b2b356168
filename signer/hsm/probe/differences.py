"""Where a token is otherwise than the packaged profile that describes it says. Pure.

Only what was seen is held against the profile.
"""

from dataclasses import dataclass

from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.verdict import (
    CEREMONY_STEPS,
    KEYS_OF,
    SEEN_QUIRKS,
    conclude,
    could_be_seen,
    pin_lengths,
    tried,
    works_word,
)
from signer.hsm.profile import DeviceProfile
from signer.recipient import METHODS


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact of a packaged profile that this token does not bear out."""

    field: str
    profile: str
    seen: str


def differences(report: ProbeReport, profile: DeviceProfile) -> tuple[Difference, ...]:
    """Return where the token is otherwise than `profile` says, as far as it was seen."""
    found = conclude(report)
    seen = report.by_step
    pairs: list[tuple[str, object, object]] = []
    for method in METHODS:
        if method in profile.seal_methods and tried(report, method) and not seen[method].works:
            words = ", ".join(filter(None, (works_word(seen[method]), seen[method].code)))
            pairs.append(("seal", method, words))
        elif method in profile.seal_methods and _no_key(report, method):
            pairs.append(("seal", method, "no key for it is made"))
        elif method in found.seal and method not in profile.seal_methods:
            pairs.append(("seal", f"no {method}", method))
    origin = f"{KEYS_OF[found.seal[0]] if found.seal else 'p256'}-made"
    if tried(report, *CEREMONY_STEPS, "p256-made"):
        pairs.append(("ceremony", profile.ceremony, found.ceremony))
    if tried(report, origin):
        pairs.append(("provenance", profile.provenance, found.provenance))
    if found.login is not None:
        pairs.append(("sessions.login", profile.login, found.login))
    if found.max_sessions is not None:
        pairs.append(("sessions.max", profile.max_sessions or "no limit", found.max_sessions))
    if tried(report, "data-objects"):
        pairs.append(("objects.data_objects", profile.data_objects, found.data_objects))
    low, high = pin_lengths(report)
    pairs.append(("pin.min_length", profile.pin_min, low))
    pairs.append(("pin.max_length", profile.pin_max, high))
    for quirk in SEEN_QUIRKS:
        there, said = quirk in found.quirks, quirk in profile.quirks
        if there != said and (there or could_be_seen(report, quirk)):
            none = f"no {quirk}"
            pairs.append(("quirks", quirk if said else none, quirk if there else none))
    return tuple(
        Difference(field, _word(says), _word(shows))
        for field, says, shows in pairs
        if says != shows
    )


def _no_key(report: ProbeReport, method: str) -> bool:
    keys = f"{KEYS_OF[method]}-keys"
    return tried(report, keys) and not report.by_step[keys].works


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The facts of a device profile that have a form of their own, and the words they may use.

Everything here is data that was checked, nothing asks a token. hsm_profiles/README.md says what
each word means, hsm_profiles/profile.schema.json says the same to editors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signer.strict import Fields

PRINTABLE = r"[ -~]+"

# Best first, by what a sender needs and what a token must hold.
SEAL_METHODS = ("hpke-p256", "rsa-oaep-sha256", "rsa-oaep-sha1", "aes-256-gcm", "pin-protected")
PROVENANCES = ("strict", "unproven")
KEY_BACKUPS = ("possible", "impossible")
ANCHORS = ("token", "host", "none")
TOUCHES = ("none", "login", "use")
LOCKS = ("flags", "silent", "never")
LOGINS = ("session", "process")
VERIFIED = ("run here", "documented")
QUIRKS = (
    "attribute-missing-raises",
    "ec-point-raw",
    "explicit-capabilities-refused",
    "hangs-on-removal",
    "init-args",
    "instance-per-caller",
    "mechanism-list-incomplete",
    "mechanisms-hidden",
    "needs-resource-manager",
    "no-local-attribute",
    "oaep-sha1-only",
    "serial-empty",
    "vendor-tool-makes-keys",
)

# What is said of the device itself. Each has an entry of evidence; no other field has one.
FACTS = (
    "match",
    "modules",
    "seal",
    "ceremony",
    "provenance",
    "key_backup",
    "pin",
    "sessions",
    "objects",
    "journal_anchor",
    "touch",
    "quirks",
)

MAX_PIN_BYTES = 255
MAX_TRIES = 255
MAX_SESSIONS = 1_000_000
MAX_OBJECTS = 1_000_000
MAX_DATA_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Match:
    """What CK_TOKEN_INFO must say: a whole text, or the beginning of one with `*` behind it."""

    manufacturer: str
    model: str

    def covers(self, manufacturer: str, model: str) -> bool:
        """Tell whether a token that calls itself so is meant."""
        return _covers(self.manufacturer, manufacturer) and _covers(self.model, model)

    @property
    def precision(self) -> tuple[int, int]:
        """How much of a name it asks for, to compare: whole texts first, then letters."""
        texts = (self.manufacturer, self.model)
        return (
            sum(not text.endswith("*") for text in texts),
            sum(len(text.removesuffix("*")) for text in texts),
        )

    @property
    def names_a_device(self) -> bool:
        """Whether one of the texts is whole."""
        return self.precision[0] > 0

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Read it strictly; 32 and 16 bytes are what CK_TOKEN_INFO has room for."""
        texts = (
            fields.string("manufacturer", pattern=r"[ -)+-~]*\*|[ -)+-~]+", max_length=33),
            fields.string("model", pattern=r"[ -)+-~]*\*|[ -)+-~]+", max_length=17),
        )
        for name, text, room in zip(("manufacturer", "model"), texts, (32, 16), strict=True):
            if len(text.removesuffix("*")) > room:
                fields.fail(name, f"has more than the {room} characters that a token has room for")
        fields.done()
        return cls(*texts)


def _covers(pattern: str, text: str) -> bool:
    if pattern.endswith("*"):
        return text.startswith(pattern.removesuffix("*"))
    return text == pattern


@dataclass(frozen=True, slots=True)
class ModulePlace:
    """Where a module is installed, and by whom."""

    path: Path  # absolute
    by: str  # the distribution or the vendor, in words; `on` would be a boolean in YAML

    @classmethod
    def take_all(cls, fields: Fields) -> tuple[Self, ...]:
        """Read the list `modules`, up to 16 of them."""
        entries = fields.array("modules", low=0, high=16)
        places = []
        for number, entry in enumerate(entries, 1):
            place = Fields(entry, f"{fields.what}: modules {number}")
            path = place.string("path", pattern=r"/[ -~]+", max_length=256)
            places.append(cls(Path(path), place.string("by", pattern=PRINTABLE, max_length=64)))
            place.done()
        if len({place.path for place in places}) != len(places):
            fields.fail("modules", "has a path twice")
        return tuple(places)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How one fact is known."""

    fact: str  # one of FACTS
    verified: str  # one of VERIFIED
    source: str  # what was run, or who says so; begins with `unverified:` where nobody does

    @classmethod
    def take_all(cls, fields: Fields) -> tuple[Self, ...]:
        """Read the object `evidence`: an entry for every fact, and no other."""
        entries = fields.nested("evidence")
        found = []
        for fact in FACTS:
            entry = entries.nested(fact)
            verified = entry.choice("verified", VERIFIED)
            source = entry.string("source", pattern=PRINTABLE, max_length=512)
            entry.done()
            if verified == "run here" and source.startswith("unverified"):
                entry.fail("verified", "cannot be 'run here' where the source says unverified")
            found.append(cls(fact, verified, source))
        entries.done()
        return tuple(found)


def take_limit(fields: Fields, name: str, *, high: int) -> int | None:
    """Take a number from 1 to `high`, or null where none is known."""
    value = fields.take(name)
    if value is not None and (type(value) is not int or not 1 <= value <= high):
        fields.fail(name, f"must be an integer from 1 to {high}, or null")
    return value


def take_strings(fields: Fields, name: str, pattern: str, *, low: int = 0) -> tuple[str, ...]:
    """Take a list of up to 16 different strings that match `pattern`."""
    entries = fields.array(name, low=low, high=16)
    numbered = Fields(
        {str(number): entry for number, entry in enumerate(entries, 1)}, f"{fields.what}: {name}"
    )
    values = tuple(
        numbered.string(str(number), pattern=pattern, max_length=256)
        for number in range(1, len(entries) + 1)
    )
    _require_different(fields, name, values)
    return values


def take_choices(
    fields: Fields, name: str, allowed: tuple[str, ...], *, low: int = 0
) -> tuple[str, ...]:
    """Take a list of different strings that are all among `allowed`."""
    entries = fields.array(name, low=low, high=len(allowed))
    for entry in entries:
        if not isinstance(entry, str) or entry not in allowed:
            fields.fail(name, f"has an entry that is none of {', '.join(allowed)}")
    _require_different(fields, name, tuple(entries))
    return tuple(entries)


def _require_different(fields: Fields, name: str, values: tuple[Any, ...]) -> None:
    if len(set(values)) != len(values):
        fields.fail(name, "has an entry twice")

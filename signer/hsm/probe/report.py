"""The report of a probe: what was seen, and nothing that tells whose token it was. Pure.

Whoever wrote it may send it in: it holds no PIN, no label, and of the serial number a digest only.
A short serial number can be guessed from its digest, so that hides it from eyes, not from search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.hsm.probe.facts import TokenFacts
from signer.hsm.probe.steps import STEP_NAMES, Seen
from signer.hsm.profile import NAME_PATTERN
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object

VERSION = 1
TYPE = "signer-probe-report"
MAX_BYTES = 64 * 1024
KEY_KINDS = ("session", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """One probe of one token."""

    program: str  # version of this program
    made: int  # Unix seconds
    module: str  # name of the module's file, without its folder
    keys: str  # one of KEY_KINDS: what was made and destroyed
    seconds: int  # what the probe was given
    profile: str | None  # packaged one that describes the token best
    token: TokenFacts
    seen: tuple[Seen, ...]  # one for each step, in order

    @property
    def by_step(self) -> Mapping[str, Seen]:
        """What was seen, by the step's name."""
        return {seen.step: seen for seen in self.seen}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "type": TYPE,
            "version": VERSION,
            "program": self.program,
            "made": self.made,
            "module": self.module,
            "keys": self.keys,
            "seconds": self.seconds,
            "profile": self.profile,
            "token": self.token.to_json(),
            "seen": [seen.to_json() for seen in self.seen],
        }

    def to_bytes(self) -> bytes:
        """Return the bytes of report.json."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "probe report") -> Self:
        """Read the bytes of a report.

        Raises:
            SchemaError: naming `what` and the field.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", TYPE)
        fields.constant("version", VERSION)
        report = cls(
            program=fields.string("program", pattern=r"[0-9A-Za-z.+-]{1,40}"),
            made=fields.integer("made", low=0, high=MAX_INTEGER),
            module=fields.string("module", pattern=r"[!-.0-~][ -.0-~]*", max_length=255),
            keys=fields.choice("keys", KEY_KINDS),
            seconds=fields.integer("seconds", low=1, high=3600),
            profile=_profile(fields),
            token=TokenFacts.parse(fields.nested("token")),
            seen=tuple(
                Seen.parse(Fields(entry, f"{what}: seen {number}"))
                for number, entry in enumerate(
                    fields.array("seen", low=len(STEP_NAMES), high=len(STEP_NAMES)), 1
                )
            ),
        )
        fields.done()
        if tuple(seen.step for seen in report.seen) != STEP_NAMES:
            raise SchemaError(f"{what}: field 'seen' must have every step once, in order")
        return report


def _profile(fields: Fields) -> str | None:
    value = fields.take("profile")
    if value is None:
        return None
    return Fields({"profile": value}, fields.what).string(
        "profile", pattern=NAME_PATTERN, max_length=32
    )

"""The job of trying what a token really does, and the lines in which its worker tells of it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.token_job import TokenJob, take_head
from signer.hsm.probe.facts import TokenFacts
from signer.hsm.probe.steps import STEP_NAMES, Seen
from signer.hsm.profile import NAME_PATTERN
from signer.strict import Fields, canonical, parse_object

MAX_LINE_BYTES = 64 * 1024
MAX_SECONDS = 300
_LABEL = r"signer-probe-[0-9a-f]{8}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeToken(TokenJob):
    """Do `steps` on a token, one after another, and tell each on a stream socket.

    If the worker dies in one of them, another is hired for the steps behind it.
    """

    kind: ClassVar[str] = "probe_token"
    label: str  # of everything that is made
    token_keys: bool  # whether keys are token objects; else nothing is ever written to the token
    seconds: int  # after the login; what was not begun then is not tried
    steps: tuple[str, ...]
    outcomes: tuple[Seen, ...]  # of the steps before
    channel: int  # descriptor

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "label": self.label,
            "token_keys": self.token_keys,
            "seconds": self.seconds,
            "steps": list(self.steps),
            "outcomes": [seen.to_json() for seen in self.outcomes],
            "channel": self.channel,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        most = len(STEP_NAMES)
        job = cls(
            **take_head(fields),
            label=fields.string("label", pattern=_LABEL),
            token_keys=fields.boolean("token_keys"),
            seconds=fields.integer("seconds", low=0, high=MAX_SECONDS),
            steps=tuple(fields.array("steps", low=1, high=most)),
            outcomes=tuple(
                Seen.parse(Fields(entry, "order: outcome"))
                for entry in fields.array("outcomes", low=0, high=most)
            ),
            channel=fields.integer("channel", low=3, high=2**20),
        )
        if not all(step in STEP_NAMES for step in job.steps):
            fields.fail("steps", "has one that there is not")
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of a worker that probes. Exactly one of the fields stands in it."""

    begins: str | None = None  # a step
    seen: Seen | None = None
    token: TokenFacts | None = None  # with `profile`, the packaged one that describes it best
    profile: str | None = None
    ends: bool = False  # everything was told

    def to_line(self) -> bytes:
        """Return the line."""
        value: dict[str, Any] = {"version": 1}
        if self.begins is not None:
            value["begins"] = self.begins
        elif self.seen is not None:
            value["seen"] = self.seen.to_json()
        elif self.token is not None:
            value |= {"token": self.token.to_json(), "profile": self.profile}
        else:
            value["ends"] = self.ends
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the line.

        Raises:
            SchemaError: it is none.
        """
        fields = Fields(parse_object(line, what="probe", max_bytes=MAX_LINE_BYTES), "probe")
        fields.constant("version", 1)
        if fields.has("begins"):
            told = cls(begins=fields.choice("begins", STEP_NAMES))
        elif fields.has("seen"):
            told = cls(seen=Seen.parse(fields.nested("seen")))
        elif fields.has("token"):
            token = TokenFacts.parse(fields.nested("token"))
            name = fields.take("profile")
            if name is not None:
                name = Fields({"profile": name}, "probe").string(
                    "profile", pattern=NAME_PATTERN, max_length=32
                )
            told = cls(token=token, profile=name)
        else:
            told = cls(ends=fields.boolean("ends"))
        fields.done()
        return told

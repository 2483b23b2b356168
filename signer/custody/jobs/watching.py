"""The job that lasts: tell again and again how one token is. What is asked, what is answered."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import TokenChoice
from signer.recipient import parse_recipient
from signer.strict import Fields, canonical, parse_object

TOKEN_STATES = ("absent", "present", "locked", "ready")
MAX_LINE_BYTES = 4096
MAX_REASON = 300  # characters
MAX_DETAIL = 1000
_PRINTABLE = r"[ -~]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchToken:
    """Look at one token whenever asked; never log in. Ends when the channel is closed.

    On the channel, a stream socket, each line is one JSON object: a `Poll`, then its `Sight`.
    """

    kind: ClassVar[str] = "watch_token"
    token: TokenChoice
    recipients: tuple[bytes, ...]  # points of the envelope; the token's key must be one of them
    channel: int  # descriptor

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "recipients": [point.hex() for point in self.recipients],
            "channel": self.channel,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            recipients=tuple(
                parse_recipient(entry, "order: recipient")
                for entry in fields.array("recipients", low=1, high=16)
            ),
            channel=fields.integer("channel", low=3, high=2**20),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True)
class Poll:
    """How is the token? `serial` is that of the token which was ready before, if one was."""

    serial: str | None

    def to_line(self) -> bytes:
        """Return the line that asks it."""
        return canonical({"version": 1, "serial": self.serial}) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the line.

        Raises:
            SchemaError: it is none.
        """
        fields = Fields(parse_object(line, what="poll", max_bytes=MAX_LINE_BYTES), "poll")
        fields.constant("version", 1)
        poll = cls(_serial(fields))
        fields.done()
        return poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen of the token."""

    state: str  # one of TOKEN_STATES
    code: str = ""  # the error that a worker would meet; empty when ready
    reason: str = ""  # for whoever may ask for the status: no local path; empty when ready
    detail: str = ""  # for the holder's log: may name paths and other tokens
    serial: str | None = None  # of the token that was seen

    def to_line(self) -> bytes:
        """Return the line that tells it."""
        return (
            canonical(
                {
                    "version": 1,
                    "state": self.state,
                    "code": self.code,
                    "reason": self.reason[:MAX_REASON],
                    "detail": self.detail[:MAX_DETAIL],
                    "serial": self.serial,
                }
            )
            + b"\n"
        )

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the line.

        Raises:
            SchemaError: it is none.
        """
        fields = Fields(parse_object(line, what="sight", max_bytes=MAX_LINE_BYTES), "sight")
        fields.constant("version", 1)
        sight = cls(
            state=fields.choice("state", TOKEN_STATES),
            code=fields.string("code", pattern=r"(E_[A-Z_]+)?", max_length=32),
            reason=fields.string("reason", pattern=_PRINTABLE, max_length=MAX_REASON),
            detail=fields.string("detail", pattern=_PRINTABLE, max_length=MAX_DETAIL),
            serial=_serial(fields),
        )
        if (sight.state == "ready") != (sight.code == "") or (sight.state == "ready") != (
            sight.reason == ""
        ):
            fields.fail("code", "and 'reason' must be there unless the state is ready")
        if sight.state == "ready" and sight.serial is None:
            fields.fail("serial", "is missing for a token that is ready")
        fields.done()
        return sight


def _serial(fields: Fields) -> str | None:
    """Take a serial as the token gave it, 16 bytes at most, or null."""
    value = fields.take("serial")
    if value is not None and (not isinstance(value, str) or len(value) > 16):
        fields.fail("serial", "must be a text of at most 16 characters, or null")
    return value

"""Jobs that show a share can be used, and by which devices: seal it to a spare, drill."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.strict import MAX_INTEGER, Fields

_MAX_TEXT = 8 * 1024 * 1024
_MAX_CARD_TEXT = 64 * 1024
_MAX_PARTS = 4
ROLES = ("primary", "spare", "scratch")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealToCard:
    """Unseal a share on the token and seal it to another token of the same holder as well."""

    kind: ClassVar[str] = "seal_to_card"
    token: TokenChoice  # one that the envelope is for
    pin: SecretSource
    group: str  # the group file's text
    envelope: str  # the envelope's text
    card: str  # the text of the other token's card
    rehearsal: bool  # from a spare, into an envelope of one slot; else the old slots are kept

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "group": self.group,
            "envelope": self.envelope,
            "card": self.card,
            "rehearsal": self.rehearsal,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            group=_text(fields, "group"),
            envelope=_text(fields, "envelope"),
            card=_text(fields, "card", _MAX_CARD_TEXT),
            rehearsal=fields.boolean("rehearsal"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDrill:
    """Unseal the share on one device and sign in the drill domain.

    The primary comes last: it holds the other devices' partials against the public share, and its
    `id-sign` signs the report over all of them.
    """

    kind: ClassVar[str] = "run_drill"
    token: TokenChoice
    pin: SecretSource
    group: str  # the group file's text
    envelope: str  # the envelope's text
    order: dict[str, Any]  # a drill order's object
    role: str  # one of ROLES: what the token is to the holder
    others: tuple[dict[str, Any], ...] = ()  # devices that signed before; for the primary only
    moment: int  # Unix seconds, to date the report

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "group": self.group,
            "envelope": self.envelope,
            "order": self.order,
            "role": self.role,
            "others": list(self.others),
            "moment": self.moment,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            group=_text(fields, "group"),
            envelope=_text(fields, "envelope"),
            order=_object(fields.take("order"), fields, "order"),
            role=fields.choice("role", ROLES),
            others=tuple(
                _object(entry, fields, "others")
                for entry in fields.array("others", low=0, high=_MAX_PARTS)
            ),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
        )
        fields.done()
        return job


def _text(fields: Fields, name: str, most: int = _MAX_TEXT) -> str:
    value = fields.take(name)
    if not isinstance(value, str) or len(value) > most:
        fields.fail(name, "must be a text")
    return value


def _object(value: Any, fields: Fields, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        fields.fail(name, "must be an object, or a list of some")
    return value

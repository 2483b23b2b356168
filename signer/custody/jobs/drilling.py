"""Jobs that show a share can be used, and by which devices: seal it to a spare, drill."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.journal import serials_json, take_serials
from signer.custody.jobs.sources import optional_path
from signer.custody.jobs.token_job import TokenJob, as_object, take_head, take_object, take_text
from signer.strict import MAX_INTEGER, Fields

_MAX_CARD_TEXT = 64 * 1024
_MAX_PARTS = 4
ROLES = ("primary", "spare", "scratch")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealToCard(TokenJob):
    """Unseal a share on the token and seal it to another token of the same holder as well."""

    kind: ClassVar[str] = "seal_to_card"
    group: str  # the group file's text
    envelope: str  # the envelope's text
    card: str  # the text of the other token's card
    rehearsal: bool  # from a spare, into an envelope of one slot; else the old slots are kept

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "group": self.group,
            "envelope": self.envelope,
            "card": self.card,
            "rehearsal": self.rehearsal,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=take_text(fields, "group"),
            envelope=take_text(fields, "envelope"),
            card=take_text(fields, "card", _MAX_CARD_TEXT),
            rehearsal=fields.boolean("rehearsal"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDrill(TokenJob):
    """Unseal the share on one device and sign in the drill domain.

    The primary comes last: it holds the other devices' partials against the public share, and its
    `id-sign` signs the report over all of them.
    """

    kind: ClassVar[str] = "run_drill"
    group: str  # the group file's text
    envelope: str  # the envelope's text
    order: dict[str, Any]  # a drill order's object
    role: str  # one of ROLES: what the token is to the holder
    others: tuple[dict[str, Any], ...] = ()  # devices that signed before; for the primary only
    moment: int  # Unix seconds, to date the report
    journal: str | None = None  # absolute; None at a desk, whose agent has it
    anchored_serials: frozenset[bytes] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "group": self.group,
            "envelope": self.envelope,
            "order": self.order,
            "role": self.role,
            "others": list(self.others),
            "moment": self.moment,
            "journal": self.journal,
            "anchored_serials": serials_json(self.anchored_serials),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=take_text(fields, "group"),
            envelope=take_text(fields, "envelope"),
            order=take_object(fields, "order"),
            role=fields.choice("role", ROLES),
            others=tuple(
                as_object(entry, fields, "others")
                for entry in fields.array("others", low=0, high=_MAX_PARTS)
            ),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
            journal=optional_path(fields, "journal"),
            anchored_serials=take_serials(fields),
        )
        fields.done()
        return job

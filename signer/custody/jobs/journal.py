"""Jobs about a share's journal and its anchor on the token. Neither unseals anything."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.token_job import TokenJob, take_head
from signer.messages.group_id import MAX_EPOCH
from signer.strict import Fields, parse_hex
from signer.threshold.params import MAX_HOLDERS

PATH_PATTERN = r"/[^\x00\n]+"
_MAX_SERIALS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnchor(TokenJob):
    """Hold the journal against the token's anchor."""

    kind: ClassVar[str] = "check_anchor"
    group: bytes  # group id
    index: int
    journal: str  # absolute
    anchored_serials: frozenset[bytes] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "group": self.group.hex(),
            "index": self.index,
            "journal": self.journal,
            "anchored_serials": serials_json(self.anchored_serials),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=fields.hex_bytes("group", 32),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            journal=fields.string("journal", pattern=PATH_PATTERN, max_length=4096),
            anchored_serials=take_serials(fields),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBindings(TokenJob):
    """Have the token sign a statement of everything that the journal binds.

    With `owner` the journal must be that share's, and have come to its epoch. Without a journal the
    statement says that the share has bound nothing; then there must be an owner.
    """

    kind: ClassVar[str] = "state_bindings"
    journal: str | None  # absolute
    owner: tuple[bytes, int, int] | None = None  # group id, share index, epoch

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        owner = None
        if self.owner is not None:
            group, index, epoch = self.owner
            owner = {"group": group.hex(), "index": index, "epoch": epoch}
        return {**self.head(), "journal": self.journal, "owner": owner}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        owner, journal = fields.take("owner"), fields.take("journal")
        if journal is not None:
            source = Fields({"journal": journal}, fields.what)
            journal = source.string("journal", pattern=PATH_PATTERN, max_length=4096)
        elif owner is None:
            fields.fail("owner", "must be there where no journal is")
        job = cls(
            **take_head(fields),
            journal=journal,
            owner=None if owner is None else _owner(Fields(owner, "order: owner")),
        )
        fields.done()
        return job


def _owner(fields: Fields) -> tuple[bytes, int, int]:
    owner = (
        fields.hex_bytes("group", 32),
        fields.integer("index", low=1, high=MAX_HOLDERS),
        fields.integer("epoch", low=1, high=MAX_EPOCH),
    )
    fields.done()
    return owner


def serials_json(serials: frozenset[bytes]) -> list[str]:
    """Return digests of serials as an order carries them."""
    return sorted(serial.hex() for serial in serials)


def take_serials(fields: Fields) -> frozenset[bytes]:
    """Take the digests of serials out of an order."""
    entries = fields.array("anchored_serials", low=0, high=_MAX_SERIALS)
    return frozenset(parse_hex(entry, 32, "order: a serial's digest") for entry in entries)

"""Jobs of a ceremony. The worker checks everything itself; only what it signs is in the result."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.journal import PATH_PATTERN
from signer.custody.jobs.key_source import KeySource
from signer.custody.jobs.token_job import TokenJob, as_object, take_head, take_object, take_text
from signer.recipient import parse_recipient
from signer.sealing.envelope import MAX_SLOTS
from signer.strict import Fields, parse_hex
from signer.threshold.params import MAX_HOLDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyJob(TokenJob):
    """A job on one token about one ceremony."""

    roster: str
    previous: str | None = None  # the group file that a reshare follows

    def place(self) -> dict[str, Any]:
        """Return the JSON of what every such job has."""
        return {**self.head(), "roster": self.roster, "previous": self.previous}


def take_place(fields: Fields) -> dict[str, Any]:
    """Take what `CeremonyJob.place` gave, as arguments for the job's class."""
    return {
        **take_head(fields),
        "roster": take_text(fields, "roster"),
        "previous": optional_text(fields, "previous"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDeal(CeremonyJob):
    """Deal: from fresh randomness, from a key that is split, or from an old share."""

    kind: ClassVar[str] = "make_deal"
    dealer: int
    key: KeySource | None = None  # of a split
    envelope: str | None = None  # of a reshare: the old share
    bindings: bytes | None = None  # of a reshare: SHA-256 of what the journal binds

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "dealer": self.dealer,
            "key": None if self.key is None else self.key.to_json(),
            "envelope": self.envelope,
            "bindings": None if self.bindings is None else self.bindings.hex(),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        key, bindings = fields.take("key"), fields.take("bindings")
        job = cls(
            **take_place(fields),
            dealer=fields.integer("dealer", low=0, high=MAX_HOLDERS),
            key=None if key is None else KeySource.take(Fields(key, "order: key")),
            envelope=optional_text(fields, "envelope"),
            bindings=None if bindings is None else parse_hex(bindings, 32, "order: bindings"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDeals(CeremonyJob):
    """Check every deal, one's own share too, and agree; or complain."""

    kind: ClassVar[str] = "check_deals"
    member: int | None  # new share index
    dealer: int | None  # of a reshare: old one
    deals: tuple[dict[str, Any], ...]  # whole or slim, in the order of the dealers
    bindings: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "member": self.member,
            "dealer": self.dealer,
            "deals": list(self.deals),
            "bindings": list(self.bindings),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_place(fields),
            member=_optional_index(fields, "member"),
            dealer=_optional_index(fields, "dealer"),
            deals=_objects(fields, "deals"),
            bindings=_objects(fields, "bindings"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishCeremony(TokenJob):
    """Recompute a share from the certificate, seal it, open it again, and sign with it.

    With `recovered` the envelope says so: it is for a holder whose disk is lost.
    """

    kind: ClassVar[str] = "finish_ceremony"
    certificate: str
    previous: str | None = None
    recovered: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "certificate": self.certificate,
            "previous": self.previous,
            "recovered": self.recovered,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            certificate=take_text(fields, "certificate"),
            previous=optional_text(fields, "previous"),
            recovered=fields.boolean("recovered"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDeal(CeremonyJob):
    """Answer a complaint: show the ephemeral key of one recipient's ciphertext."""

    kind: ClassVar[str] = "open_deal"
    dealer: int
    recipient: int
    session: dict[str, Any]  # the sealed session seed
    complaint: dict[str, Any]  # as the recipient signed it

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "dealer": self.dealer,
            "recipient": self.recipient,
            "session": self.session,
            "complaint": self.complaint,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_place(fields),
            dealer=fields.integer("dealer", low=0, high=MAX_HOLDERS),
            recipient=fields.integer("recipient", low=1, high=MAX_HOLDERS),
            session=take_object(fields, "session"),
            complaint=take_object(fields, "complaint"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class ResealShare(TokenJob):
    """Seal a share anew as recovered: from the copy of the envelope that was acknowledged."""

    kind: ClassVar[str] = "reseal_share"
    group: str
    acknowledgement: str  # whole, with its signature: only that says who the envelope is for

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {**self.head(), "group": self.group, "acknowledgement": self.acknowledgement}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=take_text(fields, "group"),
            acknowledgement=take_text(fields, "acknowledgement"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyKey(TokenJob):
    """Destroy the keys of one token that open a share of the epoch before, once that may be.

    The primary's comes last, and signs the receipt over all.
    """

    kind: ClassVar[str] = "destroy_key"
    certificate: str  # of the new epoch
    previous: str  # the group file whose share it is
    index: int  # of the old share
    envelope: str  # of the old share: each of its slots is a key that opens it
    spare: bool  # whether the token is a spare: it signs no receipt
    gone: tuple[bytes, ...]  # points that were destroyed on spares before
    notes: str  # absolute: the folder where a token is noted before a key of it is destroyed
    acknowledgements: tuple[tuple[int, str], ...]  # member, text of his file

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "certificate": self.certificate,
            "previous": self.previous,
            "index": self.index,
            "envelope": self.envelope,
            "spare": self.spare,
            "gone": [point.hex() for point in self.gone],
            "notes": self.notes,
            "acknowledgements": [
                {"member": member, "text": text} for member, text in self.acknowledgements
            ],
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        acknowledgements = []
        for value in _objects(fields, "acknowledgements"):
            entry = Fields(value, "order: acknowledgement")
            member = entry.integer("member", low=1, high=MAX_HOLDERS)
            acknowledgements.append((member, take_text(entry, "text")))
            entry.done()
        job = cls(
            **take_head(fields),
            certificate=take_text(fields, "certificate"),
            previous=take_text(fields, "previous"),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            envelope=take_text(fields, "envelope"),
            spare=fields.boolean("spare"),
            gone=tuple(
                parse_recipient(point, "order: gone")
                for point in fields.array("gone", low=0, high=2 * MAX_SLOTS)
            ),
            notes=fields.string("notes", pattern=PATH_PATTERN, max_length=4096),
            acknowledgements=tuple(acknowledgements),
        )
        fields.done()
        return job


def optional_text(fields: Fields, name: str) -> str | None:
    """Take a text that may be null."""
    value = fields.take(name)
    return None if value is None else take_text(Fields({name: value}, fields.what), name)


def _optional_index(fields: Fields, name: str) -> int | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).integer(name, low=1, high=MAX_HOLDERS)


def _objects(fields: Fields, name: str) -> tuple[dict[str, Any], ...]:
    entries = fields.array(name, low=0, high=MAX_HOLDERS)
    return tuple(as_object(entry, fields, name) for entry in entries)

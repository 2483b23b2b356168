"""Jobs of a repair. The worker checks everything itself; only what it signs is in the result."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.token_job import TokenJob, take_head, take_object, take_text
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairJob(TokenJob):
    """A job on one token about one repair."""

    roster: str
    group: str  # the group file whose share is repaired

    def place(self) -> dict[str, Any]:
        """Return the JSON of what every such job has."""
        return {**self.head(), "roster": self.roster, "group": self.group}


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDelta(RepairJob):
    """Open one's own share, break its term of the lost one, and seal a part to each helper."""

    kind: ClassVar[str] = "make_delta"
    helper: int
    envelope: str  # of the helper's own share

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {**self.place(), "helper": self.helper, "envelope": self.envelope}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **_take_place(fields),
            helper=_index(fields, "helper"),
            envelope=take_text(fields, "envelope"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class AddUpDeltas(RepairJob):
    """Check and add up what the helpers sent, and seal the sum; or complain."""

    kind: ClassVar[str] = "add_up_deltas"
    helper: int
    session: dict[str, Any]  # the sealed session seed
    deltas: tuple[str, ...]  # in the order of the helpers

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "helper": self.helper,
            "session": self.session,
            "deltas": list(self.deltas),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **_take_place(fields),
            helper=_index(fields, "helper"),
            session=take_object(fields, "session"),
            deltas=_texts(fields, "deltas"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRepair(RepairJob):
    """Put the share together, seal it, open it again, and sign with it; or complain."""

    kind: ClassVar[str] = "finish_repair"
    deltas: tuple[str, ...]  # in the order of the helpers
    sigmas: tuple[str, ...]  # in that order

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {**self.place(), "deltas": list(self.deltas), "sigmas": list(self.sigmas)}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **_take_place(fields),
            deltas=_texts(fields, "deltas"),
            sigmas=_texts(fields, "sigmas"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceCard(RepairJob):
    """Check that the returning holder has proved his share, and sign his new card."""

    kind: ClassVar[str] = "replace_card"
    helper: int
    deltas: tuple[str, ...]  # in the order of the helpers
    sigmas: tuple[str, ...]  # in that order
    proof: str  # the returning holder's acknowledgement

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "helper": self.helper,
            "deltas": list(self.deltas),
            "sigmas": list(self.sigmas),
            "proof": self.proof,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **_take_place(fields),
            helper=_index(fields, "helper"),
            deltas=_texts(fields, "deltas"),
            sigmas=_texts(fields, "sigmas"),
            proof=take_text(fields, "proof"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRepair(RepairJob):
    """Answer a complaint: show the ephemeral key of one recipient's ciphertext."""

    kind: ClassVar[str] = "open_repair"
    helper: int
    recipient: int
    session: dict[str, Any]  # the sealed session seed
    complaint: dict[str, Any]  # the recipient's, signed

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.place(),
            "helper": self.helper,
            "recipient": self.recipient,
            "session": self.session,
            "complaint": self.complaint,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **_take_place(fields),
            helper=_index(fields, "helper"),
            recipient=_index(fields, "recipient"),
            session=take_object(fields, "session"),
            complaint=take_object(fields, "complaint"),
        )
        fields.done()
        return job


def _take_place(fields: Fields) -> dict[str, Any]:
    return {
        **take_head(fields),
        "roster": take_text(fields, "roster"),
        "group": take_text(fields, "group"),
    }


def _index(fields: Fields, name: str) -> int:
    return fields.integer(name, low=1, high=MAX_HOLDERS)


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    entries = fields.array(name, low=1, high=MAX_HOLDERS)
    return tuple(take_text(Fields({name: entry}, fields.what), name) for entry in entries)

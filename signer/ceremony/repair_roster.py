"""The roster of a repair: whose share, who helps, and the new card it is sealed to.

As with other ceremonies nobody signs it; its digest is the repair's id, and its fingerprint is
compared by voice. Only a share that the group has is repaired: the same sums at another index would
make a new share, and whoever could ask for that could take the key.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from signer.ceremony.statement import MAX_MOMENT
from signer.ceremony.terms import (
    MAX_OPEN_SECONDS,
    NONCE_BYTES,
    require_fit,
    require_within,
    take_indices,
)
from signer.errors import CeremonyError, GroupFileError, SchemaError, ThresholdParameterError
from signer.messages.card import Card
from signer.messages.group_file import GroupFile, marked_fingerprint, require_fresh_card
from signer.messages.group_id import MAX_EPOCH
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex
from signer.threshold.repairing import require_helpers

TYPE = "signer-repair-roster"
MAX_BYTES = 128 * 1024


@dataclass(frozen=True, kw_only=True)
class RepairRoster:
    """One proposed repair. Nothing is held against the group before `RepairSetting.of`."""

    group: bytes
    epoch: int
    previous: bytes  # digest of the group file
    lost: ShareIndex
    helpers: tuple[ShareIndex, ...]  # ascending
    card: Card  # the returning holder's new one
    not_before: int  # Unix seconds
    expires: int  # Unix seconds
    nonce: bytes
    rehearsal: bool = False

    @cached_property
    def id(self) -> bytes:
        """32 bytes: SHA-256 of the canonical roster; the ceremony's id."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    @property
    def fingerprint(self) -> str:
        """What holders read to each other; a rehearsal's begins with the word."""
        return marked_fingerprint(self.id, rehearsal=self.rehearsal)

    def require_open(self, now: int) -> None:
        """Refuse a repair that has not begun or is over.

        Raises:
            CeremonyError: E_CEREMONY_EXPIRED.
        """
        require_within("repair", self.not_before, self.expires, now)

    def to_json(self) -> dict[str, Any]:
        """Return the roster as a JSON object."""
        return {
            "type": TYPE,
            "version": 1,
            "rehearsal": self.rehearsal,
            "group": self.group.hex(),
            "epoch": self.epoch,
            "previous": self.previous.hex(),
            "lost": int(self.lost),
            "helpers": [int(helper) for helper in self.helpers],
            "card": self.card.to_json(),
            "not_before": self.not_before,
            "expires": self.expires,
            "nonce": self.nonce.hex(),
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "roster") -> Self:
        """Read the bytes of a roster's file.

        Raises:
            SchemaError: not this format, helpers out of order, or never open, or for too long.
            CardError: the card does not hold.
            CeremonyError: E_ROSTER: the bytes are not in canonical form.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", TYPE)
        fields.constant("version", 1)
        roster = cls(
            rehearsal=fields.boolean("rehearsal"),
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            previous=fields.hex_bytes("previous", 32),
            lost=ShareIndex(fields.integer("lost", low=1, high=MAX_HOLDERS)),
            helpers=take_indices(fields, "helpers"),
            card=Card.parse(fields.take("card"), f"{what}: the new card"),
            not_before=fields.integer("not_before", low=0, high=MAX_MOMENT),
            expires=fields.integer("expires", low=0, high=MAX_MOMENT),
            nonce=fields.hex_bytes("nonce", NONCE_BYTES),
        )
        fields.done()
        if not 0 < roster.expires - roster.not_before <= MAX_OPEN_SECONDS:
            raise SchemaError(
                f"{what}: field 'expires' must be up to {MAX_OPEN_SECONDS // 86400} days "
                "after 'not_before'"
            )
        if roster.to_bytes() != raw:
            raise CeremonyError(f"{what}: it is not in canonical form", code="E_ROSTER")
        return roster


@dataclass(frozen=True, slots=True)
class RepairSetting:
    """A repair's roster and the group file it is about; they belong together."""

    roster: RepairRoster
    group: GroupFile

    @classmethod
    def of(cls, roster: RepairRoster, group: GroupFile | None) -> Self:
        """Put the two together.

        Raises:
            CeremonyError: E_ROSTER: they do not go together, the share is none of the group's,
                helpers are too few or none of the holders, or the new card has a key known before.
        """
        if group is None:
            raise CeremonyError(
                "a repair needs the group file that it is about", code="E_ROSTER",
                hint="put it into the ceremony's folder as previous.json",
            )  # fmt: skip
        wrong = {
            "it is about another group file": roster.previous != group.digest,
            "it is of another group": roster.group != group.group_id,
            "its epoch is another": roster.epoch != group.epoch,
            "a rehearsal stays one": roster.rehearsal != group.rehearsal,
            "the group is not active": not group.active,
            f"the group has no share {int(roster.lost)}; repair makes no new ones": roster.lost
            > group.threshold.n,
            "the new token is software that protects nothing": roster.card.body.software
            and not group.rehearsal
            and group.certificate is not None,
        }
        for why, is_so in wrong.items():
            if is_so:
                raise CeremonyError(f"roster: {why}", code="E_ROSTER")
        try:
            require_helpers(roster.helpers, roster.lost, group.threshold)
            require_fresh_card(group, roster.lost, roster.card, "roster")
            helpers = (group.card_of(helper) for helper in roster.helpers)
            require_fit((roster.card, *helpers), "roster")
        except (ThresholdParameterError, GroupFileError) as error:
            raise CeremonyError(error.message, hint=error.hint, code="E_ROSTER") from None
        return cls(roster, group)

    def card_of(self, index: int) -> Card:
        """Return the card of a helper, or the returning holder's new one."""
        return self.roster.card if index == self.roster.lost else self.group.card_of(index)

    def name_of(self, index: int) -> str:
        """Return what people call one who takes part."""
        role = "holder" if index == self.roster.lost else "helper"
        return f"{role} {index} ({self.card_of(index).body.name})"

    def helper_of(self, id_sign: bytes) -> ShareIndex | None:
        """Return the share index of the helper who has this identity key."""
        return next(
            (h for h in self.roster.helpers if self.card_of(h).body.id_sign == id_sign), None
        )

    def position_of(self, helper: int) -> int:
        """Return where a helper stands among the helpers.

        Raises:
            CeremonyError: nowhere.
        """
        if helper not in self.roster.helpers:
            raise CeremonyError(f"{helper} is no helper of this repair")
        return self.roster.helpers.index(ShareIndex(int(helper)))


def each_helper(setting: RepairSetting, missing: Callable[[int], bool]) -> tuple[int, ...]:
    """Return the helpers of whom `missing` holds, in order."""
    return tuple(int(helper) for helper in setting.roster.helpers if missing(int(helper)))

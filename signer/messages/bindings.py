"""What one holder's journal binds, signed by his token: for a holder who has lost his own.

A share that was recovered, or is of a later epoch, may have signed before what its new journal does
not know. Whatever became a group signature was signed by t holders. So of any n − t + 1 others at
least one took part, and the union of their bindings holds every address that was ever signed for,
if they were stated after the journal was lost. A statement older than a day is refused; that it is
younger than the loss only the holder can see to.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from signer.errors import InputError, JournalError
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.group_id import MAX_EPOCH
from signer.messages.items import Change, changes_from_json, changes_to_json
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

PAYLOAD_TYPE = "application/vnd.signer.bindings.v2+json"
MAX_PAYLOAD = 8 * 1024 * 1024
MAX_BYTES = 12 * 1024 * 1024
_MAX_ADDRESSES = 2**20
MAX_AGE = 86400  # seconds from a statement to its import
CLOCK_SECONDS = 3600  # that another machine's clock may be ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """What a statement says."""

    group: bytes
    epoch: int  # of the shares that the journal has gone on with
    index: int
    sequence: int  # of the journal's last record
    head: bytes
    changes: tuple[Change, ...]  # every validator that is bound
    deposit_credentials: bytes | None
    moment: int  # Unix seconds

    @property
    def is_of_no_journal(self) -> bool:
        """Whether its holder says that the share never had a journal."""
        return self.head == bytes(32)

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that the token signs."""
        credentials = self.deposit_credentials
        return canonical(
            {
                "type": "signer-bindings",
                "version": 2,
                "group": self.group.hex(),
                "epoch": self.epoch,
                "index": self.index,
                "sequence": self.sequence,
                "head": self.head.hex(),
                "changes": changes_to_json(self.changes),
                "deposit_credentials": None if credentials is None else credentials.hex(),
                "moment": self.moment,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a payload strictly. Proves nothing about who wrote it."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD), what)
        fields.constant("type", "signer-bindings")
        fields.constant("version", 2)
        credentials = fields.take("deposit_credentials")
        statement = cls(
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            sequence=fields.integer("sequence", low=0, high=MAX_INTEGER),
            head=fields.hex_bytes("head", 32),
            changes=tuple(
                sorted(
                    Change(validator_index, address)
                    for entry in fields.array("changes", low=0, high=_MAX_ADDRESSES)
                    for validator_index, address in changes_from_json([entry], what)
                )
            ),
            deposit_credentials=None
            if credentials is None
            else Fields({"c": credentials}, what).hex_bytes("c", 32),
            moment=fields.integer("moment", low=0, high=MAX_INTEGER),
        )
        fields.done()
        return statement

    @classmethod
    def open_file(cls, raw: bytes, group: GroupFile, what: str) -> Self:
        """Read a signed statement and verify it under the card of the holder it is of.

        Raises:
            InputError: not this format, another group's or epoch's, or not signed by that holder.
        """
        value = parse_object(raw, what=what, max_bytes=MAX_BYTES)
        signed = SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD)
        statement = cls.parse(signed.payload, what)
        if statement.group != group.group_id or statement.index > group.threshold.n:
            raise InputError(f"{what}: it is of another group")
        if statement.epoch != group.epoch or (statement.is_of_no_journal and group.epoch > 1):
            raise InputError(
                f"{what}: it is not of a journal of epoch {group.epoch}, as the group file is: it "
                "lacks what was taken over in between",
                hint="its holder starts his agent with the newest shares, then states it again",
            )
        card = group.card_of(ShareIndex(statement.index)).body
        if not signed.signed_by(card.id_sign):
            raise InputError(f"{what}: holder {statement.index} ({card.name}) did not sign it")
        return statement


class Union(NamedTuple):
    """What several holders' journals bind together."""

    changes: tuple[Change, ...]
    deposit_credentials: bytes | None
    statements: Mapping[int, bytes]  # share index: SHA-256 of the statement's payload


def unite(statements: Sequence[Bindings], group: GroupFile, own_index: int, now: int) -> Union:
    """Return the union of what enough other holders' journals bind.

    Args:
        statements: verified.
        group: theirs.
        own_index: of the share that has lost its journal.
        now: Unix seconds; an old statement may lack what its holder has signed since.

    Raises:
        InputError: too few holders, one twice, the share's own, or a statement of another time.
        JournalError: two of them bind one validator, or the deposits, differently.
    """
    indices = [statement.index for statement in statements]
    if own_index in indices or len(set(indices)) != len(indices):
        raise InputError("the statements must be of different other holders, one of each")
    for statement in statements:
        if not now - MAX_AGE <= statement.moment <= now + CLOCK_SECONDS:
            raise InputError(
                f"the statement of holder {statement.index} is not of these days",
                hint="each holder makes a new one: signer journal export --bindings",
            )
    need = group.threshold.n - group.threshold.t + 1
    if len(indices) < need:
        raise InputError(
            f"{len(indices)} other holders' bindings; {need} are needed",
            hint="each runs `signer journal export --bindings`; fewer could miss what was signed",
        )
    bound: dict[int, tuple[Change, int]] = {}
    credentials: tuple[bytes, int] | None = None
    for statement in sorted(statements, key=lambda one: one.index):
        for change in statement.changes:
            first, whose = bound.setdefault(change.validator_index, (change, statement.index))
            if first != change:
                raise _conflict(f"validator {change.validator_index}", whose, statement.index)
        if statement.deposit_credentials is not None:
            credentials = credentials or (statement.deposit_credentials, statement.index)
            if credentials[0] != statement.deposit_credentials:
                raise _conflict("the deposits", credentials[1], statement.index)
    return Union(
        tuple(bound[index][0] for index in sorted(bound)),
        None if credentials is None else credentials[0],
        {one.index: hashlib.sha256(one.to_payload()).digest() for one in statements},
    )


def _conflict(what: str, one: int, other: int) -> JournalError:
    return JournalError(
        f"holders {one} and {other} have {what} bound differently; nothing was imported",
        hint="the pool must find out which address is the right one before this share signs",
    )


def seal(statement: Bindings, key_id: bytes, signature: bytes) -> dict[str, Any]:
    """Return the signed statement as a JSON object."""
    return SignedFile(PAYLOAD_TYPE, statement.to_payload(), key_id, signature).to_json()

"""A receipt: a holder has destroyed the key that opened his share of an earlier epoch.

An old sharing is dead only when fewer than t of its holders can still open their shares. Before
that it can sign, whatever anybody has declared; so receipts are counted.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from signer.ceremony.statement import (
    open_statement,
    payload_of,
    payload_type_of,
    take_moment,
)
from signer.errors import CeremonyError
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.group_id import MAX_EPOCH
from signer.recipient import parse_recipient
from signer.sealing.envelope import MAX_SLOTS
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS

KIND = "signer-destroyed"
PAYLOAD_TYPE = payload_type_of(KIND)
MAX_KEYS = MAX_SLOTS + 2  # of one envelope, and those on the card
_METHOD = "C_DestroyObject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """What a receipt says; its holder's word, signed by his token."""

    group: bytes
    epoch: int  # of the share that cannot be opened any more
    index: int
    keys: tuple[bytes, ...]  # 65-byte points, ascending: all that opened the share, spares' too
    successor: bytes  # digest of the certificate that replaces the sharing
    moment: int  # Unix seconds

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        return payload_of(
            KIND,
            {
                "group": self.group.hex(),
                "epoch": self.epoch,
                "index": self.index,
                "keys": [point.hex() for point in self.keys],
                "method": _METHOD,
                "successor": self.successor.hex(),
                "moment": self.moment,
            },
        )

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the fields of the payload."""
        fields.constant("method", _METHOD)
        entries = fields.array("keys", low=1, high=MAX_KEYS)
        keys = tuple(parse_recipient(entry, fields.what) for entry in entries)
        if list(keys) != sorted(set(keys)):
            fields.fail("keys", "must be points in ascending order")
        return cls(
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            keys=keys,
            successor=fields.hex_bytes("successor", 32),
            moment=take_moment(fields),
        )


def open_destroyed(
    signed: SignedFile, old: GroupFile, index: int, successor: bytes, what: str = "receipt"
) -> Destroyed:
    """Return what a holder of the old sharing has destroyed.

    Raises:
        CeremonyError: he did not sign it, it is about something else, or a key on his card lives.
        SchemaError: not this format.
    """
    card = old.card_of(index).body
    said = open_statement(signed, KIND, card.id_sign, Destroyed.take, what)
    expected = (old.group_id, old.epoch, index, successor)
    found = (said.group, said.epoch, said.index, said.successor)
    shown = {card.kex, card.kex_backup} - {None}
    if found != expected or not shown.issubset(said.keys):
        raise CeremonyError(f"{what}: it is about another key, epoch or certificate")
    return said


def note_name(point: bytes, serial: bytes) -> str:
    """Return under which name it is noted that a token is about to destroy a key.

    Args:
        point: the key's.
        serial: SHA-256 of the token's serial number.
    """
    return f"destroying-{hashlib.sha256(point).hexdigest()[:16]}-{serial.hex()[:16]}.json"


def deletion_words(old: GroupFile, destroyed: Collection[int]) -> str:
    """Return in one line how many old shares are left, and whether the old sharing is dead.

    A token that lets keys be copied may have been copied before; no receipt excludes that.
    """
    t, n, gone = old.threshold.t, old.threshold.n, set(destroyed)
    left = n - len(gone)
    state = f"{left} left < {t}: the old sharing is dead" if left < t else (
        f"{left} left, {t} can sign: the old sharing still lives"
    )  # fmt: skip
    copied = sum(old.card_of(index).body.key_backup == "possible" for index in gone)
    caveat = f", unless {copied} of the keys were copied before, as their tokens allow"
    return f"epoch {old.epoch}: {len(gone)} of {n} destroyed, {state}{caveat if copied else ''}"

"""What a journal's records add up to: who is bound to what, and what else is remembered. Pure.

A validator is bound by (genesis validators root, validator index) to one address, and a validator
key to one set of withdrawal credentials: the first deposit for it decides, so that no later one can
be made to pay somebody else. Bindings come from INTENT and IMPORTED, so a crash at any later moment
forgets nothing, and a new epoch of the shares changes nothing about them. Exits bind nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from signer.custody.anchor import rolled_back
from signer.custody.generation import Generation
from signer.custody.record import START, Record
from signer.custody.record_items import take_changes, take_items
from signer.errors import InputError, JournalError, SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.dsse import SignedFile, key_id_of
from signer.messages.group_id import MAX_EPOCH
from signer.messages.items import KINDS, MAX_ITEMS, Change, Deposit, Exit, Item
from signer.messages.witness import Witness
from signer.strict import MAX_INTEGER, Fields
from signer.threshold.params import MAX_HOLDERS

if TYPE_CHECKING:
    from signer.messages.group_file import GroupFile

VERSION = 3  # of the journal's format
_HEAD_BYTES = 32
_CODE = r"E_[A-Z_]+"


class Signed(NamedTuple):
    """Something that was about to be signed for a validator before."""

    moment: int  # Unix seconds
    item: Change | Exit


class JournalState:
    """Apply records in their order; read the rest. A record that cannot be is refused."""

    def __init__(self, what: str, owner: Mapping[str, Any] | None = None) -> None:
        """Begin before the first record; `owner` is what OPENED must say, if it is known."""
        self.what = what
        self.owner: Mapping[str, Any] | None = owner
        self.head = START
        self.opened = 0  # Unix seconds of the first record
        self.last_time = 0
        self._begun_in = 0  # the epoch in which the journal was begun
        self.last_intent: int | None = None  # what the clock said at the latest INTENT
        self.last_import: int | None = None  # and when bindings were last taken over
        self.last_drill: int | None = None
        self.generation = Generation()
        self._credentials: bytes | None = None
        self._serials: set[bytes] = set()
        self._heads = bytearray()
        self._bound: dict[int, tuple[int, ExecutionAddress]] = {}  # moment, address
        self._exits: dict[int, list[Signed]] = {}
        self._denied: dict[bytes, str] = {}
        self._body_of: dict[str, Callable[[Fields, int], None]] = {
            "OPENED": self._opened,
            "EPOCH": self._epoch_seen,
            "POLICY": self._policy_seen,
            "INTENT": self._intended,
            "RELEASED": self._released,
            "FAILED": self._failed,
            "DENIED": self._refused,
            "DRILLED": self._drilled,
            "IMPORTED": self._imported,
        }

    @property
    def sequence(self) -> int:
        """The number of the next record."""
        return len(self._heads) // _HEAD_BYTES

    @property
    def anchored_serials(self) -> frozenset[bytes]:
        """SHA-256 of the serials of tokens that are known to hold an anchor."""
        return frozenset(self._serials)

    @property
    def epoch(self) -> int:
        """The epoch of the newest shares that it was opened for."""
        return self.generation.epoch

    def head_at(self, sequence: int) -> bytes | None:
        """Return the head that record `sequence` gave, or None where there is none."""
        if not 0 <= sequence < self.sequence:
            return None
        return bytes(self._heads[_HEAD_BYTES * sequence : _HEAD_BYTES * (sequence + 1)])

    def address_of(self, validator_index: int) -> ExecutionAddress | None:
        """Return the address a validator is bound to, if it is."""
        bound = self._bound.get(validator_index)
        return None if bound is None else bound[1]

    def deposit_credentials(self) -> bytes | None:
        """Return the withdrawal credentials that this key's deposits are bound to, if they are."""
        return self._credentials

    def bindings(self) -> list[Change]:
        """Return every binding of a validator, in no order."""
        return [Change(index, address) for index, (_, address) in self._bound.items()]

    def history(self, validator_index: int) -> list[Signed]:
        """Return what was signed for a validator before, the oldest first."""
        entries: list[Signed] = list(self._exits.get(validator_index, ()))
        if (bound := self._bound.get(validator_index)) is not None:
            entries.append(Signed(bound[0], Change(validator_index, bound[1])))
        return sorted(entries, key=lambda signed: signed.moment)

    def was_denied(self, request_digest: bytes) -> str | None:
        """Return the code with which a person refused this request, if one did."""
        return self._denied.get(request_digest)

    def require_bindable(self, items: Iterable[Item]) -> None:
        """Refuse items of which one contradicts a binding, or another item.

        Raises:
            JournalError: which `policy` should have seen before.
        """
        credentials = self._credentials
        for item in items:
            if isinstance(item, Deposit):
                if credentials not in (None, item.withdrawal_credentials):
                    raise JournalError("this key's deposits are bound to other credentials")
                credentials = item.withdrawal_credentials
            elif not isinstance(item, Exit):
                validator_index, address = item
                if self.address_of(validator_index) not in (None, address):
                    raise JournalError(f"validator {validator_index} is bound to another address")

    def require_witnessed(self, witnesses: Sequence[SignedFile], id_sign: bytes) -> int:
        """Refuse a journal of which the key at `id_sign`, its holder's, has said more.

        A witness that was made before the other holders' bindings were taken over, and is not of
        this journal, is of the one that was lost; but one of a later epoch of the shares counts
        even so. What a ceremony knew fills an epoch's beginning: of witnesses it silences those of
        epochs before the journal only.

        Returns how many witnesses are not of this share, not signed by it, or of a journal that it
        lost: they say nothing.

        Raises:
            JournalError: E_ROLLBACK.
        """
        owner = self.owner or {}
        ignored = 0
        for signed in witnesses:
            mine = signed.key_id == key_id_of(id_sign)
            witness = Witness.open_with(signed, id_sign) if mine else None
            if witness is None or (witness.group.hex(), witness.index) != (
                owner.get("group"),
                owner.get("index"),
            ):
                ignored += 1
            elif self.head_at(witness.sequence) == witness.head:
                continue
            elif witness.moment < (self.last_import or 0) and witness.epoch <= self.epoch:
                ignored += 1
            elif witness.epoch < self._begun_in and not self.generation.lacks_union:
                ignored += 1  # this journal is younger; the union of the reshare knows
            else:
                known = f"a reply of this share names record {witness.sequence}"
                raise rolled_back(known, self.sequence - 1)
        return ignored

    def replay(self, line: bytes, number: int) -> Record:
        """Apply the line of a journal that follows what was applied so far.

        Raises:
            JournalError: it is damaged, does not follow, or is another share's.
        """
        try:
            record = Record.parse(line, "the record")
            if record.sequence != self.sequence or record.previous != self.head:
                raise damaged(self.what, number, "it does not follow the line before it")
            if record.moment < self.last_time:
                raise damaged(self.what, number, "it is older than the line before it")
            self.apply(record.kind, record.body, record.moment, record.head)
        except InputError as error:
            raise damaged(self.what, number, error.message) from None
        return record

    def apply(self, kind: str, body: Fields, moment: int, head: bytes) -> None:
        """Take in one record whose place in the chain was looked at."""
        if (kind == "OPENED") != (self.sequence == 0):
            raise SchemaError(f"{body.what}: {kind} in this place")
        clock = moment
        if body.has("clock"):  # what the clock said where it had gone back
            clock = body.integer("clock", low=0, high=moment)
        self._body_of[kind](body, moment)
        body.done()
        self.last_time = moment
        if kind == "INTENT":
            self.last_intent = max(clock, self.last_intent or 0)
        elif kind == "IMPORTED" and self.generation.filled_by_others:
            self.last_import = max(clock, self.last_import or 0)
        self.head = head
        self._heads += head

    def _opened(self, body: Fields, moment: int) -> None:
        self.opened = moment
        body.constant("version", VERSION)
        found: dict[str, Any] = {
            "group": body.hex_bytes("group", 32).hex(),
            "index": body.integer("index", low=1, high=MAX_HOLDERS),
            "network": body.string("network", pattern=r"[a-z0-9][a-z0-9-]{0,31}"),
            "genesis_validators_root": body.hex_bytes("genesis_validators_root", 32).hex(),
        }
        for name, expected in (self.owner or found).items():
            if found[name] != expected:
                raise JournalError(
                    f"the {self.what} is of another {name.replace('_', ' ')}",
                    hint="each share has a state folder of its own, for ever",
                )
        self.owner = found
        self._begin(body)

        self._begun_in = self.epoch

    def _epoch_seen(self, body: Fields, _: int) -> None:
        before = self.epoch
        self._begin(body)
        if self.epoch <= before:
            raise SchemaError(f"{body.what}: epoch {self.epoch} after epoch {before}")

    def _begin(self, body: Fields) -> None:
        """Take which shares the journal goes on with."""
        self.generation.begin(
            body.integer("epoch", low=1, high=MAX_EPOCH),
            _digest(body, "certificate"),
            recovered=body.boolean("recovered"),
        )

    def _policy_seen(self, body: Fields, _: int) -> None:
        number = body.integer("number", low=0, high=MAX_INTEGER)
        known = self.generation.policy
        if known is not None and number <= known[0]:
            raise SchemaError(f"{body.what}: policy {number} after policy {known[0]}")
        self.generation.policy = number, body.hex_bytes("digest", 32)

    def _intended(self, body: Fields, moment: int) -> None:
        body.hex_bytes("request", 32)
        _asker(body)
        body.boolean("approved")
        body.integer("count", low=1, high=MAX_ITEMS)
        for item in take_items(body.choice("kind", KINDS), body):
            if isinstance(item, Change):
                self._bind(item, moment)
            elif isinstance(item, Exit):
                self._exit(item, moment)
            else:
                self._bind_credentials(item.withdrawal_credentials)

    def _released(self, body: Fields, _: int) -> None:
        self._ended(body)
        body.integer("count", low=1, high=MAX_ITEMS)
        body.hex_bytes("partials_sha256", 32)
        if (field := _optional(body, "unsealed_milliseconds")) is not None:
            field.integer("unsealed_milliseconds", low=0, high=MAX_INTEGER)
        if (serial := _digest(body, "anchored_on")) is not None:
            self._serials.add(serial)

    def _failed(self, body: Fields, _: int) -> None:
        self._ended(body)
        body.string("code", pattern=_CODE)

    def _refused(self, body: Fields, _: int) -> None:
        _asker(body)
        self._denied[body.hex_bytes("request", 32)] = body.string("code", pattern=_CODE)

    def _drilled(self, body: Fields, _: int) -> None:
        moment = body.integer("moment", low=0, high=MAX_INTEGER)
        body.hex_bytes("device", 32)
        self.last_drill = max(moment, self.last_drill or 0)

    def _imported(self, body: Fields, moment: int) -> None:
        for entry in body.array("statements", low=1, high=MAX_HOLDERS):
            fields = Fields(entry, body.what)
            fields.integer("index", low=1, high=MAX_HOLDERS)
            fields.hex_bytes("sha256", 32)
            fields.done()
        for item in take_changes(body):
            self._bind(item, moment)
        if (credentials := _digest(body, "deposit_credentials")) is not None:
            self._bind_credentials(credentials)
        certificate = _digest(body, "certificate")
        if not body.boolean("complete"):
            self.generation.filled_by_others = False
            return  # the rest is in the records that follow, or in another import
        self.generation.filled(certificate)

    def _ended(self, body: Fields) -> None:
        body.integer("intent", low=0, high=self.sequence - 1)

    def _bind(self, item: Change, moment: int) -> None:
        bound = self._bound.setdefault(item.validator_index, (moment, item.address))
        if bound[1] != item.address:
            raise self._contradiction(f"validator {item.validator_index} to two addresses")

    def _bind_credentials(self, credentials: bytes) -> None:
        if self._credentials not in (None, credentials):
            raise self._contradiction("deposits to two sets of credentials")
        self._credentials = credentials

    def _exit(self, item: Exit, moment: int) -> None:
        entries = self._exits.setdefault(item.validator_index, [])
        if all(entry.item != item for entry in entries):
            entries.append(Signed(moment, item))

    def _contradiction(self, what: str) -> JournalError:
        return JournalError(
            f"the {self.what} binds {what}",
            hint="it was altered: sign nothing with this share, tell the pool",
        )


def owner_of(group: "GroupFile", index: int) -> dict[str, Any]:
    """Return what the first record of a share's journal says of whose it is."""
    return {
        "group": group.group_id.hex(),
        "index": int(index),
        "network": group.network.name,
        "genesis_validators_root": group.network.genesis_validators_root.hex(),
    }


def damaged(what: str, number: int, why: str) -> JournalError:
    """Return the error of a journal that must not be used."""
    return JournalError(
        f"the {what} is damaged at line {number}: {why}",
        hint="restore it whole from a backup; without it this share must not sign",
    )


def _asker(body: Fields) -> None:
    """Take who asked: a uid, or null for somebody at the desk."""
    if (field := _optional(body, "uid")) is not None:
        field.integer("uid", low=-1, high=2**32)


def _digest(body: Fields, name: str) -> bytes | None:
    """Take 32 bytes in hex, or null."""
    field = _optional(body, name)
    return None if field is None else field.hex_bytes(name, 32)


def _optional(body: Fields, name: str) -> Fields | None:
    """Take a field that may be null; else it is alone in what is returned."""
    value = body.take(name)
    return None if value is None else Fields({name: value}, body.what)

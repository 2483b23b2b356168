"""What holders are asked to sign: a network's name and typed fields. Never a root, never a domain.

One format for the socket, for files and later for QR codes. Kind, network and group stand once; the
items of that one kind follow (`signer.messages.items`). A requester may add the signing roots he
expects: they are compared, and never used.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

from signer.bls.encoding import PublicKey
from signer.errors import DeniedError
from signer.messages.address import ExecutionAddress
from signer.messages.dsse import SignedFile
from signer.messages.group_id import MAX_EPOCH
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    KINDS,
    LIST_OF_KIND,
    MAX_ITEMS,
    Change,
    Deposit,
    Exit,
    Item,
    changes_of,
    deposits_of,
    exits_of,
    group_by_address,
    items_from_json,
    items_to_json,
    require_items,
)
from signer.messages.networks import Network
from signer.messages.signing_root import (
    DepositMessage,
    VoluntaryExit,
    bls_to_execution_change_roots,
    signing_root,
)
from signer.messages.witness import MAX_BYTES as MAX_WITNESS_BYTES
from signer.messages.witness import MAX_WITNESSES
from signer.messages.witness import PAYLOAD_TYPE as WITNESS_TYPE
from signer.strict import Fields, canonical, parse_hex, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

if TYPE_CHECKING:  # for the name alone; a worker that signs is spared the cards
    from signer.messages.group_file import GroupFile

MAX_BYTES = 8 * 1024 * 1024
VERSION = 2


@dataclass(frozen=True, slots=True)
class OperatorPartial:
    """The operator's own partials, carried by his request: one per item, in the items' order."""

    index: ShareIndex
    partials: tuple[bytes, ...]  # 96 bytes each; unverified

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"index": int(self.index), "partials": [entry.hex() for entry in self.partials]}


@dataclass(frozen=True, kw_only=True)
class SignRequest:
    """A well-formed request. Whether it may be signed is for `policy` to say."""

    kind: str
    network: str
    group_id: bytes
    epoch: int
    group_public_key: bytes  # 48 bytes, compared with the group's, never trusted
    expires: int  # Unix seconds
    items: tuple[Item, ...]  # changes by validator index, ascending, none twice
    roots: tuple[bytes, ...] | None = None  # what the requester expects, one per item; compared
    operator: OperatorPartial | None = None
    witnesses: tuple[SignedFile, ...] = ()  # of holders' journals, unverified

    @classmethod
    def new(
        cls,
        group: "GroupFile",
        items: Iterable[Item | tuple[int, ExecutionAddress]],
        *,
        expires: int,
        kind: str = KIND_BLS_TO_EXECUTION_CHANGE,
        witnesses: tuple[SignedFile, ...] = (),
    ) -> Self:
        """Make the request for `items`, all of one `kind`.

        Raises:
            SchemaError: no item, too many, one out of range, or a validator twice.
        """
        ordered: tuple[Item, ...] = tuple(
            item if isinstance(item, Change | Exit | Deposit) else Change(*item) for item in items
        )
        if all(isinstance(item, Change) for item in ordered):
            ordered = tuple(sorted(ordered, key=itemgetter(0)))
        require_items(kind, ordered, "request")
        return cls(
            kind=kind,
            network=group.network.name,
            group_id=group.group_id,
            epoch=group.epoch,
            group_public_key=bytes(group.public_key),
            expires=expires,
            items=ordered,
            witnesses=witnesses,
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the canonical JSON without operator, roots and witnesses: its name."""
        bare = replace(self, operator=None, roots=None, witnesses=())
        return hashlib.sha256(canonical(bare.to_json())).digest()

    def targets(self) -> dict[ExecutionAddress, list[int]]:
        """Return the validators by the address they shall pay to, both in ascending order."""
        return group_by_address(self.items)

    def signing_roots(self, network: Network, group_public_key: PublicKey) -> list[bytes]:
        """Return one signing root per item, for constants that the *caller* holds.

        Raises:
            DeniedError: E_ROOT, the requester expects another root.
        """
        roots = self._roots(network, group_public_key)
        if self.roots is not None and list(self.roots) != roots:
            raise DeniedError(
                "the signing root that the request expects is not that of its fields",
                hint="the requester computed it for another network, fork or message",
                code="E_ROOT",
            )
        return roots

    def _roots(self, network: Network, key: PublicKey) -> list[bytes]:
        if self.kind == KIND_VOLUNTARY_EXIT:
            exits = exits_of(self.items)
            return [signing_root(VoluntaryExit(e.epoch, e.validator_index), network) for e in exits]
        if self.kind == KIND_DEPOSIT:
            deposits = deposits_of(self.items)
            return [signing_root(DepositMessage(key, *item), network) for item in deposits]
        return bls_to_execution_change_roots(network, key, changes_of(self.items))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "type": "signer-request",
            "version": VERSION,
            "kind": self.kind,
            "network": self.network,
            "group": self.group_id.hex(),
            "epoch": self.epoch,
            "group_public_key": self.group_public_key.hex(),
            "expires": self.expires,
            LIST_OF_KIND[self.kind]: items_to_json(self.kind, self.items),
            "signing_roots": None if self.roots is None else [root.hex() for root in self.roots],
            "operator": None if self.operator is None else self.operator.to_json(),
            "witnesses": [witness.to_json() for witness in self.witnesses],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "request") -> Self:
        """Read a request strictly.

        Raises:
            SchemaError: not this format, too large, too many items, a validator twice.
            AddressError: an address malformed, with a wrong checksum, or nobody's.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-request")
        fields.constant("version", VERSION)
        kind = fields.choice("kind", KINDS)
        network = fields.string("network", pattern=r"[a-z0-9][a-z0-9-]{0,31}")
        group_id = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        group_public_key = fields.hex_bytes("group_public_key", 48)
        expires = fields.integer("expires", low=0, high=2**53 - 1)
        entries = fields.array(LIST_OF_KIND[kind], low=1, high=MAX_ITEMS)
        roots = fields.take("signing_roots")
        operator = fields.take("operator")
        witnesses = fields.array("witnesses", low=0, high=MAX_WITNESSES)
        fields.done()
        items = items_from_json(kind, entries, what)
        require_items(kind, items, what)
        return cls(
            kind=kind,
            network=network,
            group_id=group_id,
            epoch=epoch,
            group_public_key=group_public_key,
            expires=expires,
            items=items,
            roots=None if roots is None else _expected_roots(roots, len(items), what),
            operator=None if operator is None else _operator(operator, len(items), what),
            witnesses=tuple(_witness(entry, what) for entry in witnesses),
        )


def _expected_roots(value: Any, count: int, what: str) -> tuple[bytes, ...]:
    fields = Fields({"signing_roots": value}, what)
    entries: Sequence[Any] = fields.array("signing_roots", low=count, high=count)
    return tuple(parse_hex(entry, 32, f"{what}: a signing root") for entry in entries)


def _witness(value: Any, what: str) -> SignedFile:
    return SignedFile.parse(
        value, f"{what}: witness", payload_type=WITNESS_TYPE, max_payload=MAX_WITNESS_BYTES
    )


def _operator(value: Any, count: int, what: str) -> OperatorPartial:
    fields = Fields(value, f"{what}: operator")
    index = ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS))
    entries = fields.array("partials", low=count, high=count)
    fields.done()
    return OperatorPartial(
        index, tuple(parse_hex(entry, 96, f"{what}: operator's partial") for entry in entries)
    )

"""What holders are asked to sign: a network's name and typed fields. Never a root, never a domain.

One format for the socket, for files and later for QR codes. Kind, network and group stand once;
validators are listed by index under the address they shall pay to.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from signer.bls.encoding import PublicKey
from signer.errors import SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.group_id import MAX_EPOCH
from signer.messages.networks import Network
from signer.messages.signing_root import bls_to_execution_change_roots
from signer.strict import Fields, canonical, parse_hex, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

if TYPE_CHECKING:  # for the name alone; a worker that signs is spared the cards
    from signer.messages.group_file import GroupFile

MAX_BYTES = 8 * 1024 * 1024
MAX_ITEMS = 20_000
MAX_VALIDATOR_INDEX = 2**40 - 1  # VALIDATOR_REGISTRY_LIMIT, phase0/beacon-chain.md

KIND_BLS_TO_EXECUTION_CHANGE = "bls_to_execution_change"
KINDS = (KIND_BLS_TO_EXECUTION_CHANGE,)

Item = tuple[int, ExecutionAddress]  # validator index, the address it shall pay to


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
    from_bls_pubkey: bytes  # 48 bytes, compared with the group's, never trusted
    expires: int  # Unix seconds
    items: tuple[Item, ...]  # by validator index, ascending, none twice
    operator: OperatorPartial | None = None

    @classmethod
    def new(cls, group: "GroupFile", items: Iterable[Item], *, expires: int) -> Self:
        """Make the request that pays each validator of `items` to its address.

        Raises:
            SchemaError: no item, too many, an index out of range, or a validator twice.
        """
        ordered = tuple(sorted(items))
        _check_items(ordered, "request")
        return cls(
            kind=KIND_BLS_TO_EXECUTION_CHANGE,
            network=group.network.name,
            group_id=group.group_id,
            epoch=group.epoch,
            from_bls_pubkey=bytes(group.public_key),
            expires=expires,
            items=ordered,
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the canonical JSON without the operator's partials: the request's name."""
        return hashlib.sha256(canonical(replace(self, operator=None).to_json())).digest()

    def targets(self) -> dict[ExecutionAddress, list[int]]:
        """Return the validators by the address they shall pay to, both in ascending order."""
        return group_by_address(self.items)

    def signing_roots(self, network: Network, group_public_key: PublicKey) -> list[bytes]:
        """Return one signing root per item, for constants that the *caller* holds."""
        return bls_to_execution_change_roots(network, group_public_key, self.items)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "type": "signer-request",
            "version": 1,
            "kind": self.kind,
            "network": self.network,
            "group": self.group_id.hex(),
            "epoch": self.epoch,
            "from_bls_pubkey": self.from_bls_pubkey.hex(),
            "expires": self.expires,
            "changes": changes_to_json(self.items),
            "operator": None if self.operator is None else self.operator.to_json(),
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
        fields.constant("version", 1)
        kind = fields.choice("kind", KINDS)
        network = fields.string("network", pattern=r"[a-z0-9][a-z0-9-]{0,31}")
        group_id = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        from_bls_pubkey = fields.hex_bytes("from_bls_pubkey", 48)
        expires = fields.integer("expires", low=0, high=2**53 - 1)
        changes = fields.array("changes", low=1, high=MAX_ITEMS)
        operator = fields.take("operator")
        fields.done()
        items = changes_from_json(changes, what)
        _check_items(items, what)
        return cls(
            kind=kind,
            network=network,
            group_id=group_id,
            epoch=epoch,
            from_bls_pubkey=from_bls_pubkey,
            expires=expires,
            items=items,
            operator=None if operator is None else _operator(operator, len(items), what),
        )


def group_by_address(items: Iterable[Item]) -> dict[ExecutionAddress, list[int]]:
    """Return the validator indices of `items` by address, both in ascending order."""
    targets: dict[ExecutionAddress, list[int]] = {}
    for validator_index, address in sorted(items):
        targets.setdefault(address, []).append(validator_index)
    return dict(sorted(targets.items()))


def changes_to_json(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return the compact JSON form of `items`: addresses, each with its validators."""
    return [
        {"to_execution_address": address.wire, "validator_indices": indices}
        for address, indices in group_by_address(items).items()
    ]


def changes_from_json(changes: list[Any], what: str) -> tuple[Item, ...]:
    """Read the compact form back, sorted by validator; a validator twice is not refused here."""
    items: list[Item] = []
    for entry in changes:
        fields = Fields(entry, f"{what}: change")
        address = ExecutionAddress.parse(fields.take("to_execution_address"), what)
        indices = fields.array("validator_indices", low=1, high=MAX_ITEMS)
        fields.done()
        if len(items) + len(indices) > MAX_ITEMS:
            raise SchemaError(f"{what}: more than {MAX_ITEMS} validators; make several requests")
        for index in indices:
            if type(index) is not int or not 0 <= index <= MAX_VALIDATOR_INDEX:
                raise SchemaError(f"{what}: {str(index)[:40]!r} is not a validator index")
            items.append((index, address))
    return tuple(sorted(items))


def _check_items(items: tuple[Item, ...], what: str) -> None:
    """Hold a sorted tuple of items to the limits of a request."""
    if not 1 <= len(items) <= MAX_ITEMS:
        raise SchemaError(
            f"{what}: {len(items)} validators; 1 to {MAX_ITEMS} make a request",
            hint="make several requests",
        )
    for (index, _), (following, _) in pairwise(items):
        if index == following:
            raise SchemaError(f"{what}: validator {index} stands twice")
    if items[0][0] < 0 or items[-1][0] > MAX_VALIDATOR_INDEX:
        raise SchemaError(f"{what}: a validator index is out of range")


def _operator(value: Any, count: int, what: str) -> OperatorPartial:
    fields = Fields(value, f"{what}: operator")
    index = ShareIndex(fields.integer("index", low=1, high=MAX_HOLDERS))
    entries = fields.array("partials", low=count, high=count)
    fields.done()
    return OperatorPartial(
        index, tuple(parse_hex(entry, 96, f"{what}: operator's partial") for entry in entries)
    )

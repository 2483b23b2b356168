"""The typed things that a request asks for, one kind a request, and how they are written down.

Requests and journals write them the same way: changes compactly, as addresses with the validators
that shall pay there; exits and deposits one by one.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from signer.errors import SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.credentials import require_credentials
from signer.strict import Fields

KIND_BLS_TO_EXECUTION_CHANGE = "bls_to_execution_change"
KIND_VOLUNTARY_EXIT = "voluntary_exit"
KIND_DEPOSIT = "deposit"
KINDS = (KIND_BLS_TO_EXECUTION_CHANGE, KIND_VOLUNTARY_EXIT, KIND_DEPOSIT)

ROLE_OF_KIND = {
    KIND_BLS_TO_EXECUTION_CHANGE: "withdrawal",
    KIND_VOLUNTARY_EXIT: "validator",
    KIND_DEPOSIT: "validator",
}
LIST_OF_KIND = {
    KIND_BLS_TO_EXECUTION_CHANGE: "changes",
    KIND_VOLUNTARY_EXIT: "exits",
    KIND_DEPOSIT: "deposits",
}

MAX_ITEMS = 20_000
MAX_DEPOSITS = 16
MAX_VALIDATOR_INDEX = 2**40 - 1  # VALIDATOR_REGISTRY_LIMIT, phase0/beacon-chain.md
MAX_CHAIN_EPOCH = 2**40 - 1  # of the beacon chain: some 13 million years
MIN_DEPOSIT_GWEI = 10**9  # MIN_DEPOSIT_AMOUNT, phase0/beacon-chain.md
MAX_DEPOSIT_GWEI = 2048 * 10**9  # MAX_EFFECTIVE_BALANCE_ELECTRA, electra/beacon-chain.md


class Change(NamedTuple):
    """Sets a validator's withdrawal address, once and for ever."""

    validator_index: int
    address: ExecutionAddress


class Exit(NamedTuple):
    """Ends a validator's duties, from `epoch` of the beacon chain on."""

    validator_index: int
    epoch: int


class Deposit(NamedTuple):
    """Funds the group's own validator key, its withdrawals going to these credentials."""

    withdrawal_credentials: bytes  # 32 bytes
    amount_gwei: int


Item = Change | Exit | Deposit
TYPE_OF_KIND: dict[str, type[Item]] = {
    KIND_BLS_TO_EXECUTION_CHANGE: Change,
    KIND_VOLUNTARY_EXIT: Exit,
    KIND_DEPOSIT: Deposit,
}


def require_items(kind: str, items: Sequence[Item], what: str) -> None:
    """Hold the items of one request of `kind`, changes sorted, to its limits.

    Raises:
        SchemaError: none, too many, of another kind, out of range, or a validator twice.
        AddressError: a deposit's credentials name an address that nobody owns.
    """
    most = {KIND_VOLUNTARY_EXIT: 1, KIND_DEPOSIT: MAX_DEPOSITS}.get(kind, MAX_ITEMS)
    if not 1 <= len(items) <= most:
        raise SchemaError(
            f"{what}: {len(items)} items; a request of this kind has 1 to {most}"
            if most < MAX_ITEMS
            else f"{what}: {len(items)} validators; 1 to {MAX_ITEMS} make a request",
            hint="make several requests",
        )
    if not all(isinstance(item, TYPE_OF_KIND[kind]) for item in items):
        raise SchemaError(f"{what}: items of another kind than {kind}")
    for deposit in deposits_of(items):
        _require_deposit(deposit, what)
    for exiting in exits_of(items):
        _require_index(exiting.validator_index, what)
        if not 0 <= exiting.epoch <= MAX_CHAIN_EPOCH:
            raise SchemaError(f"{what}: {exiting.epoch} is no epoch of a beacon chain")
    changes = changes_of(items)
    for (index, _), (following, _) in pairwise(changes):
        if index == following:
            raise SchemaError(f"{what}: validator {index} stands twice")
    for change in (*changes[:1], *changes[-1:]):  # they are sorted
        _require_index(change.validator_index, what)


def items_to_json(kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return the JSON list of `items`, which stands under `LIST_OF_KIND[kind]`."""
    if kind == KIND_VOLUNTARY_EXIT:
        return [
            {"validator_index": item.validator_index, "epoch": item.epoch}
            for item in exits_of(items)
        ]
    if kind == KIND_DEPOSIT:
        return [
            {
                "withdrawal_credentials": item.withdrawal_credentials.hex(),
                "amount_gwei": item.amount_gwei,
            }
            for item in deposits_of(items)
        ]
    return changes_to_json(changes_of(items))


def items_from_json(kind: str, entries: list[Any], what: str) -> tuple[Item, ...]:
    """Read the JSON list back; changes come sorted by validator.

    Raises:
        SchemaError: malformed.
        AddressError: an address malformed, with a wrong checksum, or nobody's.
    """
    if kind == KIND_VOLUNTARY_EXIT:
        return tuple(_exit(entry, what) for entry in entries)
    if kind == KIND_DEPOSIT:
        return tuple(_deposit(entry, what) for entry in entries)
    return changes_from_json(entries, what)


def item_name(position: int, item: Item) -> str:
    """Return what people call the item: by its validator; a deposit by its place, from 1."""
    if isinstance(item, Deposit):
        return f"deposit {position + 1}"
    return f"validator {item.validator_index}"


def exits_of(items: Iterable[Item]) -> list[Exit]:
    """Return those of `items` that are exits."""
    return [item for item in items if isinstance(item, Exit)]


def deposits_of(items: Iterable[Item]) -> list[Deposit]:
    """Return those of `items` that are deposits."""
    return [item for item in items if isinstance(item, Deposit)]


def changes_of(items: Iterable[Item]) -> list[Change]:
    """Return those of `items` that are changes."""
    return [Change(*item) for item in items if not isinstance(item, Exit | Deposit)]


def group_by_address(items: Iterable[Item]) -> dict[ExecutionAddress, list[int]]:
    """Return the validators of the changes by address, both in ascending order."""
    targets: dict[ExecutionAddress, list[int]] = {}
    for validator_index, address in sorted(changes_of(items)):
        targets.setdefault(address, []).append(validator_index)
    return dict(sorted(targets.items()))


def changes_to_json(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return the compact JSON form of changes: addresses, each with its validators.

    More validators than fit a request, as a journal may bind, are several entries of one address.
    """
    return [
        {"to_execution_address": address.wire, "validator_indices": indices[start:][:MAX_ITEMS]}
        for address, indices in group_by_address(items).items()
        for start in range(0, len(indices), MAX_ITEMS)
    ]


def changes_from_json(changes: list[Any], what: str) -> tuple[Change, ...]:
    """Read the compact form back, sorted by validator; a validator twice is not refused here."""
    items: list[Change] = []
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
            items.append(Change(index, address))
    return tuple(sorted(items))


def _exit(value: Any, what: str) -> Exit:
    fields = Fields(value, f"{what}: exit")
    item = Exit(
        fields.integer("validator_index", low=0, high=MAX_VALIDATOR_INDEX),
        fields.integer("epoch", low=0, high=MAX_CHAIN_EPOCH),
    )
    fields.done()
    return item


def _deposit(value: Any, what: str) -> Deposit:
    fields = Fields(value, f"{what}: deposit")
    item = Deposit(
        fields.hex_bytes("withdrawal_credentials", 32),
        fields.integer("amount_gwei", low=MIN_DEPOSIT_GWEI, high=MAX_DEPOSIT_GWEI),
    )
    fields.done()
    return item


def _require_index(validator_index: int, what: str) -> None:
    if not 0 <= validator_index <= MAX_VALIDATOR_INDEX:
        raise SchemaError(f"{what}: a validator index is out of range")


def _require_deposit(item: Deposit, what: str) -> None:
    require_credentials(item.withdrawal_credentials, f"{what}: deposit")
    if not MIN_DEPOSIT_GWEI <= item.amount_gwei <= MAX_DEPOSIT_GWEI:
        raise SchemaError(f"{what}: a deposit is of 1 to 2048 ETH", hint="in whole Gwei")

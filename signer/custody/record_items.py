"""How the journal writes down what was asked: the items of an INTENT, by kind."""

from collections.abc import Sequence
from typing import Any

from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    LIST_OF_KIND,
    MAX_DEPOSITS,
    Change,
    Deposit,
    Exit,
    Item,
    changes_from_json,
    items_from_json,
    items_to_json,
)
from signer.strict import Fields

_MAX_ADDRESSES = 2**20


def kind_of(items: Sequence[Item]) -> str:
    """Return the kind of request that such items make; a plain pair is a change."""
    if isinstance(items[0], Exit):
        return KIND_VOLUNTARY_EXIT
    return KIND_DEPOSIT if isinstance(items[0], Deposit) else KIND_BLS_TO_EXECUTION_CHANGE


def items_json(items: Sequence[Item]) -> dict[str, Any]:
    """Return `items`, all of one kind, as an INTENT's body holds them."""
    kind = kind_of(items) if items else KIND_BLS_TO_EXECUTION_CHANGE
    return {LIST_OF_KIND[kind]: items_to_json(kind, items)}


def take_items(kind: str, body: Fields) -> Sequence[Item]:
    """Take the items of a record of this `kind` of request out of its body.

    Raises:
        SchemaError: malformed, or out of range.
    """
    if kind == KIND_BLS_TO_EXECUTION_CHANGE:
        return take_changes(body)
    entries = body.array(LIST_OF_KIND[kind], low=1, high=MAX_DEPOSITS)
    return items_from_json(kind, entries, body.what)


def take_changes(body: Fields) -> list[Change]:
    """Take the compact form of changes out of a body; more than a request's may stand there."""
    return [
        change
        for entry in body.array("changes", low=0, high=_MAX_ADDRESSES)
        for change in changes_from_json([entry], body.what)
    ]

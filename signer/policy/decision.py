"""The ordered checks. First failure wins; each has a code that never changes its meaning.

Request as a whole, then item by item. A whole request is refused by `DeniedError`; an item by a
`Denial` in the list that comes back, so that one wrong item of a thousand stops only itself.

===============  ==================================================================
E_GROUP          asked of another group, or `from_bls_pubkey` is not the group's
E_EPOCH          asked of another epoch of the shares
E_ROLE           this key's role does not sign this kind
E_NETWORK        the network named is not the group's
E_EXPIRED        the request's time is over
E_TARGET         the address is not one the policy allows
E_EQUIVOCATION   the validator is bound to another address, for ever
===============  ==================================================================
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from signer.errors import DeniedError
from signer.messages.address import ExecutionAddress
from signer.messages.reply import Denial
from signer.messages.request import KIND_BLS_TO_EXECUTION_CHANGE, Item, SignRequest
from signer.policy.policy import Policy

if TYPE_CHECKING:  # for the name alone; a worker that signs is spared the cards
    from signer.messages.group_file import GroupFile

ROLE_OF_KIND = {KIND_BLS_TO_EXECUTION_CHANGE: "withdrawal"}

BoundTo = Callable[[int], ExecutionAddress | None]


def check_request(request: SignRequest, group: "GroupFile", now: int) -> None:
    """Refuse a request that is not for this group, or not any more.

    Raises:
        DeniedError: with the code of the first check that failed.
    """
    if request.group_id != group.group_id:
        raise DeniedError("the request is for another group", code="E_GROUP")
    if request.from_bls_pubkey != group.public_key:
        raise DeniedError("from_bls_pubkey is not this group's public key", code="E_GROUP")
    if request.epoch != group.epoch:
        raise DeniedError(
            f"the request is for epoch {request.epoch}; these shares are of epoch {group.epoch}",
            code="E_EPOCH",
        )
    if ROLE_OF_KIND[request.kind] != group.role:
        raise DeniedError(f"a {group.role} key does not sign {request.kind}", code="E_ROLE")
    if request.network != group.network.name:
        raise DeniedError(
            f"the request is for {request.network}; this key is for {group.network.name}",
            code="E_NETWORK",
        )
    if now >= request.expires:
        raise DeniedError(
            "the request has expired", code="E_EXPIRED", hint="make it again: signer request new"
        )


def check_items(items: Sequence[Item], policy: Policy, bound_to: BoundTo) -> list[Denial | None]:
    """Decide each item; None means it may be signed.

    Args:
        items: (validator index, address) pairs.
        policy: what the pool agreed on.
        bound_to: the address a validator was bound to before, if it was; from the journal.
    """
    return [_check_item(item, policy, bound_to) for item in items]


def _check_item(item: Item, policy: Policy, bound_to: BoundTo) -> Denial | None:
    validator_index, address = item
    if not policy.allows(address):
        return Denial(validator_index, "E_TARGET", "the address is not one the policy allows")
    bound = bound_to(validator_index)
    if bound is not None and bound != address:
        return Denial(
            validator_index, "E_EQUIVOCATION", "bound to another address, which is for ever"
        )
    return None

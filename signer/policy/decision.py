"""The ordered checks. First failure wins; each has a code that never changes its meaning.

A request as a whole is refused by `DeniedError`; an item by a `Denial` in the list that comes back,
so that one wrong item of a thousand stops only itself. What explains a decision is what makes it:
`check_request` and `check_items` read the explanations that `signer policy explain` prints.

====  ==================  ==========================================================================
1     E_NOT_ACTIVE        the ceremony that made this group has not ended with its test signature
2     E_PEER              the policy does not let this user ask for this kind
3     E_GROUP             asked of another group, or the group public key is not the group's
3     E_EPOCH             asked of another epoch of the shares
4     E_ROLE              this key's role does not sign this kind
5     E_NETWORK           the network named is not the group's
5     E_ROOT              a signing root that the requester claims is not the one computed here
6     E_CREDENTIALS       later, with a beacon node: the validator's credentials on the chain
11    E_EXPIRED           the request's time is over, or ends later than the policy's window allows
11    E_CLOCK             this machine's clock stands before the journal's last INTENT
----  ------------------  --------------------------------------------------------------------------
7     E_KIND              an exit or a deposit that the policy does not allow
7     E_TARGET            the address, or the withdrawal credentials, are not ones the policy allows
7     E_AMOUNT            a deposit smaller or larger than the policy allows
8     E_EQUIVOCATION      bound to another address or other credentials, which is for ever
9     E_NO_INITIATOR      later, with the escrow: the operator's own partial is not there
10    E_ESCROW_…          later, with the escrow
12    E_RATE              later
----  ------------------  --------------------------------------------------------------------------
12    E_DRILL_OVERDUE     this holder has not proven for too long that his share can be used
13    E_APPROVAL          later, with committees: approvals that are missing
14    E_APPROVAL          a person must say yes first (`needs_person`)
====  ==================  ==========================================================================

The numbers are the order of the whole way from frame to reply. Above the first line stands what is
judged of a request as a whole, below it what is judged item by item, then what is asked at the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from signer.errors import DeniedError
from signer.messages.address import ExecutionAddress
from signer.messages.items import ROLE_OF_KIND, Deposit, Exit, Item
from signer.messages.reply import Denial
from signer.messages.request import SignRequest
from signer.policy.policy import Policy
from signer.policy.quantities import seconds_text
from signer.policy.ruling import Ruling, rule_on

if TYPE_CHECKING:  # for the name alone; a worker that signs is spared the cards
    from signer.messages.group_file import GroupFile

CLOCK_TOLERANCE = 60  # seconds that two honest clocks may differ by


class Bindings(Protocol):
    """What was signed before and binds for ever. The journal is one."""

    def address_of(self, validator_index: int) -> ExecutionAddress | None:
        """Return the address that a validator is bound to, if it is."""

    def deposit_credentials(self) -> bytes | None:
        """Return the withdrawal credentials that this key's deposits are bound to, if they are."""


class _NothingBound:
    def address_of(self, validator_index: int) -> None:
        return None

    def deposit_credentials(self) -> None:
        return None


NOTHING_BOUND: Bindings = _NothingBound()


class Explanation(NamedTuple):
    """How one check of the request, or one of its items, came out."""

    position: int | None  # of the item, from 0; None: the request as a whole
    allowed: bool
    rule: str  # what decided
    why: str  # printable ASCII
    code: str = ""  # when it is not allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    request: SignRequest
    group: "GroupFile"
    policy: Policy | None
    now: int
    asker: int | None
    not_before: int


def check_request(
    request: SignRequest,
    group: "GroupFile",
    policy: Policy | None,
    *,
    now: int,
    asker: int | None,
    not_before: int = 0,
) -> None:
    """Refuse a request that is not for this group, not any more, or not from this user.

    Args:
        request: parsed.
        group: this holder's.
        policy: what the pool agreed on. None: an operator's own look, who has no policy at hand.
        now: Unix seconds.
        asker: uid of the process that asked; None: somebody at his desk, whom no uid rule binds.
        not_before: time of the journal's last INTENT, Unix seconds.

    Raises:
        DeniedError: with the code of the first check that failed.
    """
    for found in explain_request(
        request, group, policy, now=now, asker=asker, not_before=not_before
    ):
        if not found.allowed:
            raise DeniedError(found.why, code=found.code, hint=_HINTS.get(found.code, ""))


def explain_request(
    request: SignRequest,
    group: "GroupFile",
    policy: Policy | None,
    *,
    now: int,
    asker: int | None,
    not_before: int = 0,
) -> Iterator[Explanation]:
    """Yield the outcome of each check of the whole request, in order, up to the first failure."""
    case = _Case(
        request=request, group=group, policy=policy, now=now, asker=asker, not_before=not_before
    )
    for check in _CHECKS:
        found = check(case)
        yield Explanation(None, *found)
        if not found.allowed:
            return


def check_items(request: SignRequest, policy: Policy, bindings: Bindings) -> list[Denial | None]:
    """Decide each item of the request; None means it may be signed."""
    return [
        None if found.allowed else Denial(position, found.code, found.why)
        for position, found in enumerate(explain_items(request, policy, bindings))
    ]


def explain_items(request: SignRequest, policy: Policy, bindings: Bindings) -> list[Explanation]:
    """Say of each item whether it may be signed, by which rule, and why."""
    credentials = bindings.deposit_credentials()
    explanations = []
    for position, item in enumerate(request.items):
        found = rule_on(item, policy)
        if found.allowed:
            found = _rule_by_bindings(item, bindings, credentials) or found
        if found.allowed and isinstance(item, Deposit):
            credentials = item.withdrawal_credentials  # binds the request's other deposits too
        explanations.append(Explanation(position, *found))
    return explanations


def needs_person(policy: Policy, approved_items: int) -> bool:
    """Tell whether a person must say yes before so many items, allowed otherwise, are signed."""
    return policy.approval.needed(approved_items)


def check_drill(policy: Policy, *, last_drill: int, now: int) -> None:
    """Refuse real signing when this holder's last drill is too long ago.

    Args:
        policy: what the pool agreed on.
        last_drill: Unix seconds; where there was no drill yet, when the journal began.
        now: Unix seconds.

    Raises:
        DeniedError: E_DRILL_OVERDUE.
    """
    if policy.drill_every is not None and now - last_drill > policy.drill_every:
        raise DeniedError(
            f"the last drill is more than {seconds_text(policy.drill_every)} ago",
            hint="prove that the share can be used: signer drill run",
            code="E_DRILL_OVERDUE",
        )


def _rule_by_bindings(item: Item, bindings: Bindings, credentials: bytes | None) -> Ruling | None:
    if isinstance(item, Exit):
        return None
    if isinstance(item, Deposit):
        if credentials in (None, item.withdrawal_credentials):
            return None
        why = "this key's deposits are bound to other credentials, which is for ever"
    else:
        validator_index, address = item
        if bindings.address_of(validator_index) in (None, address):
            return None
        why = "bound to another address, which is for ever"
    return Ruling(False, "journal", why, "E_EQUIVOCATION")


# The whole request

_HINTS = {
    "E_NOT_ACTIVE": "finish the ceremony: signer ceremony status",
    "E_EXPIRED": "make it again: signer request new",
}


def _check_active(case: _Case) -> Ruling:
    if not case.group.active:
        why = "the group is not active yet: its ceremony lacks the signature that ends it"
        return Ruling(False, "active", why, "E_NOT_ACTIVE")
    return Ruling(True, "active", "the group is active")


def _check_asker(case: _Case) -> Ruling:
    rule, kind = f"requesters: {case.request.kind}", case.request.kind
    if case.policy is None or case.policy.requesters is None:
        return Ruling(True, "requesters", "whoever the agent listens to may ask")
    if case.asker is None:
        return Ruling(True, "requesters", "no user was given to hold against the policy")
    if case.asker not in case.policy.requesters.get(kind, ()):
        return Ruling(False, rule, f"user {case.asker} may not ask for {kind}", "E_PEER")
    return Ruling(True, rule, f"user {case.asker} may ask for {kind}")


def _check_group(case: _Case) -> Ruling:
    if case.request.group_id != case.group.group_id:
        return Ruling(False, "group", "the request is for another group", "E_GROUP")
    if case.request.group_public_key != case.group.public_key:
        return Ruling(False, "group", "it names another public key than this group's", "E_GROUP")
    return Ruling(True, "group", "it is for this group and its key")


def _check_epoch(case: _Case) -> Ruling:
    asked, ours = case.request.epoch, case.group.epoch
    if asked != ours:
        why = f"the request is for epoch {asked}; these shares are of epoch {ours}"
        return Ruling(False, "epoch", why, "E_EPOCH")
    return Ruling(True, "epoch", f"it is for epoch {ours}")


def _check_role(case: _Case) -> Ruling:
    role, kind = case.group.role, case.request.kind
    if ROLE_OF_KIND[kind] != role:
        return Ruling(False, "role", f"a {role} key does not sign {kind}", "E_ROLE")
    return Ruling(True, "role", f"a {role} key signs {kind}")


def _check_network(case: _Case) -> Ruling:
    asked, ours = case.request.network, case.group.network.name
    if asked != ours:
        why = f"the request is for {asked}; this key is for {ours}"
        return Ruling(False, "network", why, "E_NETWORK")
    return Ruling(True, "network", f"it is for {ours}")


def _check_roots(case: _Case) -> Ruling:
    if case.request.roots is None:
        return Ruling(True, "signing roots", "the requester claims none")
    try:
        case.request.signing_roots(case.group.network, case.group.public_key)
    except DeniedError as denied:
        return Ruling(False, "signing roots", denied.message, denied.code)
    return Ruling(True, "signing roots", "those the requester claims are those computed here")


def _check_expiry(case: _Case) -> Ruling:
    left = case.request.expires - case.now
    if left <= 0:
        return Ruling(False, "expires", "the request has expired", "E_EXPIRED")
    if case.policy is None:
        return Ruling(True, "expires", "it has not expired")
    window = case.policy.expiry_window
    if left > window + CLOCK_TOLERANCE:
        why = f"it expires later than {seconds_text(window)} from now"
        return Ruling(False, "expiry_window", why, "E_EXPIRED")
    return Ruling(True, "expiry_window", f"it expires within {seconds_text(window)}")


def _check_clock(case: _Case) -> Ruling:
    behind = case.not_before - case.now
    if behind > CLOCK_TOLERANCE:
        why = f"this machine's clock is {behind} s before the journal's last INTENT"
        return Ruling(False, "clock", why, "E_CLOCK")
    return Ruling(True, "clock", "the clock does not stand before the journal's last INTENT")


_CHECKS: tuple[Callable[[_Case], Ruling], ...] = (
    _check_active,
    _check_asker,
    _check_group,
    _check_epoch,
    _check_role,
    _check_network,
    _check_roots,
    # E_CREDENTIALS: what a beacon node says of the validators comes in here.
    _check_expiry,
    _check_clock,
)

"""A policy in plain sentences, to be read aloud, and what changes from one to the next."""

from collections.abc import Iterator

from signer.messages.amounts import gwei_text
from signer.messages.credentials import credentials_words
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    KINDS,
)
from signer.policy.deposits import DepositRule
from signer.policy.policy import Policy
from signer.policy.quantities import DAY, HOUR, MINUTE
from signer.policy.ranges import Ranges, ranges_json

_KIND_WORDS = {
    KIND_BLS_TO_EXECUTION_CHANGE: "withdrawal changes",
    KIND_VOLUNTARY_EXIT: "exits",
    KIND_DEPOSIT: "deposits",
}
_UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"))
_INDENT = "\n    "


def policy_text(policy: Policy) -> str:
    """Return the whole policy, one sentence for each thing it says."""
    return "\n".join(["What is not allowed here is denied.", "", *sentences(policy)])


def sentences(policy: Policy) -> list[str]:
    """Return what the policy says. A sentence may go on in indented lines."""
    return [
        *_of_addresses(policy),
        "Exits may be signed." if policy.exits else "Exits are denied.",
        *_of_deposits(policy.deposits),
        *_of_requesters(policy),
        f"A request may end at most {time_words(policy.expiry_window)} from when it is signed.",
        _of_approval(policy),
        "Nobody needs to drill."
        if policy.drill_every is None
        else "A holder whose last drill is more than "
        f"{time_words(policy.drill_every)} ago does not sign.",
    ]


def difference(old: Policy, new: Policy) -> list[str]:
    """Return what `old` says and `new` does not, then what is new. Empty: they say the same."""
    before, after = sentences(old), sentences(new)
    gone = [f"No longer:  {sentence}" for sentence in before if sentence not in after]
    return gone + [f"New:        {sentence}" for sentence in after if sentence not in before]


def time_words(seconds: int) -> str:
    """Return `14 days`, `1 hour`: whole minutes in the greatest unit that divides them."""
    size, name = next((size, name) for size, name in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"{count} {name}{'s' if count != 1 else ''}"


def _of_addresses(policy: Policy) -> Iterator[str]:
    if not policy.labels:
        yield "No validator may pay to any address."
    for address, label in sorted(policy.labels.items()):
        yield (
            f"{_who(policy.validators.get(address))} may pay to {label}:{_INDENT}{address.grouped}"
        )


def _who(ranges: Ranges | None) -> str:
    if ranges is None:
        return "Any validator"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"Only validator {ranges[0][0]}"
    return f"Only validators {', '.join(str(entry) for entry in ranges_json(ranges))}"


def _of_deposits(rule: DepositRule | None) -> Iterator[str]:
    if rule is None:
        yield "Deposits are denied."
        return
    low, high = gwei_text(rule.minimum_gwei), gwei_text(rule.maximum_gwei)
    for credentials, label in sorted(rule.labels.items()):
        yield (
            f"Deposits of {low} to {high} ETH may have the withdrawal credentials of {label}:"
            f"{_INDENT}{credentials_words(credentials)}"
        )


def _of_requesters(policy: Policy) -> Iterator[str]:
    if policy.requesters is None:
        yield "Whoever a holder's agent listens to may ask."
        return
    for kind in KINDS:
        uids = sorted(policy.requesters.get(kind, ()))
        who = f"Only user{'s' if len(uids) > 1 else ''} {', '.join(map(str, uids))}"
        yield f"{who if uids else 'Nobody'} may ask for {_KIND_WORDS[kind]}."


def _of_approval(policy: Policy) -> str:
    above = policy.approval.above
    if above is None:
        return "No request needs a person: what is allowed is signed at once."
    if above == 0:
        return "Every request needs a person."
    return f"A request for more than {above} item{'s' if above > 1 else ''} needs a person."

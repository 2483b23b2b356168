"""What `signer policy show` and `explain` print."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from signer.errors import UsageError
from signer.messages.card import fingerprint
from signer.messages.group_file import GroupFile
from signer.messages.items import Deposit
from signer.messages.request import SignRequest
from signer.policy.decision import (
    NOTHING_BOUND,
    Explanation,
    explain_items,
    explain_request,
    needs_person,
)
from signer.policy.policy import Policy
from signer.policy.ranges import parse_ranges, ranges_json
from signer.policy.words import policy_text, sentences

_NOT_LOOKED_AT = (
    "bindings of journals are not looked at: what was signed before may deny more of it"
)
_SOME, _DENIED = 6, 3  # exit statuses
_LAST_MOMENT = 253402300799  # the last second that a date can be written for


def shown(policy: Policy, group: GroupFile | None) -> tuple[dict[str, Any], str]:
    """Return a policy for programs and for people."""
    value = {
        "digest": policy.digest.hex(),
        "in_force": None if group is None else policy.digest == group.current_policy_digest,
        "amendment": None if group is None else group.amendment_number,
        "policy": policy.to_json(),
        "sentences": sentences(policy),
    }
    shown = fingerprint(policy.digest) if group is None else group.marked(policy.digest)
    lines = [f"policy       {shown}   (compare by voice)"]
    if group is not None:
        lines.append(f"in force     {_in_force(policy, group)}")
    lines += ["", policy_text(policy)]
    if group is not None and not policy.useful_to(group.role):
        lines += ["", f"A {group.role} key can sign nothing under this policy."]
    return value, "\n".join(lines)


def explained(
    request: SignRequest, group: GroupFile, policy: Policy, *, now: int, asker: int | None
) -> tuple[dict[str, Any], str, int]:
    """Return why a request would be signed or not, for programs and for people; exit status."""
    whole = list(explain_request(request, group, policy, now=now, asker=asker))
    items = explain_items(request, policy, NOTHING_BOUND)
    allowed = sum(found.allowed for found in items) if whole[-1].allowed else 0
    person = needs_person(policy, allowed)
    in_force = policy.digest == group.current_policy_digest
    value = {
        "request": request.digest.hex(),
        "policy": policy.digest.hex(),
        "in_force": in_force,
        "at": now,
        "as": asker,
        "whole": [_json(found) for found in whole],
        "items": [{"item": found.position, **_json(found)} for found in items],
        "allowed": allowed,
        "needs_person": person,
        "journals": "not looked at",
    }
    who = "whoever it is" if asker is None else f"user {asker}"
    at = datetime.fromtimestamp(now, UTC)
    lines = [
        f"request      {group.marked(request.digest)}   from {who}, at {at:%Y-%m-%d %H:%M:%S} UTC",
        f"policy       {group.marked(policy.digest)}   in force: {_in_force(policy, group)}",
        "",
        "The request as a whole:",
        *(f"  {_words(found)}" for found in whole),
        "",
        "Its items, by the rule that decides:",
        *_groups(request, items),
        "",
        _conclusion(whole, allowed, len(items), person),
        f"Note: {_NOT_LOOKED_AT}.",
    ]
    status = 0 if allowed == len(items) else _SOME if allowed else _DENIED
    return value, "\n".join(lines), status


def seconds_of(text: str | None) -> int:
    """Return the Unix seconds that `--at` means; now, if it is not given."""
    if text is None:
        return int(time.time())
    try:
        if text.isascii() and text.isdigit():
            moment = int(text[:20])
        else:
            moment = int(
                datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
            )
    except ValueError:
        moment = -1
    if not 0 <= moment <= _LAST_MOMENT:
        raise UsageError(
            f"--at {text[:40]!r} is no moment", hint="write Unix seconds or 2027-01-31T12:00:00Z"
        )
    return moment


def _in_force(policy: Policy, group: GroupFile) -> str:
    if policy.digest == group.current_policy_digest:
        number = group.amendment_number
        return (
            f"yes, this is the group's amendment {number}" if number else "yes, the group's first"
        )
    return f"NO: the group's policy is {group.marked(group.current_policy_digest)}"


def _json(found: Explanation) -> dict[str, Any]:
    return {
        "allowed": found.allowed,
        "rule": found.rule,
        "why": found.why,
        "code": found.code or None,
    }


def _words(found: Explanation) -> str:
    verdict = "yes" if found.allowed else "NO "
    code = f"{found.code}: " if found.code else ""
    return f"{verdict}  {found.rule}: {code}{found.why}"


def _groups(request: SignRequest, items: Sequence[Explanation]) -> list[str]:
    """Return one line for each rule, and below a rule that denies the items it denies."""
    by_rule: dict[tuple[bool, str, str], list[Explanation]] = {}
    for found in items:
        by_rule.setdefault((found.allowed, found.rule, found.code), []).append(found)
    lines = []
    for group in sorted(by_rule.values(), key=lambda group: (not group[0].allowed, group[0].rule)):
        count = len(group)
        lines.append(f"  {_words(group[0])}   [{count} item{'s' if count > 1 else ''}]")
        if not group[0].allowed:
            lines.append(f"       denied: {_names(request, group)}")
    return lines


def _names(request: SignRequest, group: Sequence[Explanation]) -> str:
    items = [request.items[found.position or 0] for found in group]
    if any(isinstance(item, Deposit) for item in items):
        return "deposit " + ", ".join(str((found.position or 0) + 1) for found in group)
    ranges = ranges_json(parse_ranges([item[0] for item in items], "items"))
    return "validator " + ", ".join(map(str, ranges))


def _conclusion(whole: Sequence[Explanation], allowed: int, count: int, person: bool) -> str:
    if not whole[-1].allowed:
        return "Nothing would be signed: the request is denied as a whole."
    if not allowed:
        return "Nothing would be signed: every item is denied."
    what = f"All {count} items" if allowed == count else f"{allowed} of {count} items"
    what = "The one item" if count == 1 else what
    return f"{what} would be signed, {'once a person says yes' if person else 'without a person'}."

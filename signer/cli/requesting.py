"""The wiring of `signer request`: options in, a request or its words out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signer.cli.wiring import seconds
from signer.custody.desk import read_group
from signer.errors import DeniedError, UsageError
from signer.files import read_file
from signer.messages.address import ExecutionAddress
from signer.messages.amounts import parse_gwei
from signer.messages.confirmation import twelve_words
from signer.messages.credentials import parse_credentials
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    MAX_DEPOSIT_GWEI,
    MIN_DEPOSIT_GWEI,
    ROLE_OF_KIND,
    Change,
    Deposit,
    Exit,
    Item,
)
from signer.messages.request import SignRequest
from signer.messages.review import Knowledge, request_text
from signer.messages.validator_list import MAX_PREPARATION_BYTES, parse_validator_list
from signer.messages.witness import MAX_FILE_BYTES, MAX_WITNESSES, parse_witnesses
from signer.policy.decision import NOTHING_BOUND, check_items
from signer.policy.policy import MAX_WINDOW, Policy
from signer.policy.quantities import DAY

_OPTIONS_OF_KIND = {
    KIND_BLS_TO_EXECUTION_CHANGE: ("to", "validators"),
    KIND_VOLUNTARY_EXIT: ("validator", "epoch"),
    KIND_DEPOSIT: ("credentials", "amount"),
}


def _valid_seconds(text: str) -> int:
    """Return how long the request shall live; longer than any policy allows is no use."""
    length = seconds(text)
    if length > MAX_WINDOW:
        raise UsageError(f"--valid-for takes at most {MAX_WINDOW // DAY}d, as policies do")
    return length


def make_request(
    *,
    group_path: Path,
    network_name: str | None,
    kind: str,
    witnesses: tuple[Path, ...],
    valid_for: str,
    **fields: Any,
) -> SignRequest:
    """Return the request that the options describe.

    Raises:
        UsageError: an option is missing, is another kind's, or contradicts the group file.
        DeniedError: the group's key does not sign this kind (E_ROLE).
        SignerError: a file or a value is not in order.
    """
    group = read_group(group_path)
    if network_name is not None and network_name != group.network.name:
        raise UsageError(f"this group's key is for {group.network.name}, not {network_name[:40]!r}")
    if ROLE_OF_KIND[kind] != group.role:
        raise DeniedError(
            f"a {group.role} key does not sign {kind}",
            hint=f"it takes a group whose role is {ROLE_OF_KIND[kind]}",
            code="E_ROLE",
        )
    _require_options(kind, fields)
    return SignRequest.new(
        group,
        _items(group, kind, fields),
        expires=int(time.time()) + _valid_seconds(valid_for),
        kind=kind,
        witnesses=_witnesses(witnesses),
    )


def _require_options(kind: str, fields: dict[str, Any]) -> None:
    """Refuse options of another kind and ask for those that are missing."""
    wanted = _OPTIONS_OF_KIND[kind]
    for name, value in fields.items():
        given = value is not None and value != ()
        if given and name not in wanted:
            raise UsageError(f"--{name} is not for {kind}; it takes --{' and --'.join(wanted)}")
        if not given and name in wanted:
            raise UsageError(f"{kind} needs --{name}")


def _items(group: GroupFile, kind: str, fields: dict[str, Any]) -> list[Item]:
    if kind == KIND_VOLUNTARY_EXIT:
        return [Exit(fields["validator"], fields["epoch"])]
    if kind == KIND_DEPOSIT:
        credentials = parse_credentials(fields["credentials"].lower(), "--credentials")
        low, high = MIN_DEPOSIT_GWEI, MAX_DEPOSIT_GWEI
        amounts = [parse_gwei(text, "--amount", low=low, high=high) for text in fields["amount"]]
        return [Deposit(credentials, amount) for amount in amounts]
    address = ExecutionAddress.parse(fields["to"], "--to")
    path = fields["validators"]
    raw = read_file(path, what="validator list", max_bytes=MAX_PREPARATION_BYTES)
    indices = parse_validator_list(raw, group, f"validator list {str(path)!r}")
    return [Change(index, address) for index in indices]


def _witnesses(paths: Sequence[Path]) -> tuple[SignedFile, ...]:
    carried: list[SignedFile] = []
    for path in paths:
        raw = read_file(path, what="witness file", max_bytes=MAX_FILE_BYTES)
        carried += parse_witnesses(raw, f"witness file {str(path)!r}")
    if len(carried) > MAX_WITNESSES:
        raise UsageError(f"{len(carried)} witnesses; a request carries at most {MAX_WITNESSES}")
    return tuple(carried)


def shown(
    request: SignRequest, policy: Policy | None, group: GroupFile | None
) -> tuple[dict[str, Any], str]:
    """Return a request for programs and for people, with what `policy` and `group` say of it.

    Raises:
        DeniedError: E_GROUP: it is for another group.
    """
    value = {
        "digest": request.digest.hex(),
        "words": twelve_words(request.digest),
        **request.to_json(),
    }
    if group is not None:
        if (request.group_id, request.group_public_key) != (group.group_id, group.public_key):
            raise DeniedError("the request is for another group", code="E_GROUP")
        value |= {"origin": group.origin, "rehearsal": group.rehearsal, "active": group.active}
    if policy is None:
        return value, request_text(request, Knowledge(group=group))
    value["allowed"] = {address.wire: address in policy.labels for address in request.targets()}
    verdicts = check_items(request, policy, NOTHING_BOUND)
    known = Knowledge(
        group=group,
        labels=policy.labels,
        credentials={} if policy.deposits is None else policy.deposits.labels,
        denied=[verdict for verdict in verdicts if verdict is not None],
    )
    value["denied"] = [denial.to_json() for denial in known.denied]
    return value, request_text(request, known)

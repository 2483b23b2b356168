"""The validators a request is about: a plain list, or ethdo's offline-preparation.json.

A plain list is a JSON array of indices, or text with one index a line (`#` starts a comment).
ethdo's file lists every validator of the chain; those that carry the group's withdrawal
credentials are taken, after its constants were held against the network.
"""

import re
from typing import Any

from signer.errors import InputError, NetworkError, SchemaError
from signer.messages.group_file import GroupFile
from signer.messages.items import MAX_VALIDATOR_INDEX
from signer.messages.signing_root import DOMAIN_BLS_TO_EXECUTION_CHANGE
from signer.strict import Fields, parse_object

MAX_LIST_BYTES = 1024 * 1024
_MAX_PREPARATION_BRACKETS = 8_000_000  # one for each validator of the chain, and room to grow
MAX_PREPARATION_BYTES = 768 * 1024 * 1024  # about 250 bytes for each validator of the chain

_INDEX = re.compile(r"0|[1-9][0-9]{0,12}")


def parse_validator_list(raw: bytes, group: GroupFile, what: str) -> list[int]:
    """Return the validator indices that `raw` names for `group`, in the file's order.

    Raises:
        SchemaError: none of the three forms, or an index that is none.
        NetworkError: ethdo's file is of another chain.
        InputError: no validator of the file belongs to the group.
    """
    start = raw.lstrip()[:1]
    if start == b"{":
        return _from_preparation(raw, group, what)
    if len(raw) > MAX_LIST_BYTES:
        raise SchemaError(f"{what}: {len(raw)} bytes, at most {MAX_LIST_BYTES} are allowed")
    if start == b"[":
        wrapped = parse_object(b'{"list":' + raw + b"}", what=what, max_bytes=2 * MAX_LIST_BYTES)
        entries: list[Any] = Fields(wrapped, what).array("list", low=0, high=MAX_LIST_BYTES)
    else:
        entries = _lines(raw, what)
    if not entries:
        raise SchemaError(f"{what}: names no validator")
    return [_index(entry, what) for entry in entries]


def _lines(raw: bytes, what: str) -> list[str]:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{what}: not plain text at byte {error.start}") from None
    if re.search(r"[^ -~\t\r\n]|\r(?!\n)", text):
        raise SchemaError(f"{what}: has control characters")
    # Lines end as `grep` and editors see them, not at every character that Python would split at.
    stripped = (line.partition("#")[0].strip() for line in text.split("\n"))
    return [line for line in stripped if line]


def _index(value: Any, what: str) -> int:
    """Take an index as a number, or as the decimal string that beacon nodes write."""
    if isinstance(value, str) and _INDEX.fullmatch(value):
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_VALIDATOR_INDEX:
        raise SchemaError(f"{what}: {str(value)[:40]!r} is not a validator index")
    return value


def _from_preparation(raw: bytes, group: GroupFile, what: str) -> list[int]:
    value = parse_object(
        raw, what=what, max_bytes=MAX_PREPARATION_BYTES, max_brackets=_MAX_PREPARATION_BRACKETS
    )
    if "validators" not in value:
        raise SchemaError(f"{what}: neither a list of indices nor ethdo's offline-preparation.json")
    if value.get("version") != "3":
        raise SchemaError(
            f"{what}: version {str(value.get('version'))[:20]!r} of ethdo's file is not read here",
            hint="make it again with `ethdo validator credentials set --prepare-offline`",
        )
    network = group.network
    for name, expected in (
        ("genesis_validators_root", network.genesis_validators_root),
        ("genesis_fork_version", network.genesis_fork_version),
        ("bls_to_execution_change_domain_type", DOMAIN_BLS_TO_EXECUTION_CHANGE),
    ):
        if str(value.get(name)).lower() != "0x" + expected.hex():
            raise NetworkError(f"{what}: {name} is not that of {network.name}")
    entries = value["validators"]
    if not isinstance(entries, list):
        raise SchemaError(f"{what}: 'validators' must be a list")
    credentials = "0x" + group.withdrawal_credentials.hex()
    mine = [
        _index(entry.get("index"), what)
        for entry in entries
        if isinstance(entry, dict)
        and str(entry.get("withdrawal_credentials")).lower() == credentials
    ]
    if not mine:
        raise InputError(
            f"{what}: none of its {len(entries)} validators carries this group's credentials",
            hint=f"they would be {credentials}",
        )
    return mine

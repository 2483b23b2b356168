"""Amounts of ether as people write them: exact decimal ETH, down to one Gwei."""

import re
from typing import Any

from signer.errors import SchemaError

GWEI = 10**9  # of one ether


def parse_gwei(value: Any, what: str, *, low: int, high: int) -> int:
    """Return the Gwei in an amount of ether: `32`, or `"0.5"` (whole Gwei).

    Raises:
        SchemaError: another form, or not within low..high Gwei.
    """
    text = str(value) if type(value) is int else value
    match = (
        re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", text) if isinstance(text, str) else None
    )
    if match is None:
        raise SchemaError(f'{what} must be an amount of ETH in whole Gwei: 32 or "32.5"')
    gwei = int(match[1]) * GWEI + int((match[2] or "").ljust(9, "0"))
    if not low <= gwei <= high:
        raise SchemaError(f"{what} must be from {gwei_text(low)} to {gwei_text(high)} ETH")
    return gwei


def gwei_text(gwei: int) -> str:
    """Return an amount in ether, exactly and without trailing zeros."""
    whole, rest = divmod(gwei, GWEI)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".") if rest else str(whole)

"""Lengths of time as a policy writes them, each with one canonical form."""

import re
from typing import Any

from signer.errors import SchemaError

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds
_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE}


def parse_seconds(value: Any, what: str, *, low: int, high: int) -> int:
    """Return the seconds that `90m`, `12h` or `14d` stand for.

    Raises:
        SchemaError: another form, or not within low..high seconds.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", value) if isinstance(value, str) else None
    if match is None:
        raise SchemaError(f"{what} must be a length of time: 90m, 12h or 14d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not low <= seconds <= high:
        raise SchemaError(f"{what} must be from {seconds_text(low)} to {seconds_text(high)}")
    return seconds


def seconds_text(seconds: int) -> str:
    """Return whole minutes in the greatest unit that divides them."""
    unit = next(name for name, size in _UNITS.items() if seconds % size == 0)
    return f"{seconds // _UNITS[unit]}{unit}"

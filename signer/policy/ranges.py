"""Sets of validator indices as people write them: `12`, `"100-199"`."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from signer.errors import SchemaError
from signer.messages.items import MAX_VALIDATOR_INDEX

MAX_ENTRIES = 1000  # of one list

_RANGE = re.compile(r"(0|[1-9][0-9]{0,15})-([1-9][0-9]{0,15})")

Ranges = tuple[tuple[int, int], ...]  # first and last of each, ascending, with gaps between


def parse_ranges(entries: Sequence[Any], what: str) -> Ranges:
    """Read a list of indices and ranges; neighbours become one range.

    Raises:
        SchemaError: neither an index nor a range, a range that runs backwards, or an index twice.
    """
    merged: list[tuple[int, int]] = []
    for first, last in sorted(_range(entry, what) for entry in entries):
        if merged and first <= merged[-1][1]:
            raise SchemaError(f"{what}: validator {first} stands twice")
        if merged and first == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def ranges_json(ranges: Ranges) -> list[int | str]:
    """Return the list that `parse_ranges` reads, in its one canonical form."""
    return [first if first == last else f"{first}-{last}" for first, last in ranges]


def in_ranges(index: int, ranges: Ranges) -> bool:
    """Tell whether `index` lies in one of the ranges."""
    place = bisect_right(ranges, index, key=lambda bounds: bounds[0]) - 1
    return place >= 0 and index <= ranges[place][1]


def _range(entry: Any, what: str) -> tuple[int, int]:
    first = last = -1
    if type(entry) is int:
        first = last = entry
    elif isinstance(entry, str) and (match := _RANGE.fullmatch(entry)):
        first, last = int(match[1]), int(match[2])
        if first >= last:
            raise SchemaError(f"{what}: {entry!r} does not run upwards")
    if not 0 <= first <= last <= MAX_VALIDATOR_INDEX:
        raise SchemaError(
            f"{what}: {str(entry)[:40]!r} is neither a validator index nor a range",
            hint='write 12 or "100-199"',
        )
    return first, last

"""Which rules of this machine's udev are about a device: file and line.

Not udev's language: a line counts if it names the device's ids and gives its node to somebody.
"""

import contextlib
import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# By udev(7); of files with one name the first counts.
FOLDERS = tuple(
    Path(folder) / "udev/rules.d"
    for folder in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
_MAX_BYTES = 1024 * 1024
_TERM = re.compile(r'(ATTRS?\{idVendor\}|ATTRS?\{idProduct\})\s*==\s*"([^"]*)"')
_GIVES = re.compile(r'\b(GROUP|OWNER)\s*:?=\s*"([^"]+)"')


@dataclass(frozen=True, slots=True)
class InstalledRule:
    """One line that is about a device."""

    file: Path
    line: int  # from 1
    group: str  # whom it gives the node to; empty where it names none

    @property
    def place(self) -> str:
        """File and line, as compilers write them."""
        return f"{self.file}:{self.line}"


def installed_rules(
    vendor: str, product: str, folders: Iterable[Path] = FOLDERS
) -> tuple[InstalledRule, ...]:
    """Return the lines about the device with these ids, in the order in which udev reads them."""
    files: dict[str, Path] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.glob("*.rules"):
                files.setdefault(path.name, path)
    return tuple(
        rule for _, path in sorted(files.items()) for rule in _rules_in(path, vendor, product)
    )


def _rules_in(path: Path, vendor: str, product: str) -> Iterator[InstalledRule]:
    for number, line in _lines(path):
        named = {key.split("{")[1]: value for key, value in _TERM.findall(line)}
        if not (
            _covers(named.get("idVendor}"), vendor) and _covers(named.get("idProduct}"), product)
        ):
            continue
        given = {key: value for key, value in _GIVES.findall(line)}
        if given or "uaccess" in line:
            yield InstalledRule(path, number, given.get("GROUP", ""))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what udev reads as one line, with the number where it begins."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    begun, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if begun else number
        begun += line.removesuffix("\\")
        if not line.endswith("\\"):
            if not begun.lstrip().startswith("#"):
                yield start, begun
            begun = ""


def _covers(pattern: str | None, value: str) -> bool:
    """Tell whether udev's pattern, with its `|`, `*` and `?`, is about `value`."""
    return pattern is not None and any(
        fnmatch.fnmatchcase(value, part) for part in pattern.split("|")
    )

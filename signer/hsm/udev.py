"""The udev rules for devices that an agent opens itself: which device, whose group, which tags.

The rules are a file that udev reads (udev/70-signer-hsm.rules, also in the wheel), and this module
reads the same file: nothing about a device is said twice. It knows the few forms of line that our
file has, not udev's language; a line of another form is refused with its number.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, Self

from signer.errors import ConfigError, UsageError
from signer.hsm.profile import NAME_PATTERN

RULES_NAME = "70-signer-hsm.rules"
PLACE = f"/etc/udev/rules.d/{RULES_NAME}"  # where an administrator installs it
RELOAD = "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb"
MAX_BYTES = 16 * 1024
GROUP_PATTERN = r"[a-z_][a-z0-9_-]{0,30}"  # what adduser and sysusers.d take, and nothing of udev's

_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "rules", _HERE.parent.parent / "udev")  # wheel, source checkout
_FIRST = re.compile(r'ACTION=="remove", GOTO="([a-z0-9_]+)"')
_LAST = re.compile(r'LABEL="([a-z0-9_]+)"')
_NAMED = re.compile(rf"# \[({NAME_PATTERN})\] (\S.*)")
_TERM = re.compile(r'([A-Z]+(?:\{[A-Za-z_]+\})?(?:==|\+=|=))"([^"]*)"')

# What stands in a rule, each exactly once. udev compares ids as text, with sysfs's lower case.
_TERMS = {
    "SUBSYSTEM==": r"usb",
    "ENV{DEVTYPE}==": r"usb_device",
    "ATTR{idVendor}==": r"[0-9a-f]{4}",
    "ATTR{idProduct}==": r"[0-9a-f]{4}",
    "GROUP=": GROUP_PATTERN,
    "MODE=": r"0[46][046]0",  # nothing for others
}
_TAG = ("TAG+=", r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """What udev does with one kind of USB device."""

    name: str  # what `--device` takes
    title: str
    vendor: str  # four hex digits, as sysfs's idVendor
    product: str  # likewise, idProduct
    group: str
    mode: str  # octal, four digits
    tags: tuple[str, ...]
    line: int = field(compare=False)  # of the file it was read from, from 1
    text: str  # the comment above the rule, and the rule


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A file of rules, in the order of its lines."""

    head: str  # to the line that lets a removed device go
    rules: tuple[DeviceRule, ...]
    tail: str

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read the bytes of a rules file, the packaged one or one that an administrator edited.

        Raises:
            ConfigError: naming `what` and the line.
        """
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{what}: {len(raw)} bytes, at most {MAX_BYTES} are allowed")
        text = raw.decode("ascii", "replace")
        if re.fullmatch(r"[ -~\n]*\n", text) is None:
            raise ConfigError(f"{what}: must be lines of printable ASCII, each with its end")
        head, rules, label = "", list[DeviceRule](), ""
        block: list[str] = []  # of comments, above a line that is none
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if first := _FIRST.fullmatch(line):
                if label:
                    _refuse(what, number, "udev skips from here twice")
                head, label, block = "\n".join(lines[:number]) + "\n", first[1], []
            elif last := _LAST.fullmatch(line):
                if last[1] != label or number != len(lines):
                    _refuse(what, number, "not the label where the file ends")
                return cls(head, tuple(rules), f"\n{line}\n")
            elif not line or line.startswith("#"):
                block = [*block, line] if line else []
            elif not label:
                _refuse(what, number, "a rule that would apply to a removed device too")
            else:
                rule = _rule(block, line, what, number)
                if any(rule.name == other.name or _ids(rule) == _ids(other) for other in rules):
                    _refuse(what, number, f"{rule.name!r} or its ids stand twice")
                rules.append(rule)
                block = []
        raise ConfigError(f"{what}: ends without the label that its first rule jumps to")

    @property
    def text(self) -> str:
        """The file, as udev reads it."""
        return self.head + "".join(f"\n{rule.text}\n" for rule in self.rules) + self.tail

    def rule_for(self, vendor: str, product: str) -> DeviceRule | None:
        """Return the rule that matches sysfs's idVendor and idProduct of a device, if one does."""
        return next((rule for rule in self.rules if _ids(rule) == (vendor, product)), None)

    def only(self, name: str) -> Self:
        """Return the file with the rule of one device.

        Raises:
            UsageError: no rule has that name.
        """
        chosen = tuple(rule for rule in self.rules if rule.name == name)
        if not chosen:
            raise UsageError(
                f"there is no udev rule for a device called {name[:40]!r}",
                hint=f"known: {', '.join(rule.name for rule in self.rules)}; "
                "most devices need none, see udev/README.md",
            )
        return replace(self, rules=chosen)

    def for_group(self, group: str) -> Self:
        """Return the file with every device given to `group`.

        Raises:
            UsageError: no name that a group can have.
        """
        if re.fullmatch(GROUP_PATTERN, group) is None:
            raise UsageError(
                f"{group[:40]!r} cannot be a group's name",
                hint="a-z, 0-9, _ and -, not first a digit or -, at most 31",
            )
        changed = (
            replace(rule, group=group,
                    text=rule.text.replace(f'GROUP="{rule.group}"', f'GROUP="{group}"'))
            for rule in self.rules
        )  # fmt: skip
        return replace(self, rules=tuple(changed))


def load_rules() -> RulesFile:
    """Return the packaged rules.

    Raises:
        ConfigError: they are missing from this installation, or damaged.
    """
    paths = (folder / RULES_NAME for folder in _FOLDERS)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ConfigError("the udev rules are missing from this installation")
    return RulesFile.parse(path.read_bytes(), RULES_NAME)


def _ids(rule: DeviceRule) -> tuple[str, str]:
    return rule.vendor, rule.product


def _rule(block: list[str], line: str, what: str, number: int) -> DeviceRule:
    """Take a rule apart; `block` is the comment above it, whose first line names the device."""
    named = _NAMED.fullmatch(block[0]) if block else None
    if named is None:
        _refuse(what, number, "no comment above that begins with `# [name] title`")
    terms: dict[str, str] = {}
    tags: list[str] = []
    for part in line.split(", "):
        term = _TERM.fullmatch(part)
        key, value = term.groups() if term else (part, "")
        pattern = _TAG[1] if key == _TAG[0] else _TERMS.get(key)
        if pattern is None or key in terms:
            _refuse(what, number, f"{part[:60]!r} is unknown or stands twice")
        if re.fullmatch(pattern, value) is None:
            _refuse(what, number, f"{key}{value[:40]!r} is not allowed here")
        if key == _TAG[0]:
            tags.append(value)
        else:
            terms[key] = value
    if missing := [key for key in _TERMS if key not in terms]:
        _refuse(what, number, f"{missing[0]} is missing")
    return DeviceRule(
        name=named[1],
        title=named[2],
        vendor=terms["ATTR{idVendor}=="],
        product=terms["ATTR{idProduct}=="],
        group=terms["GROUP="],
        mode=terms["MODE="],
        tags=tuple(tags),
        line=number,
        text="\n".join((*block, line)),
    )


def _refuse(what: str, number: int, words: str) -> NoReturn:
    raise ConfigError(
        f"{what}:{number}: {words}", hint="`signer token udev` prints a file that is right"
    )

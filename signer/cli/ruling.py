"""What `signer token udev` prints: a rules file, and at a terminal how it is installed."""

import grp
import sys
from dataclasses import asdict

from signer.cli.printer import Printer
from signer.hsm.udev import PLACE, RELOAD, RulesFile, load_rules


def print_rules(printer: Printer, device: str | None, group: str | None) -> None:
    """Print the packaged rules, of one device or all, for the group they name or another.

    Raises:
        UsageError: no such device, or no name for a group.
    """
    rules = load_rules()
    if device is not None:
        rules = rules.only(device)
    if group is not None:
        rules = rules.for_group(group)
    devices = [asdict(rule) for rule in rules.rules]
    for entry in devices:
        del entry["text"], entry["line"]
    printer.result(
        {"version": 1, "path": PLACE, "rules": rules.text, "devices": devices},
        rules.text.removesuffix("\n"),
    )
    if sys.stderr.isatty() and not printer.json:
        _say_how(printer, rules, device, group)


def _say_how(printer: Printer, rules: RulesFile, device: str | None, group: str | None) -> None:
    chosen = (("--device", device), ("--group", group))
    words = [f" {option} {value}" for option, value in chosen if value is not None]
    printer.note(f"install: signer token udev{''.join(words)} | sudo tee {PLACE}")
    printer.note(f"reload:  {RELOAD}")
    for name in sorted({rule.group for rule in rules.rules}):
        try:
            grp.getgrnam(name)
        except KeyError:
            printer.note(
                f"there is no group {name} on this machine: until there is, udev leaves the "
                "device to root"
            )

"""How commands speak: results to stdout, everything else to stderr, `--json` for programs."""

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from signer.errors import OutputError, SignerError

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Printer:
    """One for each run of the program."""

    json: bool = False
    account: Mapping[str, Any] = field(default_factory=dict)  # goes with an error, as JSON

    def result(self, value: Mapping[str, Any], text: str) -> None:
        """Print a command's result: `value` as JSON, or `text` for people."""
        try:
            click.echo(json.dumps(value, indent=2) if self.json else text)
        except (OSError, UnicodeError) as error:
            raise OutputError(
                f"the result cannot be printed ({type(error).__name__}), but it is there",
                hint="look at what the command wrote before you run it again",
            ) from None

    def failed_result(self, value: Mapping[str, Any], text: str) -> None:
        """Print what came of a command that is about to fail; as JSON it goes with the error."""
        if self.json:
            self.account = value
        else:
            self.result(value, text)

    def note(self, text: str) -> None:
        """Say something to the person, beside the result."""
        click.echo(printable(text), err=True)

    def error(self, error: SignerError) -> None:
        """Print an error: one line on stderr, and with `--json` an object on stdout."""
        click.echo(printable(error.line()), err=True)
        if self.json:
            words = {"code": error.code, "message": error.message, "hint": error.hint}
            with contextlib.suppress(OSError):
                click.echo(json.dumps({"error": words, **self.account}, indent=2))


def json_option(command: _Command) -> _Command:
    """Add `--json` to a command."""

    def switch(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.ensure_object(Printer).json = True

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=switch,
        help="Print the result as JSON on stdout.",
    )(command)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return `rows` under `head` in aligned columns."""
    cells = [list(head), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def printable(text: str) -> str:
    """Return `text` with everything that could steer a terminal escaped, on one line."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


class Progress:
    """A line on stderr that is rewritten while something runs; silent where nobody looks."""

    def __init__(self, printer: Printer) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty() and not printer.json

    def show(self, done: int, total: int, words: str) -> None:
        """Draw `done` of `total` and some words."""
        if self._on:
            filled = 20 * done // max(total, 1)
            bar = "█" * filled + "░" * (20 - filled)
            click.echo(f"\r\x1b[2K{bar} {done} of {total}  {words}", err=True, nl=False)

    def end(self) -> None:
        """Leave the line clean."""
        if self._on:
            click.echo("\r\x1b[2K", err=True, nl=False)

"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def token_options(command: _Command) -> _Command:
    """Add the options that choose a token: --profile, --module, --token, --serial."""
    options = (
        click.option(
            "--profile",
            default="softhsm2",
            show_default=True,
            help="Device profile: a packaged one's name, or a YAML file.",
        ),
        click.option("--module", type=PATH, help="PKCS#11 module, if not where the profile says."),
        click.option("--token", "label", help="The token's label."),
        click.option("--serial", help="The token's serial number: always exactly one token."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def pin_option(command: _Command) -> _Command:
    """Add --pin-file."""
    return click.option(
        "--pin-file",
        type=PATH,
        help="File with the user PIN, mode 0600. Without it the terminal is asked.",
    )(command)


def out_file_option(words: str) -> Callable[[_Command], _Command]:
    """Add --out FILE, which is never overwritten."""
    return click.option("--out", type=PATH, required=True, help=f"{words} Never overwritten.")


def other_token_options(prefix: str, what: str) -> Callable[[_Command], _Command]:
    """Add the options that choose one more token: --PREFIX-token, --PREFIX-pin-file and so on."""

    def add(command: _Command) -> _Command:
        options = (
            click.option(f"--{prefix}-token", f"{prefix}_label", help=f"Label of {what}."),
            click.option(f"--{prefix}-serial", help=f"Serial number of {what}."),
            click.option(f"--{prefix}-profile", help=f"Device profile of {what}; else --profile."),
            click.option(f"--{prefix}-module", type=PATH, help=f"PKCS#11 module of {what}."),
            click.option(
                f"--{prefix}-pin-file",
                type=PATH,
                help=f"File with the user PIN of {what}, mode 0600; else the terminal is asked.",
            ),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add

"""Options that several commands share."""

import functools
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
        click.option(
            "--token", "label", help="The token's label, or its pkcs11: URI (RFC 7512) in quotes."
        ),
        click.option("--serial", help="The token's serial number: always exactly one token."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def pin_option(command: _Command) -> _Command:
    """Add where the user PIN comes from; the command gets it as `pin`, None is the terminal."""
    last = click.option("--final-try", is_flag=True,
                        help="Spend the token's last try before it locks, with a PIN that is "
                        "typed: never with --pin-file or --pin-fd.")  # fmt: skip
    return last(spared_pin_option(command))


def spared_pin_option(command: _Command) -> _Command:
    """Add the same, for a command that never spends a token's last try."""

    @functools.wraps(command)
    def with_pin(*args: Any, final_try: bool = False, **options: Any) -> Any:
        from signer.cli.wiring import pin_choice

        names = ("pin_file", "pin_fd", "pinentry", "pin_pad")
        values = {name: options.pop(name) for name in names}
        pin = pin_choice(**values, final_try=final_try, token=options.get("label"))
        return command(*args, pin=pin, **options)

    chosen: Any = with_pin
    for option in (
        click.option("--pin-pad", is_flag=True, help="The PIN is typed on the token's own pad."),
        click.option("--pinentry", type=PATH, metavar="PROGRAM",
                     help="Have this pinentry ask for the PIN."),
        click.option("--pin-fd", type=click.IntRange(3, 1024), metavar="N",
                     help="Read the PIN from this inherited descriptor."),
        click.option("--pin-file", type=PATH,
                     help="File with the user PIN, mode 0600. Without any, the terminal is asked."),
    ):  # fmt: skip
        chosen = option(chosen)
    return chosen  # type: ignore[no-any-return]


def out_file_option(words: str) -> Callable[[_Command], _Command]:
    """Add --out FILE, which is never overwritten."""
    return click.option("--out", type=PATH, required=True, help=f"{words} Never overwritten.")


def other_token_options(prefix: str, what: str) -> Callable[[_Command], _Command]:
    """Add the options that choose one more token: --PREFIX-token, --PREFIX-pin-file and so on."""

    def add(command: _Command) -> _Command:
        options = (
            click.option(
                f"--{prefix}-token", f"{prefix}_label", help=f"Label or pkcs11: URI of {what}."
            ),
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

"""`signer token`: what each holder does once with his device."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signer.cli.options import out_file_option, pin_option, token_options
from signer.cli.printer import Printer, json_option, table

if TYPE_CHECKING:
    from signer.custody.jobs.sources import SecretSource


@click.group(name="token")
def command() -> None:
    """Prepare a PKCS#11 token and show its public card."""


@command.command(name="list")
@token_options
@json_option
@click.pass_obj
def list_(
    printer: Printer, profile: str, module: Path | None, label: str | None, serial: str | None
) -> None:
    """List the tokens that the module shows. Needs no PIN, changes nothing."""
    from dataclasses import asdict

    from signer.cli.wiring import token_choice
    from signer.custody.orders import list_tokens

    rows = list_tokens(token_choice(profile, module, label, serial))
    head = ("LABEL", "SERIAL", "MANUFACTURER", "MODEL", "STATE", "PIN", "PROFILE")
    printer.result(
        {"tokens": [asdict(row) for row in rows]},
        table(
            head,
            [
                (
                    row.label,
                    row.serial,
                    row.manufacturer,
                    row.model,
                    "ready" if row.initialized else "uninitialised",
                    row.pin_state,
                    row.profile or "none: unknown",
                )
                for row in rows
            ],
        ),
    )


@command.command()
@token_options
@pin_option
@json_option
@click.pass_obj
def setup(
    printer: Printer,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: "SecretSource | None",
) -> None:
    """Make the two keys of a holder on an initialised token.

    `id-sign` signs his card, `epoch-kex` receives shares; both are P-256, made on the token and not
    extractable. Keys that are there already stay; nothing is ever erased.
    """
    from signer.cli.wiring import token_choice
    from signer.custody.orders import set_up_token

    keys = set_up_token(token_choice(profile, module, label, serial), pin)
    words = [f"made {name}" for name in keys.made] + [f"{name} was there" for name in keys.present]
    printer.result({"made": list(keys.made), "present": list(keys.present)}, "\n".join(words))


@command.command()
@token_options
@pin_option
@click.option("--name", required=True, help="The holder's name, as others know him.")
@out_file_option("Where to write the card.")
@json_option
@click.pass_obj
def card(
    printer: Printer,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: "SecretSource | None",
    name: str,
    out: Path,
) -> None:
    """Export the holder's public card, signed by the token.

    A card is made only for keys that were generated on the token and cannot leave it. Read the
    fingerprint to the dealer: it is how he knows the card is yours.
    """
    from signer.cli.wiring import holder_name, token_choice
    from signer.custody.orders import make_card
    from signer.files import write_new
    from signer.messages.card import fingerprint
    from signer.strict import canonical

    made = make_card(
        token_choice(profile, module, label, serial), pin, holder_name(name), int(time.time())
    )
    write_new(out, canonical(made.to_json()) + b"\n")
    printer.result(
        {"card": str(out), "name": made.body.name, "fingerprint": fingerprint(made.digest)},
        f"card of {made.body.name} written to {out}\nfingerprint {fingerprint(made.digest)}",
    )

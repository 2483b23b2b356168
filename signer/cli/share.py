"""`signer share`: one holder's sealed share."""

from pathlib import Path

import click

from signer.cli.options import PATH, pin_option, token_options
from signer.cli.printer import Printer, json_option


@click.group(name="share")
def command() -> None:
    """Prove a sealed share against its group."""


@command.command()
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--envelope", type=PATH, required=True, help="The holder's envelope.")
@token_options
@pin_option
@json_option
@click.pass_obj
def verify(
    printer: Printer,
    group: Path,
    envelope: Path,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin_file: Path | None,
) -> None:
    """Unseal the share on the token and prove that it belongs to the group.

    The share is opened in a worker process, checked against the group's verification vector, and
    gone with that process. Nothing is written.
    """
    from signer.cli.wiring import token_choice
    from signer.custody.orders import verify_share
    from signer.files import read_file
    from signer.messages.group_file import MAX_BYTES
    from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES

    index = verify_share(
        token_choice(profile, module, label, serial),
        pin_file,
        read_file(group, what="group file", max_bytes=MAX_BYTES),
        read_file(envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES),
    )
    printer.result(
        {"index": index, "verified": True},
        f"share {index} opens on this token and lies on the group's polynomial",
    )

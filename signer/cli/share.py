"""`signer share`: one holder's sealed share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signer.cli.options import (
    PATH,
    other_token_options,
    out_file_option,
    pin_option,
    token_options,
)
from signer.cli.printer import Printer, json_option

if TYPE_CHECKING:
    from signer.custody.jobs.sources import SecretSource


@click.group(name="share")
def command() -> None:
    """Prove a sealed share against its group; seal it to a spare token."""


@command.command()
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--envelope", type=PATH, required=True, help="The holder's envelope.")
@click.option("--card", type=PATH, help="The token's own card, if it is a spare.")
@token_options
@pin_option
@json_option
@click.pass_obj
def verify(
    printer: Printer,
    group: Path,
    envelope: Path,
    card: Path | None,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: "SecretSource | None",
) -> None:
    """Unseal the share on the token and prove that it belongs to the group.

    The share is opened in a worker process, checked against the group's verification vector, and
    gone with that process. Nothing is written. The token must be the one of the holder's card in
    the group file, or, with --card, the spare whose card is given.
    """
    from signer.cli.wiring import token_choice
    from signer.custody.orders import verify_share
    from signer.files import read_file
    from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
    from signer.messages.card import UNPROVEN
    from signer.messages.group_file import MAX_BYTES
    from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES

    token = token_choice(profile, module, label, serial)
    index = verify_share(
        token,
        pin,
        read_file(group, what="group file", max_bytes=MAX_BYTES),
        read_file(envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES),
        None if card is None else read_file(card, what="card", max_bytes=MAX_CARD_BYTES),
    )
    which = "token" if card is None else "spare token"
    proven = token.profile.proven
    device = "primary" if card is None else "spare"
    words = f"share {index} opens on this {which} and lies on the group's polynomial"
    printer.result(
        {"index": index, "verified": True, "device": device, "proven": proven},
        words if proven else f"{words}\n{UNPROVEN}",
    )


@command.command()
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--envelope", type=PATH, required=True, help="The holder's envelope; it stays.")
@click.option("--card", type=PATH, required=True, help="The spare token's card.")
@token_options
@pin_option
@other_token_options("spare", "the spare token")
@out_file_option("Where to write the new envelope.")
@json_option
@click.pass_obj
def spare(printer: Printer, /, **options: Any) -> None:
    """Add a slot for a spare token to an envelope, and prove that it opens there.

    Prepare the spare like any token (`signer token setup`, `signer token card`). The share is
    unsealed on the token that has it (--token), sealed to the spare's card, opened on the spare
    (--spare-token) and held against the group. Only then the new envelope is written, beside the
    old one. No other holder is needed.
    """
    from signer.cli.sparing import make_spare

    make_spare(printer, **options)


@command.command()
@click.option("--certificate", type=PATH, help="The ceremony's certificate.")
@click.option("--previous", type=PATH, help="After a reshare: the group file that it followed.")
@click.option("--ack", "acknowledgement", type=PATH,
              help="Your acknowledgement, whose envelope the spare token opens too.")  # fmt: skip
@click.option("--group", type=PATH, help="With --ack: the group file.")
@token_options
@pin_option
@out_file_option("Where to write the envelope.")
@json_option
@click.pass_obj
def recover(
    printer: Printer,
    /,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    **options: Any,
) -> None:
    """Get a lost envelope back, with the token or its spare and what the ceremony left.

    From the certificate the token computes its share again. With an acknowledgement, the token or
    the spare opens the copy of the envelope in it. The new envelope says that it was recovered: it
    does not sign before the journal's history is imported.
    """
    from signer.cli.recovering import recover_share
    from signer.cli.wiring import token_choice

    recover_share(printer, token=token_choice(profile, module, label, serial), **options)

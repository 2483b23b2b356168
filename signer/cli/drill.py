"""`signer drill`: recoverability as a command, signed and dated."""

from pathlib import Path
from typing import Any

import click

from signer.cli.options import PATH, other_token_options, pin_option, token_options
from signer.cli.printer import Printer, json_option


@click.group(name="drill")
def command() -> None:
    """Show that every share can still be used; see who is overdue."""


@command.command()
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--agent", "agents", type=PATH, multiple=True,
              help="An agent's socket; give one for each holder you can reach.")  # fmt: skip
@click.option("--envelope", type=PATH, help="At a holder's own desk: his envelope.")
@token_options
@pin_option
@other_token_options("spare", "the spare token")
@click.option("--restore", is_flag=True,
              help="Rehearse recovery from the spare into a scratch token as well.")  # fmt: skip
@other_token_options("scratch", "the scratch token")
@click.option("--include", type=PATH, multiple=True,
              help="A certificate whose reports go into the new one.")  # fmt: skip
@click.option("--activate", is_flag=True,
              help="End the group's ceremony: drill in the name of its certificate.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(1, 86400), default=60.0, show_default=True,
              help="Seconds for one agent to answer.")  # fmt: skip
@click.option("--wait", metavar="TIME",
              help="Time for a holder to give his PIN: 90m, 12h. Else as --timeout.")  # fmt: skip
@click.option("--out", type=PATH, default=Path(), show_default="this folder",
              help="Folder for the certificate.")  # fmt: skip
@json_option
@click.pass_context
def run(context: click.Context, /, **options: Any) -> None:
    """Have holders unseal and sign something worthless; write a dated certificate.

    With --agent every agent drills its own token. With --envelope a holder drills his devices here:
    the primary (--token), a spare (--spare-token), and with --restore a scratch token, on which
    keys are made; they stay until you delete them. What is signed is under a tag of our own and can
    be part of no Ethereum signature.

    With --include the reports of earlier certificates are kept, and an order of theirs that is
    still open is answered instead of a new one: so holders without agents drill together, by file.

    With --activate the order names the certificate of a group that is not active yet: what t
    holders sign of one such order activates it (`signer ceremony next`).

    Exit status 6 when some holders brought no report, 4 when none did.
    """
    from signer.cli.drilling import run_drill

    printer: Printer = context.obj
    context.exit(run_drill(printer, **options))


@command.command()
@click.argument("certificates", type=PATH, nargs=-1, required=True)
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--every", default="90d", show_default=True,
              help="How old the last drill of a device may be: 90m, 12h or 90d.")  # fmt: skip
@json_option
@click.pass_context
def status(context: click.Context, /, **options: Any) -> None:
    """Show when each holder's devices last drilled, by CERTIFICATES that hold; exit 6 if overdue.

    Each certificate is verified whole before it counts.
    """
    from signer.cli.drill_words import drill_status

    printer: Printer = context.obj
    context.exit(drill_status(printer, **options))


@command.command()
@click.argument("certificate", type=PATH)
@click.option("--group", type=PATH, required=True, help="The group file.")
@json_option
@click.pass_obj
def verify(printer: Printer, certificate: Path, group: Path) -> None:
    """Verify a drill CERTIFICATE: every signature, device and partial, and that partials combine.

    A report counts only under the card of its holder in the group file, a partial only under his
    public share. Where t holders answered one order, their partials are combined as well.
    """
    from signer.cli.drill_words import verify_certificate

    verify_certificate(printer, certificate, group)

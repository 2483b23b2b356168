"""`signer sign`: from a request to the file that a beacon node takes."""

from typing import Any

import click

from signer.cli.options import PATH
from signer.cli.printer import Printer, json_option


@click.command(name="sign")
@click.argument("request", type=PATH)
@click.option("--group", type=PATH, required=True, help="The group file.")
@click.option("--agent", "agents", type=PATH, multiple=True,
              help="An agent's socket; give one for each holder you can reach.")  # fmt: skip
@click.option("--out", type=PATH, required=True, help="Folder for the signed changes.")
@click.option("--work", type=PATH, help="Keep replies here, to resume with the same command.")
@click.option("--metadata/--no-metadata", default=True, show_default=True,
              help="Write the metadata that explorers check.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(1, 86400), help="Seconds for one agent to sign.")
@click.option("--wait", metavar="TIME",
              help="Time for a holder to say yes: 90m, 12h. Else as --timeout.")  # fmt: skip
@click.option("--patience", type=click.FloatRange(0.1, 86400), default=5.0, show_default=True,
              help="Seconds until another agent is asked beside a slow one.")  # fmt: skip
@click.option("--spares", type=click.IntRange(0, 100), default=0, show_default=True,
              help="Ask this many agents beyond the threshold from the start.")  # fmt: skip
@json_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Gather partials for REQUEST, combine them, verify, write the signed changes.

    Asks t agents, and another for each that is dead, slow, denies or lies. Who sent a bad partial
    is named. Where a holder has to say yes himself the request waits for him there, up to --wait;
    the same command later finds it again. The file is written only with group signatures that
    verify; beacon nodes take it at POST /eth/v1/beacon/pool/bls_to_execution_changes.
    """
    from signer.cli.signing import sign_request

    printer: Printer = context.obj
    context.exit(sign_request(printer, **options))

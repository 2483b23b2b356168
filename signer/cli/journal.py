"""`signer journal`: what a share was ever asked to sign; its backup and restore."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from signer.cli.options import PATH, pin_option, token_options
from signer.cli.printer import Printer, json_option

if TYPE_CHECKING:
    from signer.custody.jobs.sources import SecretSource

_PLACE = click.argument("state", type=PATH, required=False)
_CONFIG = click.option("--config", type=PATH, help="agent.yaml, instead of STATE.")
_WITNESS = click.option(
    "--witness",
    "witnesses",
    type=PATH,
    multiple=True,
    help="File of witnesses (`signer sign` writes one) to hold the journal against.",
)


@click.group(name="journal")
def command() -> None:
    """Look at a share's journal, back it up, put it back.

    STATE is the agent's state folder, or the journal itself. See docs/journal.md.
    """


@command.command()
@_PLACE
@_CONFIG
@json_option
@click.pass_obj
def show(printer: Printer, state: Path | None, config: Path | None) -> None:
    """Show what was decided, when, for whom. Every record is verified."""
    from signer.cli.journaling import Place, show_journal

    show_journal(printer, Place.find(state, config))


@command.command()
@_PLACE
@_CONFIG
@click.option("--group", type=PATH, help="The group file; needed for --witness without --config.")
@_WITNESS
@json_option
@click.pass_obj
def verify(
    printer: Printer,
    state: Path | None,
    config: Path | None,
    group: Path | None,
    witnesses: tuple[Path, ...],
) -> None:
    """Verify every record, and that no witness knows of a later journal. Needs no token."""
    from signer.cli.journaling import Place, verify_place

    verify_place(printer, Place.find(state, config, group), witnesses)


@command.command()
@_PLACE
@_CONFIG
@click.option("--bindings", is_flag=True, help="Only what is bound, signed by the token.")
@token_options
@pin_option
@click.option("--out", type=PATH, required=True, help="Where to write. Never overwritten.")
@json_option
@click.pass_obj
def export(
    printer: Printer,
    state: Path | None,
    config: Path | None,
    bindings: bool,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: "SecretSource | None",
    out: Path,
) -> None:
    """Write a backup: a verified copy, made while the agent runs.

    With --bindings: a statement of all bindings for a holder who has lost his journal, signed by
    the identity key of the token (--token, --pin-file).
    """
    from signer.cli.journaling import Place, export_backup, export_bindings
    from signer.cli.wiring import token_choice
    from signer.errors import UsageError

    place = Place.find(state, config)
    if not bindings and (pin is not None or any((module, label, serial))):
        raise UsageError("a backup needs no token; --token and PIN options go with --bindings")
    if bindings:
        export_bindings(printer, place, token_choice(profile, module, label, serial), pin, out)
    else:
        export_backup(printer, place, out)


@command.command(name="import")
@click.argument("files", type=PATH, nargs=-1)
@click.option("--state", type=PATH, help="The agent's state folder.")
@_CONFIG
@click.option("--ceremony", type=PATH, help="The folder of the reshare that this share came of.")
@click.option("--bindings", is_flag=True, help="FILES are other holders' signed statements.")
@click.option("--group", type=PATH, help="The group file, without --config.")
@json_option
@click.pass_obj
def import_(
    printer: Printer,
    files: tuple[Path, ...],
    state: Path | None,
    config: Path | None,
    ceremony: Path | None,
    bindings: bool,
    group: Path | None,
) -> None:
    """Put a backup back, or take over what others are bound to. The agent must be stopped.

    A backup goes where there is no journal, one that it continues, or one whose other records can
    be set aside because nothing of them ever left; nothing is forgotten. See docs/journal.md.
    With --bindings: the statements of at least n - t + 1 other holders. With --ceremony, after a
    reshare: what the dealers' journals bound, which everybody has agreed to in the certificate.
    Every holder of the new shares does that once; before, his agent signs nothing.
    """
    from signer.cli.journaling import Place, import_backup, import_bindings, import_ceremony
    from signer.errors import UsageError

    place = Place.find(state, config, group)
    if (ceremony is None) == (not files):
        raise UsageError("give FILES, or --ceremony FOLDER")
    if ceremony is not None:
        import_ceremony(printer, place, ceremony)
    elif bindings:
        import_bindings(printer, place, files)
    else:
        import_backup(printer, place, files)

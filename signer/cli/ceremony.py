"""`signer ceremony`: keys generated, split and dealt anew by people who exchange files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from signer.cli.options import PATH, other_token_options, pin_option, token_options
from signer.cli.printer import Printer, json_option, printable

if TYPE_CHECKING:
    from signer.ceremony.repair_roster import RepairRoster
    from signer.ceremony.roster import Roster

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CARDS = click.option("--card", "cards", type=PATH, multiple=True, required=True,
                      help="A member's card with a fresh key; one for each, in share order.",
                      )  # fmt: skip
_THRESHOLD = click.option("--threshold", type=int, required=True,
                          help="How many members sign together (t).")  # fmt: skip
_POLICY = click.option("--policy", type=PATH, required=True, help="The pool's policy.yaml.")
_VALID = click.option("--valid-for", default="14d", show_default=True, metavar="TIME",
                      help="How long the ceremony may take: 90m, 12h, 14d.")  # fmt: skip
_OUT = click.option("--out", type=PATH, required=True, help="New folder for the ceremony.")
_FOLDER = click.argument("folder", type=PATH)
_STATE = click.option("--state", type=PATH, required=True,
                      help="Your own private folder: what you signed, before it leaves.",
                      )  # fmt: skip


@click.group(name="ceremony")
def command() -> None:
    """Generate a key together, split one with a certificate, deal shares anew.

    Files travel in one folder, by USB stick or shared directory; everything in it is public. Each
    participant joins once, then runs `signer ceremony next` until it says that nothing is left to
    do. docs/ceremonies.md is the run-book.
    """


@command.group()
def new() -> None:
    """Propose a ceremony: make the folder with its roster."""


def _key_terms(command: _Command) -> _Command:
    """Add the options of a ceremony that makes a new group."""
    chosen: Any = command
    for option in (
        _OUT,
        click.option("--rehearsal", is_flag=True,
                     help="Mark every digest REHEARSAL; always so with software tokens."),
        _VALID,
        click.option("--network-file", type=PATH, help="Constants of a custom network."),
        click.option("--network", "network_name", help="mainnet, hoodi, or the custom one's name."),
        click.option("--role", type=click.Choice(["withdrawal", "validator"]), show_default=True,
                     default="withdrawal", help="What the key may ever sign."),
        click.option("--name", required=True, help="What people call the group."),
        _POLICY,
        _THRESHOLD,
        _CARDS,
    ):  # fmt: skip
        chosen = option(chosen)
    return chosen  # type: ignore[no-any-return]


@new.command()
@_key_terms
@json_option
@click.pass_obj
def dkg(printer: Printer, /, **options: Any) -> None:
    """Generate a key of which nobody ever holds the whole.

    Every member deals; all have to take part, and any fault ends the ceremony and names who made
    it. Then begin again with another roster.
    """
    from signer.cli.convening import new_dkg

    _print_roster(printer, options["out"], new_dkg(**options))


@new.command()
@_key_terms
@click.option("--dealer-card", type=PATH, required=True, help="Card of who has the key.")
@click.option("--public-key", required=True, metavar="HEX", help="The key that is split.")
@json_option
@click.pass_obj
def split(printer: Printer, /, **options: Any) -> None:
    """Split an existing key, with a certificate that every member has agreed to.

    As `signer group split`, but nobody has to trust the dealer's files: each member checks his
    share before the certificate. The dealer has held the whole key all the same.
    """
    from signer.cli.convening import new_split

    _print_roster(printer, options["out"], new_split(**options))


@new.command()
@_CARDS
@_THRESHOLD
@_POLICY
@click.option("--previous", type=PATH, required=True, help="The group file that is followed.")
@click.option("--dealer", "dealers", type=int, multiple=True, required=True, metavar="SHARE",
              help="An old holder who deals; at least t, and n - t + 1.")  # fmt: skip
@click.option("--reason", default="refresh", show_default=True,
              type=click.Choice(["refresh", "add", "remove", "threshold", "lost"]),
              help="Why; it stands in the minutes.")  # fmt: skip
@_VALID
@_OUT
@json_option
@click.pass_obj
def reshare(printer: Printer, /, **options: Any) -> None:
    """Deal the shares of a group anew: to refresh them, to change holders or threshold.

    The group's key stays. The old shares are dead only once fewer than t of the old holders can
    open theirs: each destroys his key at the end, and the receipts are counted.
    """
    from signer.cli.convening import new_reshare

    _print_roster(printer, options["out"], new_reshare(**options))


@new.command()
@click.option("--previous", type=PATH, required=True, help="The group file in use.")
@click.option("--lost", type=int, required=True, metavar="SHARE",
              help="The share whose token is destroyed.")  # fmt: skip
@click.option("--helper", "helpers", type=int, multiple=True, required=True, metavar="SHARE",
              help="A holder who helps; at least t.")  # fmt: skip
@click.option("--card", type=PATH, required=True, help="The returning holder's new card.")
@_VALID
@_OUT
@json_option
@click.pass_obj
def repair(printer: Printer, /, **options: Any) -> None:
    """Repair one lost share with t other holders; no other share changes.

    Only for a token that is destroyed. If somebody may have it, deal all shares anew (reshare). The
    helpers learn nothing of the share, and sign the returning holder's new card; the group file
    that comes of it names that card.
    """
    from signer.cli.repairing import new_repair

    _print_roster(printer, options["out"], new_repair(**options))


@command.command()
@_FOLDER
@_STATE
@click.option("--card", type=PATH, required=True, help="Your own card.")
@click.option("--group", type=PATH,
              help="Reshare, repair: the group file your agent uses, if you have a share.",
              )  # fmt: skip
@click.option("--fingerprint", "typed", metavar="TEXT",
              help="The ceremony's fingerprint as another holder read it to you.")  # fmt: skip
@json_option
@click.pass_obj
def join(printer: Printer, /, **options: Any) -> None:
    """Look at the roster, compare its fingerprint by voice, and take part.

    Nothing is signed yet. Whoever shows you another roster than the others is found out here and
    nowhere else.
    """
    from signer.cli.attending import join as take_part

    take_part(printer, **options)


@command.command("next")
@_FOLDER
@_STATE
@token_options
@pin_option
@other_token_options("spare", "a spare token of your old share, whose key is to go")
@click.option("--envelope", type=PATH,
              help="Reshare, repair: the envelope of the share you have.")  # fmt: skip
@click.option("--journal", type=PATH, help="Reshare: the journal of your old share.")
@click.option("--no-journal", is_flag=True,
              help="Reshare: no agent ever ran with your old share; you are asked again.",
              )  # fmt: skip
@click.option("--mnemonic-file", type=PATH, help="Split: file with the mnemonic, mode 0600.")
@click.option("--mnemonic", "ask_mnemonic", is_flag=True, help="Split: ask for the mnemonic here.")
@click.option("--passphrase-file", type=PATH, help="Split: the mnemonic's passphrase, 0600.")
@click.option("--key-index", type=click.IntRange(0, 2**31 - 1), help="Split: i of the path.")
@click.option("--keystore", type=PATH, help="Split: EIP-2335 keystore of the key.")
@click.option("--password-file", type=PATH, help="Split: the keystore's password, mode 0600.")
@click.option("--yes-destroy", is_flag=True, help="Destroy the old key without being asked.")
@click.option("--yes-first-failed", is_flag=True,
              help="Repair: sign although you signed another card with the same number; that "
              "repair can never come about.")  # fmt: skip
@json_option
@click.pass_obj
def next_step(printer: Printer, /, **options: Any) -> None:
    """Do the one thing that is yours to do now, or say what is waited for and from whom.

    Can be run at any time and again and again: what was signed is kept, and never signed twice.
    """
    from signer.cli.attending import take_next

    take_next(printer, **options)


@command.command()
@_FOLDER
@click.option("--for", "member", type=int, required=True, metavar="SHARE",
              help="The member it is for.")  # fmt: skip
@click.option("--out", type=PATH, required=True, help="Where to write it. Never overwritten.")
@json_option
@click.pass_obj
def bundle(printer: Printer, /, **options: Any) -> None:
    """Make what one member needs of all deals, small enough for a machine without a network.

    He puts it into his copy of the folder, beside roster.json, and runs `signer ceremony next`.
    """
    from signer.cli.attending import make_bundle

    make_bundle(printer, **options)


@command.command()
@_FOLDER
@click.option("--state", type=PATH, help="Your own folder, to be told what is yours to do.")
@json_option
@click.pass_obj
def status(printer: Printer, /, **options: Any) -> None:
    """Show how far a ceremony is: one row for each holder. Needs no token."""
    from signer.cli.attending import status as show

    show(printer, **options)


@command.command()
@_FOLDER
@json_option
@click.pass_obj
def verify(printer: Printer, /, **options: Any) -> None:
    """Check everything again, offline, from the public files, and print the minutes.

    Ends with 0 only if the ceremony has succeeded: certified, acknowledged by all, and its active
    group file and policy lie in the folder.
    """
    from signer.cli.verifying import verify as check

    check(printer, **options)


def _print_roster(printer: Printer, out: Path, roster: "Roster | RepairRoster") -> None:
    words = [
        f"ceremony     {roster.fingerprint}",
        f"folder       {printable(str(out))}",
        "",
        "Give the folder to every participant. Each one runs",
        "  signer ceremony join FOLDER --state STATE --card CARD",
        "and has the fingerprint read to him by another.",
    ]
    printer.result(
        {
            "ceremony": roster.id.hex(),
            "fingerprint": roster.fingerprint,
            "folder": str(out),
            "kind": getattr(roster, "kind", "repair"),
            "rehearsal": roster.rehearsal,
        },
        "\n".join(words),
    )

"""`signer policy`: what the pool agreed on, what it says of a request, and how it changes."""

from pathlib import Path
from typing import Any

import click

from signer.cli.options import PATH, out_file_option, pin_option, token_options
from signer.cli.printer import Printer, json_option

_GROUP = click.option("--group", "group_path", type=PATH, required=True, help="The group file.")
_CURRENT = click.option(
    "--current", type=PATH, help="The policy in force, to say what changes while it is the first."
)


@click.group(name="policy")
def command() -> None:
    """Read a policy aloud, explain what it decides, amend it."""


@command.command()
@click.argument("file", type=PATH)
@click.option("--group", "group_path", type=PATH, help="Say whether it is this group's.")
@json_option
@click.pass_obj
def show(printer: Printer, file: Path, group_path: Path | None) -> None:
    """Show a policy in sentences that a person can read aloud, and its fingerprint.

    Two policies with one fingerprint say the same, however their files are written.
    """
    from signer.cli.policy_words import shown
    from signer.custody.desk import read_group, read_policy

    policy = read_policy(file)
    group = None if group_path is None else read_group(group_path)
    printer.result(*shown(policy, group))


@command.command()
@click.argument("request", type=PATH)
@click.option("--policy", "policy_path", type=PATH, required=True, help="The policy.")
@_GROUP
@click.option("--as", "uid", type=click.IntRange(0, 2**32 - 2),
              help="As if the user with this uid asked; without it no user is judged.")  # fmt: skip
@click.option("--at", "moment", help="As if it were then: Unix seconds, or 2027-01-31T12:00:00Z.")
@json_option
@click.pass_obj
@click.pass_context
def explain(
    context: click.Context,
    printer: Printer,
    request: Path,
    policy_path: Path,
    group_path: Path,
    uid: int | None,
    moment: str | None,
) -> None:
    """Say which rule decides a request and each of its items, and why.

    Touches no token and no journal: what was signed before is not looked at, nor whether a drill
    is overdue. Exits 0 if all would be allowed, 3 if nothing, 6 if some.
    """
    from signer.cli.policy_words import explained, seconds_of
    from signer.custody.desk import read_group, read_policy
    from signer.files import read_file
    from signer.messages.request import MAX_BYTES, SignRequest

    raw = read_file(request, what="request", max_bytes=MAX_BYTES)
    value, text, status = explained(
        SignRequest.parse(raw, f"request {str(request)!r}"),
        read_group(group_path),
        read_policy(policy_path),
        now=seconds_of(moment),
        asker=uid,
    )
    printer.result(value, text)
    context.exit(status)


@command.command()
@_GROUP
@click.option("--policy", "policy_path", type=PATH, required=True, help="The new policy.yaml.")
@_CURRENT
@out_file_option("Where to write the amendment, for every holder to sign.")
@json_option
@click.pass_obj
def amend(
    printer: Printer, group_path: Path, policy_path: Path, current: Path | None, out: Path
) -> None:
    """Propose a new policy. It counts when every holder has signed it."""
    from signer.cli.amending import proposed

    printer.result(*proposed(group_path, policy_path, current, out))


@command.command()
@click.argument("amendment", type=PATH)
@_GROUP
@_CURRENT
@token_options
@pin_option
@click.option("--yes-i-checked", "checked", metavar="HEX",
              help="For scripts: the first 12 hex digits of the new policy's digest.")  # fmt: skip
@out_file_option("Where to write this holder's signature.")
@json_option
@click.pass_obj
def sign(printer: Printer, /, **options: Any) -> None:
    """Sign an amendment, after reading what changes.

    At a terminal you are asked for the last six digits of the new policy's fingerprint: get it by
    voice from whoever proposed it. The token signs the policy's own words, taken apart and put
    together again by the worker.
    """
    from signer.cli.amending import signed

    printer.result(*signed(printer, **options))


@command.command()
@click.argument("amendment", type=PATH)
@_GROUP
@click.option("--signature", "signatures", type=PATH, multiple=True, required=True,
              help="A holder's signature; give one for each holder.")  # fmt: skip
@out_file_option("Where to write the new group file.")
@json_option
@click.pass_obj
def adopt(
    printer: Printer, amendment: Path, group_path: Path, signatures: tuple[Path, ...], out: Path
) -> None:
    """Put every holder's signature under an amendment and write the group file that carries it."""
    from signer.cli.amending import adopted

    printer.result(*adopted(amendment, group_path, signatures, out))

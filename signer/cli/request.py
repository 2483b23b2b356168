"""`signer request`: what shall be signed."""

from pathlib import Path
from typing import Any

import click

from signer.cli.options import PATH, out_file_option
from signer.cli.printer import Printer, json_option, printable

_KINDS = ("bls_to_execution_change", "voluntary_exit", "deposit")  # as in messages.items


@click.group(name="request")
def command() -> None:
    """Make a request to sign; show one in words."""


@command.command()
@click.option("--group", "group_path", type=PATH, required=True, help="The group file.")
@click.option("--network", "network_name", help="Must be the group's network; checked.")
@click.option("--kind", type=click.Choice(_KINDS), default=_KINDS[0], show_default=True,
              help="What is asked for. A withdrawal key signs changes, a validator key the others.",
              )  # fmt: skip
@click.option("--to", "to", help="Changes: the execution address, in EIP-55 case.")
@click.option("--validators", type=PATH,
              help="Changes: indices, one a line or a JSON array, or ethdo's "
              "offline-preparation.json.")  # fmt: skip
@click.option("--validator", type=int, help="Exit: the validator's index.")
@click.option("--epoch", type=int, help="Exit: the beacon chain's epoch from which it is valid.")
@click.option("--credentials", help="Deposit: withdrawal credentials, 0x and 64 hex digits.")
@click.option("--amount", multiple=True,
              help="Deposit: ETH, 1 to 2048 in whole Gwei. Give one for each deposit.",
              )  # fmt: skip
@click.option("--witness", "witnesses", type=PATH, multiple=True,
              help="Witnesses of an earlier signing: holders hold their journals against them.",
              )  # fmt: skip
@click.option("--valid-for", default="14d", show_default=True, help="90m, 12h or 14d.")
@out_file_option("Where to write the request.")
@json_option
@click.pass_obj
def new(printer: Printer, /, **options: Any) -> None:
    """Ask for signatures: changes of withdrawal credentials, an exit, or deposits.

    The request names the network and the fields; nobody hands the holders a hash to sign.
    """
    from signer.cli.requesting import make_request
    from signer.files import write_new
    from signer.messages.card import fingerprint

    out: Path = options.pop("out")
    request = make_request(**options)
    write_new(out, request.to_bytes())
    count = len(request.items)
    printer.result(
        {
            "request": str(out),
            "digest": request.digest.hex(),
            "kind": request.kind,
            "items": count,
            "expires": request.expires,
        },
        f"request for {count} item{'s' if count > 1 else ''} of kind {request.kind} "
        f"written to {printable(str(out))}\nrequest {fingerprint(request.digest)}",
    )


@command.command()
@click.argument("file", type=PATH)
@click.option("--policy", type=PATH, help="Name the addresses as this policy does.")
@click.option("--group", type=PATH, help="Say of this group file's key how it came to be shared.")
@json_option
@click.pass_obj
def show(printer: Printer, file: Path, policy: Path | None, group: Path | None) -> None:
    """Show a request in words: what would be signed, for whom, until when.

    Compare the fingerprint with whoever made it. With --policy the addresses carry the pool's own
    labels, and what the policy does not allow is shown as such. With --group the key's origin is
    shown, and whether the group is a rehearsal's.
    """
    from signer.cli.requesting import shown
    from signer.custody.desk import read_group, read_policy
    from signer.files import read_file
    from signer.messages.request import MAX_BYTES, SignRequest

    raw = read_file(file, what="request", max_bytes=MAX_BYTES)
    request = SignRequest.parse(raw, f"request {str(file)!r}")
    pool = None if group is None else read_group(group)
    printer.result(*shown(request, None if policy is None else read_policy(policy), pool))

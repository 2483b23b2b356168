"""`signer request`: what shall be signed."""

import time
from pathlib import Path

import click

from signer.cli.options import PATH, out_file_option
from signer.cli.printer import Printer, json_option


@click.group(name="request")
def command() -> None:
    """Make a request to sign; show one in words."""


@command.command()
@click.option("--group", "group_path", type=PATH, required=True, help="The group file.")
@click.option("--network", "network_name", help="Must be the group's network; checked.")
@click.option("--to", "to", required=True, help="Execution address, in EIP-55 case.")
@click.option("--validators", type=PATH, required=True,
              help="Indices, one a line or a JSON array, or ethdo's offline-preparation.json.",
              )  # fmt: skip
@click.option("--valid-for", default="14d", show_default=True, help="90m, 12h or 14d.")
@out_file_option("Where to write the request.")
@json_option
@click.pass_obj
def new(
    printer: Printer,
    group_path: Path,
    network_name: str | None,
    to: str,
    validators: Path,
    valid_for: str,
    out: Path,
) -> None:
    """Ask that validators pay their withdrawals to an address.

    The request names the network and the fields; nobody hands the holders a hash to sign.
    """
    from signer.cli.wiring import seconds
    from signer.custody.desk import read_group
    from signer.errors import UsageError
    from signer.files import read_file, write_new
    from signer.messages.address import ExecutionAddress
    from signer.messages.card import fingerprint
    from signer.messages.request import SignRequest
    from signer.messages.validator_list import MAX_PREPARATION_BYTES, parse_validator_list

    group = read_group(group_path)
    if network_name is not None and network_name != group.network.name:
        raise UsageError(f"this group's key is for {group.network.name}, not {network_name[:40]!r}")
    address = ExecutionAddress.parse(to, "--to")
    raw = read_file(validators, what="validator list", max_bytes=MAX_PREPARATION_BYTES)
    indices = parse_validator_list(raw, group, f"validator list {str(validators)!r}")
    request = SignRequest.new(
        group,
        [(index, address) for index in indices],
        expires=int(time.time()) + seconds(valid_for),
    )
    write_new(out, request.to_bytes())
    printer.result(
        {
            "request": str(out),
            "digest": request.digest.hex(),
            "items": len(request.items),
            "expires": request.expires,
        },
        f"request for {len(request.items)} validators written to {out}\n"
        f"request {fingerprint(request.digest)}",
    )


@command.command()
@click.argument("file", type=PATH)
@click.option("--policy", type=PATH, help="Name the addresses as this policy does.")
@json_option
@click.pass_obj
def show(printer: Printer, file: Path, policy: Path | None) -> None:
    """Show a request in words: what would be signed, for whom, until when.

    Compare the fingerprint with whoever made it. With --policy the addresses carry the pool's own
    labels, and one that the policy does not allow is shown as such.
    """
    from signer.custody.desk import read_policy
    from signer.files import read_file
    from signer.messages.request import MAX_BYTES, SignRequest
    from signer.messages.review import request_text

    raw = read_file(file, what="request", max_bytes=MAX_BYTES)
    request = SignRequest.parse(raw, f"request {str(file)!r}")
    agreed = None if policy is None else read_policy(policy)
    value = {"digest": request.digest.hex(), **request.to_json()}
    if agreed is not None:
        value["allowed"] = {address.wire: agreed.allows(address) for address in request.targets()}
    printer.result(value, request_text(request, None if agreed is None else agreed.labels))

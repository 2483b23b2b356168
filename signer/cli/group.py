"""`signer group`: a key among holders."""

from pathlib import Path
from typing import Any

import click

from signer.cli.options import PATH
from signer.cli.printer import Printer, json_option, table


@click.group(name="group")
def command() -> None:
    """Split a withdrawal key among holders; show a group."""


@command.command()
@click.option("--card", "cards", type=PATH, multiple=True, required=True,
              help="A holder's card; give one for each holder, in share order.")  # fmt: skip
@click.option("--threshold", type=int, required=True, help="How many holders sign together (t).")
@click.option("--policy", type=PATH, required=True, help="The pool's policy.yaml.")
@click.option("--network", "network_name", help="mainnet, hoodi, or the custom network's name.")
@click.option("--network-file", type=PATH, help="Constants of a custom network.")
@click.option("--mnemonic-file", type=PATH, help="File with the mnemonic, mode 0600.")
@click.option("--mnemonic", "ask_mnemonic", is_flag=True, help="Ask for the mnemonic here.")
@click.option("--passphrase-file", type=PATH, help="File with the mnemonic's passphrase, 0600.")
@click.option("--key-index", type=click.IntRange(0, 2**31 - 1),
              help="i of the path m/12381/3600/i/0; a validator's has one more /0.")  # fmt: skip
@click.option("--keystore", type=PATH, help="EIP-2335 keystore of the key.")
@click.option("--role", type=click.Choice(["withdrawal", "validator"]), default="withdrawal",
              show_default=True, help="What the key is: it decides what it may ever sign.",
              )  # fmt: skip
@click.option("--password-file", type=PATH, help="File with the keystore's password, mode 0600.")
@click.option("--out", type=PATH, required=True, help="New folder for group file and envelopes.")
@json_option
@click.pass_obj
def split(printer: Printer, /, **options: Any) -> None:
    """Split an existing key among the holders of the cards.

    A withdrawal key signs changes of credentials and nothing else; a validator key signs exits and
    deposits.

    The key comes from a mnemonic or a keystore. It is read, split and sealed in one process that
    ends at once; the plain key is never written. Each holder gets the group file, the policy and
    his own envelope, which only his token opens. Use cards that no other group has: when one
    group's shares are dealt anew, the key on the old card is destroyed, for every share it opens.

    Whoever runs this has had the whole key in his hands: destroy the mnemonic or keystore after
    every holder has proven his share, or the split protects nothing.
    """
    from signer.cli.splitting import split_among, split_text

    out, result = split_among(**options)
    printer.result(
        {
            "group_file": str(out / "group.json"),
            "envelopes": [str(out / name) for name in result.names],
            **_summary(result.group),
        },
        split_text(out, result),
    )


@command.command()
@click.argument("file", type=PATH)
@json_option
@click.pass_obj
def show(printer: Printer, file: Path) -> None:
    """Show a group file in words, after holding its parts against each other."""
    from signer.custody.desk import read_group

    group = read_group(file)
    printer.result(_summary(group), group_text(group))


def group_text(group: Any) -> str:
    """Return a group in words."""
    t, n = group.threshold.t, group.threshold.n
    custom = "" if group.network.built_in else f"   custom, digest {group.network.digest.hex()}"
    lines = [
        f"group        {group.marked(group.group_id)}   epoch {group.epoch}",
        f"file         {group.marked(group.digest)}   (compare by voice)",
        f"network      {group.network.name}{custom}",
        f"role         {group.role}",
        f"origin       {group.origin}: {group.origin_words}",
        f"certificate  {_certificate_words(group)}",
        f"public key   0x{bytes(group.public_key).hex()}",
        f"credentials  0x{group.withdrawal_credentials.hex()}",
        f"policy       {group.marked(group.current_policy_digest)}{_amended(group)}",
        f"threshold    {t} of {n}: any {t} can sign; losing {n - t + 1} loses the key; "
        f"{t} together can steal",
        "",
        table(
            ("SHARE", "HOLDER", "PROFILE", "CARD"),
            [
                (index, card.body.name, card.body.profile_words, _card_words(group, card))
                for index, card in enumerate(group.current_cards, start=1)
            ],
        ),
    ]
    if group.origin == "split":
        lines += ["", "A dealer has held the whole key: the split protects once he destroyed it."]
    return "\n".join(lines)


def _card_words(group: Any, card: Any) -> str:
    from signer.messages.group_file import marked_fingerprint

    rehearsal = group.rehearsal or card.body.software
    return marked_fingerprint(card.digest, rehearsal=rehearsal)


def _certificate_words(group: Any) -> str:
    if group.certificate is None:
        return "none: split at one desk"
    if group.active:
        return f"{group.marked(group.certificate)}   active"
    return f"{group.marked(group.certificate)}   NOT ACTIVE: it signs nothing yet"


def _amended(group: Any) -> str:
    number = group.amendment_number
    return f"   by amendment {number}, signed by all" if number else ""


def _summary(group: Any) -> dict[str, Any]:
    return {
        "group": group.group_id.hex(),
        "digest": group.digest.hex(),
        "network": group.network.to_json(),
        "network_digest": group.network.digest.hex(),
        "role": group.role,
        "epoch": group.epoch,
        "origin": group.origin,
        "rehearsal": group.rehearsal,
        "certificate": None if group.certificate is None else group.certificate.hex(),
        "active": group.active,
        "threshold": group.threshold.t,
        "holders_count": group.threshold.n,
        "group_public_key": "0x" + bytes(group.public_key).hex(),
        "withdrawal_credentials": "0x" + group.withdrawal_credentials.hex(),
        "policy_digest": group.policy_digest.hex(),
        "current_policy_digest": group.current_policy_digest.hex(),
        "amendments": group.amendment_number,
        "holders": [
            {"index": index, "name": card.body.name, "proven": card.body.proven}
            for index, card in enumerate(group.current_cards, 1)
        ],
    }

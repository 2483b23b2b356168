"""`signer token`: what each holder does once with his device."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signer.cli.options import (
    PATH,
    out_file_option,
    pin_option,
    spared_pin_option,
    token_options,
)
from signer.cli.printer import Printer, json_option, table

if TYPE_CHECKING:
    from signer.custody.jobs.sources import SecretSource
    from signer.custody.orders import TokenRow


@click.group(name="token")
def command() -> None:
    """Prepare a PKCS#11 token and show its public card."""


@command.command(name="list")
@token_options
@json_option
@click.pass_obj
def list_(
    printer: Printer, profile: str, module: Path | None, label: str | None, serial: str | None
) -> None:
    """List the tokens that the module shows. Needs no PIN, changes nothing.

    The URI of a token is what --token takes, and `uri` under `token` in agent.yaml, as it stands.
    """
    import shlex
    from dataclasses import asdict

    from signer.cli.wiring import token_choice
    from signer.custody.orders import list_tokens

    rows = list_tokens(token_choice(profile, module, label, serial))
    head = ("LABEL", "SERIAL", "MANUFACTURER", "MODEL", "STATE", "PIN", "PROFILE", "URI")
    printer.result(
        {"tokens": [asdict(row) for row in rows]},
        table(
            head,
            [
                (
                    row.label,
                    row.serial,
                    row.manufacturer,
                    row.model,
                    "ready" if row.initialized else "uninitialised",
                    row.pin_state,
                    _profile_words(row),
                    "none" if row.uri is None else shlex.quote(row.uri),
                )
                for row in rows
            ],
        ),
    )


@command.command()
@token_options
@pin_option
@json_option
@click.pass_obj
def setup(
    printer: Printer,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: "SecretSource | None",
) -> None:
    """Make the two keys of a holder on an initialised token.

    `id-sign` signs his card, `epoch-kex` receives shares; both are P-256, made on the token and not
    extractable. Keys that are there already stay; nothing is ever erased.
    """
    from signer.cli.wiring import token_choice
    from signer.custody.orders import set_up_token
    from signer.messages.card import UNPROVEN

    token = token_choice(profile, module, label, serial)
    keys = set_up_token(token, pin)
    words = [f"made {name}" for name in keys.made] + [f"{name} was there" for name in keys.present]
    proven = token.profile.proven
    printer.result(
        {"made": list(keys.made), "present": list(keys.present), "proven": proven},
        "\n".join(words if proven else [*words, UNPROVEN]),
    )


def _profile_words(row: "TokenRow") -> str:
    from signer.messages.card import profile_words

    if row.described_by is None:
        return "none: unknown"
    words = profile_words(row.described_by, proven=row.proven is True)
    return words if row.profile is not None else f"not this one: {words}"


@command.command()
@token_options
@pin_option
@click.option("--name", required=True, help="The holder's name, as others know him.")
@click.option(
    "--fresh-key",
    is_flag=True,
    help="Make another receiving key, for the next ceremony. The old ones stay.",
)
@click.option("--kex", metavar="FINGERPRINT", help="Which receiving key, if there are several.")
@click.option(
    "--spare-card",
    type=PATH,
    metavar="FILE",
    help="Card of the holder's own spare token, which shall receive his shares too.",
)
@click.option(
    "--attestation",
    type=PATH,
    metavar="FILE",
    multiple=True,
    help="The vendor's certificates about the keys, PEM or DER. Carried, not verified.",
)
@click.option(
    "--attestation-kind",
    type=click.Choice(["yubico-piv", "schsm-cvc", "yubihsm"]),
    help="Whose certificates these are.",
)
@out_file_option("Where to write the card.")
@json_option
@click.pass_obj
def card(printer: Printer, /, **options: Any) -> None:
    """Export the holder's public card, signed by the token.

    A card is made only for keys that were generated on the token and cannot leave it. Read the
    fingerprint or its twelve words to the others: that is how they know the card is yours.
    """
    from signer.cli.carding import write_card

    write_card(printer, **options)


def _profile_names(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    from signer.hsm.profile import profile_names

    return [name for name in profile_names() if name.startswith(typed)]


_PROBE_HELP = """Try what a token really does, and leave it as it was.

\b
  signer token probe --module /usr/lib/libvendor.so --token mine --out probed
  signer token probe --profile yubihsm2 --token 'pkcs11:serial=12345678'

Every way to seal a share is tried on throw-away keys, and what the token answers is compared with
what this machine computes: ECDH, RSA-OAEP, AES-GCM, ECDSA; then whether keys tell the truth of
where they were made, data objects, random bytes, sessions, logins, two threads, and how long each
takes. The table says what the token claims, what works, and which return value says no.

Nothing stays: all is made as session objects, in a session that may not write. No wrong PIN is ever
tried, and the last try before a lock is never spent; the right one is given about five times. A
module that crashes or hangs is a finding like others: another worker goes on behind it.

With --out a new folder gets profile.yaml, a draft of a device profile for you to finish, and
report.json, which you can send in: it holds no PIN, no label, and of the serial number a digest.

Exit status 0 means that the probe ran, whatever it found; 7 that it could not log in.
"""


@command.command(help=_PROBE_HELP)
@click.option("--module", type=PATH, help="PKCS#11 module; needed unless --profile knows one.")
@click.option("--token", "label", help="The token's label, or its pkcs11: URI in quotes.")
@click.option("--serial", help="The token's serial number.")
@click.option(
    "--profile",
    shell_complete=_profile_names,
    help="Device profile for module, variables and lengths of the PIN; without it, none is taken "
    "for true.",
)
@spared_pin_option
@click.option(
    "--environment",
    "variables",
    metavar="NAME",
    multiple=True,
    help="A variable that the module reads, besides those of the profiles. May be repeated.",
)
@click.option("--out", type=PATH, metavar="DIR", help="A new folder for draft and report.")
@click.option(
    "--seconds",
    type=click.IntRange(5, 300),
    default=20,
    show_default=True,
    help="For all of it, after the login. A card may need minutes to make an RSA key.",
)
@click.option(
    "--with-token-keys",
    "token_keys",
    is_flag=True,
    help="Make the keys on the token, labelled signer-probe-…, and destroy them. For a token that "
    "makes no session keys.",
)
@json_option
@click.pass_obj
def probe(printer: Printer, /, **options: Any) -> None:
    """Try what a token really does, and leave it as it was."""
    from signer.cli.probing import probe as run

    run(printer, **options)


def _device_names(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    from signer.hsm.udev import load_rules

    return [rule.name for rule in load_rules().rules if rule.name.startswith(typed)]


# \b keeps click from re-flowing the paragraph that follows.
_UDEV_HELP = """Print the udev rules for devices that an agent opens itself, without pcscd.

\b
  signer token udev | sudo tee /etc/udev/rules.d/70-signer-hsm.rules
  sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb

A device's node gets the agent's group and mode 0660, and the tag uaccess: who is logged in at the
machine itself may use it too. Nobody logs in as an agent, so it has access by its group alone.

The group must exist first (systemd-sysusers makes it, from deploy/sysusers.d/signer.conf) and be a
system group. Without it udev logs a complaint, and the node stays root's.

Cards and tokens behind pcscd need no rule, nor do TPMs and HSMs on the network: udev/README.md
tells of each device.
"""


@command.command(help=_UDEV_HELP)
@click.option(
    "--device", metavar="NAME", shell_complete=_device_names, help="Only the rule of this device."
)
@click.option("--group", metavar="GROUP", help="The group of the agent, if it is not `signer`.")
@json_option
@click.pass_obj
def udev(printer: Printer, device: str | None, group: str | None) -> None:
    """Print the udev rules for devices that an agent opens itself."""
    from signer.cli.ruling import print_rules

    print_rules(printer, device, group)

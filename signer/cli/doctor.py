"""`signer doctor`: are this device, this machine and this agent's setup fit to hold a share?"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from signer.cli.options import PATH
from signer.cli.printer import Printer, json_option, printable, table
from signer.errors import UsageError


def _profiles(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    from signer.hsm.profile import profile_names

    return [name for name in profile_names() if name.startswith(typed)]


@click.command(name="doctor")
@click.option("--config", type=PATH, help="agent.yaml: its files, token and agent are looked at.")
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=_profiles,
    help="Device profile, or a YAML file: a device of this kind is looked for.",
)
@click.option(
    "--module",
    type=PATH,
    help="PKCS#11 module, if not where the profile says; alone it tells the profile.",
)
@json_option
@click.pass_obj
def command(printer: Printer, config: Path | None, profile: str | None, module: Path | None) -> int:
    """Look whether a device, this machine and an agent's setup are in order, and how to mend them.

    For a device that has just been plugged in: without options it says which profile it has, and
    with --profile what is wrong with module, pcscd, udev rules, groups, TPM, token and PIN.

    Of the machine it looks at core dumps, swap, memory locks and clock; with --config also at
    owners, modes, disk, journal, papers and the running agent: run it as the agent's user.

    It never logs in, never opens a PIN file, changes nothing. Exit status 1 if something is bad.
    docs/operations.md explains every code.
    """
    from signer.agent.doctor import examine, examine_device

    if config is None:
        findings = examine_device(profile, module)
    elif profile is None and module is None:
        findings = examine(config)
    else:
        raise UsageError(
            "--config names profile and module itself", hint="leave --profile and --module out"
        )
    counts = Counter(found.state for found in findings)
    rows = [(found.state, found.code, found.what) for found in findings]
    text = table(("STATE", "CODE", "WHAT"), rows)
    fixes = [
        f"{found.code}: {found.fix}"
        for found in findings
        if found.state in ("bad", "warn") and found.fix
    ]
    if fixes:
        text += "\n\nWhat to do\n" + "\n".join(f"  {printable(fix)}" for fix in fixes)
    text += f"\n\n{_verdict(counts)}"
    printer.result(
        {
            "version": 1,
            "findings": [asdict(found) for found in findings],
            "bad": counts["bad"],
            "warn": counts["warn"],
        },
        text,
    )
    return 1 if counts["bad"] else 0


def _verdict(counts: Counter[str]) -> str:
    if not counts["bad"] and not counts["warn"]:
        return "All is well."
    words = [f"{counts[state]} {state}" for state in ("bad", "warn") if counts[state]]
    return ", ".join(words) + ("." if counts["bad"] else "; nothing is bad.")

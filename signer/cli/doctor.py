"""`signer doctor`: is this machine, and is this agent's setup, fit to hold a share?"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from signer.cli.options import PATH
from signer.cli.printer import Printer, json_option, printable, table


@click.command(name="doctor")
@click.option("--config", type=PATH, help="agent.yaml; without it only the machine is looked at.")
@json_option
@click.pass_obj
def command(printer: Printer, config: Path | None) -> int:
    """Look whether this machine and an agent's setup are in order, and say how to mend them.

    Looks at core dumps, swap, memory locks, clock, owners and modes, disk, PKCS#11 module, token
    and the running agent. Never logs in, never opens a PIN file, changes nothing. Run it as the
    agent's user. Exit status 1 if something is bad. docs/operations.md explains every code.
    """
    from signer.agent.doctor import examine

    findings = examine(config)
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

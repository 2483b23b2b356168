"""`signer agent`: the daemon, and a word with it."""

from pathlib import Path

import click

from signer.cli.options import PATH
from signer.cli.printer import Printer, json_option


@click.group(name="agent")
def command() -> None:
    """Run a holder's signer agent; ask one how it is."""


@command.command()
@click.option("--config", type=PATH, required=True, help="agent.yaml; see deploy/.")
def run(config: Path) -> None:
    """Serve one share on a local socket until SIGTERM. Logs JSON lines to stderr."""
    from signer.agent.config import AgentConfig
    from signer.agent.daemon import run_agent
    from signer.agent.log import EventLog

    run_agent(AgentConfig.load(config), EventLog())


@command.command()
@click.argument("socket", type=PATH)
@json_option
@click.pass_obj
def status(printer: Printer, socket: Path) -> None:
    """Ask the agent at SOCKET which share it serves."""
    import asyncio

    from signer.client import AgentClient
    from signer.messages.card import fingerprint

    answer = asyncio.run(AgentClient(socket).status())
    printer.result(
        answer.document,
        "\n".join(
            [
                f"holder   {answer.holder}, share {int(answer.index)}, epoch {answer.epoch}",
                f"group    {fingerprint(answer.group_id)}   {answer.network}",
                f"policy   {fingerprint(answer.policy_digest)}",
                f"state    {'signing' if answer.busy else 'ready'}",
            ]
        ),
    )

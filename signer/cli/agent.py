"""`signer agent`: the daemon, and a word with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signer.cli.options import PATH, pin_option
from signer.cli.printer import Printer, json_option, printable

if TYPE_CHECKING:
    from signer.client import AgentStatus, TokenStatus
    from signer.custody.jobs.sources import SecretSource


@click.group(name="agent")
def command() -> None:
    """Run a holder's signer agent; ask one how it is; answer what waits for you."""


@command.command()
@click.option("--config", type=PATH, required=True, help="agent.yaml; see deploy/.")
@click.option(
    "--witness",
    "witnesses",
    type=PATH,
    multiple=True,
    help="File of witnesses (`signer sign` writes one): no older journal is used. Repeatable.",
)
def run(config: Path, witnesses: tuple[Path, ...]) -> None:
    """Serve one share on a local socket until SIGTERM. Logs JSON lines to stderr."""
    from signer.agent.config import AgentConfig
    from signer.agent.daemon import run_agent
    from signer.agent.log import EventLog
    from signer.cli.journaling import read_witnesses

    said = read_witnesses(witnesses) if witnesses else []
    run_agent(AgentConfig.load(config), EventLog(), said)


@command.command()
@click.argument("socket", type=PATH)
@json_option
@click.pass_obj
def status(printer: Printer, socket: Path) -> None:
    """Ask the agent at SOCKET which share it serves."""
    import asyncio
    import shlex

    from signer.client import AgentClient
    from signer.messages.group_file import marked_fingerprint

    answer = asyncio.run(AgentClient(socket).status())
    rehearsal = answer.document.get("rehearsal") is True
    printer.result(
        answer.document,
        "\n".join(
            [
                f"holder   {answer.holder}, share {int(answer.index)}, epoch {answer.epoch}",
                f"group    {_group_words(answer)}",
                f"origin   {_origin_words(answer.document)}",
                f"policy   {marked_fingerprint(answer.policy_digest, rehearsal=rehearsal)}",
                f"token    {_token_words(answer.token)}",
                *([f"         {shlex.quote(answer.token.uri)}"] if answer.token.uri else []),
                f"journal  {_journal_words(answer.document)}",
                f"exposure {_exposure_words(answer.document)}",
                f"state    {_state_words(answer)}",
            ]
        ),
    )


def _group_words(answer: "AgentStatus") -> str:
    from signer.messages.group_file import marked_fingerprint

    rehearsal = answer.document.get("rehearsal") is True
    return f"{marked_fingerprint(answer.group_id, rehearsal=rehearsal)}   {answer.network}"


def _origin_words(document: Mapping[str, Any]) -> str:
    """Say how the key came to be shared, by the agent's word."""
    from signer.messages.group_file import ORIGIN_WORDS

    origin = document.get("origin")
    return ORIGIN_WORDS.get(origin, "unknown") if isinstance(origin, str) else "not told"


def _state_words(answer: "AgentStatus") -> str:
    if answer.document.get("active") is False:
        return "NOT ACTIVE: it drills, and signs nothing until the ceremony has ended"
    if _is_behind(answer.document):
        return "REFUSING: it signs nothing until the newest journal is put back"
    return "signing" if answer.busy else "ready"


def _is_behind(document: Mapping[str, Any]) -> bool:
    journal = document.get("journal")
    return isinstance(journal, Mapping) and journal.get("state") == "behind"


def _journal_words(document: Mapping[str, Any]) -> str:
    """Say how far the journal is, and whether it was held against its anchor: the agent's word."""
    from signer.errors import SchemaError
    from signer.strict import Fields

    try:
        fields = Fields(document.get("journal"), "journal")
        sequence = fields.integer("sequence", low=0, high=2**53 - 1)
        anchor = fields.choice("anchor", ("token", "host", "none"))
        state = fields.choice("state", ("verified", "unverified", "behind"))
    except SchemaError:
        return "unknown"
    words = {
        "verified": "held against its anchor since the start",
        "unverified": "UNVERIFIED until the first signature",
        "behind": "BEHIND: a later one is known (E_ROLLBACK, docs/journal.md)",
    }
    if (anchor, state) == ("none", "unverified"):
        words[state] = "UNVERIFIED: only witnesses tell of a later one"
    return f"{sequence} records, anchor: {anchor}; {words[state]}"


def _exposure_words(document: Mapping[str, Any]) -> str:
    """Say how long the share was in memory since the agent started, by the agent's word."""
    from signer.errors import SchemaError
    from signer.strict import Fields

    try:
        fields = Fields(document.get("exposure"), "exposure")
        count, total, longest = (
            fields.integer(name, low=0, high=2**53 - 1)
            for name in ("unseals", "milliseconds", "longest_milliseconds")
        )
        weaknesses = fields.array("weaknesses", low=0, high=16)
    except SchemaError:
        return "not told"
    words = f"unsealed {count} times, {total} ms in all, {longest} ms at most"
    lacks = printable(", ".join(str(weakness)[:32] for weakness in weaknesses))
    return f"{words}; lacks {lacks}" if lacks else words


def _token_words(token: "TokenStatus") -> str:
    from datetime import UTC, datetime

    from signer.messages.card import UNPROVEN

    words = token.state
    if token.since:
        words += f" since {datetime.fromtimestamp(token.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if token.reason:
        words += f": {token.reason}"
    return words if token.proven is not False else f"{words}; {UNPROVEN}"


_CONFIG = click.option("--config", type=PATH, help="The agent's agent.yaml.")
_CONTROL = click.option("--control", type=PATH, help="Its control socket, instead of --config.")


@command.command()
@_CONFIG
@_CONTROL
@json_option
@click.pass_obj
def pending(printer: Printer, config: Path | None, control: Path | None) -> None:
    """List the requests that wait for the holder to say yes or no."""
    from signer.cli.approve import control_of, list_pending

    list_pending(printer, control_of(config, control))


@command.command()
@click.argument("ticket")
@click.option("--config", type=PATH, required=True, help="The agent's agent.yaml.")
@click.option("--yes-i-checked", "words", metavar="WORDS",
              help="For scripts: the request's twelve words, instead of typing.")  # fmt: skip
@pin_option
@json_option
@click.pass_obj
def approve(
    printer: Printer, ticket: str, config: Path, words: str | None, pin: "SecretSource | None"
) -> None:
    """Show what TICKET is about, in this terminal, and have it signed if you say yes.

    The request is decoded here, with your own group file and policy. You type the end of the
    address and the count to show that you looked, then the PIN if the agent has none; it goes to
    the process that signs, and neither this command nor the agent reads it.
    """
    from signer.cli.approve import approve_ticket

    approve_ticket(printer, config, ticket, words, pin)


@command.command()
@click.argument("ticket")
@_CONFIG
@_CONTROL
@click.option("--reason", default="E_DENIED", show_default=True, help="A code for the journal.")
@json_option
@click.pass_obj
def deny(
    printer: Printer, ticket: str, config: Path | None, control: Path | None, reason: str
) -> None:
    """Say no to TICKET, for good: the agent's journal remembers it."""
    import re

    from signer.cli.approve import control_of, deny_ticket
    from signer.errors import UsageError
    from signer.messages.reply import CODE_PATTERN

    if re.fullmatch(CODE_PATTERN, reason) is None:
        raise UsageError("--reason takes a code such as E_TARGET")
    deny_ticket(printer, control_of(config, control), ticket, reason)


@command.command()
@_CONFIG
@_CONTROL
@json_option
@click.pass_obj
def unlatch(printer: Printer, config: Path | None, control: Path | None) -> None:
    """Let the agent try a PIN again that the token refused. Correct the PIN first."""
    from signer.cli.approve import control_of, unlatch

    unlatch(printer, control_of(config, control))

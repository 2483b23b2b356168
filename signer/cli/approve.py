"""A holder's answer to what waits for him: shown and decoded here, in his own terminal.

This process reads what he types to show that he looked; the PIN it never reads.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from signer.agent.commands import APPROVE, DENY, PENDING, UNLATCH, Command
from signer.agent.config import AgentConfig
from signer.agent.control_client import APPROVE_SECONDS, tell
from signer.agent.tickets import ID_HEX, MAX_WAITING
from signer.cli.person import ask, say
from signer.cli.printer import Printer, printable, table
from signer.cli.shown import Shown, show_ticket, ticket_row
from signer.custody.jobs.sources import SecretSource
from signer.custody.orders import pin_source, terminal
from signer.custody.pin_pipe import pin_pipe
from signer.errors import AgentError, ConfigError, DeniedError, UsageError
from signer.strict import Fields

_INSTEAD = '--yes-i-checked "the twelve words"'


def control_of(config: Path | None, control: Path | None) -> Path:
    """Return the control socket that the options name.

    Raises:
        UsageError: neither or both were given.
        ConfigError: the agent has none.
    """
    if (config is None) == (control is None):
        raise UsageError("give --config agent.yaml or --control SOCKET")
    if config is None:
        return control or Path()
    return _control(AgentConfig.load(config))


def _control(settings: AgentConfig) -> Path:
    if settings.control is None:
        raise ConfigError(
            "this agent has no control socket, so nobody can approve anything",
            hint="add 'control: PATH' to its agent.yaml and start it anew",
        )
    return settings.control


# pending, deny, unlatch


def list_pending(printer: Printer, control: Path) -> None:
    """Print what waits for the holder."""
    rows = _pending(control)
    now = int(time.time())
    text = table(
        ("TICKET", "ASKED BY", "KIND", "ITEMS", "EXPIRES IN", "STATE"),
        [
            (
                row["ticket"], f"uid {row['uid']}", row["kind"], row["items"],
                _span(row["expires"] - now), row["state"],
            )
            for row in rows
        ],
    )  # fmt: skip
    printer.result({"tickets": rows}, text if rows else "nothing waits")


def deny_ticket(printer: Printer, control: Path, ticket: str, reason: str) -> None:
    """Say no to a ticket, for good."""
    row = next((row for row in _pending(control) if row["ticket"] == ticket), None)
    if row is None:
        raise AgentError(
            f"there is no ticket {ticket[:ID_HEX]!r}",
            code="E_NOT_FOUND",
            hint="signer agent pending",
        )
    digest = bytes.fromhex(row["request"])
    tell(control, Command(name=DENY, ticket=ticket, request=digest, reason=reason))
    printer.result(
        {"ticket": ticket, "request": row["request"], "state": "denied", "reason": reason},
        f"denied {ticket}: this request will not be signed here",
    )


def unlatch(printer: Printer, control: Path) -> None:
    """Let a refused PIN be tried again."""
    tell(control, Command(name=UNLATCH))
    printer.result({"unlatched": True}, "the agent may try its PIN again, once")


def _pending(control: Path) -> list[dict[str, Any]]:
    entries = tell(control, Command(name=PENDING)).array("tickets", low=0, high=4 * MAX_WAITING)
    return [ticket_row(Fields(entry, "ticket")) for entry in entries]


# approve


def approve_ticket(
    printer: Printer, config: Path, ticket: str, words: str | None, pin: SecretSource | None
) -> None:
    """Show what a ticket is about, ask, and have it signed.

    Raises:
        UsageError: no terminal, and no words instead.
        DeniedError: a wrong answer (E_CONFIRM). The ticket still waits.
        SignerError: the agent's trouble.
    """
    settings = AgentConfig.load(config)
    control = _control(settings)
    if pin is not None and pin.pad:
        raise UsageError("the PIN pad is the token's: set 'pin: {pad: true}' in agent.yaml")
    with _person(words) as tty:
        shown = show_ticket(settings, control, ticket)
        _say(tty, shown.text)
        typed = () if words is not None else tuple(_ask(tty, p) for p in shown.prompts)
        _require_right(shown, typed, words)
        command = Command(
            name=APPROVE,
            ticket=ticket,
            request=shown.digest,
            typed=typed,
            words=words or "",
            final_try=pin is not None and pin.final_try,
        )
        answer = _approve(printer, settings, control, command, shown.asks_pin, pin)
    row = ticket_row(answer) | {"signed": answer.integer("signed", low=0, high=2**20)}
    printer.result(row, _done_words(row))


@contextlib.contextmanager
def _person(words: str | None) -> Iterator[int | None]:
    """Yield his terminal, or None where a script gives the words."""
    if words is not None:
        yield None
        return
    with terminal("an approval", _INSTEAD) as descriptor:
        yield descriptor


def _require_right(shown: Shown, typed: Sequence[str], words: str | None) -> None:
    right = shown.right(typed) if words is None else bool(words) and words == shown.words
    if not right:
        raise DeniedError(
            "what was typed does not match the request",
            code="E_CONFIRM",
            hint="nothing was signed; the ticket still waits",
        )


def _approve(
    printer: Printer,
    settings: AgentConfig,
    control: Path,
    command: Command,
    asks_pin: bool,
    pin: SecretSource | None,
) -> Fields:
    if not asks_pin and pin is None:
        return tell(control, command, seconds=APPROVE_SECONDS)
    name = settings.token.label or settings.token.serial or "the token"
    with (
        pin_source(pin) as (source, descriptors),
        _pipe(source, name, descriptors) as pipe,
    ):
        _tell_touch(printer, settings)
        return tell(control, command, seconds=APPROVE_SECONDS, descriptors=[pipe])


def _pipe(
    source: SecretSource, name: str, descriptors: Sequence[int]
) -> "contextlib.AbstractContextManager[int]":
    safe = "".join(letter if " " <= letter <= "~" else "?" for letter in name)[:64]
    return pin_pipe(source, safe, descriptors)


def _tell_touch(printer: Printer, settings: AgentConfig) -> None:
    if settings.token.profile.touch != "none":
        printer.note("touch the token now")


def _say(tty: int | None, text: str) -> None:
    """Show it to the person; to a script's log where there is none."""
    if tty is None:
        click.echo("\n".join(printable(line) for line in text.split("\n")), err=True)
    else:
        say(tty, text)


def _ask(tty: int | None, prompt: str) -> str:
    if tty is None:
        raise UsageError("no terminal to ask on", hint=f"give {_INSTEAD}")
    return ask(tty, prompt)


def _span(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def _done_words(row: dict[str, Any]) -> str:
    if row["purpose"] == "drill":
        return f"drilled; ticket {row['ticket']} is done"
    return f"signed {row['signed']} of {row['items']}; ticket {row['ticket']} is done"

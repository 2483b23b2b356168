"""The person at the terminal: told something, asked for one line. What he types is no secret."""

import os
import termios

import click

from signer.cli.printer import printable

_MAX_LINE = 256


def say(tty: int, text: str) -> None:
    """Put lines on the terminal, whatever happens to standard output."""
    plain = "\n".join(printable(line) for line in text.split("\n"))
    _write(tty, f"{plain}\n\n")


def ask(tty: int, prompt: str) -> str:
    """Ask for one line. What was typed before the question is no answer to it.

    Raises:
        click.Abort: the terminal's input ended.
    """
    termios.tcflush(tty, termios.TCIFLUSH)
    _write(tty, prompt)
    line = os.read(tty, _MAX_LINE)
    if not line:
        raise click.Abort
    return line.decode("ascii", "replace").strip()


def _write(tty: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(tty, data) :]

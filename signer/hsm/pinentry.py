"""A PIN asked for by pinentry, the program that GnuPG asks with.

The Assuan protocol over two pipes (https://www.gnupg.org/documentation/manuals/assuan/): one line a
command, `D` lines carry data with `%XX` for `%`, CR and LF, then `OK` or `ERR`. The PIN goes from
the pipe into a buffer of ours and is decoded there; it never is a `str`.
"""

import os
import select
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from signer.errors import PinError
from signer.secret import SecretBytes, wipe_buffer

_SECONDS = 240.0  # a person types meanwhile
_MAX_LINE_BYTES = 1002  # Assuan: 1,000 and the line's end
_PERCENT = ord("%")


@dataclass(frozen=True, slots=True)
class PinEntry:
    """The program at `program`, asking where `environment` says (DISPLAY, GPG_TTY)."""

    program: Path
    environment: Mapping[str, str]

    def read(self, token: str) -> SecretBytes:
        """Have a person asked for the PIN of `token` and return it.

        Raises:
            PinError: the program cannot be run, the person closed it, or took too long.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 - the path is the holder's own setting
                [str(self.program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self.environment),
                close_fds=True,
            )
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise PinError(f"pinentry {str(self.program)!r}: {reason}") from None
        try:
            return _Conversation(process, self.environment.get("GPG_TTY")).ask(token)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


class _Conversation:
    """One run of pinentry. What it answers is read byte for byte into one buffer, then wiped."""

    def __init__(self, process: "subprocess.Popen[bytes]", tty: str | None) -> None:
        if process.stdin is None or process.stdout is None:
            raise PinError("pinentry has no pipes")
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._tty = tty
        self._deadline = time.monotonic() + _SECONDS
        self._line = bytearray(_MAX_LINE_BYTES)

    def ask(self, token: str) -> SecretBytes:
        """Hold the conversation."""
        try:
            self._expect_ok()
            if self._tty is not None:
                self._command("OPTION ttyname=" + _escaped(self._tty))
            for command in (
                "SETTITLE threshold-signer",
                "SETDESC " + _escaped(f"PIN of {token}"),
                "SETPROMPT PIN:",
            ):
                self._command(command)
            self._send("GETPIN")
            return self._pin()
        finally:
            wipe_buffer(self._line)

    def _pin(self) -> SecretBytes:
        with SecretBytes.zeros(_MAX_LINE_BYTES) as plain:
            size = 0
            while (length := self._read_line()) and self._line[:2] != b"OK":
                if self._line[:2] == b"D ":
                    size += _decode(self._line, 2, length, plain.expose()[size:])
                elif self._line[:3] == b"ERR":
                    raise PinError("no PIN was given: pinentry was closed", code="E_PIN_EMPTY")
            if size == 0:
                raise PinError("no PIN was typed", code="E_PIN_EMPTY")
            return SecretBytes(plain.expose()[:size])

    def _command(self, line: str) -> None:
        self._send(line)
        self._expect_ok()

    def _expect_ok(self) -> None:
        while (length := self._read_line()) and self._line[:2] != b"OK":
            if self._line[:3] == b"ERR":
                raise PinError("pinentry refused to ask")
        if length == 0:
            self._ended()

    def _send(self, line: str) -> None:
        try:
            os.write(self._to, line.encode() + b"\n")
        except OSError:
            self._ended()

    def _read_line(self) -> int:
        """Read one line, without its end, into the buffer; return its length."""
        length = 0
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise PinError("nobody answered pinentry in time", code="E_PIN_EMPTY")
            view = memoryview(self._line)[length : length + 1]
            if os.readv(self._from, [view]) == 0:
                self._ended()
            if self._line[length] == ord("\n"):
                return length
            length += 1
            if length == len(self._line):
                raise PinError("pinentry answered too long a line")

    def _ended(self) -> NoReturn:
        raise PinError("pinentry ended before it asked", hint="try the program by hand")


def _decode(line: bytearray, start: int, end: int, into: memoryview) -> int:
    """Write the data of a `D` line, percent-decoded, and return how long it is.

    Raises:
        PinError: there is no room for it, or `%` stands before something else than two hex digits.
    """
    size = 0
    position = start
    while position < end:
        if size == len(into) or (line[position] == _PERCENT and position + 2 >= end):
            raise PinError("pinentry answered in a form that is not its protocol's")
        if line[position] == _PERCENT:
            into[size] = 16 * _digit(line[position + 1]) + _digit(line[position + 2])
            position += 3
        else:
            into[size] = line[position]
            position += 1
        size += 1
    return size


def _digit(letter: int) -> int:
    """Return the value of a hex digit; its text is never made."""
    for first, value in ((ord("0"), 0), (ord("A"), 10), (ord("a"), 10)):
        if first <= letter < first + (10 if value == 0 else 6):
            return letter - first + value
    raise PinError("pinentry answered in a form that is not its protocol's")


def _escaped(text: str) -> str:
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return printable.replace("%", "%25")

"""Where a PIN comes from, and how a file that holds a secret is read.

Never from argv or the environment. A secret's file is opened once and judged by what was opened, so
nobody can swap it between the look and the read.
"""

import contextlib
import os
import stat
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from signer.errors import InputError, PinError, SecretFileError
from signer.secret import SecretBytes, wipe_buffer

MAX_PIN_BYTES = 256
MAX_SECRET_BYTES = 4096


class PinSource(Protocol):
    """Something that gives the user PIN of a token, once."""

    def read(self, token: str) -> SecretBytes:
        """Return the PIN of `token`, which is its name for people.

        Raises:
            PinError: there is none to give.
            SecretFileError: the file that should hold it is not private.
        """


@dataclass(frozen=True, slots=True)
class PinFile:
    """A 0600 file that holds the PIN and perhaps a newline."""

    path: Path

    def read(self, token: str) -> SecretBytes:
        """Return the PIN."""
        pin = _read_private(self.path, "PIN file", MAX_PIN_BYTES)
        if len(pin) == 0:
            raise PinError(f"PIN file {str(self.path)!r} is empty", code="E_PIN_EMPTY")
        return pin


@dataclass(frozen=True, slots=True)
class PinPrompt:
    """A terminal on an open descriptor: asks there, reads there, shows nothing."""

    descriptor: int

    def read(self, token: str) -> SecretBytes:
        """Ask for the PIN and return it."""
        try:
            pin = prompt_secret(self.descriptor, f"PIN of {token}: ", max_bytes=MAX_PIN_BYTES)
        except InputError as error:
            raise PinError(error.message, hint="or use a PIN file") from None
        if len(pin) == 0:
            raise PinError("no PIN was typed", code="E_PIN_EMPTY")
        return pin


def prompt_secret(
    descriptor: int, prompt: str, *, max_bytes: int = MAX_SECRET_BYTES
) -> SecretBytes:
    """Ask for one line on the terminal `descriptor`, without echo. The line may be empty.

    Raises:
        InputError: no terminal, end of input, a longer line, or a NUL in it.
    """
    if not os.isatty(descriptor):
        raise InputError("there is no terminal to ask on")
    buffer = bytearray(max_bytes + 2)
    try:
        with _no_echo(descriptor):
            os.write(descriptor, prompt.encode())
            count = os.readv(descriptor, [buffer])
            os.write(descriptor, b"\n")
        if count == 0:
            raise InputError("nothing was typed: the terminal's input ended")
        end = buffer.find(b"\n", 0, count)
        if not 0 <= end <= max_bytes:
            raise InputError(f"a longer line was typed than {max_bytes} bytes, or it has no end")
        if 0 in memoryview(buffer)[:end]:
            raise InputError("the typed line has a NUL character")
        return SecretBytes(memoryview(buffer)[:end])
    finally:
        wipe_buffer(buffer)


def read_secret_file(
    path: Path, *, what: str = "secret file", max_bytes: int = MAX_SECRET_BYTES
) -> SecretBytes:
    """Return what a private file holds, without one newline at its end.

    Raises:
        SecretFileError: absent, a symlink, no regular file, not ours, open to others, empty, longer
            than `max_bytes`, or with a NUL.
    """
    secret = _read_private(path, what, max_bytes)
    if len(secret) == 0:
        raise SecretFileError(f"{what} {str(path)!r}: empty")
    return secret


def _read_private(path: Path, what: str, max_bytes: int) -> SecretBytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(path, flags)
    except OSError as error:
        if path.is_symlink():
            _fail(path, what, "a symbolic link", hint="name the file itself")
        _fail(path, what, (error.strerror or type(error).__name__).lower())
    buffer = bytearray(max_bytes + 3)  # one more than a newline needs, to notice a longer file
    try:
        _require_private(os.fstat(descriptor), path, what)
        view = memoryview(buffer)
        size = 0
        while count := os.readv(descriptor, [view[size:]]):
            size += count
        for ending in (b"\r\n", b"\n"):
            if buffer.endswith(ending, 0, size):
                size -= len(ending)
                break
        if size > max_bytes:
            _fail(path, what, f"longer than {max_bytes} bytes")
        if 0 in view[:size]:
            _fail(path, what, "has a NUL byte", hint="it should be plain text")
        return SecretBytes(view[:size])
    except OSError as error:
        _fail(path, what, (error.strerror or type(error).__name__).lower())
    finally:
        os.close(descriptor)
        wipe_buffer(buffer)


def _require_private(status: os.stat_result, path: Path, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        _fail(path, what, "not a regular file")
    if status.st_uid != os.geteuid():
        _fail(path, what, "belongs to another user", hint="chown it to the user who runs this")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _fail(path, what, "open to others", hint=f"chmod 600 {str(path)!r}")


@contextlib.contextmanager
def _no_echo(descriptor: int) -> Iterator[None]:
    """Turn echo off, and on again on every way out, Ctrl-C too.

    The keys that suspend and quit are only characters meanwhile: who suspends a prompt gets his
    shell back, and
    what he types there must not go to a prompt that still waits.
    """
    before = termios.tcgetattr(descriptor)
    silent = list(before)
    silent[3] &= ~(termios.ECHO | termios.ECHONL)
    silent[3] |= termios.ICANON
    silent[6] = list(before[6])
    for key in (termios.VSUSP, termios.VQUIT):
        silent[6][key] = b"\0"
    try:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def _fail(path: Path, what: str, why: str, *, hint: str = "") -> NoReturn:
    raise SecretFileError(f"{what} {str(path)!r}: {why}", hint=hint)

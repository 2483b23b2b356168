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

from signer.errors import InputError, PinError, SecretFileError, SignerError
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
        pin = _read_private(self.path, "PIN file", MAX_PIN_BYTES, kind=PinError)
        return _not_empty(pin, f"PIN file {str(self.path)!r}")


@dataclass(frozen=True, slots=True)
class PinCredential:
    """A PIN that systemd put where only the service reads it (systemd.exec(5), Credentials).

    The file is root's or ours; where systemd grants access by an ACL its mode shows group-read. So
    the folder is what is judged: root's or ours, and nobody else may write there.
    """

    path: Path

    def read(self, token: str) -> SecretBytes:
        """Return the PIN."""
        folder = self.path.parent
        try:
            status = folder.stat()
        except OSError as error:
            _fail(folder, "credentials folder", (error.strerror or type(error).__name__).lower(),
                  kind=PinError)  # fmt: skip
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o027:
            _fail(folder, "credentials folder", "not systemd's: others may use it", kind=PinError)
        pin = _read_private(
            self.path, "PIN credential", MAX_PIN_BYTES, kind=PinError,
            owners=(0, os.geteuid()), forbidden=0o037,
        )  # fmt: skip
        return _not_empty(pin, f"PIN credential {str(self.path)!r}")


@dataclass(frozen=True, slots=True)
class PinDescriptor:
    """An inherited descriptor of a file, which is read from its start each time."""

    descriptor: int

    def read(self, token: str) -> SecretBytes:
        """Return the PIN."""
        return _read_open(self.descriptor, again=True)


@dataclass(frozen=True, slots=True)
class PinPipe:
    """A pipe in which the PIN already is; read to its end, once."""

    descriptor: int

    def read(self, token: str) -> SecretBytes:
        """Return the PIN."""
        return _read_open(self.descriptor, again=False)


@dataclass(frozen=True, slots=True)
class PinPad:
    """The token's own PIN pad: there is nothing to read, the PIN is typed on the device."""

    def read(self, token: str) -> SecretBytes:
        """Refuse: a PIN pad gives its PIN to the token alone."""
        raise PinError(f"the PIN of {token} is typed on the device")


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


def _not_empty(pin: SecretBytes, what: str) -> SecretBytes:
    if len(pin) == 0:
        raise PinError(f"{what} is empty", code="E_PIN_EMPTY")
    return pin


def _read_open(descriptor: int, *, again: bool) -> SecretBytes:
    """Read a PIN, and perhaps a newline, from an open descriptor to its end."""
    buffer = bytearray(MAX_PIN_BYTES + 3)
    view = memoryview(buffer)
    try:
        size = 0
        while count := (
            os.preadv(descriptor, [view[size:]], size)
            if again
            else os.readv(descriptor, [view[size:]])
        ):
            size += count
        for ending in (b"\r\n", b"\n"):
            if buffer.endswith(ending, 0, size):
                size -= len(ending)
                break
        if size > MAX_PIN_BYTES or 0 in view[:size]:
            raise PinError(f"the PIN that came is over {MAX_PIN_BYTES} bytes, or has a NUL byte")
        return _not_empty(SecretBytes(view[:size]), "the PIN that came")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        hint = "it must be a file that can be read again" if again else "approve again"
        raise PinError(f"the PIN's descriptor cannot be read: {reason}", hint=hint) from None
    finally:
        wipe_buffer(buffer)


def _read_private(
    path: Path,
    what: str,
    max_bytes: int,
    *,
    kind: type[SignerError] = SecretFileError,
    owners: tuple[int, ...] | None = None,
    forbidden: int = stat.S_IRWXG | stat.S_IRWXO,
) -> SecretBytes:
    """Read a private file once. `owners` are those it may have, None is we alone."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(path, flags)
    except OSError as error:
        if path.is_symlink():
            _fail(path, what, "a symbolic link", hint="name the file itself", kind=kind)
        _fail(path, what, (error.strerror or type(error).__name__).lower(), kind=kind)
    buffer = bytearray(max_bytes + 3)  # one more than a newline needs, to notice a longer file
    try:
        _require_private(
            os.fstat(descriptor), path, what, kind, owners or (os.geteuid(),), forbidden
        )
        view = memoryview(buffer)
        size = 0
        while count := os.readv(descriptor, [view[size:]]):
            size += count
        for ending in (b"\r\n", b"\n"):
            if buffer.endswith(ending, 0, size):
                size -= len(ending)
                break
        if size > max_bytes:
            _fail(path, what, f"longer than {max_bytes} bytes", kind=kind)
        if 0 in view[:size]:
            _fail(path, what, "has a NUL byte", hint="it should be plain text", kind=kind)
        return SecretBytes(view[:size])
    except OSError as error:
        _fail(path, what, (error.strerror or type(error).__name__).lower(), kind=kind)
    finally:
        os.close(descriptor)
        wipe_buffer(buffer)


def _require_private(
    status: os.stat_result,
    path: Path,
    what: str,
    kind: type[SignerError],
    owners: tuple[int, ...],
    forbidden: int,
) -> None:
    if not stat.S_ISREG(status.st_mode):
        _fail(path, what, "not a regular file", kind=kind)
    if status.st_uid not in owners:
        hint = "chown it to the user who runs this"
        _fail(path, what, "belongs to another user", hint=hint, kind=kind)
    if status.st_mode & forbidden:
        _fail(path, what, "open to others", hint=f"chmod 600 {str(path)!r}", kind=kind)


@contextlib.contextmanager
def _no_echo(descriptor: int) -> Iterator[None]:
    """Turn echo off, and on again on every way out, Ctrl-C too.

    The keys that suspend and quit are only characters meanwhile: who suspends a prompt gets his
    shell back, and what he types there must not go to a prompt that still waits.
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


def _fail(
    path: Path, what: str, why: str, *, hint: str = "", kind: type[SignerError] = SecretFileError
) -> NoReturn:
    raise kind(f"{what} {str(path)!r}: {why}", hint=hint, code="E_SECRET_FILE")

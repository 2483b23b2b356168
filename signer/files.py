"""The one way files are read (bounded, regular files only) and written (whole or not at all).

Nothing here overwrites: a second result goes beside the first, never over it.
"""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from signer.errors import InputError, OutputError


def read_file(path: Path, *, what: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file of at most `max_bytes`.

    Raises:
        InputError: absent, not a regular file, not readable, or too large.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{what} {str(path)!r}: not a regular file")
            if status.st_size > max_bytes:
                raise InputError(
                    f"{what} {str(path)!r}: {status.st_size} bytes, at most {max_bytes} are allowed"
                )
            return file.read(max_bytes)
    except OSError as error:
        raise InputError(f"{what} {str(path)!r}: {_reason(error)}") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def require_new(path: Path) -> None:
    """Refuse a `path` that something has taken, or that lies in no folder one can write to.

    For before a key is made, or a person asked, for what is written there in the end.

    Raises:
        OutputError: `write_new` or `make_folder` would not do what is meant.
    """
    if os.path.lexists(path):
        raise OutputError(
            f"{str(path)!r} exists and is not overwritten", hint="name another file or folder"
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}",
            hint="make it first, or name another",
        )
    _require_writable(path.parent)


def require_place(folder: Path) -> None:
    """Refuse a `folder` that one cannot write to; if it is not there, as `require_new` does.

    Raises:
        OutputError: nothing could be put there.
    """
    if not folder.is_dir():
        require_new(folder)
    else:
        _require_writable(folder)


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to folder {str(folder)!r}")


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, durably, and only if nothing is there yet.

    The bytes go to a temporary name first, so `path` never holds half a file.

    Raises:
        OutputError: the path exists, or the disk said no. Nothing is left at `path` then.
    """
    if not path.name:
        raise OutputError(f"{str(path)!r} is a folder, not a file to write")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            _publish(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        fsync_folder(path.parent)
    except FileExistsError:
        raise OutputError(
            f"{str(path)!r} exists and is not overwritten", hint="name another file or folder"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {_reason(error)}") from None


def write_over(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `path` whole and durable, in the place of what was there, or leave that as it was.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        fsync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {_reason(error)}") from None


def _publish(temporary: Path, path: Path) -> None:
    """Give `temporary` its final name; link, unlike rename, fails where something is."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        if os.path.lexists(path):  # FAT and some network disks have no hard links
            raise FileExistsError from None
        temporary.rename(path)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make `path` and its parents where they are absent.

    Raises:
        OutputError: something else is there, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise OutputError(f"cannot make folder {str(path)!r}: {_reason(error)}") from None


def fsync_folder(path: Path) -> None:
    """Make the folder's own entries durable; a new name is not before this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()

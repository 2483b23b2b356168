"""The agent's listening socket: in a folder that others cannot change, and nobody else's.

It is made here, or systemd made it and hands it over (sd_listen_fds(3)): one descriptor, number 3.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import MutableMapping
from pathlib import Path

from signer.errors import ConfigError
from signer.files import make_folder

BACKLOG = 256  # connections that wait to be accepted; one more is refused by the kernel

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


def passed_listener(path: Path, environment: MutableMapping[str, str]) -> socket.socket | None:
    """Return the listening socket that systemd passed for `path`, if it passed one to us.

    The variables that tell of it are taken out of `environment`.

    Raises:
        ConfigError: more than one was passed, or not a listening unix stream socket at `path`.
    """
    told = {
        name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    }
    if told["LISTEN_PID"] != str(os.getpid()):
        return None  # nothing was passed, or to a process that started us
    if told["LISTEN_FDS"] != "1":
        raise ConfigError(
            f"socket activation passed {told['LISTEN_FDS'][:20]!r} sockets; an agent has one",
            hint="give the .socket unit exactly one ListenStream=",
        )
    try:
        os.set_inheritable(_FIRST_PASSED, False)
        listener = socket.socket(fileno=_FIRST_PASSED)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise ConfigError(f"the socket that was passed cannot be used: {reason}") from None
    try:
        _require_listening_at(listener, path)
        _require_private(path.parent)
    except (ConfigError, OSError) as error:
        listener.close()
        if isinstance(error, ConfigError):
            raise
        reason = (error.strerror or "error").lower()
        raise ConfigError(f"the socket that was passed cannot be used: {reason}") from None
    return listener


def _require_listening_at(listener: socket.socket, path: Path) -> None:
    """Accept what `listen` would have made and nothing else; no TCP above all."""
    kind = (listener.family, listener.type)
    if kind != (socket.AF_UNIX, socket.SOCK_STREAM):
        raise ConfigError(
            "the socket that was passed is no unix stream socket",
            hint=f"the .socket unit takes ListenStream={path}",
        )
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError("the socket that was passed does not listen", hint="set Accept=no")
    if listener.getsockname() != str(path):
        raise ConfigError(
            f"the socket that was passed is not at {str(path)!r}",
            hint="make ListenStream= and the configuration's 'socket' the same",
        )


def listen(path: Path) -> socket.socket:
    """Return a listening unix socket at `path`, mode 0660, in a folder of mode 0750 or tighter.

    A socket file that nobody answers at is a dead agent's and is replaced.

    Raises:
        ConfigError: the folder is open to change by others, another agent listens there, or
            something that is no socket is in the way.
    """
    before = os.umask(0o027)  # the folder's group may pass, whatever the umask was
    try:
        make_folder(path.parent, mode=0o750)
    finally:
        os.umask(before)
    _require_private(path.parent)
    _clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (error.strerror or "error").lower()
        raise ConfigError(f"cannot listen at {str(path)!r}: {reason}") from None
    finally:
        os.umask(before)
    return listener


def remove(path: Path, bound: os.stat_result) -> None:
    """Remove the socket file if it is still the one that `listen` bound, not another agent's."""
    with contextlib.suppress(OSError):
        if os.path.samestat(path.lstat(), bound):
            path.unlink()


def _require_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"the socket's folder {str(folder)!r} is a link, not a folder")
    if status.st_mode & 0o022 or status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"others may change the socket's folder {str(folder)!r}",
            hint=f"chmod 750 {folder}",
        )


def _clear_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"{str(path)!r} is in the way and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                path.unlink(missing_ok=True)
                return
            raise ConfigError(f"cannot tell who listens at {str(path)!r}") from None
    raise ConfigError(f"another agent listens at {str(path)!r}")

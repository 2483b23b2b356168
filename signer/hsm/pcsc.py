"""Whether pcscd, through which smart cards are reached, is there.

Looks, and does not connect: by a connection systemd would start it.
"""

import contextlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from signer.hsm.node import Node, Person
from signer.hsm.profile import DeviceProfile

SOCKET = Path("/run/pcscd/pcscd.comm")
_MODULES = ("opensc", "ykcs11")  # in the name of a module's file that speaks to pcscd
_PROGRAMS = ("usr/sbin/pcscd", "usr/bin/pcscd", "usr/local/sbin/pcscd")
_ACCEPTS = 1 << 16  # __SO_ACCEPTCON, in the flags of /proc/net/unix


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcscd:
    """What there is of pcscd on a machine."""

    installed: bool
    systemd: bool  # systemd runs this machine, so it runs services
    socket: Node
    is_socket: bool
    listening: bool  # somebody of this machine (name space) waits for connections

    @classmethod
    def look(cls, person: Person, root: Path = Path("/")) -> Self:
        """Look for it below `root`, as `person` would use it."""
        path = root / SOCKET.relative_to("/")
        node = Node.look(path, person)
        is_socket = listening = False
        with contextlib.suppress(OSError):
            is_socket = stat.S_ISSOCK(path.stat().st_mode)
        with contextlib.suppress(OSError):
            listening = listens(path, (root / "proc/net/unix").read_text("utf-8", "replace"))
        return cls(
            installed=any((root / program).is_file() for program in _PROGRAMS),
            systemd=(root / "run/systemd/system").is_dir(),
            socket=node,
            is_socket=is_socket,
            listening=listening,
        )


def listens(path: Path, sockets: str) -> bool:
    """Tell whether somebody listens at `path`, by /proc/net/unix (proc(5))."""
    for line in sockets.splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7].removeprefix("/var") == str(path):
            with contextlib.suppress(ValueError):
                if int(fields[3], 16) & _ACCEPTS:
                    return True
    return False


def needs_pcscd(profile: DeviceProfile, module: Path | None) -> bool:
    """Tell whether the device of `profile` is reached through pcscd, by its module's name."""
    files = profile.module_paths if module is None else (module,)
    return any(name in path.name for path in files for name in _MODULES)

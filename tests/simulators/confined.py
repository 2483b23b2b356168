"""Run a command as a unit file confines it, as far as that needs no systemd: `confined UNIT CMD …`.

System calls by the unit's own list (systemd-analyze knows the groups, libseccomp makes the filter),
memory that is never writable and executable, no capabilities, no new privileges, no core dumps.
Name spaces and mounts are not made.
"""

import ctypes
import errno
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
_PR_CAPBSET_DROP, _LAST_CAPABILITY = 24, 40
_SCMP_ACT_ALLOW, _SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000
_LIBC = ctypes.CDLL(None, use_errno=True)


def settings(unit: Path) -> dict[str, list[str]]:
    """Return the values of the unit's [Service] section, by name."""
    values: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    return values


def allowed_calls(filters: list[str]) -> set[str]:
    """Return the system calls that SystemCallFilter= lines leave."""
    allowed: set[str] = set()
    for line in filters:
        names = {name for word in line.removeprefix("~").split() for name in members(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed | members("@default")


def members(word: str) -> set[str]:
    """Return the system calls of a group, or the one."""
    if not word.startswith("@"):
        return {word}
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    )
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    names = [line for line in lines if line and not line.startswith("#")]
    return {call for name in names for call in members(name)}


def confine(unit: Path) -> None:
    """Confine this process for good.

    Raises:
        OSError: this kernel or machine has no seccomp, libseccomp or MDWE.
    """
    values = settings(unit)
    allowed = allowed_calls(values["SystemCallFilter"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for capability in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _drop_capabilities()
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if values.get("MemoryDenyWriteExecute") == ["yes"]:
        _checked(_LIBC.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
    _filter_calls(allowed)


def _drop_capabilities() -> None:
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _checked(_LIBC.capset(header, bytes(24)))


def _filter_calls(allowed: set[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    made = library.seccomp_init(_SCMP_ACT_ERRNO | errno.EPERM)
    for name in sorted(allowed):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other processors
            _negative(library.seccomp_rule_add_array(made, _SCMP_ACT_ALLOW, number, 0, None))
    _negative(library.seccomp_load(made))


def _checked(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _negative(status: int) -> None:
    if status < 0:
        raise OSError(-status, os.strerror(-status))


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])

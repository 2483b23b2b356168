"""Make this process a poor place to steal from, before it holds anything.

Linux: prctl(2), setrlimit(2), mlockall(2). What cannot be had is reported, not hidden.
"""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden() -> list[str]:
    """Apply what this platform offers; return what it did not, as short codes.

    No core dump, no ptrace by the same user (not dumpable), no gain of privileges by exec, death
    with the process that hired it, memory that is not swapped.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    weaknesses = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        weaknesses.append("dumpable")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        weaknesses.append("new_privileges")
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        weaknesses.append("outlives_parent")
    if not _may_lock_all() or libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        weaknesses.append("memory_not_locked")
    return weaknesses


def _may_lock_all() -> bool:
    """Under a finite limit MCL_FUTURE would make a later allocation fail: then do not lock."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY or os.geteuid() == 0

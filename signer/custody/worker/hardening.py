"""Make this process a poor place to steal from, before it holds anything.

Linux: prctl(2), setrlimit(2), mlockall(2). What cannot be had is reported, not hidden.
"""

import ctypes
import mmap
import os
import resource
import signal

LIFE_SECONDS = 360.0  # whoever hired a worker ends it long before; this is the last resort
MAX_FILE_BYTES = 16 * 1024 * 1024  # a token in files writes small ones, a worker none
MAX_DESCRIPTORS = 256

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden() -> list[str]:
    """Apply what this platform offers; return what it did not, as short codes.

    No core dump, no ptrace by the same user (not dumpable), no gain of privileges by exec, death
    with the process that hired it and after `LIFE_SECONDS`, files and descriptors within bounds,
    new files for this user alone, memory that is not swapped. docs/operations.md has the codes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    weaknesses = []
    os.umask(0o077)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, MAX_DESCRIPTORS)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        weaknesses.append("dumpable")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        weaknesses.append("new_privileges")
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        weaknesses.append("outlives_parent")
    _die_in_time()
    if not _lock_memory(libc):
        weaknesses.append("memory_not_locked")
    return weaknesses


def _limit(kind: int, most: int) -> None:
    """Lower a limit of this process for good; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _die_in_time() -> None:
    """Have the kernel end this process, whatever it hangs in and whatever it inherited."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, LIFE_SECONDS)


def _lock_memory(libc: ctypes.CDLL) -> bool:
    """Keep all memory of now and later out of swap; tell whether that holds.

    A finite limit makes allocations fail once it is reached, so it is not lived with: either it
    does not bind this process (CAP_IPC_LOCK), or nothing is locked.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return False
    if hard == resource.RLIM_INFINITY:
        return True
    try:
        more = hard + mmap.PAGESIZE
        mmap.mmap(-1, more, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, OverflowError):
        libc.munlockall()
        return False
    return True

"""Whether this machine is a fit place for a share: memory, swap, clock.

Each check is a plain function from what was read to a `Finding`; `host_findings` reads.
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from signer.custody.jobs.hygiene import Hygiene
from signer.custody.worker_process import run_worker
from signer.errors import SignerError
from signer.policy.decision import CLOCK_TOLERANCE

EARLIEST = 1704067200  # 2024-01-01; a clock before this was never set
_WORKER_SECONDS = 20.0
_DUMPABLE, _NOT_LOCKED = "dumpable", "memory_not_locked"  # as the worker's hardening calls them
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `fix` is a sentence, and empty when all is well."""

    code: str  # D_…, stable; docs/operations.md lists them
    state: str  # ok, warn, bad, skipped
    what: str
    fix: str = ""


def host_findings(
    now: float, *, last_intent: int | None = None, locks_memory: bool | None = None
) -> list[Finding]:
    """Look at this machine as a worker would find it. Needs no configuration.

    Args:
        now: Unix seconds.
        last_intent: when a request was last about to be signed, by the journal, if there was one.
        locks_memory: whether workers of the running agent can lock their memory; None is that
            none runs, and what a worker started here can do is taken.
    """
    found = worker_weaknesses()
    clock = clock_finding(now, last_intent)
    if isinstance(found, Finding):
        return [found, clock]
    weaknesses = set(found)
    if locks_memory is not None:
        weaknesses -= {_NOT_LOCKED}
        weaknesses |= set() if locks_memory else {_NOT_LOCKED}
    return [
        worker_finding(weaknesses),
        core_finding(weaknesses, _text(_PROC / "sys/kernel/core_pattern")),
        memory_finding(weaknesses),
        swap_finding(weaknesses, _text(_PROC / "swaps")),
        ptrace_finding(_text(_PROC / "sys/kernel/yama/ptrace_scope")),
        clock,
    ]


def worker_weaknesses() -> tuple[str, ...] | Finding:
    """Start a worker that does nothing; return what it could not have, or why it did not start."""
    try:
        result = run_worker(Hygiene(), environment={}, seconds=_WORKER_SECONDS)
        return tuple(str(weakness) for weakness in result.array("weaknesses", low=0, high=16))
    except SignerError as error:
        return Finding(
            "D_WORKER",
            "bad",
            f"no worker process could be started: {error.message}",
            "install the program anew, and look at limits on processes and memory",
        )


def worker_finding(weaknesses: Collection[str]) -> Finding:
    """Judge what core, memory and swap checks do not."""
    missing = sorted(set(weaknesses) - {_DUMPABLE, _NOT_LOCKED})
    if missing:
        return Finding(
            "D_WORKER",
            "warn",
            f"a worker lacks a protection: {', '.join(missing)}",
            "use a kernel and a container that allow prctl(2)",
        )
    return Finding("D_WORKER", "ok", "a worker starts, gains no privileges, dies with the agent")


def core_finding(weaknesses: Collection[str], pattern: str | None) -> Finding:
    """Could a crash write a share to disk? `pattern` is the kernel's core_pattern."""
    if _DUMPABLE not in weaknesses:
        return Finding("D_CORE", "ok", "a worker leaves no core dump, whatever the limits here are")
    where = "to a program" if (pattern or "").startswith("|") else "to disk"
    return Finding(
        "D_CORE",
        "bad",
        f"a worker that crashes may be dumped {where}, with the share in it",
        "set kernel.core_pattern to an empty text with sysctl, or use a kernel that lets a process "
        "be not dumpable",
    )


def memory_finding(weaknesses: Collection[str]) -> Finding:
    """Can a worker keep its memory out of swap?"""
    if _NOT_LOCKED not in weaknesses:
        return Finding("D_MEMLOCK", "ok", "a worker locks its memory")
    return Finding(
        "D_MEMLOCK",
        "warn",
        "a worker cannot lock its memory",
        "set LimitMEMLOCK=infinity in the unit, or 'ulimit -l unlimited' before the agent starts",
    )


def swap_finding(weaknesses: Collection[str], swaps: str | None) -> Finding:
    """Could a share be swapped out? `swaps` is /proc/swaps."""
    if swaps is None:
        return Finding(
            "D_SWAP", "skipped", "cannot tell whether swap is on", "look with swapon --show"
        )
    devices = [line.split()[0] for line in swaps.splitlines()[1:] if line.split()]
    if not devices:
        return Finding("D_SWAP", "ok", "swap is off")
    if _NOT_LOCKED not in weaknesses:
        return Finding("D_SWAP", "ok", "swap is on; a worker's memory stays out of it")
    return Finding(
        "D_SWAP",
        "bad",
        f"a share may be swapped out to {', '.join(devices[:4])}: swap is on, memory is not locked",
        "swapoff -a, or let workers lock their memory (D_MEMLOCK)",
    )


def ptrace_finding(scope: str | None) -> Finding:
    """May processes of one user look into each other? `scope` is yama's, None where it is not."""
    if (scope or "0").strip() != "0":
        return Finding("D_PTRACE", "ok", "processes of one user cannot look into each other")
    return Finding(
        "D_PTRACE",
        "warn",
        "any process of the agent's user may look into the agent (a worker refuses)",
        "give the agent a user of its own, and set kernel.yama.ptrace_scope=1 where there is yama",
    )


def clock_finding(now: float, last_intent: int | None = None) -> Finding:
    """Can the clock be right? `last_intent` is the moment that E_CLOCK is about, Unix seconds."""
    if now < EARLIEST:
        return Finding("D_CLOCK", "bad", "the clock is before 2024", "set the clock, then look why")
    if last_intent is not None and last_intent - int(now) > CLOCK_TOLERANCE:
        return Finding(
            "D_CLOCK",
            "bad",
            f"the clock is {last_intent - int(now)} s before the journal's last INTENT: every "
            "request gets E_CLOCK",
            "set the clock; requests would seem fresh that have expired",
        )
    return Finding("D_CLOCK", "ok", "the clock is after 2024 and after the journal's last INTENT"
                   if last_intent is not None else "the clock is after 2024")  # fmt: skip


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text("utf-8", errors="replace")
    return None

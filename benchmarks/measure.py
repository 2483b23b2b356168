"""Ratios that hold on a noisy machine: both sides in turn, the median of the rounds' ratios."""

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time that `work` takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall_seconds(work: Callable[[], object]) -> float:
    """Return the time that `work` takes by the clock."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


def children_cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of the processes that `work` starts and waits for."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start = spent()
    work()
    return spent() - start


def process_cpu_seconds(pid: int) -> float:
    """Return the CPU time so far of a running process and the children it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS  # utime stime cutime cstime


def median_ratio(
    ours: Callable[[], float], yardstick: Callable[[], float], *, rounds: int
) -> float:
    """Return the median over `rounds` of ours / yardstick, measured in turn after a warm-up."""
    ours(), yardstick()
    return statistics.median(ours() / yardstick() for _ in range(rounds))

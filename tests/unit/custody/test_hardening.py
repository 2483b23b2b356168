"""What a live worker may and may not, as the kernel tells it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.custody import worker_process
from signer.custody.jobs.hygiene import Hygiene
from signer.custody.worker_process import run_worker


@pytest.fixture
def worker() -> "Iterator[subprocess.Popen[bytes]]":
    started = worker_process._hire({}, ())
    deadline = time.monotonic() + 10
    status = Path(f"/proc/{started.pid}/status")
    while "NoNewPrivs:\t1" not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)
    yield started
    started.kill()
    started.communicate()


def limit(pid: int, name: str) -> list[str]:
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[:2]
    raise AssertionError(name)


def test_its_limits_are_lowered_for_good(worker: "subprocess.Popen[bytes]") -> None:
    assert limit(worker.pid, "Max core file size") == ["0", "0"]
    assert limit(worker.pid, "Max open files") == ["256", "256"]
    assert limit(worker.pid, "Max file size") == [str(16 * 1024 * 1024)] * 2
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Umask"] == "0077"


def harden_in(*lines: str) -> str:
    """Run `lines`, where `harden` is ours, in a process of their own; return what they print."""
    code = "\n".join(("from signer.custody.worker.hardening import harden", *lines))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    return f"{done.returncode} {done.stdout}"


@pytest.mark.case("X342", "a worker that hangs, its agent too: the kernel ends it")
def test_a_worker_ends_in_time_whatever_it_inherited() -> None:
    ended = harden_in(
        "import signal, time",
        "from signer.custody.worker import hardening",
        "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})",
        "hardening.LIFE_SECONDS = 0.2",
        "harden()",
        "time.sleep(20)",
    )
    assert ended.startswith(f"-{int(signal.SIGALRM)} ")


def test_its_life_is_longer_than_anybody_waits_for_it() -> None:
    from signer.custody import orders
    from signer.custody.worker import hardening
    from signer.messages.items import MAX_ITEMS

    batch = worker_process.BASE_SECONDS + worker_process.SECONDS_PER_ITEM * MAX_ITEMS
    assert max(orders._PERSON_SECONDS, batch) < hardening.LIFE_SECONDS


@pytest.mark.case("H3", "RLIMIT_MEMLOCK finite: not locked, said, and no allocation fails")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
@pytest.mark.parametrize("limit", [0, 8 * 1024 * 1024, 64 * 1024 * 1024])
def test_a_finite_memory_limit_is_not_lived_with(limit: int) -> None:
    said = harden_in(
        "import os, resource",
        "_, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)",
        f"most = {limit} if most == resource.RLIM_INFINITY else min(most, {limit})",
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, most))",
        "os.setuid(65534)",
        "said = harden()",
        "big = bytearray(200_000_000)",
        "locked = [l for l in open('/proc/thread-self/status') if l.startswith('VmLck')]",
        "print(said, locked[0].split()[1])",
    )
    assert said == "0 ['memory_not_locked'] 0\n"


@pytest.mark.case("H3", "RLIMIT_MEMLOCK 0: the worker works and reports it")
def test_a_worker_without_lockable_memory_still_works() -> None:
    result = run_worker(Hygiene(), environment={}, seconds=20)
    assert set(result.array("weaknesses", low=0, high=16)) <= {"memory_not_locked"}
    result.done()


@pytest.mark.case("H4", "core limit unlimited at the start: lowered, not raisable")
def test_core_dumps_stay_off() -> None:
    said = harden_in(
        "import resource",
        "_, hard = resource.getrlimit(resource.RLIMIT_CORE)",
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))",
        "harden()",
        "print(resource.getrlimit(resource.RLIMIT_CORE))",
    )
    assert said == "0 (0, 0)\n"


@pytest.mark.case("H7", "umask 000 where the worker starts")
def test_what_a_worker_writes_is_its_users_alone(tmp_path: Path) -> None:
    said = harden_in(
        "import os",
        "os.umask(0)",
        "harden()",
        f"open({str(tmp_path / 'x')!r}, 'w').close()",
        f"print(oct(os.stat({str(tmp_path / 'x')!r}).st_mode & 0o777))",
    )
    assert said == "0 0o600\n"


def test_lower_limits_stay_as_they_are() -> None:
    said = harden_in(
        "import resource",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))",
        "harden()",
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[1], "
        "resource.getrlimit(resource.RLIMIT_FSIZE)[1])",
    )
    assert said == "0 100 1000\n"


@pytest.mark.case("H3", "memory lock granted under a finite limit that binds: given back")
@pytest.mark.parametrize("binds", [True, False])
def test_a_lock_that_would_make_allocations_fail_is_given_back(
    monkeypatch: pytest.MonkeyPatch, binds: bool
) -> None:
    from signer.custody.worker import hardening

    calls = []

    class Libc:
        def mlockall(self, flags: int) -> int:
            calls.append("lock")
            return 0

        def munlockall(self) -> int:
            calls.append("unlock")
            return 0

    class Map:
        def __init__(self, *_: object, **__: object) -> None:
            if binds:
                raise OSError

        def close(self) -> None:
            calls.append("close")

    monkeypatch.setattr("resource.getrlimit", lambda kind: (0, 64 * 1024 * 1024))
    monkeypatch.setattr("resource.setrlimit", lambda kind, limits: None)
    monkeypatch.setattr("mmap.mmap", Map)
    assert hardening._lock_memory(Libc()) is not binds  # type: ignore[arg-type]
    assert calls == (["lock", "unlock"] if binds else ["lock", "close"])

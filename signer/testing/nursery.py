"""Several agents on this machine, quickly: one process imports the program, then forks each.

Python's start and its imports are two thirds of what an agent's start costs. What a child runs is
`signer.agent.daemon.run_agent`, as `signer agent run` does. The nursery takes JSON lines on its
standard input and answers each with one. When its input ends, it ends its children.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.01
_LAST_SECONDS = 5.0  # for children to end by themselves


@dataclass(slots=True)
class ForkedAgent:
    """One agent of a nursery; has what is used of `subprocess.Popen`."""

    pid: int
    _nursery: "Nursery" = field(repr=False)
    _status: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal, or None while it runs."""
        if self._status is None:
            self._status = self._nursery.ask({"poll": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("agent", timeout or 0.0)
            time.sleep(_POLL_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks agents, as its user has it. Use it in a `with` block."""

    def __init__(self) -> None:
        """Start it; it imports the program while its user goes on."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "signer.testing.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start(self, config: Path, log: Path, environment: dict[str, str]) -> ForkedAgent:
        """Start an agent; `environment` is what it has beside the nursery's own."""
        order = {"config": str(config), "log": str(log), "environment": environment}
        return ForkedAgent(self.ask(order), self)

    def ask(self, order: dict[str, Any]) -> Any:
        """Return its answer to one order.

        Raises:
            RuntimeError: it is gone.
        """
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise RuntimeError("the nursery has no pipes")
        with self._lock:
            to.write(json.dumps(order) + "\n")
            to.flush()
            line = back.readline()
        if not line:
            raise RuntimeError("the nursery of agents is gone")
        return json.loads(line)

    def close(self) -> None:
        """End it and every agent of it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_LAST_SECONDS + 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    """Serve orders until the input ends."""
    import signer.agent.config
    import signer.agent.daemon  # noqa: F401  the point of it all: imported once, here

    statuses: dict[int, int | None] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            pid = order["poll"]
            if statuses[pid] is None:
                found, status = os.waitpid(pid, os.WNOHANG)
                statuses[pid] = os.waitstatus_to_exitcode(status) if found else None
            answer = statuses[pid]
        else:
            answer = _fork(**order)
            statuses[answer] = None
        print(json.dumps(answer), flush=True)
    _end([pid for pid, status in statuses.items() if status is None])


def _fork(config: str, log: str, environment: dict[str, str]) -> int:
    pid = os.fork()
    if pid == 0:
        _be_agent(Path(config), Path(log), environment)
    return pid


def _be_agent(config: Path, log: Path, environment: dict[str, str]) -> NoReturn:
    """Be an agent with standard streams of its own; never return to the nursery's loop."""
    from signer.agent.config import AgentConfig
    from signer.agent.daemon import run_agent
    from signer.agent.log import EventLog
    from signer.errors import SignerError

    status = 70  # EX_SOFTWARE: a bug; the log has its traceback
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # should the nursery be killed
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.environ.update(environment)
        run_agent(AgentConfig.load(config), EventLog())
        status = 0
    except SignerError as error:
        os.write(2, error.line().encode() + b"\n")
        status = error.exit_status
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _LAST_SECONDS
    for pid in pids:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()

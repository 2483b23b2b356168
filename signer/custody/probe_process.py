"""The process that looks at a token, as its supervisor has it: hired, asked, ended.

It is a worker whose order lasts (`WatchToken`), hardened like the others. It can hang in its
module, crash, or answer anything: `ask` gives a `Sight` or a `WorkerError`, within its time.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping

from signer.custody.jobs import Job, order_bytes
from signer.custody.jobs.watching import MAX_LINE_BYTES, Poll, Sight
from signer.custody.worker_process import _hire
from signer.errors import SchemaError, WorkerError

_LAST_SECONDS = 0.5  # for a process that closed its channel to end by itself
_END_SECONDS = 2.0  # after SIGKILL; only a process that hangs in the kernel takes longer


class ProbeProcess:
    """One probe process. `end` it, whatever happened."""

    def __init__(self, order: Callable[[int], Job], environment: Mapping[str, str]) -> None:
        """Start it and give it the order that `order` makes for its end of the channel.

        Raises:
            WorkerError: it cannot be started.
        """
        try:
            self._channel, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerError(f"no probe process could be started: {_reason(error)}") from None
        self.answers = 0
        self.ended = False
        self._hung_up = False
        with theirs:
            try:
                words = order_bytes(order(theirs.fileno()))
                self._process = _hire(environment, (theirs.fileno(),))
            except BaseException:
                self._channel.close()
                raise
        self._give(words)

    def _give(self, order: bytes) -> None:
        """Write the order without waiting for a reader; if that fails, `ask` will find out."""
        pipe = self._process.stdin
        if pipe is None:
            return
        os.set_blocking(pipe.fileno(), False)
        with contextlib.suppress(OSError):
            os.write(pipe.fileno(), order)
        with contextlib.suppress(OSError):
            pipe.close()

    def ask(self, poll: Poll, *, seconds: float) -> Sight:
        """Return what it sees.

        Raises:
            WorkerError: no answer in time (E_TIMEOUT), it ended, or what it said is no answer
                (E_WORKER). It is of no use any more then.
        """
        deadline = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(poll.to_line())
            line = self._line(deadline)
        except TimeoutError:
            raise WorkerError(
                f"the token's module gave no answer within {seconds:.0f} s", code="E_TIMEOUT"
            ) from None
        except OSError:
            line = b""
        if not line:
            raise WorkerError(f"the process that looks at the token {self._ending()}")
        try:
            sight = Sight.parse(line)
        except SchemaError:
            raise WorkerError("the process that looks at the token gave no sense") from None
        self.answers += 1
        return sight

    def _line(self, deadline: float) -> bytes:
        """Read up to the end of a line, or to one byte more than a line may have."""
        line = b""
        while not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._channel.recv(MAX_LINE_BYTES + 1 - len(line))
            if not chunk:
                return b""
            line += chunk
        return line

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(0 if self._hung_up else _LAST_SECONDS)
            return f"ended with signal {-status}" if status < 0 else f"ended with status {status}"
        return "went silent"

    def hang_up(self) -> None:
        """Let `ask`, if another thread waits in it, find the channel closed."""
        self._hung_up = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Kill it and all that it started. It may still be there if it hangs in the kernel."""
        self.ended = True
        if not self.gone:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        self._channel.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @property
    def gone(self) -> bool:
        """Tell whether the process has ended."""
        return self._process.poll() is not None


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()

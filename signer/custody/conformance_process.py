"""One worker of a probe, as whoever ordered it has it: what it told, or how it died."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from signer.custody.jobs import MAX_RESULT_BYTES, order_bytes
from signer.custody.jobs.conformance import MAX_LINE_BYTES, ProbeToken, Told
from signer.custody.worker_process import _end, _hire, _result
from signer.errors import PinError, SchemaError, SignerError, TokenError, WorkerError
from signer.hsm.probe.facts import TokenFacts
from signer.hsm.probe.steps import BY_NAME, MAX_DETAIL, PIN_REFUSED, STEP_NAMES, Seen

_PERSON_SECONDS = 300.0  # somebody types a PIN meanwhile
_START_SECONDS = 20.0  # until the login, with nobody there
_LAST_SECONDS = 2.0  # for a worker that closed its channel to end by itself


@dataclass(slots=True)
class Progress:
    """What is known so far of a probe."""

    seconds: int  # for all of it, after the login
    seen: dict[str, Seen] = field(default_factory=dict)
    token: TokenFacts | None = None
    profile: str | None = None
    running: str | None = None  # the step that a worker began and has not told of
    deadline: float | None = None  # of all; known after the first login
    ended: bool = False

    @property
    def left(self) -> tuple[str, ...]:
        """The steps that nothing is known of."""
        return tuple(step for step in STEP_NAMES if step not in self.seen)

    @property
    def refused(self) -> bool:
        """Whether the token has refused the PIN."""
        return any(seen.code in PIN_REFUSED for seen in self.seen.values())

    @property
    def seconds_left(self) -> int:
        """Whole seconds until the end; all of them before the first login."""
        if self.deadline is None:
            return self.seconds
        return max(0, round(self.deadline - time.monotonic()))

    def take(self, told: Told) -> None:
        """Take in one line."""
        if told.token is not None:
            self.token, self.profile = self.token or told.token, self.profile or told.profile
        elif told.begins is not None:
            self.running = told.begins
        elif told.seen is not None:
            self.running = None
            self.seen.setdefault(told.seen.step, told.seen)
            if told.seen.step == "login" and self.deadline is None:
                self.deadline = time.monotonic() + self.seconds
        else:
            self.ended = told.ends

    def give_up(self, why: str) -> None:
        """Say of every step that is left that it was not tried."""
        for step in self.left:
            self.seen[step] = Seen.skipped(step, why)


class ProbeWorker:
    """One worker that probes, and the end of its channel. Use it in a `with` block."""

    def __init__(
        self, job: ProbeToken, terminals: tuple[int, ...], environment: Mapping[str, str]
    ) -> None:
        self._attended = not job.pin.unattended
        self._heard = b""
        self._told_all = False
        self._channel, theirs = socket.socketpair()
        with theirs:
            try:
                given = replace(job, channel=theirs.fileno())
                self._process = _hire(environment, (*terminals, theirs.fileno()))
            except BaseException:
                self._channel.close()
                raise
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.write(order_bytes(given))
                self._process.stdin.close()

    def run(self, progress: Progress, on_step: Callable[[int, str], None]) -> None:
        """Take in all it tells, until it has ended or been late.

        Raises:
            SignerError: what it raised, or how it died, before the first login.
        """
        progress.running, progress.ended, logged_in = None, False, False
        while not progress.ended:
            limit = self._limit(progress, logged_in=logged_in)
            try:
                line = self._line(time.monotonic() + limit)
            except TimeoutError:
                self._died(progress, "late", f"no answer in {limit:.0f} s")
                return
            if not line:
                self._fell_silent(progress)
                return
            told = Told.parse(line)
            progress.take(told)
            self._told_all = progress.ended
            logged_in = logged_in or (told.seen is not None and told.seen.step == "login")
            if told.begins is not None:
                on_step(STEP_NAMES.index(told.begins), BY_NAME[told.begins].title)

    def _limit(self, progress: Progress, *, logged_in: bool) -> float:
        """Return for how long the next line is waited for: half of all at most, for one step."""
        if not logged_in or progress.deadline is None:
            return _PERSON_SECONDS if self._attended else _START_SECONDS
        return max(1.0, min(progress.deadline - time.monotonic(), progress.seconds / 2))

    def _line(self, deadline: float) -> bytes:
        """Return the next line; empty if there is none any more.

        Raises:
            TimeoutError: not until `deadline`.
        """
        while b"\n" not in self._heard:
            if len(self._heard) > MAX_LINE_BYTES:
                raise WorkerError("the worker that probes told too long a line")
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._channel.recv(MAX_LINE_BYTES)
            if not chunk:
                return b""
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _fell_silent(self, progress: Progress) -> None:
        """Find out what became of a worker that closed its channel before the end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_SECONDS)
        status = self._process.poll()
        if status is not None and status >= 0 and self._process.stdout is not None:
            error = _error_of(self._process.stdout.read(MAX_RESULT_BYTES), status)
            if progress.deadline is None or isinstance(error, PinError):
                raise error
            words = error.message if isinstance(error, WorkerError) else error.code
            self._died(progress, "crashed", f"the worker ended: {words}"[:MAX_DETAIL])
            return
        how = "hangs" if status is None else f"signal {-status}"
        self._died(progress, "crashed", how)

    def _died(self, progress: Progress, outcome: str, how: str) -> None:
        """Lay it on the step that was running."""
        step = progress.running
        if progress.deadline is None:
            title = BY_NAME[step].title if step is not None else "loading"
            raise TokenError(
                f"the PKCS#11 module did not come to the login: {title}: {how}",
                hint="look at the module with the vendor's tool; nothing was tried any further",
            )
        if step in (None, "mechanisms", "login"):  # of a worker hired after another died
            progress.give_up(f"the module could not be used again: {how}")
        elif step is not None:
            progress.seen[step] = Seen(step=step, outcome=outcome, detail=how)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no worker behind."""
        self._channel.close()
        if self._told_all:  # it closes its session now
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_SECONDS)
        _end(self._process)


def _error_of(output: bytes, status: int) -> SignerError:
    try:
        _result(output, status)
    except SignerError as error:
        return error
    except SchemaError:
        pass
    return WorkerError("the worker ended before it had told everything")

"""How the agent's one token is, looked at every few seconds by a process of its own.

No PKCS#11 module is loaded in the agent. A thread here supervises a probe process: it has a hard
time limit for each answer, is killed with its process group when it exceeds it, and is hired anew,
later and later, when it crashes. Nothing of that ever raises into the agent.

One process for many looks, not one for each: measured with SoftHSM 2.6.1 a fresh process costs
95 ms of processor time, most of it Python's start, and a look by a process that lives 0.9 ms, with
the module initialised and finalised each time. But a process is trusted only while the token is
ready: after any other answer, and after `_MOST_ANSWERS`, the next look is a new process's, so that
nothing which a module keeps across C_Finalize can hide an unplugged or replugged token for long.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from signer.custody.jobs.sources import TokenChoice
from signer.custody.jobs.watching import Poll, Sight, WatchToken
from signer.custody.probe_process import ProbeProcess
from signer.errors import (
    PinFinalTryError,
    PinLockedError,
    SignerError,
    TokenError,
    TokenNotFoundError,
    WorkerError,
)
from signer.strict import Fields

LOOK_SECONDS = 10.0  # for one answer, start of the process included; a signing worker has as long
_LONGEST_BACKOFF = 60.0  # seconds
_SOONEST = 1.0  # seconds between two looks, however often somebody asks for one
_HANDOVER_SECONDS = 1.0  # that a worker waits for a look under way to end
_MOST_ANSWERS = 1000  # of one process
_STOP_SECONDS = 5.0

_SEE = "see `signer agent status`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """How the token is."""

    state: str  # absent, present, locked, ready, busy, unknown
    since: int  # Unix seconds
    code: str = ""
    reason: str = ""  # printable, no local path
    detail: str = field(default="", repr=False)  # for the holder's log: may name paths


class TokenWatch:
    """The supervisor. Use it in a `with` block, or `start` and `close` it."""

    def __init__(
        self,
        token: TokenChoice,
        recipients: tuple[bytes, ...],
        environment: Mapping[str, str],
        *,
        every: float,
        limit: float = LOOK_SECONDS,
        on_change: Callable[[TokenState], None] = lambda state: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Watch `token`; nothing happens before `start`.

        Args:
            token: which token the agent's configuration means.
            recipients: points of the envelope's recipients; the token must show a key of one.
            environment: what the PKCS#11 module needs.
            every: seconds from one look to the next.
            limit: seconds for one answer.
            on_change: called in the supervisor's thread when state or reason differ.
            clock: Unix seconds.
        """
        self._token, self._recipients, self._environment = token, recipients, environment
        self._every, self._limit = every, limit
        self._on_change, self._clock = on_change, clock
        self._serial = token.serial  # the token that is ours: the configured one, or the first
        self._failures = 0  # in a row
        self._probe: ProbeProcess | None = None
        self._condition = threading.Condition()  # guards what follows
        self._state = TokenState(
            state="unknown", since=int(clock()), reason="nobody looked at the token yet"
        )
        self._working, self._work_since = 0, 0
        self._looking = self._asked = self._stopping = False
        self._thread = threading.Thread(target=self._run, name="token-watch", daemon=True)

    # What the agent asks

    def state(self) -> TokenState:
        """Return how the token is; `busy` while a worker has it."""
        with self._condition:
            if self._working:
                return TokenState(state="busy", since=self._work_since)
            return self._state

    def require(self) -> None:
        """Return if the token is ready, or nobody knows yet; then a worker will say.

        Raises:
            TokenNotFoundError: it is absent, or its module crashes or hangs.
            PinLockedError: its user PIN is locked.
            PinFinalTryError: one wrong PIN more would lock it.
            TokenError: it is there and cannot be used, or another is there.
        """
        with self._condition:
            seen = self._state
            if seen.state in ("ready", "unknown"):
                return
            self._ask_soon()
        if seen.state == "absent":
            raise TokenNotFoundError(
                f"the token is absent: {seen.reason}", hint=f"plug it in; {_SEE}"
            )
        if seen.code == "E_PIN_FINAL_TRY":
            raise PinFinalTryError(
                f"{seen.reason}; nothing was tried",
                hint="log in once with the vendor's tool, by hand, to reset the count",
            )
        if seen.state == "locked":
            raise PinLockedError(
                f"{seen.reason}; nothing was tried",
                hint="unlock it with the SO PIN and the vendor's tool",
            )
        raise TokenError(f"the token cannot be used: {seen.reason}", hint=_SEE, code=seen.code)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Say that a worker has the token for the time of the block; nobody looks meanwhile."""
        with self._condition:
            self._working += 1
            if self._working == 1:
                self._work_since = int(self._clock())
            self._condition.wait_for(lambda: not self._looking, _HANDOVER_SECONDS)
        try:
            yield
        except SignerError:
            with self._condition:
                self._ask_soon()
            raise
        finally:
            with self._condition:
                self._working -= 1
                self._condition.notify_all()

    def during(self, worker: Callable[..., Fields]) -> Callable[..., Fields]:
        """Return `worker` (`run_worker`), which has the token while it works."""

        def with_token(*arguments: Any, **options: Any) -> Fields:
            with self.at_work():
                return worker(*arguments, **options)

        return with_token

    # Its life

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the probe process and look no more."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
            probe = self._probe
        if probe is not None:
            probe.hang_up()
        self._thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The thread

    def _run(self) -> None:
        pause = 0.0
        while self._wait_for_turn(pause):
            try:
                sight = self._look()
                self._failures = 0
                pause = self._every
            except Exception as error:
                sight = _failure(error)
                self._failures += 1
                longest = max(self._every, _LONGEST_BACKOFF)
                pause = min(self._every * 2.0 ** min(self._failures - 1, 16), longest)
            if sight.state != "ready":
                self._dismiss()
            self._publish(sight)
        self._dismiss()

    def _wait_for_turn(self, pause: float) -> bool:
        """Wait until the next look is due; False is the end."""
        now = time.monotonic()
        due = now + pause
        soonest = due if self._failures else min(due, now + _SOONEST)
        with self._condition:
            while not self._stopping:
                left = (soonest if self._asked else due) - time.monotonic()
                if not self._working and left <= 0:
                    self._asked, self._looking = False, True
                    return True
                self._condition.wait(None if self._working else left)
        return False

    def _look(self) -> Sight:
        """Ask the probe process; hire one if there is none."""
        if self._probe is not None and self._probe.answers >= _MOST_ANSWERS:
            self._dismiss()
        if self._probe is not None and self._probe.ended:
            if not self._probe.gone:
                raise WorkerError(
                    "the process that looked at the token hangs and cannot be ended",
                    code="E_TIMEOUT",
                )
            self._probe = None
        if self._probe is None:
            probe = ProbeProcess(self._order, self._environment)
            with self._condition:
                self._probe = probe
                if self._stopping:
                    probe.hang_up()
        return self._probe.ask(Poll(self._serial), seconds=self._limit)

    def _order(self, channel: int) -> WatchToken:
        return WatchToken(token=self._token, recipients=self._recipients, channel=channel)

    def _dismiss(self) -> None:
        """End the probe process; keep hold of one that cannot be ended, so there is no second."""
        if self._probe is not None:
            self._probe.end()
            if self._probe.gone:
                self._probe = None

    def _publish(self, sight: Sight) -> None:
        with self._condition:
            self._looking = False
            self._condition.notify_all()
            if self._stopping:
                return
            if sight.state == "ready" and self._serial is None:
                self._serial = sight.serial
            before = self._state
            same = before.state == sight.state
            self._state = TokenState(
                state=sight.state,
                since=before.since if same else int(self._clock()),
                code=sight.code,
                reason=sight.reason,
                detail=sight.detail,
            )
            changed = not same or before.reason != sight.reason
        if changed:
            with contextlib.suppress(Exception):
                self._on_change(self._state)

    def _ask_soon(self) -> None:
        self._asked = True
        self._condition.notify_all()


def _failure(error: Exception) -> Sight:
    """Return what a probe that failed says of the token: it cannot be used, so it is absent."""
    if isinstance(error, WorkerError):
        return Sight(state="absent", code=error.code, reason=error.message)
    return Sight(state="absent", code="E_WORKER", reason=f"internal error: {type(error).__name__}")

"""The order to try what a token really does. Each step is told at once: one of them may kill us."""

import contextlib
import os
import signal
import socket
import time
from typing import Any

from signer.custody.jobs.conformance import ProbeToken, Told
from signer.custody.worker.desk_token import module_of, pin_source, selector_of
from signer.hsm.discovery import TokenInfo, find_token
from signer.hsm.module import Module
from signer.hsm.pin import PinPad
from signer.hsm.probe.bench import Bench
from signer.hsm.probe.kept_pin import KeptPin
from signer.hsm.probe.run import logged_in, look, run_step
from signer.hsm.probe.steps import PIN_REFUSED, Seen, reason_to_skip
from signer.hsm.session import open_session
from signer.strict import Fields

_BEFORE_LOGIN = ("mechanisms", "login")
_SPARE_SECONDS = 30.0  # for the step that runs when the time is up, and for tidying


def probe_token(fields: Fields) -> dict[str, Any]:
    """Do the steps and tell of each.

    Raises:
        TokenError: the token cannot be found, read or logged in to. Later, nothing of the token's
            is an error.
    """
    job = ProbeToken.parse(fields)
    with socket.socket(fileno=job.channel) as channel:
        os.set_inheritable(job.channel, False)
        with module_of(job.token) as (module, _):
            token = find_token(module, selector_of(job.token))
            _Run(job, channel).go(module, token)
    return {}


class _Run:
    """One worker's part of a probe."""

    def __init__(self, job: ProbeToken, channel: socket.socket) -> None:
        self._job = job
        self._channel = channel
        self._outcomes = {seen.step: seen.outcome for seen in job.outcomes}

    def go(self, module: Module, token: TokenInfo) -> None:
        """Look, log in, do the rest."""
        self._tell(Told(begins="mechanisms"))
        facts, profile, mechanisms = look(module, token)
        self._tell(Told(token=facts, profile=profile))
        self._tell(Told(seen=mechanisms))
        self._tell(Told(begins="login"))
        source = pin_source(self._job.pin)
        on_pad = isinstance(source, PinPad)
        with (
            KeptPin(source) as kept,
            open_session(
                module, token, self._job.token.profile, source if on_pad else kept
            ) as session,
        ):
            took = None if on_pad else time.perf_counter() - kept.given
            # A worker's last end counts from its start, and a person may have typed for minutes.
            signal.setitimer(signal.ITIMER_REAL, self._job.seconds + _SPARE_SECONDS)
            end = time.monotonic() + self._job.seconds
            self._tell(Told(seen=logged_in(session, token, took)))
            with contextlib.closing(Bench(session, self._job.label, self._job.token_keys)) as bench:
                self._steps(bench, kept, end)
            self._tell(Told(ends=True))

    def _steps(self, bench: Bench, kept: KeptPin, end: float) -> None:
        for step in self._job.steps:
            if step in _BEFORE_LOGIN:
                continue
            why = reason_to_skip(step, self._outcomes)
            if why is None and time.monotonic() >= end:
                why = "no time left"
            if why is None:
                self._tell(Told(begins=step))
                seen = run_step(step, bench, kept.pin)
            else:
                seen = Seen.skipped(step, why)
            self._outcomes[step] = seen.outcome
            if seen.code in PIN_REFUSED:  # whatever the token means by it: the PIN rests
                kept.forget()
            self._tell(Told(seen=seen))

    def _tell(self, told: Told) -> None:
        self._channel.sendall(told.to_line())

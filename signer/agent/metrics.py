"""What the agent counts, and the text in which Prometheus reads it (format 0.0.4).

Label values come from closed sets: words of this file and codes of `signer.errors`. Nothing that a
requester wrote becomes one, so nobody can make the page grow.
"""

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RESULTS = ("signed", "partly", "denied", "waiting", "refused", "failed")
TOKEN_STATES = ("absent", "present", "locked", "ready", "busy", "unknown")
MAX_CODES = 100  # different ones; later ones count as OTHER_CODE
OTHER_CODE = "OTHER"
JOURNAL_STATES = ("verified", "unverified", "behind")

_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")

_P = ParamSpec("_P")
_T = TypeVar("_T")
Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]  # what is appended to the name, labels, value


class Histogram:
    """How long something took, in seconds. Not locked: `Metrics` is."""

    def __init__(self) -> None:
        self._counts = [0] * len(_SECONDS)
        self._count = 0
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one that took `seconds`."""
        self._count += 1
        self._sum += seconds
        for place, bound in enumerate(_SECONDS):
            if seconds <= bound:
                self._counts[place] += 1

    def samples(self) -> list[Sample]:
        """Return the cumulative buckets, the sum and the count."""
        buckets: list[Sample] = [
            ("_bucket", {"le": _number(bound)}, count)
            for bound, count in zip(_SECONDS, self._counts, strict=True)
        ]
        return [
            *buckets,
            ("_bucket", {"le": "+Inf"}, self._count),
            ("_sum", {}, self._sum),
            ("_count", {}, self._count),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How long the share was in memory, as the workers told it since the agent started."""

    unseals: int = 0
    milliseconds: int = 0
    longest_milliseconds: int = 0
    weaknesses: tuple[str, ...] = ()  # of the latest worker; docs/operations.md has the codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What is looked up at the moment when somebody reads the page."""

    token_state: str  # one of TOKEN_STATES
    seconds_since_last_drill: float | None = None  # None: never
    journal_sequence: int = 0
    journal_state: str = "unverified"  # one of JOURNAL_STATES
    tickets_waiting: int = 0
    info: Labels = field(default_factory=dict)


class Metrics:
    """The counts of one agent since it started. Every method may be called in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._items: Counter[str] = Counter({"signed": 0, "denied": 0})
        self._request_seconds = Histogram()
        self._worker_seconds = Histogram()
        self._exposure = Exposure()

    def request(self, result: str, code: str, seconds: float) -> None:
        """Count a request to sign; `code` is empty when nothing was refused."""
        with self._lock:
            self._requests[result, self._bounded(code)] += 1
            self._request_seconds.observe(seconds)

    def items(self, *, signed: int, denied: int) -> None:
        """Count the items of an answered request."""
        with self._lock:
            self._items["signed"] += signed
            self._items["denied"] += denied

    def worker(self, seconds: float) -> None:
        """Count a worker's life, whatever it came to."""
        with self._lock:
            self._worker_seconds.observe(seconds)

    def timing(self, worker: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return `worker` (`run_worker`), the time of whose every call is counted."""

        def timed(*arguments: _P.args, **options: _P.kwargs) -> _T:
            started = time.monotonic()
            try:
                return worker(*arguments, **options)
            finally:
                self.worker(time.monotonic() - started)

        return timed

    def unsealed(self, milliseconds: int, weaknesses: Iterable[str]) -> None:
        """Count a share that was in memory, as its worker tells it."""
        with self._lock:
            before = self._exposure
            self._exposure = Exposure(
                unseals=before.unseals + 1,
                milliseconds=before.milliseconds + milliseconds,
                longest_milliseconds=max(before.longest_milliseconds, milliseconds),
                weaknesses=tuple(weaknesses),
            )

    @property
    def exposure(self) -> Exposure:
        """How long the share was in memory so far."""
        with self._lock:
            return self._exposure

    def text(self, now: Readings) -> str:
        """Return the page."""
        with self._lock:
            requests: list[Sample] = [
                ("", {"result": result, "code": code}, count)
                for (result, code), count in sorted(self._requests.items())
            ]
            items: list[Sample] = [
                ("", {"result": result}, count) for result, count in self._items.items()
            ]
            request_seconds = self._request_seconds.samples()
            worker_seconds = self._worker_seconds.samples()
            exposure = self._exposure
        states: list[Sample] = [
            ("", {"state": state}, state == now.token_state) for state in TOKEN_STATES
        ]
        journal: list[Sample] = [
            ("", {"state": state}, state == now.journal_state) for state in JOURNAL_STATES
        ]
        drill = now.seconds_since_last_drill
        return "".join(
            (
                _family("requests_total", "counter", requests),
                _family("items_total", "counter", items),
                _family("request_seconds", "histogram", request_seconds),
                _family("worker_seconds", "histogram", worker_seconds),
                _one("unseal_milliseconds_sum", "counter", exposure.milliseconds),
                _one("unseal_milliseconds_count", "counter", exposure.unseals),
                _one("unseal_milliseconds_max", "gauge", exposure.longest_milliseconds),
                _one("worker_weaknesses", "gauge", len(exposure.weaknesses)),
                _family("token_state", "gauge", states),
                _one("seconds_since_last_drill", "gauge", math.nan if drill is None else drill),
                _one("journal_sequence", "gauge", now.journal_sequence),
                _family("journal_state", "gauge", journal),
                _one("tickets_waiting", "gauge", now.tickets_waiting),
                _family("info", "gauge", [("", now.info, 1)]),
            )
        )

    def _bounded(self, code: str) -> str:
        if code == "":
            return code
        known = {known for _, known in self._requests}
        if _CODE.match(code) is None or (code not in known and len(known) >= MAX_CODES):
            return OTHER_CODE
        return code


HELP = {
    "requests_total": "Requests to sign, by what became of them and the first code.",
    "items_total": "Items of answered requests.",
    "request_seconds": "From the request's head to the answer.",
    "worker_seconds": "Life of a worker process that signed or tried to.",
    "unseal_milliseconds_sum": "Time that the share was in a worker's memory.",
    "unseal_milliseconds_count": "Times that the share was unsealed.",
    "unseal_milliseconds_max": "Longest time that the share was in a worker's memory.",
    "worker_weaknesses": "Protections that the latest worker could not have.",
    "token_state": "1 for the state that the token is in.",
    "seconds_since_last_drill": "Age of the last drill, NaN if there was none.",
    "journal_sequence": "Number of records in the journal.",
    "journal_state": "1 for what is known of the journal; behind: a later one exists.",
    "tickets_waiting": "Requests that wait for a person.",
    "info": "Which share this agent serves; always 1.",
}


def _one(name: str, kind: str, value: float) -> str:
    return _family(name, kind, [("", {}, value)])


def _family(name: str, kind: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP signer_{name} {HELP[name]}", f"# TYPE signer_{name} {kind}"]
    for suffix, labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        braces = f"{{{inside}}}" if inside else ""
        lines.append(f"signer_{name}{suffix}{braces} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))

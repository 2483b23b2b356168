"""A probe's order and lines, and what is made of a worker's end, without a token."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from signer.custody import conformance
from signer.custody.conformance import probe_token
from signer.custody.conformance_process import ProbeWorker, Progress
from signer.custody.jobs import open_order, order_bytes
from signer.custody.jobs.conformance import MAX_SECONDS, ProbeToken, Told
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import PinError, SchemaError, TokenError, WorkerError
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import STEP_NAMES, Seen
from signer.hsm.profile import load_profile
from tests.simulators.probed import REPORT

TOKEN = TokenChoice(profile=load_profile("generic"), module="/opt/acme/libacme.so", label="desk")
FILE = SecretSource(file="/run/pin")
JOB = ProbeToken(
    token=TOKEN, pin=FILE, label="signer-probe-00000000", token_keys=False, seconds=20,
    steps=("random",), outcomes=(), channel=3,
)  # fmt: skip
LINES = [
    Told(begins="random"),
    Told(seen=REPORT.by_step["hpke-p256"]),
    Told(token=REPORT.token, profile="yubihsm2"),
    Told(token=REPORT.token),
    Told(ends=True),
]


@pytest.mark.parametrize("told", LINES)
def test_a_line_comes_out_as_it_went_in(told: Told) -> None:
    line = told.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert Told.parse(line) == told


@pytest.mark.case("X967", "lines of a worker that probes: of another form, or two in one")
@pytest.mark.parametrize(
    "change",
    [{"begins": "dance"}, {"version": 2}, {"ends": 1}, {"seen": {}}, {"token": {}},
     {"begins": "random", "ends": True}, {"pin": "1234"}],
)  # fmt: skip
def test_a_line_of_another_form_is_refused(change: dict[str, Any]) -> None:
    value = {"version": 1} | ({} if set(change) - {"version", "pin"} else {"ends": True}) | change
    with pytest.raises(SchemaError):
        Told.parse(json.dumps(value).encode())


@pytest.mark.case("X968", "orders to probe: an unknown step, none, another label, too long a time")
@pytest.mark.parametrize(
    ("field", "bad"),
    [("steps", []), ("steps", ["dance"]), ("steps", [1]), ("label", "id-sign"),
     ("label", "signer-probe-"), ("seconds", -1), ("seconds", MAX_SECONDS + 1),
     ("token_keys", "no"), ("channel", 2), ("outcomes", [{}])],
)  # fmt: skip
def test_an_order_of_another_form_is_refused(field: str, bad: Any) -> None:
    value = json.loads(order_bytes(JOB)) | {field: bad}
    with pytest.raises(SchemaError):
        ProbeToken.parse(open_order(json.dumps(value).encode())[1])


# A worker in memory, which does what each test says


class FakeWorker:
    """One that tells some steps and then ends in some way."""

    hired: list[ProbeToken]
    acts: list[Callable[[Progress], None]]

    def __init__(self, job: ProbeToken, *_: object) -> None:
        FakeWorker.hired.append(job)

    def __enter__(self) -> "FakeWorker":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, progress: Progress, on_step: Callable[[int, str], None]) -> None:
        FakeWorker.acts[len(FakeWorker.hired) - 1](progress)


def tells(progress: Progress, *steps: str, **of_last: Any) -> None:
    """Tell that steps were seen; the last perhaps otherwise than that it works."""
    progress.take(Told(token=REPORT.token))
    for step in steps:
        progress.take(Told(begins=step))
        progress.take(Told(seen=REPORT.by_step[step]))
    if of_last:
        progress.seen[steps[-1]] = Seen(step=steps[-1], **of_last)


def ran(
    monkeypatch: pytest.MonkeyPatch, *acts: Callable[[Progress], None], pin: SecretSource = FILE,
    seconds: int = 20,
) -> ProbeReport:  # fmt: skip
    FakeWorker.hired, FakeWorker.acts = [], list(acts)
    monkeypatch.setattr(conformance, "ProbeWorker", FakeWorker)
    done = probe_token(TOKEN, pin, environment=(), seconds=seconds, token_keys=False, moment=1,
                       on_step=lambda number, title: None)  # fmt: skip
    return ProbeReport.parse(done.report.to_bytes())


def crash(progress: Progress) -> None:
    """Tell up to the login, then die of the next step."""
    left = progress.left[:3] if progress.deadline is None else progress.left[:0]
    tells(progress, *left)
    progress.seen[progress.left[0]] = Seen(step=progress.left[0], outcome="crashed")


def finish(progress: Progress) -> None:
    tells(progress, *progress.left)


def test_a_probe_without_trouble_hires_once(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ran(monkeypatch, finish)
    assert {seen.outcome for seen in report.seen} == {"works"}
    assert (report.module, report.keys, len(FakeWorker.hired)) == ("libacme.so", "session", 1)
    assert FakeWorker.hired[0].steps == STEP_NAMES


def test_another_worker_goes_on_behind_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ran(monkeypatch, crash, crash, finish)
    first, second, third = FakeWorker.hired
    assert second.steps == STEP_NAMES[4:]
    assert third.steps == STEP_NAMES[5:]
    assert {seen.step for seen in third.outcomes} == set(STEP_NAMES[:5])
    assert first.label == second.label == third.label
    assert [seen.outcome for seen in report.seen].count("crashed") == 2


@pytest.mark.case(
    "X969", "what must not hire another worker: the PIN was refused, or is there once"
)
@pytest.mark.parametrize(
    "code", ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_INVALID", "CKR_PIN_EXPIRED"]
)
def test_after_a_refused_pin_nobody_logs_in_again(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def act(progress: Progress) -> None:
        tells(progress, *STEP_NAMES[:5], outcome="refused", code=code)

    report = ran(monkeypatch, act)
    assert len(FakeWorker.hired) == 1
    assert "not tried again" in report.by_step["objects-left"].detail


def test_a_pin_that_is_there_once_hires_once(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ran(monkeypatch, crash, pin=SecretSource(pipe=5))
    assert len(FakeWorker.hired) == 1
    assert report.by_step["objects-left"].outcome == "skipped"


def test_time_that_is_up_hires_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(progress: Progress) -> None:
        crash(progress)
        progress.deadline = time.monotonic() - 1

    report = ran(monkeypatch, act)
    assert len(FakeWorker.hired) == 1
    assert report.by_step["random"].detail == "no time left"


def test_there_is_an_end_to_hiring(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ran(monkeypatch, *[crash] * 20)
    assert len(FakeWorker.hired) == 8  # each is a login
    assert report.by_step["objects-left"].detail == "the module crashed too often"


def refuse_pin(progress: Progress) -> None:
    raise PinError("the PIN is empty", code="E_PIN_EMPTY")


def test_a_pin_that_is_not_given_again_ends_it_with_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = ran(monkeypatch, crash, refuse_pin)
    assert report.by_step["random"].detail == "no other worker could log in (E_PIN_EMPTY)"
    with pytest.raises(PinError):
        ran(monkeypatch, refuse_pin)


def test_objects_that_came_to_stay_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(progress: Progress) -> None:
        finish(progress)
        left = REPORT.by_step["objects-left"]
        progress.seen["objects-left"] = Seen(step=left.step, outcome="works", facts={"objects": 5})

    seen = ran(monkeypatch, act).by_step["objects-left"]
    assert (seen.outcome, seen.detail) == ("wrong", "4 before, 5 after")


def test_a_worker_that_tells_nothing_is_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerError):
        ran(monkeypatch, *[lambda progress: None] * 20)


# Real worker processes, on a module that is none


def test_a_module_that_is_none_is_an_error(tmp_path: Any) -> None:
    path = tmp_path / "none.so"
    path.write_bytes(b"x")
    token = TokenChoice(profile=load_profile("generic"), module=str(path))
    job = ProbeToken(
        token=token, pin=FILE, label="signer-probe-00000000", token_keys=False, seconds=5,
        steps=STEP_NAMES, outcomes=(), channel=3,
    )  # fmt: skip
    with ProbeWorker(job, (), {}) as worker, pytest.raises(TokenError) as failed:
        worker.run(Progress(5), lambda number, title: None)
    assert failed.value.code == "E_MODULE"

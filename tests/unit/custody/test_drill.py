"""What a custodian and a desk do with drills; the worker is a function."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.custody.devices import Device, drill_at_desk
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.drilling import RunDrill, SealToCard
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import KeysMade
from signer.errors import (
    DeniedError,
    InputError,
    JournalError,
    PinError,
    SchemaError,
    ShareMismatchError,
    SignerError,
    WorkerError,
)
from signer.hsm.profile import load_profile
from signer.messages.drill import DrillOrder
from signer.messages.group_id import Certified
from signer.strict import Fields
from tests.simulators.desk import SimulatedDesk
from tests.simulators.drills import DrillPool
from tests.simulators.holders import NOW

HOLDERS = DrillPool()
TOKEN = TokenChoice(profile=load_profile("softhsm2"), label="desk")
PIN = SecretSource(file="/run/pin")


class DrillingWorker:
    """Drills in memory. Set a fault and it has it."""

    def __init__(self, index: int = 1) -> None:
        self.index = index
        self.jobs: list[RunDrill] = []
        self.fault: Exception | None = None
        self.answer: dict[str, Any] = {}

    def __call__(self, job: Job, *, environment: Mapping[str, str], seconds: float) -> Fields:
        assert isinstance(job, RunDrill)
        self.jobs.append(job)
        if self.fault is not None:
            raise self.fault
        order = DrillOrder.take(Fields(dict(job.order), "order"))
        signed = HOLDERS.signed(self.index, order, moment=job.moment)
        result = {"device": {}, "report": signed.to_json(), "unsealed_milliseconds": 1}
        return Fields(result | {"weaknesses": []} | self.answer, "worker's result")


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    desk = SimulatedDesk(HOLDERS.pool, tmp_path)
    desk.custodian.worker = DrillingWorker()
    return desk


def worker_of(desk: SimulatedDesk) -> DrillingWorker:
    worker = desk.custodian.worker
    assert isinstance(worker, DrillingWorker)
    return worker


def refusal(desk: SimulatedDesk, order: DrillOrder = HOLDERS.order) -> SignerError:
    before = desk.records()
    with pytest.raises(SignerError) as refused:
        desk.custodian.drill(order, 0)
    assert desk.records() == before
    return refused.value


@pytest.mark.case("X699", "drill on a journal that a later one is known of")
def test_no_share_is_opened_on_a_journal_that_is_behind(desk: SimulatedDesk) -> None:
    desk.journal.found_behind(JournalError("old", code="E_ROLLBACK"))
    assert refusal(desk).code == "E_ROLLBACK"
    assert worker_of(desk).jobs == []


def test_a_drill_is_recorded_with_its_device(desk: SimulatedDesk) -> None:
    report = desk.custodian.drill(HOLDERS.order, 0)
    assert report.index == 1
    assert desk.records() == ["OPENED", "DRILLED"]
    assert desk.journal.last_drill == NOW
    serial = HOLDERS.group.card_of(1).body.serial_sha256
    assert serial.hex() in desk.path.read_text()
    (job,) = worker_of(desk).jobs
    assert (job.role, job.others, job.moment) == ("primary", (), NOW)


@pytest.mark.case("X626", "request to an agent whose group is not active; a drill it answers")
def test_a_group_that_is_not_active_drills_and_signs_nothing(tmp_path: Path) -> None:
    desk = SimulatedDesk(HOLDERS.pool, tmp_path)
    desk.custodian.worker = DrillingWorker()
    desk.desk = desk.custodian.desk = replace(
        desk.desk, group=replace(HOLDERS.group, certified=Certified(b"\7" * 32, bytes(32)))
    )
    request = HOLDERS.pool.request(1)
    assert desk.code_of(request) == "E_NOT_ACTIVE"
    assert desk.records() == ["OPENED"]
    assert worker_of(desk).jobs == []
    order = HOLDERS.new_order(nonce=b"\7" * 32)
    assert desk.custodian.drill(order, 0).index == 1
    assert desk.records() == ["OPENED", "DRILLED"]


@pytest.mark.case("X452", "a drill order of another group or epoch, over, or from the future")
def test_an_order_that_is_not_for_now_reaches_no_worker(desk: SimulatedDesk) -> None:
    orders = {
        "E_GROUP": HOLDERS.new_order(group_id=bytes(32)),
        "E_EPOCH": HOLDERS.new_order(epoch=2),
        "E_EXPIRED": HOLDERS.new_order(moment=NOW - 10, expires=NOW),
        "E_CLOCK": HOLDERS.new_order(moment=NOW + 301),
    }
    for code, order in orders.items():
        refused = refusal(desk, order)
        assert isinstance(refused, DeniedError)
        assert refused.code == code
    assert worker_of(desk).jobs == []


def test_a_failed_drill_is_no_drill(desk: SimulatedDesk) -> None:
    worker_of(desk).fault = ShareMismatchError("share 1 does not belong to this group file")
    assert refusal(desk).code == "E_SHARE"
    assert desk.journal.last_drill is None


def test_what_the_worker_says_is_verified(desk: SimulatedDesk) -> None:
    worker = worker_of(desk)
    worker.index = 2
    worker.answer = {"report": None}
    assert isinstance(refusal(desk), WorkerError)
    signed = HOLDERS.signed(2, HOLDERS.order).to_json()
    signed["signatures"][0]["keyid"] = "00" * 32
    worker.answer = {"report": signed}
    assert isinstance(refusal(desk), InputError)


def test_a_refused_pin_is_not_tried_again_by_a_drill(desk: SimulatedDesk) -> None:
    worker_of(desk).fault = PinError("refused", code="E_PIN_REFUSED")
    for _ in range(3):
        assert refusal(desk).code == "E_PIN_REFUSED"
    assert len(worker_of(desk).jobs) == 1


# Orders for the worker.


JOBS: list[Job] = [
    SealToCard(token=TOKEN, pin=PIN, group="{}", envelope="{}", card="{}", rehearsal=True),
    RunDrill(token=TOKEN, pin=PIN, group="{}", envelope="{}", order={"a": 1}, role="spare",
             moment=5),
    RunDrill(token=TOKEN, pin=PIN, group="{}", envelope="{}", order={}, role="primary",
             others=({"role": "spare"},), moment=5),
]  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_an_order_comes_out_as_it_went_in(job: Job) -> None:
    kind, fields = open_order(order_bytes(job))
    assert kind == job.kind
    assert type(job).parse(fields) == job  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change", [{"role": "boss"}, {"others": [1]}, {"others": [{}] * 5}, {"order": []}, {"root": ""}]
)
def test_another_order_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        RunDrill.parse(Fields(JOBS[1].to_json() | change, "order"))


# At a desk: the spare first, then the rehearsal, then the primary signs over all of them.


def test_the_order_of_a_desk_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    import signer.custody.devices as module

    asked: list[tuple[str, str]] = []

    def hire(job: Any, token: TokenChoice, terminals: Any) -> Fields:
        role = job.role if isinstance(job, RunDrill) else "seal"
        asked.append((role, str(token.label)))
        if role == "primary":
            assert [entry["role"] for entry in job.others] == ["spare", "scratch"]
            report = HOLDERS.signed(1, moment=NOW).to_json()
            return Fields({"report": report}, "result")
        if role == "seal":
            assert job.rehearsal
            return Fields({"envelope": "sealed anew"}, "result")
        assert job.envelope == ("sealed anew" if role == "scratch" else "the envelope")
        return Fields({"device": {"role": role}}, "result")

    def made(token: TokenChoice, pin_file: Path | None, *rest: Any) -> Any:
        asked.append(("card" if rest else "set up", str(token.label)))
        return HOLDERS.group.card_of(2) if rest else KeysMade(made=(), present=())

    monkeypatch.setattr(module, "_hire", hire)
    monkeypatch.setattr(module, "set_up_token", made)
    monkeypatch.setattr(module, "make_card", made)

    def device(label: str) -> Device:
        pin = SecretSource(file="/run/pin")
        return Device(TokenChoice(profile=TOKEN.profile, label=label), pin)

    done = drill_at_desk(
        HOLDERS.order, HOLDERS.group.to_bytes(), b"the envelope", primary=device("p"),
        spare=device("s"), scratch=device("x"), moment=NOW,
    )  # fmt: skip
    assert done.report.index == 1
    assert asked == [("spare", "s"), ("set up", "x"), ("card", "x"), ("seal", "s"),
                     ("scratch", "x"), ("primary", "p")]  # fmt: skip

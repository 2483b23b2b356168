import errno
import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.custody.custodian import module_environment
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource
from signer.errors import JournalError, PinError, SignerError, WorkerError
from signer.messages.items import changes_of
from signer.messages.reply import SignReply
from signer.policy.policy import NEVER, Policy
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
WIDE = SimulatedPool.new()
WIDE.policy = Policy(labels={ADDRESS: "a", OTHER: "b"}, approval=NEVER)
WIDE.group = replace(WIDE.group, policy_digest=WIDE.policy.digest)


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


@pytest.fixture
def wide(tmp_path: Path) -> SimulatedDesk:
    """A desk whose policy allows two addresses."""
    return SimulatedDesk(WIDE, tmp_path)


def codes(reply: SignReply) -> list[tuple[int, str]]:
    return [(denial.position, denial.code) for denial in reply.denied]


def test_a_request_gets_this_shares_partials(desk: SimulatedDesk) -> None:
    request = POOL.request(3, 1, 2)
    reply = desk.custodian.sign(request, 1000)
    assert reply.partials == POOL.reply(1, request).partials
    assert SignReply.parse(reply.to_bytes(), request) == reply
    assert desk.records() == ["OPENED", "INTENT", "RELEASED"]
    intent, released = (json.loads(line)["body"] for line in desk.path.read_text().splitlines()[1:])
    assert intent["request"] == request.digest.hex()
    assert intent["uid"] == 1000
    signed = b"".join(partial for partial in reply.partials if partial)
    assert released["partials_sha256"] == hashlib.sha256(signed).hexdigest()


def test_the_worker_is_told_what_the_envelope_is_bound_to(desk: SimulatedDesk) -> None:
    request = POOL.request(1)
    desk.custodian.sign(request, 0)
    (job,) = desk.worker.jobs
    binding = desk.desk.envelope.binding
    assert (job.epoch, job.index, job.public_share, job.role) == (
        binding.epoch, binding.index, binding.public_share, binding.role,
    )  # fmt: skip
    assert Policy.parse(job.policy).digest == binding.policy_digest
    assert job.network == POOL.group.network
    assert job.request.encode() == request.to_bytes()


@pytest.mark.parametrize(("count", "seconds"), [(1, 10.002), (2000, 14.0)])
def test_a_worker_has_10_s_and_2_ms_an_item(
    desk: SimulatedDesk, count: int, seconds: float
) -> None:
    desk.worker.fault = WorkerError("enough")
    desk.code_of(POOL.request(*range(count)))
    assert desk.worker.seconds == [pytest.approx(seconds)]


def test_the_order_is_intent_worker_released_reply(
    desk: SimulatedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync = os.fsync

    def logged_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append("durable " + desk.records()[-1])

    monkeypatch.setattr(os, "fsync", logged_fsync)
    desk.worker.before = lambda job: events.append("worker")
    desk.custodian.on_work = lambda result: events.append("worker done")
    desk.custodian.sign(POOL.request(1, 2), 0)
    events.append("reply")
    assert events == ["durable INTENT", "worker", "worker done", "durable RELEASED", "reply"]


@pytest.mark.case("T1", "request after request while the PIN is wrong")
def test_a_refused_pin_is_not_tried_again(desk: SimulatedDesk) -> None:
    desk.worker.fault = PinError("no", code="E_PIN_REFUSED")
    for validator in (1, 2, 1):
        assert desk.code_of(POOL.request(validator)) == "E_PIN_REFUSED"
    assert len(desk.worker.jobs) == 1
    assert desk.records() == ["OPENED", "INTENT", "FAILED"]
    desk.worker.fault = None
    assert desk.code_of(POOL.request(1)) == "E_PIN_REFUSED"
    pin = desk.folder / "pin"
    desk.custodian.pin = SecretSource(file=str(pin))
    pin.write_text("corrected")
    assert desk.custodian.sign(POOL.request(1), 0).denied == ()


def test_another_trouble_is_tried_again(desk: SimulatedDesk) -> None:
    desk.worker.fault = WorkerError("died")
    desk.code_of(POOL.request(1))
    desk.worker.fault = None
    assert desk.custodian.sign(POOL.request(1), 0).denied == ()


@pytest.mark.case("T1", "worker fails: wrong PIN, hang, a bug in it")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PinError("no", code="E_PIN_REFUSED"), "E_PIN_REFUSED"),
        (WorkerError("hung", code="E_TIMEOUT"), "E_TIMEOUT"),
        (WorkerError("died"), "E_WORKER"),
    ],
)
def test_a_failed_worker_returns_nothing_and_binds(
    wide: SimulatedDesk, fault: SignerError, code: str
) -> None:
    wide.worker.fault = fault
    assert wide.code_of(WIDE.request(1)) == code
    assert wide.records() == ["OPENED", "INTENT", "FAILED"]
    assert json.loads(wide.path.read_text().splitlines()[-1])["body"] == {"code": code, "intent": 1}
    wide.worker.fault = None
    wide.reopen()
    assert codes(wide.custodian.sign(WIDE.request(1, to=OTHER), 0)) == [(0, "E_EQUIVOCATION")]
    assert wide.custodian.sign(WIDE.request(1), 0).denied == ()


@pytest.mark.case("X209", "worker that answers too few, too many, malformed partials")
@pytest.mark.parametrize(
    "changes",
    [
        {"partials": []},
        {"partials": ["00" * 96]},
        {"partials": ["00" * 96] * 3},
        {"partials": ["00" * 96, "00" * 95]},
        {"partials": ["00" * 96, "AB" * 96]},
        {"partials": ["00" * 96, None]},
        {"partials": None},
        {"partials": {}},
    ],
)
def test_a_worker_that_talks_nonsense_failed(desk: SimulatedDesk, changes: dict[str, Any]) -> None:
    desk.worker.tamper = lambda result: result | changes
    assert desk.code_of(POOL.request(1, 2)) == "E_WORKER"
    assert desk.records() == ["OPENED", "INTENT", "FAILED"]


def test_a_worker_without_partials_failed(desk: SimulatedDesk) -> None:
    desk.worker.tamper = lambda result: {}
    assert desk.code_of(POOL.request(1, 2)) == "E_WORKER"


@pytest.mark.case("R2", "the same request twice: the same bytes, no new binding")
def test_the_same_request_again_gets_the_same_bytes(desk: SimulatedDesk) -> None:
    request = POOL.request(1, 2)
    first = desk.custodian.sign(request, 0)
    desk.reopen()
    assert desk.custodian.sign(request, 0).partials == first.partials
    intents = [json.loads(x) for x in desk.path.read_text().splitlines() if '"INTENT"' in x]
    assert [len(record["body"]["changes"]) for record in intents] == [1, 0]


@pytest.mark.case("R2", "two requests at once for one validator and two addresses: one wins")
def test_of_two_requests_at_once_exactly_one_wins(wide: SimulatedDesk) -> None:
    overlap = 0
    inside = threading.Lock()

    def watch(_: SignBatch) -> None:
        nonlocal overlap
        overlap += not inside.acquire(blocking=False)
        threading.Event().wait(0.01)
        inside.release()

    wide.worker.before = watch
    requests = [WIDE.request(5, to=address) for address in (ADDRESS, OTHER)] * 4
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda r: wide.custodian.sign(r, 0), requests))
    winners = {
        request.items[0][1]
        for request, reply in zip(requests, replies, strict=True)
        if not reply.denied
    }
    assert len(winners) == 1
    assert sum(not reply.denied for reply in replies) == 4
    assert overlap == 0  # one worker at a time


@pytest.mark.case("R11", "request that expires by one second; one that expired while it waited")
def test_time_is_looked_at_when_the_turn_comes(desk: SimulatedDesk) -> None:
    request = POOL.request(1, expires=NOW + 10)
    desk.now = NOW + 9.9
    desk.custodian.sign(request, 0)
    desk.now = NOW + 10
    assert desk.code_of(request) == "E_EXPIRED"
    desk.now, desk.worker.hold = NOW, threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(desk.custodian.sign, request, 0)
        while len(desk.worker.jobs) < 2:
            threading.Event().wait(0.005)
        second = threads.submit(desk.code_of, request)
        desk.now = NOW + 10
        desk.worker.hold.set()
        assert first.result(10).denied == ()
        assert second.result(10) == "E_EXPIRED"


@pytest.mark.case("R4", "request of another group: refused as a whole, nothing recorded")
def test_what_policy_refuses_as_a_whole_leaves_no_trace(desk: SimulatedDesk) -> None:
    request = POOL.request(1)
    for changes, code in (
        ({"group_id": bytes(32)}, "E_GROUP"),
        ({"epoch": 2}, "E_EPOCH"),
        ({"network": "hoodi"}, "E_NETWORK"),
        ({"expires": 0}, "E_EXPIRED"),
    ):
        assert desk.code_of(replace(request, **changes)) == code
    assert desk.records() == ["OPENED"]
    assert desk.worker.jobs == []


@pytest.mark.case("P11", "batch with one address the policy does not list: only that is denied")
def test_a_denied_item_stops_only_itself(wide: SimulatedDesk) -> None:
    wide.custodian.sign(WIDE.request(2, to=OTHER), 0)
    request = WIDE.request(1, 2, 3)
    reply = wide.custodian.sign(request, 0)
    assert codes(reply) == [(1, "E_EQUIVOCATION")]
    true = WIDE.partials(1, request)
    assert reply.partials == (true[0], None, true[2])
    assert wide.worker.jobs[-1].skip == {1}
    assert SignReply.parse(reply.to_bytes(), request) == reply


@pytest.mark.case("P11", "batch of which nothing is allowed: no journal, no worker")
def test_a_batch_of_denials_wakes_nobody(desk: SimulatedDesk) -> None:
    reply = desk.custodian.sign(POOL.request(1, 2, to=OTHER), 0)
    assert codes(reply) == [(0, "E_TARGET"), (1, "E_TARGET")]
    assert reply.partials == (None, None)
    assert desk.records() == ["OPENED"]
    assert desk.worker.jobs == []


@pytest.mark.case("F21", "disk full at INTENT: nothing is unsealed; at RELEASED: nothing leaves")
@pytest.mark.parametrize("record", ["INTENT", "RELEASED"])
def test_without_a_durable_record_nothing_leaves(
    desk: SimulatedDesk, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if f'"type":"{record}"'.encode() in bytes(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    request = POOL.request(1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(JournalError, match="no space left"):
            desk.custodian.sign(request, 0)
    assert len(desk.worker.jobs) == (record == "RELEASED")
    again = desk.custodian.sign(request, 0)  # there is space again
    assert again.partials == POOL.reply(1, request).partials


@pytest.mark.case("F21", "disk full when a failure is to be recorded: the failure is told")
def test_a_full_disk_does_not_hide_the_workers_trouble(
    desk: SimulatedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.worker.fault = PinError("no", code="E_PIN_REFUSED")

    def broken(*_: Any) -> None:
        raise JournalError("full")

    monkeypatch.setattr(desk.journal, "failed", broken, raising=True)
    assert desk.code_of(POOL.request(1)) == "E_PIN_REFUSED"


REQUESTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
        st.sampled_from([ADDRESS, OTHER]),
        st.sampled_from(["good", "failing", "restart"]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(requests=REQUESTS)
def test_no_sequence_signs_two_addresses_for_a_validator(
    requests: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = SimulatedDesk(WIDE, tmp_path_factory.mktemp("desk"))
    desk.worker.tamper = lambda result: (
        result | {"partials": ["00" * 96 for _ in result["partials"]]}
    )
    unsealed: set[tuple[int, Any]] = set()

    def note(job: SignBatch) -> None:
        items = changes_of(asked.items)
        unsealed.update(item for p, item in enumerate(items) if p not in job.skip)

    desk.worker.before = note
    for validators, address, how in requests:
        asked = WIDE.request(*validators, to=address)
        desk.worker.fault = WorkerError("died") if how == "failing" else None
        if how == "restart":
            desk.reopen()
        try:
            reply = desk.custodian.sign(asked, 0)
        except WorkerError:
            assert how == "failing"
        else:
            assert len(reply.partials) == len(asked.items)
    assert len({validator for validator, _ in unsealed}) == len(unsealed)
    desk.journal.close()


@pytest.mark.case("T3", "variables of the agent that the module does not need")
def test_only_what_the_module_needs_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "/x")
    monkeypatch.setenv("PIN", "1234")
    monkeypatch.setenv("LONG", "x" * 4097)
    monkeypatch.delenv("ABSENT", raising=False)
    assert module_environment(("SOFTHSM2_CONF", "LONG", "ABSENT")) == {"SOFTHSM2_CONF": "/x"}

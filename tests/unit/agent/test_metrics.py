"""Counters and their text, held against a strict reader of the format written here."""

import asyncio
import math
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from signer.agent.metrics import CONTENT_TYPE, HELP, MAX_CODES, OTHER_CODE, Metrics, Readings
from signer.errors import WorkerError
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import OTHER, SimulatedPool
from tests.simulators.server import EVERYBODY, serving

POOL = SimulatedPool.new()
EVERYTHING = EVERYBODY | {"metrics": frozenset({os.geteuid()})}
NOW = Readings(token_state="ready", journal_sequence=7, info={"version": "1", "index": "1"})

Labels = frozenset[tuple[str, str]]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.+)\}})? (NaN|[+-]Inf|-?[0-9.]+(?:e[+-]?[0-9]+)?)")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Page:
    """A page of the text format 0.0.4, or an AssertionError."""

    def __init__(self, text: str) -> None:
        self.kinds: dict[str, str] = {}
        self.samples: dict[tuple[str, Labels], float] = {}
        assert text.endswith("\n")
        current = ""
        for line in text.splitlines():
            if match := re.fullmatch(rf"# HELP ({_NAME}) [^\n]+", line):
                current = match[1]
                assert current not in self.kinds, "a family stands in one place"
            elif match := re.fullmatch(rf"# TYPE ({_NAME}) (counter|gauge|histogram)", line):
                assert match[1] == current, "TYPE follows its HELP"
                self.kinds[current] = match[2]
            else:
                self._sample(line, current)
        for name, kind in self.kinds.items():
            if kind == "histogram":
                self._check_histogram(name)
            if kind == "counter":
                assert all(v >= 0 for (n, _), v in self.samples.items() if n == name)

    def _sample(self, line: str, family: str) -> None:
        match = _SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match[1] in {family + suffix for suffix in _SUFFIXES[self.kinds[family]]}
        labels: list[tuple[str, str]] = []
        rest = match[2] or ""
        while rest:
            pair = _LABEL.match(rest)
            assert pair is not None, line
            text = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), pair[2])
            labels.append((pair[1], text))
            rest = rest[pair.end() :]
        assert len(dict(labels)) == len(labels)
        key = (match[1], frozenset(labels))
        assert key not in self.samples, f"twice: {line}"
        self.samples[key] = float(match[3])

    def _check_histogram(self, name: str) -> None:
        buckets = sorted(
            (float(dict(labels)["le"]), value)
            for (sample, labels), value in self.samples.items()
            if sample == f"{name}_bucket"
        )
        assert buckets[-1] == (math.inf, self.get(f"{name}_count"))
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)

    def get(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


def page_of(metrics: Metrics, now: Readings = NOW) -> Page:
    return Page(metrics.text(now))


def test_a_fresh_page_has_every_family_and_is_well_formed() -> None:
    page = page_of(Metrics())
    assert set(page.kinds) == {f"signer_{name}" for name in HELP}
    assert page.get("signer_request_seconds_count") == 0
    assert math.isnan(page.get("signer_seconds_since_last_drill"))
    assert page.get("signer_token_state", state="ready") == 1
    assert page.get("signer_token_state", state="absent") == 0
    assert page.get("signer_journal_sequence") == 7
    assert page.get("signer_info", version="1", index="1") == 1


def test_requests_items_and_times_are_counted() -> None:
    metrics = Metrics()
    metrics.request("signed", "", 0.2)
    metrics.request("signed", "", 0.7)
    metrics.request("denied", "E_EXPIRED", 100.0)
    metrics.items(signed=5, denied=2)
    metrics.unsealed(7, ["memory_not_locked"])
    metrics.unsealed(3, [])
    page = page_of(metrics)
    assert page.get("signer_requests_total", result="signed", code="") == 2
    assert page.get("signer_requests_total", result="denied", code="E_EXPIRED") == 1
    assert page.get("signer_items_total", result="signed") == 5
    assert page.get("signer_items_total", result="denied") == 2
    assert page.get("signer_request_seconds_bucket", le="0.25") == 1
    assert page.get("signer_request_seconds_bucket", le="1") == 2
    assert page.get("signer_request_seconds_bucket", le="+Inf") == 3
    assert page.get("signer_request_seconds_sum") == pytest.approx(100.9)
    assert page.get("signer_unseal_milliseconds_sum") == 10
    assert page.get("signer_unseal_milliseconds_count") == 2
    assert page.get("signer_unseal_milliseconds_max") == 7
    assert page.get("signer_worker_weaknesses") == 0
    assert metrics.exposure.longest_milliseconds == 7


def test_a_workers_life_is_counted_whatever_came_of_it() -> None:
    metrics = Metrics()

    def worker(fail: bool) -> int:
        if fail:
            raise WorkerError("died")
        return 3

    timed = metrics.timing(worker)
    assert timed(False) == 3
    with pytest.raises(WorkerError):
        timed(True)
    assert page_of(metrics).get("signer_worker_seconds_count") == 2


@pytest.mark.case("X340", "label values with quotes, newlines and backslashes")
def test_label_values_are_escaped() -> None:
    text = 'a"b\\c\nd} 1\nsigner_x 2'
    page = page_of(Metrics(), Readings(token_state="ready", info={"group": text}))
    assert page.get("signer_info", group=text) == 1


@pytest.mark.case("X341", "endless different codes: the page stays small")
def test_label_values_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_CODES + 50):
        metrics.request("failed", f"E_CODE_{number}", 0.1)
    for code in ("no code", "e_lower", "E" * 41, 'E_"', "E_\n"):
        metrics.request("failed", code, 0.1)
    page = page_of(metrics)
    codes = {dict(labels).get("code") for name, labels in page.samples if "requests" in name}
    assert len(codes) == MAX_CODES + 1
    assert page.get("signer_requests_total", result="failed", code=OTHER_CODE) == 55


def test_counting_in_many_threads_loses_nothing() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.request("signed", "", 0.01)
            metrics.items(signed=1, denied=0)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = page_of(metrics)
    assert page.get("signer_requests_total", result="signed", code="") == 4000
    assert page.get("signer_request_seconds_count") == 4000
    assert page.get("signer_items_total", result="signed") == 4000


def test_the_agent_serves_what_it_did(tmp_path: Path) -> None:
    desk = SimulatedDesk(POOL, tmp_path)

    async def main() -> None:
        async with serving(desk, peers=EVERYTHING) as agent:
            before = await agent.ask("GET", "/v1/metrics")
            assert before.status == 200
            assert before.headers["content-type"] == CONTENT_TYPE
            Page(before.body.decode())
            first = POOL.request(1, 2).to_bytes()
            assert (await agent.ask("POST", "/v1/sign", first)).status == 200
            denied = await agent.ask("POST", "/v1/sign", POOL.request(1, to=OTHER).to_bytes())
            assert denied.status == 200
            assert (await agent.ask("POST", "/v1/sign", b"garbage")).status == 400
            desk.worker.fault = WorkerError("died")
            again = await agent.ask("POST", "/v1/sign", POOL.request(3).to_bytes())
            assert again.status == 500
            page = Page((await agent.ask("GET", "/v1/metrics")).body.decode())
            assert page.get("signer_requests_total", result="signed", code="") == 1
            assert page.get("signer_requests_total", result="refused", code="E_SCHEMA") == 1
            assert page.get("signer_requests_total", result="failed", code="E_WORKER") == 1
            assert page.get("signer_items_total", result="signed") == 2
            assert page.get("signer_items_total", result="denied") == 1
            assert page.get("signer_request_seconds_count") == 4
            assert page.get("signer_journal_sequence") == desk.journal.sequence
            assert page.get("signer_token_state", state="unknown") == 1
            status = (await agent.ask("GET", "/v1/status")).json
            assert status["exposure"] == {
                "unseals": 0, "milliseconds": 0, "longest_milliseconds": 0, "weaknesses": [],
            }  # fmt: skip

    asyncio.run(main())


def test_the_page_tells_the_last_drill_and_the_journals_state(tmp_path: Path) -> None:
    desk = SimulatedDesk(POOL, tmp_path)

    async def main() -> None:
        async with serving(desk, peers=EVERYTHING) as agent:

            async def page() -> Page:
                return Page((await agent.ask("GET", "/v1/metrics")).body.decode())

            def state_in(page: Page) -> list[str]:
                states = ("verified", "unverified", "behind")
                return [s for s in states if page.get("signer_journal_state", state=s)]

            assert math.isnan((await page()).get("signer_seconds_since_last_drill"))
            desk.journal.drilled(int(desk.now) - 90, bytes(32))
            assert (await page()).get("signer_seconds_since_last_drill") == 90
            assert state_in(await page()) == ["unverified"]
            assert (await agent.ask("POST", "/v1/sign", POOL.request(1).to_bytes())).status == 200
            assert state_in(await page()) == ["verified"]
            later = replace(POOL.request(2), witnesses=(POOL.witness(1, sequence=99),))
            answer = await agent.ask("POST", "/v1/sign", later.to_bytes())
            assert answer.code == "E_ROLLBACK"
            assert state_in(await page()) == ["behind"]
            status = (await agent.ask("GET", "/v1/status")).json
            assert status["journal"]["state"] == "behind"

    asyncio.run(main())


@pytest.mark.case("K11", "the metrics page, asked for by somebody who is not listed")
def test_metrics_are_for_those_who_are_listed(tmp_path: Path) -> None:
    desk = SimulatedDesk(POOL, tmp_path)

    async def main() -> None:
        async with serving(desk, peers=EVERYBODY) as agent:
            answer = await agent.ask("GET", "/v1/metrics")
            assert (answer.status, answer.code) == (403, "E_PEER")

    asyncio.run(main())

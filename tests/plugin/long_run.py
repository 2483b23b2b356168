"""Five agents on five tokens that misbehave by chance. `make long-run` takes half an hour of it.

Every request must be answered in time. Every partial that is given must be right. What fails must
be named: by the answer, by the agent's metrics, which count the same, and by its log, which says
why. Once the tokens behave again, all sign.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from signer.aggregator.tally import Tally
from signer.client import AgentClient
from signer.custody.worker_process import BASE_SECONDS, SECONDS_PER_ITEM
from signer.errors import SignerError
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.testing.hostile.token import STORM
from signer.testing.mint import TokenMint
from signer.testing.running import RunningPool
from signer.threshold.params import ShareIndex
from signer.threshold.partial import verify_partial

CHANCE = 0.01  # of a fault, for each call of its function
SLACK_SECONDS = 3.0  # beyond the worker's own limit: the journal, the socket, a busy machine
MOST_ITEMS = 20
LONG_UNPLUG = 1500  # milliseconds, in the storm; longer than from one look at a token to the next
RECOVERY_SECONDS = 40.0
LONG_SECONDS = 120.0  # from here on modules hang as well, which takes a worker's whole time
HANG = ("C_DeriveKey", "delay", 600_000)
T, N = 3, 5


@dataclass
class Report:
    """What came of it."""

    rounds: int = 0
    signed: int = 0  # rounds that gave group signatures
    partials: int = 0  # each verified
    faults: Counter[str] = field(default_factory=Counter)  # by function and action
    codes: Counter[str] = field(default_factory=Counter)  # of answers that were errors
    slowest: float = 0.0  # seconds
    wrong: list[str] = field(default_factory=list)  # what must not be

    def lines(self) -> str:
        """Return it in words."""
        return (
            f"{self.rounds} rounds, {self.signed} gave group signatures, {self.partials} partials, "
            f"slowest answer {self.slowest:.2f} s\nfaults: {dict(self.faults)}\n"
            f"answers: {dict(self.codes)}\nwrong: {self.wrong or 'nothing'}"
        )


def long_run(folder: Path, *, seconds: float, seed: int) -> Report:
    """Run for `seconds`; faults and requests come from `seed`, their moments from the machine."""
    report = Report()
    mint = TokenMint(folder / "mint")
    pool = RunningPool.make(folder / "pool", mint, T, N, hostile=range(1, N + 1), probe_seconds="1")
    told: dict[int, Counter[str]] = {index: Counter() for index in pool.hostile}
    chance = random.Random(seed)
    try:
        for index, hostile in pool.hostile.items():
            kinds = (*STORM, HANG) if seconds >= LONG_SECONDS else STORM
            hostile.storm(1000 * seed + index, chance=CHANCE, kinds=kinds)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            items = chance.sample(range(100_000), chance.randint(1, MOST_ITEMS))
            asyncio.run(_round(pool, pool.request(items), told, report))
        _look_at_agents(pool, told, report)
        for hostile in pool.hostile.values():
            report.faults.update(f"{fault.function} {fault.action}" for fault in hostile.faults)
            hostile.calm()
        _recover(pool, report)
    finally:
        pool.close()
    return report


async def _round(
    pool: RunningPool, request: SignRequest, told: dict[int, Counter[str]], report: Report
) -> None:
    """Ask everybody at once; judge every answer, then combine what was given."""
    limit = BASE_SECONDS + SECONDS_PER_ITEM * len(request.items) + SLACK_SECONDS

    async def ask(index: int) -> SignReply | None:
        start = time.monotonic()
        try:
            return await pool.client(index).sign(request, seconds=limit)
        except SignerError as error:
            told[index][error.code] += 1
            report.codes[error.code] += 1
            if time.monotonic() - start >= limit:
                report.wrong.append(f"agent {index} gave no answer within {limit:.0f} s")
            if error.code == "E_UNREACHABLE" or "internal error" in error.message:
                report.wrong.append(f"agent {index}: {error.line()}")
            return None
        finally:
            report.slowest = max(report.slowest, time.monotonic() - start)

    replies = await asyncio.gather(*(ask(index) for index in pool.hostile))
    group = pool.group
    roots = request.signing_roots(group.network, group.public_key)
    tally = Tally(request, group, secrets.token_bytes)
    for reply in replies:
        if reply is None:
            continue
        public_share = group.vector.public_share(ShareIndex(reply.index))
        for root, partial in zip(roots, reply.partials, strict=True):
            report.partials += 1
            try:
                verify_partial(public_share, root, partial or b"")
            except SignerError as error:
                report.wrong.append(f"agent {reply.index} gave a bad partial: {error.code}")
        tally.add(f"agent {reply.index}", reply)
    if tally.ready():
        tally.combine()
        report.signed += not tally.open_positions()
    report.rounds += 1


def _look_at_agents(pool: RunningPool, told: dict[int, Counter[str]], report: Report) -> None:
    """Hold what each agent counted and logged against what it answered."""
    for holder in pool.holders:
        index = holder.index
        if holder.agent is None or holder.agent.poll() is not None:
            report.wrong.append(f"agent {index} has ended")
            continue
        counted: Counter[str] = Counter()
        page = asyncio.run(_metrics(pool.client(index)))
        for line in page.splitlines():
            if line.startswith("signer_requests_total{"):
                code = line.partition('code="')[2].partition('"')[0]
                counted[code] += int(line.rpartition(" ")[2])
        del counted[""]  # answers without trouble
        if counted != told[index]:
            report.wrong.append(f"agent {index} counts {counted}, and told {told[index]}")
        logged: Counter[str] = Counter()
        absences = 0
        for line in holder.log.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") else {"event": "no JSON"}
            if event["event"] in ("no JSON", "bug"):
                report.wrong.append(f"agent {index} logs: {line[:200]}")
            if event["event"] == "refused" and event["why"]:
                logged[event["code"]] += 1
            absences += event["event"] == "token_state" and event["state"] == "absent"
        if logged != told[index]:
            report.wrong.append(f"agent {index} logs {logged}, and told {told[index]}")
        long_gone = any(fault.argument == LONG_UNPLUG for fault in pool.hostile[index].faults)
        if long_gone and not absences:
            report.wrong.append(f"agent {index} never saw that its token was unplugged")


async def _metrics(client: AgentClient) -> str:
    return (await client._call("GET", "/v1/metrics", None, 10.0, 1 << 20)).decode()


def _recover(pool: RunningPool, report: Report) -> None:
    """Once the tokens behave, every agent signs again; ask until it does."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    for index in pool.hostile:
        while True:
            try:
                asyncio.run(pool.client(index).sign(pool.request([1]), seconds=15))
                break
            except SignerError as error:
                if time.monotonic() > deadline:
                    report.wrong.append(f"agent {index} did not recover: {error.line()}")
                    break
                time.sleep(0.5)


def main() -> int:
    """Run it, print the report and return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signer-run-") as folder:
        report = long_run(Path(folder), seconds=options.seconds, seed=options.seed)
    print(report.lines())
    return 1 if report.wrong or not report.signed else 0


if __name__ == "__main__":
    sys.exit(main())

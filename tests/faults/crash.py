"""kill -9 and power cuts at every step of a signature, on a real journal and a real token.

A schedule is one request at a desk that has lived through all the schedules before it. A forked
child carries it out: the real custodian, the real journal, the worker's own function on a real
SoftHSM token. Steps are counted by instrumentation, one for each line of ours that runs between the
request and the reply and one for each write and fsync, and at one of them the child kills itself.

Where the power goes as well, what was not made durable goes with it: a file keeps what it held at
its last fsync and some beginning of what was written since, a name in a folder is there once the
folder was fsynced. The token is another device: it keeps what it was told.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from signer.custody.custodian import Custodian
from signer.custody.desk import Desk
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.worker import signing
from signer.errors import SignerError
from signer.hsm.profile import load_profile
from signer.messages.address import ExecutionAddress
from signer.messages.items import Change
from signer.messages.request import SignRequest
from signer.strict import Fields
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from tests.conftest import copy_of

NOW = 1_800_000_000
VALIDATORS = 16  # few, so that requests meet again and again
LIFE = 20  # schedules that one desk lives through, from its very first start
ADDRESSES = (TEST_ADDRESS, "0x52908400098527886E0F7030069857D2E4169EE7")
_WATCHED = ("/signer/custody/", "/signer/hsm/data_objects", "/signer/sealing/", "/signer/policy/")


@dataclass
class Tally:
    """What came of many schedules."""

    schedules: int = 0
    killed: int = 0
    power_cuts: int = 0
    signed: int = 0
    lost: list[str] = field(default_factory=list)  # a binding forgotten, or no start without a word
    two_targets: set[int] = field(default_factory=set)  # validators with partials for both
    ends: dict[str, int] = field(default_factory=dict)  # how those that were not killed ended


@dataclass
class CrashDesk:
    """One holder's desk, its whole past, and a child for each schedule."""

    pool: Pool
    folder: Path
    choose: random.Random
    steps: int = 0  # of a whole schedule, measured by the first
    computed: dict[int, set[str]] = field(default_factory=dict)  # every partial that ever was

    def __post_init__(self) -> None:
        """Make the folders; nothing is begun."""
        self.folder.mkdir(parents=True)
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        self.survivor = self.folder / "survivor"
        self.account = self.folder / "account.jsonl"

    @property
    def holder(self) -> Holder:
        """Whose desk it is."""
        return self.pool.holders[0]

    def papers(self) -> Desk:
        """Lay the desk."""
        return Desk.lay(self.pool.group, self.pool.policy, self.holder.envelope)

    def run(self, tally: Tally, *, kill_at: int | None, power_cut: bool) -> None:
        """Carry out one schedule and hold what is left against what must be."""
        validators = self.choose.sample(range(VALIDATORS), self.choose.choice((1, 1, 2, 5)))
        address = self.choose.choice(ADDRESSES)
        shutil.rmtree(self.survivor, ignore_errors=True)
        self.account.write_bytes(b"")
        self._in_child(lambda: self._live(validators, address, kill_at, power_cut))
        if self.survivor.exists():
            shutil.rmtree(self.state)
            self.survivor.rename(self.state)
            tally.power_cuts += 1
        entries = [json.loads(line) for line in self.account.read_text().splitlines()]
        tally.schedules += 1
        tally.killed += not any("ended" in entry for entry in entries)
        tally.signed += any(entry.get("ended") == "signed" for entry in entries)
        for entry in entries:
            self.steps = max(self.steps, entry.get("steps", 0))
            for validator, target in entry.get("computed", []):
                self.computed.setdefault(validator, set()).add(target)
            if "ended" in entry:
                tally.ends[entry["ended"]] = tally.ends.get(entry["ended"], 0) + 1
            if entry.get("ended") in ("E_ROLLBACK", "E_ANCHOR", "E_JOURNAL", "bug"):
                tally.lost.append(f"schedule {tally.schedules}: {entry}")
        tally.two_targets |= {v for v, targets in self.computed.items() if len(targets) > 1}
        tally.lost += self._missing(tally.schedules)

    def _missing(self, number: int) -> list[str]:
        """Start again, and say what is not as it must be."""
        desk = self.papers()
        try:
            with self._journal(desk) as journal:
                return [
                    f"schedule {number}: validator {validator} was signed, the journal forgot it"
                    for validator, targets in self.computed.items()
                    if (bound := journal.address_of(validator)) is None or bound.wire not in targets
                ]
        except SignerError as error:
            return [f"schedule {number}: no start: {error.line()}"]

    def _journal(self, desk: Desk) -> Journal:
        path = self.state / "journal.jsonl"
        return Journal.open(path, desk.group, desk.index, clock=lambda: NOW)

    def _in_child(self, work: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def _live(
        self, validators: list[int], address: str, kill_at: int | None, power_cut: bool
    ) -> None:
        """Be the agent: start, decide, record, sign, record, reply; or die on the way."""
        os.environ["SOFTHSM2_CONF"] = str(self.holder.token.config)
        account = os.open(self.account, os.O_WRONLY | os.O_APPEND)
        write = os.write
        target = ExecutionAddress.parse(address)

        def tell(**fields: Any) -> None:
            write(account, json.dumps(fields).encode() + b"\n")

        def computing(*arguments: Any, **options: Any) -> Any:
            partials = real_sign(*arguments, **options)
            tell(computed=[[validator, target.wire] for validator in asked])
            return partials

        asked: list[int] = []
        module: Any = signing
        real_sign = module.sign_partials
        module.sign_partials = computing

        def worker(job: Job, **_: object) -> Fields:
            skip: frozenset[int] = getattr(job, "skip", frozenset())
            asked[:] = [v for p, v in enumerate(sorted(validators)) if p not in skip]
            order = open_order(order_bytes(job))[1]
            return Fields({**signing.sign_batch(order), "weaknesses": []}, "worker's result")

        steps = _Steps(kill_at, self.state, self.survivor if power_cut else None, self.choose)
        ended = "bug"
        try:
            with steps.counted():
                desk = self.papers()
                with self._journal(desk) as journal:
                    reply = self._custodian(desk, journal, worker).sign(
                        SignRequest.new(
                            desk.group, [Change(v, target) for v in validators], expires=NOW + 60
                        ),
                        0,
                        approved=True,
                    )
                    ended = "signed" if any(reply.partials) else "denied"
        except SignerError as error:
            ended = error.code
        tell(ended=ended, steps=steps.done)

    def _custodian(self, desk: Desk, journal: Journal, worker: Callable[..., Fields]) -> Custodian:
        return Custodian(
            desk=desk,
            journal=journal,
            token=TokenChoice(profile=load_profile("softhsm2"), label=self.holder.token.label),
            pin=SecretSource(file=str(self.holder.token.pin_file)),
            environment={},
            clock=lambda: NOW,
            worker=worker,
        )


class _Steps:
    """Counts steps, and at one of them leaves what would survive and kills this process."""

    def __init__(
        self, kill_at: int | None, state: Path, survivor: Path | None, choose: random.Random
    ) -> None:
        self.done = 0
        self._kill_at = kill_at
        self._state = state
        self._survivor = survivor
        self._choose = choose
        self._contents = {entry.stat().st_ino: entry.read_bytes() for entry in state.iterdir()}
        self._names = {entry.name: entry.stat().st_ino for entry in state.iterdir()}

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what runs in this block."""
        real = {name: getattr(os, name) for name in ("write", "fsync", "ftruncate", "open")}
        fsync = real["fsync"]

        def durable(descriptor: int) -> None:
            self._step()
            fsync(descriptor)
            self._now_durable(descriptor)
            self._step()

        def around(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **options: Any) -> Any:
                self._step()
                result = call(*arguments, **options)
                self._step()
                return result

            return counted

        changed: Any = os
        for name, call in real.items():
            setattr(changed, name, durable if name == "fsync" else around(call))
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
            for name, call in real.items():
                setattr(changed, name, call)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not any(place in frame.f_code.co_filename for place in _WATCHED):
            return None
        if event == "line":
            self._step()
        return self._trace

    def _step(self) -> None:
        self.done += 1
        if self.done == self._kill_at:
            sys.settrace(None)
            if self._survivor is not None:
                self._leave(self._survivor)
            os.kill(os.getpid(), signal.SIGKILL)

    def _now_durable(self, descriptor: int) -> None:
        """Remember what an fsync made durable: a file's content, or a folder's names."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == self._state:
            self._names = {entry.name: entry.stat().st_ino for entry in path.iterdir()}
        elif path.parent == self._state:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def _leave(self, survivor: Path) -> None:
        """Write what the disk holds when the power comes back."""
        survivor.mkdir(mode=0o700)
        there = {entry.name: entry for entry in self._state.iterdir()}
        inodes = {entry.stat().st_ino: entry for entry in there.values()}
        names = dict(self._names)
        for name, entry in there.items():  # a name not yet durable may have got there, or not
            if name not in names and self._choose.random() < 0.5:
                names[name] = entry.stat().st_ino
        for name, inode in names.items():
            kept = self._contents.get(inode, b"")
            now = inodes[inode].read_bytes() if inode in inodes else kept
            if now.startswith(kept):
                tail = now[len(kept) :]
                kept += tail[: self._choose.randint(0, len(tail))]
            elif self._choose.random() < 0.5:
                kept = now  # it was cut, and that reached the disk
            file = survivor / name
            file.touch(mode=0o600)
            file.write_bytes(kept)


def crash_schedules(count: int, folder: Path, pool: Pool | None = None, seed: int = 1) -> Tally:
    """Live through `count` schedules, on a new desk every `LIFE` of them; tell what came of it.

    Args:
        count: how many.
        folder: an empty folder to work in.
        pool: a provisioned pool whose policy allows both `ADDRESSES`; made here if there is none.
        seed: of what is random.
    """
    if pool is None:
        pool = Pool.with_tokens(folder / "pool", ["Ada", "Ben"])
        pool.write_policy(list(ADDRESSES))
        pool.split(2)
    choose = random.Random(seed)
    tally = Tally()
    steps = _steps_of_a_whole_one(pool, folder / "measured", choose)
    while tally.schedules < count:
        life = folder / f"life-{tally.schedules}"
        desk = CrashDesk(copy_of(pool, life / "pool"), life / "desk", choose, steps=steps)
        for _ in range(min(LIFE, count - tally.schedules)):
            at = choose.randint(1, desk.steps) if choose.random() < 0.9 else None
            desk.run(tally, kill_at=at, power_cut=choose.random() < 0.6)
        shutil.rmtree(life)
    return tally


def _steps_of_a_whole_one(pool: Pool, folder: Path, choose: random.Random) -> int:
    desk = CrashDesk(copy_of(pool, folder / "pool"), folder / "desk", choose)
    desk.run(Tally(), kill_at=None, power_cut=False)
    return desk.steps

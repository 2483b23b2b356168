"""kill -9 and power cuts at every step of a signature, on a real journal and a real token.

A schedule is one request at a desk that has lived through all the schedules before it. A forked
child carries it out: the real custodian, the real journal, the worker's own function on a real
SoftHSM token. Steps are counted by instrumentation, one for each line of ours that runs between the
request and the reply and one for each write and fsync, and at one of them the child kills itself.

Where the power goes as well, what was not made durable goes with it: a file keeps what it held at
its last fsync and some beginning of what was written since, a name in a folder is there once the
folder was fsynced; a tail that was not may come back as zeros. A kill alone loses nothing, and
makes nothing durable either: what a later schedule may still lose is remembered. The token is
another device: it keeps what it was told.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
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
from signer.custody.worker import anchoring, signing
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
_CALLS = ("write", "fsync", "ftruncate", "open", "unlink", "rename", "replace", "link")
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
    calls: int = 0  # of these, before and after a call to the system; measured likewise
    requests: set[str] = field(default_factory=set)  # digests of those that partials were made for
    computed: dict[int, set[str]] = field(default_factory=dict)  # every partial that ever was

    def __post_init__(self) -> None:
        """Make the folders; nothing is begun."""
        self.folder.mkdir(parents=True)
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        self.survivor = self.folder / "survivor"
        self.platter = Platter(self.folder / "platter", self.state)
        self.account = self.folder / "account.jsonl"

    @property
    def holder(self) -> Holder:
        """Whose desk it is."""
        return self.pool.holders[0]

    def papers(self) -> Desk:
        """Lay the desk."""
        return Desk.lay(self.pool.group, self.pool.policy, self.holder.envelope)

    def run(
        self, tally: Tally, *, kill_at: int | None, power_cut: bool, calls_only: bool = False
    ) -> None:
        """Carry out one schedule and hold what is left against what must be.

        Args:
            tally: where to count it.
            kill_at: the step to die at, from 1; None lives.
            power_cut: whether the power goes with it.
            calls_only: count the calls to the system alone.
        """
        validators = self.choose.sample(range(VALIDATORS), self.choose.choice((1, 1, 2, 5)))
        address = self.choose.choice(ADDRESSES)
        shutil.rmtree(self.survivor, ignore_errors=True)
        self.account.write_bytes(b"")
        steps = Steps(
            kill_at, self.platter, self.survivor if power_cut else None, self.choose, calls_only
        )
        self._in_child(lambda: self._live(validators, address, steps))
        if self.survivor.exists():
            shutil.rmtree(self.state)
            self.survivor.rename(self.state)
            self.platter.take_all()
            tally.power_cuts += 1
        entries = [json.loads(line) for line in self.account.read_text().splitlines()]
        tally.schedules += 1
        tally.killed += not any("ended" in entry for entry in entries)
        tally.signed += any(entry.get("ended") == "signed" for entry in entries)
        for entry in entries:
            self.steps = max(self.steps, entry.get("steps", 0))
            self.calls = max(self.calls, entry.get("calls", 0))
            self.requests |= {entry["request"]} if "request" in entry else set()
            for validator, target in entry.get("computed", []):
                self.computed.setdefault(validator, set()).add(target)
            if "ended" in entry:
                tally.ends[entry["ended"]] = tally.ends.get(entry["ended"], 0) + 1
            if entry.get("ended", "signed") not in ("signed", "denied"):
                tally.lost.append(f"schedule {tally.schedules}: {entry}")
        tally.two_targets |= {v for v, targets in self.computed.items() if len(targets) > 1}
        tally.lost += self._missing(tally.schedules)

    def _missing(self, number: int) -> list[str]:
        """Start again, in a child as always, and say what is not as it must be."""
        self.account.write_bytes(b"")
        steps = Steps(None, self.platter, None, self.choose, calls_only=True)
        self._in_child(lambda: self._restart(steps))
        said = [json.loads(line)["wrong"] for line in self.account.read_text().splitlines()]
        if not said:
            return [f"schedule {number}: the restart died"]
        return [f"schedule {number}: {what}" for what in said[0]]

    def _restart(self, steps: "Steps") -> None:
        """Be an agent that starts: read the journal, hold it against the token's anchor."""
        os.environ["SOFTHSM2_CONF"] = str(self.holder.token.config)
        account = os.open(self.account, os.O_WRONLY | os.O_APPEND)
        wrong = []
        desk = self.papers()
        try:
            with steps.counted(), self._journal(desk) as journal:
                wrong = [
                    f"validator {validator} was signed, the journal forgot it"
                    for validator, targets in self.computed.items()
                    if (bound := journal.address_of(validator)) is None or bound.wire not in targets
                ]
                self._custodian(desk, journal, _in_process).check_anchor()
        except SignerError as error:
            wrong.append(f"no start: {error.line()}")
        records = [json.loads(line) for line in (self.state / "journal.jsonl").open()]
        intended = {r["body"]["request"] for r in records if r["type"] == "INTENT"}
        wrong += [f"lost INTENT of request {digest}" for digest in self.requests - intended]
        os.write(account, json.dumps({"wrong": wrong}).encode() + b"\n")

    def _journal(self, desk: Desk) -> Journal:
        path = self.state / "journal.jsonl"
        return Journal.open(path, desk.group, desk.index, clock=lambda: NOW)

    def _in_child(self, work: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            try:
                work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def _live(self, validators: list[int], address: str, steps: "Steps") -> None:
        """Be the agent: start, decide, record, sign, record, reply; or die on the way."""
        os.environ["SOFTHSM2_CONF"] = str(self.holder.token.config)
        account = os.open(self.account, os.O_WRONLY | os.O_APPEND)
        write = os.write
        target = ExecutionAddress.parse(address)

        def tell(**fields: Any) -> None:
            write(account, json.dumps(fields).encode() + b"\n")

        def computing(*arguments: Any, **options: Any) -> Any:
            partials = real_sign(*arguments, **options)
            tell(computed=[[validator, target.wire] for validator in asked], request=digests[-1])
            return partials

        asked: list[int] = []
        digests: list[str] = []
        module: Any = signing
        real_sign = module.sign_partials
        module.sign_partials = computing

        def worker(job: Job, **_: object) -> Fields:
            skip: frozenset[int] = getattr(job, "skip", frozenset())
            asked[:] = [v for p, v in enumerate(sorted(validators)) if p not in skip]
            return _in_process(job)

        ended = "bug"
        try:
            with steps.counted():
                desk = self.papers()
                with self._journal(desk) as journal:
                    request = SignRequest.new(
                        desk.group, [Change(v, target) for v in validators], expires=NOW + 60
                    )
                    digests.append(request.digest.hex())
                    custodian = self._custodian(desk, journal, worker)
                    reply = custodian.sign(request, 0, approved=True)
                    ended = "signed" if any(reply.partials) else "denied"
        except SignerError as error:
            ended = error.code
        tell(ended=ended, steps=steps.done, calls=steps.calls)

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


def _in_process(job: Job, **_: object) -> Fields:
    """Do as `run_worker`, but in this process, whose steps are counted."""
    kind, order = open_order(order_bytes(job))
    handlers = {"sign_batch": signing.sign_batch, "check_anchor": anchoring.check_anchor}
    return Fields({**handlers[kind](order), "weaknesses": []}, "worker's result")


class Platter:
    """What of a folder is durable, over the lives of many processes: `inodes/N` and `names.json`.

    Calls that name a file change memory only; an fsync of a file or of the folder brings it here.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self.state = state
        self._inodes = folder / "inodes"
        self._names = folder / "names.json"
        self._inodes.mkdir(parents=True)
        self.take_all()

    def take_all(self) -> None:
        """Take the folder as it is for durable, as it is when the power has come back."""
        shutil.rmtree(self._inodes)
        self._inodes.mkdir()
        for entry in self.state.iterdir():
            shutil.copyfile(entry, self._inodes / str(entry.stat().st_ino))
        self._take_names()

    def synced(self, descriptor: int) -> None:
        """Take what an fsync made durable: a file's content, or the folder's names."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == self.state:
            self._take_names()
        elif path.parent == self.state:
            shutil.copyfile(path, self._inodes / str(path.stat().st_ino))

    def leave(self, survivor: Path, choose: random.Random) -> None:
        """Write what the disk holds when the power comes back."""
        survivor.mkdir(mode=0o700)
        there = {entry.name: entry.stat().st_ino for entry in self.state.iterdir()}
        now = {inode: (self.state / name).read_bytes() for name, inode in there.items()}
        names: dict[str, int] = json.loads(self._names.read_text())
        for name in names.keys() | there.keys():  # what is not durable got there, or did not
            if names.get(name) != there.get(name) and choose.random() < 0.5:
                if name in there:
                    names[name] = there[name]
                else:
                    del names[name]
        for name, inode in names.items():
            durable = self._inodes / str(inode)
            kept = durable.read_bytes() if durable.exists() else b""
            file = survivor / name
            file.touch(mode=0o600)
            file.write_bytes(_what_is_left(kept, now.get(inode, kept), choose))

    def _take_names(self) -> None:
        self._names.write_text(json.dumps({e.name: e.stat().st_ino for e in self.state.iterdir()}))


def _what_is_left(kept: bytes, now: bytes, choose: random.Random) -> bytes:
    """Return the durable `kept` and some of what was done to it since."""
    if not now.startswith(kept):
        return now if choose.random() < 0.5 else kept  # it was cut, and that reached the disk
    tail = now[len(kept) :]
    written = choose.choice((0, len(tail), choose.randint(0, len(tail))))
    zeros = choose.choice((0, 0, len(tail) - written))  # the length got there, the bytes did not
    return kept + tail[:written] + bytes(zeros)


class Steps:
    """Counts steps, and at one of them leaves what would survive and kills this process."""

    def __init__(
        self,
        kill_at: int | None,
        platter: Platter,
        survivor: Path | None,
        choose: random.Random,
        calls_only: bool = False,
    ) -> None:
        self.done = 0
        self.calls = 0
        self._kill_at = kill_at
        self._platter = platter
        self._survivor = survivor
        self._choose = random.Random(choose.random())
        self._calls_only = calls_only

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what runs in this block."""
        changed: Any = os
        real = {name: getattr(os, name) for name in _CALLS}
        for name, call in real.items():
            setattr(changed, name, self._around(name, call))
        sys.settrace(None if self._calls_only else self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
            for name, call in real.items():
                setattr(changed, name, call)

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._call()
            result = call(*arguments, **options)
            if name == "fsync":
                self._platter.synced(arguments[0])
            self._call()
            return result

        return counted

    def _call(self) -> None:
        self.calls += 1
        self._step()

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
                self._platter.leave(self._survivor, self._choose)
            os.kill(os.getpid(), signal.SIGKILL)


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
    steps = _measured(pool, folder / "measured", choose).steps
    while tally.schedules < count:
        life = folder / f"life-{tally.schedules}"
        desk = CrashDesk(copy_of(pool, life / "pool"), life / "desk", choose, steps=steps)
        for _ in range(min(LIFE, count - tally.schedules)):
            at = choose.randint(1, desk.steps) if choose.random() < 0.9 else None
            desk.run(tally, kill_at=at, power_cut=choose.random() < 0.6)
        shutil.rmtree(life)
    return tally


def every_call(folder: Path, pool: Pool, *, stride: int = 1, seed: int = 2) -> Tally:
    """Die before and after each call to the system, with a power cut and without, on new desks.

    Each is the first start of a desk. The next two go on from what was left, and the power goes in
    the second of them: what the first left in memory, and nobody made durable, is lost there.

    Args:
        folder: an empty folder to work in.
        pool: a provisioned pool whose policy allows both `ADDRESSES`.
        stride: die at every so many calls only.
        seed: of what is random.
    """
    choose = random.Random(seed)
    tally = Tally()
    whole = _measured(pool, folder / "measured", choose)
    for at in range(1, whole.calls + 1, stride):
        for power_cut in (False, True):
            life = folder / f"life-{tally.schedules}"
            desk = CrashDesk(copy_of(pool, life / "pool"), life / "desk", choose)
            desk.run(tally, kill_at=at, power_cut=power_cut, calls_only=True)
            desk.run(tally, kill_at=None, power_cut=False)
            last = choose.randint(1, whole.calls)
            desk.run(tally, kill_at=last, power_cut=True, calls_only=True)
            desk.run(tally, kill_at=None, power_cut=False)
            shutil.rmtree(life)
    return tally


def _measured(pool: Pool, folder: Path, choose: random.Random) -> CrashDesk:
    """Return a desk that lived through one whole schedule and knows how many steps that has."""
    desk = CrashDesk(copy_of(pool, folder / "pool"), folder / "desk", choose)
    desk.run(Tally(), kill_at=None, power_cut=False)
    return desk

"""kill -9, power cuts and full disks in a ceremony: the same bytes again, and it ends well."""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.ceremony.steps import ACTIVATE
from signer.custody.ceremony_folder import CeremonyFolder
from signer.errors import OutputError
from signer.strict import parse_base64
from signer.testing.ceremony import Ceremony
from signer.testing.pool import Pool
from tests.faults.crash import Platter, Steps
from tests.simulators.ceremony import Gathering
from tests.simulators.ceremony_desk import Room
from tests.simulators.gathered import copied
from tests.simulators.holders import NOW

STAGES = ["deal", "agree", "acknowledge"]
STRIDE = {"deal": 1, "agree": 5, "acknowledge": 7}  # of calls; odd: before one, after another


def payloads(usb: Path, member: int) -> dict[str, bytes]:
    """Return what a member has signed and shown: the payload of each of his files, by its name."""
    found: dict[str, bytes] = {}
    for path in usb.glob(f"*-{member:02}*.json"):
        value = json.loads(path.read_bytes())
        signed = value.get("signed", value)
        payload = parse_base64(signed["payload"], "payload", max_bytes=2**20)
        kind = path.name.partition("-")[0]
        assert found.setdefault(kind, payload) == payload, f"two different files: {path.name}"
    return found


class Crashing:
    """A ceremony of two in memory, where member 1 is about to take one step."""

    def __init__(self, stage: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.place = folder
        self.room = Room.open(Gathering.dkg(2, 2), folder / "first", patch, os.urandom)
        rounds = STAGES.index(stage)
        for _ in range(rounds):
            for member in (1, 2):
                self.room.next(member)
        assert rounds == 0 or self.room.runner(1).look().name == stage
        self.begun = self.room.path

    def live(
        self, name: str, kill_at: int | None, *, power_cut: bool, choose: random.Random
    ) -> int:
        """Take the step in a child that dies; return how many calls it made, if it lived."""
        self.room.path = self.place / name
        shutil.copytree(self.begun, self.room.path)
        desk, account = self.room.desk(1), self.place / f"{name}.account"
        platter = Platter(self.place / f"{name}.platter", desk)
        survivor = self.place / f"{name}.survivor"
        account.touch()
        steps = Steps(kill_at, platter, survivor if power_cut else None, choose, calls_only=True)
        write, descriptor = os.write, os.open(account, os.O_WRONLY)
        child = os.fork()
        if child == 0:
            try:
                with steps.counted():
                    self.room.next(1)
                write(descriptor, b"%d" % steps.calls)
            finally:
                os._exit(0)
        os.close(descriptor)
        os.waitpid(child, 0)
        if survivor.exists():
            shutil.rmtree(desk)
            survivor.rename(desk)
        return int(account.read_bytes() or b"0")

    def ends_well(self) -> None:
        """Go on from what is left; nobody may have signed two things."""
        shown = payloads(self.room.usb, 1)
        told: list[str] = []
        for _ in range(5):
            told = [self.room.next(member).after.name for member in (1, 2)]
        assert told == [ACTIVATE] * 2
        assert shown.items() <= payloads(self.room.usb, 1).items()
        board = CeremonyFolder(self.room.usb).board(self.room.gathering.setting, NOW)
        assert board.certified
        assert not board.problems


@pytest.mark.case("H1", "kill -9 before and after each call to the system of a ceremony's step")
@pytest.mark.case("H2", "power cut at each call to the system of a ceremony's step")
@pytest.mark.parametrize("stage", STAGES)
def test_a_crash_at_every_call(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = random.Random(7)
    crashing = Crashing(stage, tmp_path, monkeypatch)
    calls = crashing.live("whole", None, power_cut=False, choose=choose)
    assert calls > 10
    crashing.ends_well()
    exported = 0
    for number, at in enumerate(range(1, calls + 1, STRIDE[stage])):
        assert not crashing.live(str(at), at, power_cut=number % 3 > 0, choose=choose)
        exported += len(payloads(crashing.room.usb, 1))
        crashing.ends_well()
        shutil.rmtree(crashing.room.path)
    assert exported


@contextlib.contextmanager
def full_disk(count: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the disk be full from the `count`-th fsync on, in this block."""
    left, real = [count], os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with patch.context() as inner:
        inner.setattr(os, "fsync", fsync)
        yield


@contextlib.contextmanager
def said() -> Iterator[list[OutputError]]:
    """Take what the disk's refusal is told as, if it is told."""
    errors: list[OutputError] = []
    try:
        yield errors
    except OutputError as error:
        errors.append(error)


@pytest.mark.case("F21", "disk full at any write of a ceremony's step")
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = Crashing(stage, tmp_path, monkeypatch)
    refused = 0
    for at in range(1, 20):
        crashing.room.path = tmp_path / f"full-{at}"
        shutil.copytree(crashing.begun, crashing.room.path)
        with full_disk(at, monkeypatch), said() as errors:
            crashing.room.next(1)
        assert all("no space left" in error.message for error in errors)
        refused += len(errors)
        crashing.ends_well()
        if refused < at:
            break
    assert refused >= 3


# The commands themselves, with tokens


@pytest.fixture(scope="module")
def pair(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    folder = tmp_path_factory.mktemp("crash") / "p"
    pool = Pool.with_tokens(folder, ["Ada", "Ben"])
    pool.write_policy(more="drill: {every: 30d}")
    ceremony = Ceremony(pool, folder / "dkg", pool.holders)
    ceremony.new("dkg", pool.holders, 2, "--network", "mainnet", "--name", "stakers")
    for holder in pool.holders:
        ceremony.join(holder)
    return ceremony


def killed(ceremony: Ceremony, after: float) -> None:
    """Run Ada's `next` and kill it, worker and all, some seconds after it began."""
    ada = ceremony.pool.holders[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "signer", "ceremony", "next", str(ceremony.folder), "--state",
         str(ceremony.state(ada)), *ada.token_options],
        env=ada.token.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.softhsm
@pytest.mark.timeout(300)
@pytest.mark.case("H1", "kill -9 of `signer ceremony next` and its worker, at random moments")
@pytest.mark.parametrize("seed", range(2))
def test_kill_the_command(pair: Ceremony, tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    with copied(pair, tmp_path / "p") as ceremony:
        ada, ben = ceremony.pool.holders
        shown: dict[str, Any] = {}
        for _ in range(3):
            for _ in range(2):
                killed(ceremony, choose.uniform(0.05, 0.9))
                seen = payloads(ceremony.folder, 1)
                assert shown.items() <= seen.items()
                shown |= seen
            assert ceremony.next(ada)["next"] != "aborted"
            ceremony.next(ben)
        ceremony.run("activate")
        assert shown.items() <= payloads(ceremony.folder, 1).items()
        assert len(list(ceremony.folder.glob("deal-01*.json"))) == 1

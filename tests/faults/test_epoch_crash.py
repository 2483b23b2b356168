"""kill -9 and power cuts at every call to the system while a journal goes on with a new epoch."""

import os
import random
import shutil
from pathlib import Path

import pytest

from signer.custody.journal import Journal
from signer.custody.journal_backup import verify_journal
from signer.custody.record import Record
from signer.errors import JournalError
from signer.messages.group_file import GroupFile
from signer.messages.items import Change
from tests.faults.crash import Platter, Steps
from tests.simulators.holders import ADDRESS, NOW, SimulatedPool

FIRST = SimulatedPool.new().group
NEXT = SimulatedPool.new(epoch=2).group


def opened(state: Path, group: GroupFile) -> Journal:
    return Journal.open(state / "journal.jsonl", group, 1, clock=lambda: NOW)


def lived(folder: Path, kill_at: int | None, choose: random.Random, *, power_cut: bool) -> bool:
    """Open the journal of epoch 1 for epoch 2 in a child that dies; tell whether it got through."""
    state, account = folder / "state", folder / "account"
    state.mkdir(mode=0o700, parents=True)
    with opened(state, FIRST) as journal:
        journal.require_policy(2, bytes(32))
        journal.intent(bytes(32), [Change(1, ADDRESS)], 0)
    platter = Platter(folder / "platter", state)
    survivor = folder / "survivor"
    steps = Steps(kill_at, platter, survivor if power_cut else None, choose, calls_only=True)
    account.touch()
    child = os.fork()
    if child == 0:
        descriptor, write = os.open(account, os.O_WRONLY), os.write
        try:
            with steps.counted(), opened(state, NEXT) as journal:
                write(descriptor, b"open")  # from here on shares of epoch 2 may sign
                journal.require_policy(0, bytes(32))
                write(descriptor, b" %d" % steps.calls)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if survivor.exists():
        shutil.rmtree(state)
        survivor.rename(state)
    return bool(account.read_bytes())


def kinds_of(state: Path) -> list[str]:
    kinds: list[str] = []

    def see(record: Record, _: bytes) -> None:
        kinds.append(record.kind)

    verify_journal(state / "journal.jsonl", each=see)
    return kinds


@pytest.mark.case("X628", "kill -9 and power cut while a journal goes on with a new epoch")
def test_a_crash_forgets_no_epoch_and_no_binding(tmp_path: Path) -> None:
    choose = random.Random(3)
    assert lived(tmp_path / "whole", None, choose, power_cut=False)
    calls = int((tmp_path / "whole" / "account").read_bytes().split()[1])
    assert calls > 8
    through = 0
    for at in range(1, calls + 1):
        for trial, power_cut in enumerate((False, True, True, True)):
            folder = tmp_path / f"{at}-{trial}"
            state = folder / "state"
            if lived(folder, at, choose, power_cut=power_cut):
                through += 1
                with pytest.raises(JournalError) as refused:
                    opened(state, FIRST)
                assert refused.value.code == "E_EPOCH"
            with opened(state, NEXT) as journal:
                journal.require_policy(0, bytes(32))
                assert journal.address_of(1) == ADDRESS
                assert journal.generation.needs_history
            assert kinds_of(state) == ["OPENED", "POLICY", "INTENT", "EPOCH", "POLICY"]
    assert 0 < through < 4 * calls

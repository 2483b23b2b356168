"""The journal against a plain dict, through any order of requests, failures, crashes, restarts."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signer.custody.journal import Journal
from signer.errors import JournalError
from signer.messages.address import ExecutionAddress
from signer.messages.group_id import Certified
from signer.messages.items import Change
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

CERTIFIED = Certified(bytes(32), bytes(32))
GROUP = SimulatedPool.new(2, 2).group
LAST_EPOCH = 5
ITEMS = st.lists(
    st.builds(Change, st.integers(0, 6), st.sampled_from([ADDRESS, OTHER])),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item[0],
)


class JournalStates(RuleBasedStateMachine):
    """`bound` is what an honest journal must know; `intents` are those not ended yet."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "journal.jsonl"
        self.bound: dict[int, ExecutionAddress] = {}
        self.intents: list[int] = []
        self.records = 1
        self.epoch = 1
        self.policy: tuple[int, bytes] | None = None
        self.journal = self.open()

    def open(self, epoch: int | None = None) -> Journal:
        group = (
            GROUP
            if (epoch or self.epoch) == 1
            else replace(GROUP, epoch=epoch or self.epoch, certified=CERTIFIED)
        )
        return Journal.open(self.path, group, 1, clock=lambda: NOW)

    @rule(items=ITEMS)
    def intent(self, items: list[Change]) -> None:
        allowed = all(self.bound.get(v, address) == address for v, address in items)
        try:
            self.intents.append(self.journal.intent(bytes(32), items, 0))
        except JournalError:
            assert not allowed
            return
        assert allowed
        self.bound.update(items)
        self.records += 1

    @precondition(lambda self: self.intents)
    @rule(good=st.booleans())
    def end(self, good: bool) -> None:
        number = self.intents.pop()
        if good:
            self.journal.released(number, [bytes(96)])
        else:
            self.journal.failed(number, "E_WORKER")
        self.records += 1

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = self.open()
        assert not self.journal.torn

    @precondition(lambda self: self.epoch < LAST_EPOCH)
    @rule(steps=st.integers(1, 2))
    def next_epoch(self, steps: int) -> None:
        self.journal.close()
        self.epoch += steps
        self.journal = self.open()
        self.policy = None
        assert self.journal.generation.needs_history
        self.journal.imported([], None, {2: bytes(32)})
        self.records += 2

    @precondition(lambda self: self.epoch > 1)
    @rule(data=st.data())
    def earlier_epoch(self, data: st.DataObject) -> None:
        """Put back the papers of an earlier epoch: nothing opens, nothing is written."""
        self.journal.close()
        before = self.path.read_bytes()
        with pytest.raises(JournalError) as refused:
            self.open(data.draw(st.integers(1, self.epoch - 1)))
        assert refused.value.code == "E_EPOCH"
        assert self.path.read_bytes() == before
        self.journal = self.open()

    @precondition(lambda self: self.epoch < LAST_EPOCH)
    @rule(part=st.floats(0.01, 0.98))
    def crash_in_a_new_epochs_first_record(self, part: float) -> None:
        """Cut the record of an EPOCH: the earlier shares are still those of this journal."""
        self.journal.close()
        before = self.path.read_bytes()
        self.open(self.epoch + 1).close()
        line = self.path.read_bytes()[len(before) :]
        self.path.write_bytes(before + line[: max(1, int(part * len(line)))])
        self.journal = self.open()
        assert self.journal.torn
        assert self.path.read_bytes() == before

    @rule(number=st.integers(0, 2))
    def follow_policy(self, number: int) -> None:
        known = self.policy
        try:
            self.journal.require_policy(number, bytes([number]) * 32)
        except JournalError:
            assert known is not None
            assert known[0] > number
            return
        assert known is None or known[0] <= number
        self.records += known is None or known[0] < number
        self.policy = number, bytes([number]) * 32

    @rule(items=ITEMS, part=st.floats(0.01, 0.98))
    def crash_in_mid_write(self, items: list[Change], part: float) -> None:
        """Cut the record of an INTENT that no fsync has confirmed."""
        before = self.path.read_bytes()
        try:
            self.journal.intent(bytes(32), items, 0)
        except JournalError:
            return
        self.journal.close()
        line = self.path.read_bytes()[len(before) :]
        keep = max(1, int(part * len(line)))
        self.path.write_bytes(before + line[:keep])
        self.journal = self.open()
        assert self.journal.torn
        assert self.path.read_bytes() == before

    @invariant()
    def knows_what_was_bound_and_no_more(self) -> None:
        assert {v: self.journal.address_of(v) for v in range(7)} == {
            v: self.bound.get(v) for v in range(7)
        }
        assert self.journal.sequence == self.records
        assert (self.journal.epoch, self.journal.generation.policy) == (self.epoch, self.policy)
        assert not self.journal.generation.needs_history

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


JournalStates.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_the_journal_is_a_dict_that_forgets_nothing = JournalStates.TestCase

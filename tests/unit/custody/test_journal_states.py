"""The journal against a plain dict, through any order of requests, failures, crashes, restarts."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signer.custody.journal import Journal
from signer.errors import JournalError
from signer.messages.address import ExecutionAddress
from signer.messages.items import Change
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

GROUP = SimulatedPool.new(2, 2).group
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
        self.journal = self.open()

    def open(self) -> Journal:
        return Journal.open(self.path, GROUP, 1, clock=lambda: NOW)

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

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


JournalStates.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_the_journal_is_a_dict_that_forgets_nothing = JournalStates.TestCase

"""A short form of what `make faults` does at length."""

from pathlib import Path

import pytest

from signer.testing.pool import Pool
from tests.faults.crash import crash_schedules, every_call


@pytest.mark.case("H1", "kill -9 at a random step of a signature, on a desk with a past")
@pytest.mark.case("H2", "power cut: what was not fsynced is gone, or half of it")
def test_no_crash_forgets_a_binding(provisioned: Pool, tmp_path: Path) -> None:
    tally = crash_schedules(40, tmp_path / "crashes", provisioned)
    assert tally.lost == []
    assert tally.two_targets == set()
    assert tally.schedules == 40
    assert tally.killed > 15
    assert tally.power_cuts > 8
    assert set(tally.ends) <= {"signed", "denied"}
    assert tally.signed > 0


@pytest.mark.case("X473", "kill -9 at the first start, then a power cut at the second")
def test_what_a_dead_process_left_in_memory_is_made_durable(
    provisioned: Pool, tmp_path: Path
) -> None:
    tally = every_call(tmp_path / "calls", provisioned, stride=4)
    assert tally.lost == []
    assert tally.two_targets == set()
    assert tally.killed > 10
    assert tally.signed > 10

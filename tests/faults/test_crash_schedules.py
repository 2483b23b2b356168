"""A short form of what `make faults` does at length."""

from pathlib import Path

import pytest

from signer.testing.pool import Pool
from tests.faults.crash import crash_schedules


@pytest.mark.case("H1", "kill -9 at a random step of a signature, on a desk with a past")
@pytest.mark.case("H2", "power cut: what was not fsynced is gone, or half of it")
def test_no_crash_forgets_a_binding(provisioned: Pool, tmp_path: Path) -> None:
    tally = crash_schedules(60, tmp_path / "crashes", provisioned)
    assert tally.lost == []
    assert tally.two_targets == set()
    assert tally.schedules == 60
    assert tally.killed > 20
    assert tally.power_cuts > 10
    assert set(tally.ends) <= {"signed", "denied"}
    assert tally.signed > 0

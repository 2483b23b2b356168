"""The long run in short: `make long-run` takes half an hour of the same."""

import pytest

from tests.plugin.long_run import long_run

SECONDS = 20


@pytest.mark.slow
@pytest.mark.softhsm
@pytest.mark.timeout(180)
@pytest.mark.case(
    "X747", "five agents on tokens that misbehave by chance: named, counted, outlived"
)
def test_a_storm_over_five_agents(
    softhsm_here: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = long_run(tmp_path_factory.mktemp("run"), seconds=SECONDS, seed=1)
    assert report.wrong == []
    assert report.signed > 0
    assert report.partials > 100
    assert len(report.faults) >= 8  # kinds that happened
    assert len(report.codes) >= 3  # kinds of trouble that were told

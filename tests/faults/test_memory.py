"""A short form of what `make faults` does at length."""

import pytest

from signer.testing.pool import Pool
from tests.faults.memory import growth, log_is_calm


@pytest.mark.case("X470", "hundreds of requests in a row, good, denied and malformed")
def test_an_agent_does_not_grow(pool: Pool) -> None:
    holder = pool.holders[0]
    pool.start_agent(holder)
    try:
        memory, descriptors = growth(pool, 1200, 12, 400)
    finally:
        pool.stop_agent(holder)
    assert memory < 5
    assert descriptors <= 0
    assert log_is_calm(holder)

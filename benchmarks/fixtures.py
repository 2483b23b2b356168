"""What the fixtures of the pytest plugin cost, by the clock: the first pool of a test run, cold."""

import statistics
import time
from pathlib import Path

from signer.testing.mint import TokenMint
from signer.testing.running import RunningPool

_TOKENS = 50
_POOLS = 3


def token_milliseconds(folder: Path) -> float:
    """Return the median time that `softhsm_tokens` takes for a token without keys."""
    mint = TokenMint(folder / "mint")
    spent = []
    for number in range(_TOKENS):
        start = time.perf_counter()
        mint.token(folder / f"token-{number}", f"token-{number}")
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent)


def pool_seconds(folder: Path) -> float:
    """Return the median time that `signer_pool(3, 5)` takes until all agents listen."""
    spent = []
    for number in range(_POOLS):
        start = time.monotonic()
        mint = TokenMint(folder / f"mint-{number}")
        pool = RunningPool.make(folder / str(number), mint, 3, 5)
        spent.append(time.monotonic() - start)
        pool.close()
    return statistics.median(spent)

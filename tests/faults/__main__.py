"""`make faults`: the long form. Writes what came of it, and fails where a target is missed."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from signer.testing.pool import TEST_ADDRESS, Pool
from tests.faults.crash import ADDRESSES, crash_schedules, every_call
from tests.faults.memory import growth, log_is_calm
from tests.faults.rollback import rollback_trials


def main() -> int:
    """Run everything and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="signer-faults-") as name:
        folder = Path(name)
        pool = Pool.with_tokens(folder / "pool", ["Ada", "Ben"])
        pool.write_policy(list(dict.fromkeys((TEST_ADDRESS, *ADDRESSES))))
        pool.split(2)
        print(f"crash schedules: {options.schedules}", flush=True)
        tally = crash_schedules(options.schedules, folder / "crashes", pool)
        print("a death before and after every call to the system", flush=True)
        calls = every_call(folder / "calls", pool)
        for line in tally.lost + calls.lost:
            print(f"  LOST {line}")
        print(f"rollback trials: {options.trials}", flush=True)
        trials, detected = rollback_trials(options.trials, folder / "rollbacks")
        print(f"requests to one agent: {options.requests}", flush=True)
        with pool:
            holder = pool.holders[0]
            pool.start_agent(holder)
            settled = options.requests // 10
            memory, descriptors = growth(pool, options.requests, options.requests // 20, settled)
            calm = log_is_calm(holder)
    results = {
        "crash_schedules": tally.schedules,
        "crash_killed": tally.killed,
        "crash_power_cuts": tally.power_cuts,
        "call_schedules": calls.schedules,
        "call_killed": calls.killed,
        "crash_lost": len(tally.lost) + len(calls.lost),
        "two_targets": len(tally.two_targets | calls.two_targets),
        "rollback_trials": trials,
        "rollback_detected": detected,
        "requests": options.requests,
        "rss_growth_mb": round(memory, 2),
        "fd_growth": descriptors,
        "seconds": round(time.monotonic() - started),
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    good = (
        not tally.lost and not tally.two_targets and tally.schedules >= 500
        and not calls.lost and not calls.two_targets and detected == trials
        and memory < 5 and descriptors <= 0 and calm
    )  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

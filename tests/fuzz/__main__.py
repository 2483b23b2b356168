"""`make fuzz`: each parser for its part of the time, guided by coverage; then the agent's API.

Every target runs in a process of its own. An input that breaks one is left in tests/fuzz/crashers/,
which `make test` replays.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import targets

HERE = Path(__file__).resolve().parent
CRASHERS = HERE / "crashers"


def run(target: str, seconds: int, crashers: Path = CRASHERS) -> "subprocess.CompletedProcess[str]":
    """Fuzz one target for so many seconds; status 0 is that nothing was found."""
    with tempfile.TemporaryDirectory(prefix="signer-fuzz-") as corpus:
        for number, seed in enumerate(targets()[target].seeds):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        crashers.mkdir(exist_ok=True)
        prefix = f"{crashers}/{target.replace(' ', '-')}-"
        return subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", target, corpus,
             f"-max_total_time={seconds}", "-max_len=16384", "-rss_limit_mb=2048", "-timeout=20",
             f"-artifact_prefix={prefix}", "-verbosity=0", "-print_final_stats=1"],
            cwd=HERE.parent.parent, capture_output=True, text=True, check=False,
            timeout=seconds + 120,
        )  # fmt: skip


def main() -> int:
    """Share the time out, run everything, say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all of it together")
    options = parser.parse_args()
    from tests.fuzz.api import examine

    broken = []
    for target in targets():
        share = max(1, options.seconds * 9 // 10 // len(targets()))
        done = run(target, share)
        units = [line for line in done.stderr.splitlines() if "number_of_executed" in line]
        print(f"{target:<12} {share:>4} s  {units[0].split()[-1] if units else '?'} inputs",
              "ok" if done.returncode == 0 else "BROKEN", flush=True)  # fmt: skip
        if done.returncode != 0:
            broken.append(target)
            print(done.stdout[-2000:], done.stderr[-2000:])
    cases = examine(max_examples=max(10, options.seconds // 6))
    print(f"the agent's API: {cases} requests ok")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

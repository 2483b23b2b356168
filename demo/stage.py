"""What both demos stand on: their option, a folder gone afterwards, one line if they fail."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from signer.errors import SignerError
from signer.testing.pool import CommandFailedError


def main(program: str, about: str | None, run: Callable[[Path, Path], int]) -> int:
    """Run a demo in a folder of its own; `run(folder, out)` leaves its results in --out."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out.absolute()
    with tempfile.TemporaryDirectory(prefix="signer-demo-") as folder:
        try:
            return run(Path(folder), out)
        except (SignerError, CommandFailedError) as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1

"""The `signer` command in this process: what a person sees of it, without a new Python each time.

What touches a token is a worker's process of its own all the same.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from signer.cli.main import main
from signer.testing.pool import CommandFailedError, Holder, Pool


class PoolHere(Pool):
    """A pool whose commands run in this process."""

    def run(
        self, *arguments: str | Path, holder: Holder | None = None, expect: int | None = 0
    ) -> "subprocess.CompletedProcess[str]":
        """Run one `signer` command. Raises as `Pool.run`."""
        environment = holder.token.environment if holder else dict(os.environ)
        done = signer(*map(str, arguments), environment=environment)
        if expect is not None and done.returncode != expect:
            words = " ".join(map(str, arguments[:2]))
            raise CommandFailedError(
                f"signer {words} ended with {done.returncode}, not {expect}:\n{done.stderr}"
            )
        return done


def signer(*arguments: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run one `signer` command: its exit status, and what it wrote."""
    out, err, status = io.StringIO(), io.StringIO(), -1
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", ["signer", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

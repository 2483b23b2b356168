"""Daemons that a module needs: our children, ended by their process ids whatever happens."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_SECONDS = 30


class NotReadyError(RuntimeError):
    """A daemon that ended, or did not become ready in time."""


@contextlib.contextmanager
def daemon(
    command: list[str],
    ready: Callable[[], bool],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `command` in the foreground, as a child that the kernel ends if we are killed.

    Raises:
        NotReadyError: `ready` did not become true; with the end of what it said.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + _SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-500:]
                raise NotReadyError(f"{command[0]} is not ready: {said}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end; return what it said.

    Raises:
        NotReadyError: it failed.
    """
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotReadyError(f"{command[0]} failed: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout + done.stderr

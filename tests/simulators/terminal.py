"""A person at a terminal: runs a command on one of its own and answers its prompts.

The terminal is made in a process of its own (`python -m tests.simulators.terminal`), so the tests'
process never forks by hand.
"""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """What the person saw, and how the command ended."""

    status: int
    screen: str
    stdout: str


def at_terminal(
    arguments: Sequence[str | Path],
    answers: Sequence[tuple[str, str]],
    environment: Mapping[str, str],
) -> Seen:
    """Run `signer` with `arguments`; when a prompt's words are on the screen, type the answer.

    Standard output goes elsewhere, as with `signer … > file`; the screen shows the rest.
    """
    order = json.dumps({"arguments": [str(a) for a in arguments], "answers": answers})
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulators.terminal"],
        input=order,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    return Seen(**json.loads(done.stdout))


def _act(arguments: list[str], answers: list[tuple[str, str]]) -> Seen:
    read_end, write_end = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        os.dup2(write_end, 1)
        os.execv(sys.executable, [sys.executable, "-m", "signer", *arguments])
    os.close(write_end)
    screen, stdout = b"", b""
    waiting, answered = list(answers), 0
    deadline = time.monotonic() + _SECONDS
    open_ends = {terminal, read_end}
    while open_ends and time.monotonic() < deadline:
        ready, _, _ = select.select(list(open_ends), [], [], 1)
        for end in ready:
            try:
                data = os.read(end, 65536)
            except OSError:  # the terminal's other side is gone
                data = b""
            if not data:
                open_ends.discard(end)
            elif end == terminal:
                screen += data
            else:
                stdout += data
        if waiting and (found := screen.find(waiting[0][0].encode(), answered)) >= 0:
            answered = found + len(waiting[0][0])
            os.write(terminal, waiting.pop(0)[1].encode())
    if open_ends:
        os.kill(pid, signal.SIGKILL)  # it outlived its time
    _, status = os.waitpid(pid, 0)
    return Seen(os.waitstatus_to_exitcode(status), screen.decode(), stdout.decode())


if __name__ == "__main__":
    order = json.loads(sys.stdin.read())
    print(json.dumps(vars(_act(order["arguments"], order["answers"]))))

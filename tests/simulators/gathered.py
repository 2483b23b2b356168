"""A pool whose holders have joined a ceremony and dealt, but for one; and copies of it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from signer.testing.ceremony import Ceremony
from signer.testing.pool import Pool
from tests.conftest import copy_of

NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve"]
CHEATER = 5  # Eve


def gathered(folder: Path) -> Ceremony:
    """Begin a DKG, 3 of 5, in which all but Eve have dealt."""
    pool = Pool.with_tokens(folder, NAMES)
    pool.write_policy(more="drill: {every: 30d}")
    ceremony = Ceremony(pool, folder / "dkg", pool.holders)
    ceremony.new("dkg", pool.holders, 3, "--network", "mainnet", "--name", "stakers")
    for holder in pool.holders:
        ceremony.join(holder)
    for holder in pool.holders[:-1]:
        ceremony.next(holder)
    return ceremony


@contextmanager
def copied(ceremony: Ceremony, folder: Path) -> Iterator[Ceremony]:
    """Yield a copy that the test may do anything to."""
    before = ceremony.pool.folder

    def moved(path: Path) -> Path:
        return folder / path.relative_to(before)

    with copy_of(ceremony.pool, folder) as pool:
        yield Ceremony(
            pool,
            moved(ceremony.folder),
            [pool.holders[holder.index - 1] for holder in ceremony.people],
            {index: moved(path) for index, path in ceremony.cards.items()},
            {
                index: [moved(part) if isinstance(part, Path) else part for part in options]
                for index, options in ceremony.options.items()
            },
            {index: moved(path) for index, path in ceremony.groups.items()},
        )


def cheats(ceremony: Ceremony, cheat: str, holder: int = CHEATER, victim: int = 2) -> list[str]:
    """Let a holder do what he can do now, as `tests.hostile.holder` does it."""
    who = ceremony.pool.holders[holder - 1]
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.holder", cheat, "--folder", str(ceremony.folder),
         "--card", str(ceremony.card_of(who)), "--victim", str(victim), *who.token_options,
         *map(str, ceremony.options.get(holder, ()))],
        env=who.token.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def told(ceremony: Ceremony, holder: int, *more: str | Path) -> tuple[int, dict[str, Any], str]:
    """Run `next` for a holder: its status, what it printed, and its error."""
    who = ceremony.pool.holders[holder - 1]
    done = ceremony.pool.run(
        "ceremony", "next", ceremony.folder, "--state", ceremony.state(who), *who.token_options,
        *ceremony.options.get(holder, ()), *more, "--json", holder=who, expect=None,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    value = json.loads(done.stdout) if done.stdout.strip() else {}
    # Everybody always gives all his options; which of them a step has no use for is only told.
    error = re.sub(r"\Anot used in this step: [^\n]*\n", "", done.stderr)
    return done.returncode, dict(value), error


def status(ceremony: Ceremony) -> dict[str, Any]:
    """Return what `status --json` says."""
    shown = ceremony.pool.run("ceremony", "status", ceremony.folder, "--json").stdout
    return dict(json.loads(shown))


def all_are_told(ceremony: Ceremony, holders: Iterable[int], *words: str) -> dict[str, Any]:
    """Expect `next` of each holder and `verify` to end with these words; return the status."""
    for holder in holders:
        ended, value, error = told(ceremony, holder)
        assert (ended, value["next"], value["new_files"]) == (1, "aborted", []), (value, error)
        _one_line("E_ABORTED", error, words)
    verified = ceremony.pool.run("ceremony", "verify", ceremony.folder, expect=1)
    _one_line("E_ABORTED", verified.stderr, words)
    shown = status(ceremony)
    assert shown["aborted"]
    return shown


def _one_line(code: str, error: str, words: Iterable[str]) -> None:
    assert error.startswith(f"{code}: "), error
    assert error.count("\n") == 1, error
    for word in words:
        assert word in error, error

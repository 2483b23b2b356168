"""Honest proposals of each kind of ceremony, which nobody has joined, and lies made of them."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from signer.messages.card import fingerprint
from signer.strict import canonical
from signer.testing.ceremony import Ceremony
from signer.testing.pool import Pool
from tests.simulators.begun import NAMES, propose_repair, propose_reshare, propose_split
from tests.simulators.finished import finished

KINDS: dict[str, Callable[[Pool], Ceremony]] = {
    "dkg": lambda pool: propose_dkg(pool),
    "split": propose_split,
    "reshare": propose_reshare,
    "repair": propose_repair,
}


def propose_dkg(pool: Pool) -> Ceremony:
    """Propose to generate a key, 2 of 3."""
    members = pool.holders[:3]
    ceremony = Ceremony(pool, pool.folder / "dkg", members)
    ceremony.new("dkg", members, 2, "--network", "mainnet", "--name", "stakers")
    return ceremony


def proposed(folder: Path) -> dict[str, Ceremony]:
    """Propose a ceremony of each kind to the same holders; lay what a liar would in lies-KIND."""
    pool = finished(folder, NAMES, 2, more=1)
    made = {kind: propose(pool) for kind, propose in KINDS.items()}
    for kind, ceremony in made.items():
        subprocess.run(
            [sys.executable, "-m", "tests.hostile.organiser", str(ceremony.folder), "--old-card",
             str(pool.holders[0].card), "--out", str(folder / f"lies-{kind}")],
            check=True, timeout=60,
        )  # fmt: skip
    return made


def heard(folder: Path) -> str:
    """Return the fingerprint that is read aloud of whatever roster lies there."""
    value = json.loads((folder / "roster.json").read_bytes())
    return fingerprint(hashlib.sha256(canonical(value)).digest())

"""Who convenes a ceremony, and lies in what he proposes.

    python -m tests.hostile.organiser FOLDER --old-card CARD --out OUT

FOLDER is an honest proposal. Of each of his lies about that kind of ceremony he makes OUT/LIE, a
folder as he would hand it to the first who joins, whose earlier card is CARD. He has no keys but
those of accomplices whom he invents.
"""

import argparse
import json
from pathlib import Path

from signer.strict import canonical
from tests.hostile.lies import LIES, Proposal


def main() -> None:
    """Lay a folder for each lie."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("--old-card", "--out"):
        parser.add_argument(name, type=Path, required=True)
    chosen = parser.parse_args()
    kind = str(_read(chosen.folder, "roster.json").get("kind", "repair"))
    for name, lie in LIES[kind].items():
        proposal = Proposal(
            roster=_read(chosen.folder, "roster.json"),
            policy=_read(chosen.folder, "policy.json"),
            previous=_read(chosen.folder, "previous.json"),
            old_card=json.loads(chosen.old_card.read_bytes()),
        )
        lie(proposal)
        there = chosen.out / name
        there.mkdir(parents=True)
        for file, value in proposal.files().items():
            end = b" \n" if proposal.loose else b"\n"
            (there / file).write_bytes(canonical(value) + end)


def _read(folder: Path, name: str) -> dict[str, object]:
    path = folder / name
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


if __name__ == "__main__":
    main()

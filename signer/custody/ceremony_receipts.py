"""Who has destroyed the key of his old share, by the receipts in a ceremony's folder."""

import re

from signer.ceremony.board import Board, Problem
from signer.ceremony.certificate import certificate_digest
from signer.ceremony.destruction import KIND, open_destroyed
from signer.ceremony.statement import parse_statement
from signer.custody.ceremony_folder import CeremonyFolder
from signer.errors import SignerError

_NAME = re.compile(r"destroyed-(\d{1,3})(?:-[a-z0-9]{1,8})?\.json")


def destroyed_of(folder: CeremonyFolder, board: Board) -> frozenset[int]:
    """Return the old share indices whose key is gone; what does not hold becomes a problem."""
    old, outcome = board.setting.previous, board.outcome
    if old is None or outcome is None:
        return frozenset()
    found = set()
    for name, raw in folder.files().items():
        if (match := _NAME.fullmatch(name)) is None:
            continue
        index = int(match[1])
        try:
            if not 1 <= index <= old.threshold.n:
                raise SignerError(f"{name}: the old sharing has no share {index}")
            signed = parse_statement(raw, KIND, name)
            open_destroyed(signed, old, index, certificate_digest(outcome), name)
            found.add(index)
        except SignerError as error:
            board.problems.append(Problem(name, error.code, error.message))
    return frozenset(found)

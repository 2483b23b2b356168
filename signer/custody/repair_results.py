"""What goes by the name of a repair's result in its folder: the group file with the new card."""

from dataclasses import replace
from typing import NamedTuple

from signer.ceremony.repair_board import RepairBoard
from signer.custody.ceremony_folder import REPAIRED, CeremonyFolder
from signer.errors import InputError
from signer.messages.group_file import MAX_BYTES, GroupFile


class Results(NamedTuple):
    """File names, those of the result and those of something else."""

    good: tuple[str, ...]
    strange: tuple[str, ...]


def repaired_files(folder: CeremonyFolder, board: RepairBoard) -> Results:
    """Return which files in the folder are the repair's result, and which only go by its name.

    Nothing is, and nothing is strange, while the repair has not come about.
    """
    made = board.repaired
    if made is None:
        return Results((), ())
    good: list[str] = []
    strange: list[str] = []
    for name, raw in folder.copies(REPAIRED, MAX_BYTES):
        (good if _is_result(raw, made) else strange).append(name)
    return Results(tuple(good), tuple(strange))


def _is_result(raw: bytes, made: GroupFile) -> bool:
    """Tell whether it is this group file; its policy may have been amended since."""
    if raw == made.to_bytes():
        return True
    try:
        found = GroupFile.parse(raw, REPAIRED)
    except InputError:
        return False
    return (
        found.amendments[: len(made.amendments)] == made.amendments
        and replace(found, amendments=made.amendments) == made
    )

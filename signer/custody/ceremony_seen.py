"""The deals a desk has seen: kept when its holder has checked them, and handed on as evidence.

Who shows different deals to different people is named by whoever holds two of them. So a desk that
has seen another deal than the one in the folder puts what it saw there, under its second name.
"""

from collections.abc import Callable, Mapping

from signer.ceremony.board import Board, read_board
from signer.ceremony.bundle import Bundle
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_state import CeremonyState, file_name
from signer.errors import DealError

_SEEN = "seen-"
EQUIVOCATION = "E_DEAL_EQUIVOCATION"


def keep_seen(board: Board, desk: CeremonyState) -> None:
    """Keep every deal that its holder has just checked; of a bundle, what he has of each."""
    for dealer, deal in board.deals.items():
        desk.keep(f"{_SEEN}{file_name('deal', dealer)}", deal.to_bytes())
    if board.slim and board.reader is not None:
        bundle = Bundle(ceremony=board.setting.roster.id, index=board.reader,
                        deals=board.slim, bindings=board.bindings)  # fmt: skip
        desk.keep(f"{_SEEN}{file_name('bundle', board.reader)}", bundle.to_bytes())


def seen(desk: CeremonyState, *kinds: str) -> dict[str, bytes]:
    """Return what was seen, by the name it has in the ceremony's folder."""
    found = {}
    for kind in kinds:
        for path in sorted(desk.path.glob(f"{_SEEN}{kind}-*.json")):
            if (data := desk.get(path.name)) is not None:
                found[path.name.removeprefix(_SEEN)] = data
    return found


def beside(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files under names that a folder's own do not have."""
    return {name.replace(".json", "-seen.json"): data for name, data in files.items()}


def hand_on_deals(folder: CeremonyFolder, board: Board, desk: CeremonyState) -> list[str]:
    """Put what was seen of a dealer who signed two deals into the folder, if others see but one."""
    guilty = caught(board.faults, EQUIVOCATION)
    if guilty:
        guilty -= caught(read_board(board.setting, folder.files()).faults, EQUIVOCATION)
    shown = seen(desk, "deal", "bundle") if guilty else {}
    return hand_on(folder, shown, lambda name: bool(guilty & _dealers_in(name, shown[name])))


def hand_on(
    folder: CeremonyFolder, shown: Mapping[str, bytes], counts: Callable[[str], bool]
) -> list[str]:
    """Put those of the files that count into the folder; return the names of the new ones."""
    new = [folder.add(name, data) for name, data in shown.items() if counts(name)]
    return [name for name in new if name is not None]


def caught(faults: Mapping[int, DealError], code: str) -> set[int]:
    """Return who signed two different files, of all who are at fault."""
    return {number for number, error in faults.items() if error.code == code}


def number_in(name: str) -> int:
    """Return whose file it is: the number in a name that `file_name` made."""
    return int(name.removesuffix(".json").rpartition("-")[2])


def _dealers_in(name: str, data: bytes) -> set[int]:
    if name.startswith("bundle"):
        return set(Bundle.parse(data, name).deals)
    return {number_in(name)}

"""Read a repair's folder: every file checked, in its turn.

As `signer.ceremony.board`: a name says where to look, a signature says what a file is. A file that
does not hold is listed and as good as absent; a fault that a helper signed ends the repair. But
once all sums and the returning holder's proof hold over the same deltas, the repair stands:
whatever else somebody signs, or has signed, is listed as a problem and undoes nothing.
"""

import re
from collections.abc import Iterator, Mapping

from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.board import Problem
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_complaint import COMPLAINT, OPENING, open_complaint, open_opening
from signer.ceremony.repair_delta import DeltaFile, check_delta
from signer.ceremony.repair_proof import check_proof
from signer.ceremony.repair_replacement import check_replacement, parse_replacement
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_sigma import E_ZERO, SigmaFile, zero_refusal, zero_sums
from signer.ceremony.statement import parse_statement
from signer.errors import CeremonyError, DealError, SignerError

EQUIVOCATION = "E_REPAIR_EQUIVOCATION"
_NAME = re.compile(
    r"(?P<kind>delta|sigma|ack|complaint|opening|replacement)-(?P<first>\d{1,3})"
    r"(?:-(?:against|for)-(?P<second>\d{1,3}))?(?:-(?:copy|[a-z0-9]{1,8}))?\.json"
)


def read_repair(
    setting: RepairSetting, files: Mapping[str, bytes], *, late: bool = False
) -> RepairBoard:
    """Read the files of a folder, by name, in an order that does not matter."""
    settled = _settled(setting, files)
    if settled is not None:
        settled.late = late
        return settled
    board = RepairBoard(setting, late)
    _take_all(board, files, tuple(_TAKE))
    return board


def _named(files: Mapping[str, bytes], kind: str) -> Iterator[tuple[str, bytes, int, int]]:
    """Yield the files that a name says are of this kind, and the numbers in it."""
    for name in sorted(files):
        match = _NAME.fullmatch(name)
        if match is not None and match["kind"] == kind:
            yield name, files[name], int(match["first"]), int(match["second"] or 0)


def _take_all(board: RepairBoard, files: Mapping[str, bytes], kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        for name, raw, first, second in _named(files, kind):
            try:
                _TAKE[kind](board, name, raw, first, second)
            except DealError as error:
                board.faults.setdefault(error.dealer, error)
            except SignerError as error:
                board.problems.append(Problem(name, error.code, error.message))
        if kind == "delta" and not board.faults and not board.missing_deltas:
            board.zero = zero_sums(board.setting, board.deltas)
            if board.zero:
                board.stop = zero_refusal(board.setting, board.zero[0])


def _settled(setting: RepairSetting, files: Mapping[str, bytes]) -> RepairBoard | None:
    """Return the board of a repair whose sums and proof hold; None: there is none yet.

    The sums say which deltas they add up, so those are looked for. Of two repairs over different
    deltas both could only stand if every helper had signed two sums, an honest one among them.
    """
    kinds: tuple[str, ...] = ("delta", "sigma", "ack", "replacement")
    if not any(True for _ in _named(files, "ack")):
        return None
    wanted = _added_up_by_all(setting, files)
    for deltas in sorted(wanted):
        chosen = dict(files)
        for name, raw, helper, _ in _named(files, "delta"):
            if not _is_delta(setting, deltas, name, raw, helper):
                del chosen[name]
        for name, _, helper, _ in _named(files, "sigma"):
            if name not in wanted[deltas].get(helper, ()):
                del chosen[name]
        board = RepairBoard(setting)
        _take_all(board, chosen, kinds)
        if board.proof is None:  # none is taken but after every sum, and a fault leaves one out
            continue
        board.settled = True
        for kind in ("delta", "sigma", "complaint", "opening"):
            for name, *_ in _named(files, kind):
                if name not in chosen or kind in ("complaint", "opening"):
                    board.problems.append(Problem(name, "E_TRANSCRIPT", _TOO_LATE))
        return board
    return None


def _added_up_by_all(
    setting: RepairSetting, files: Mapping[str, bytes]
) -> dict[tuple[bytes, ...], dict[int, list[str]]]:
    """Return which deltas every helper has signed a sum of, and in which files."""
    sums: dict[tuple[bytes, ...], dict[int, list[str]]] = {}
    first: dict[tuple[tuple[bytes, ...], int], bytes] = {}
    for name, raw, helper, _ in sorted(_named(files, "sigma"), key=lambda found: len(found[0])):
        try:
            file = SigmaFile.parse(raw, name)
            body = file.opened(setting, helper, name)
        except SignerError:
            continue
        if first.setdefault((body.deltas, helper), file.digest) == file.digest:
            sums.setdefault(body.deltas, {}).setdefault(helper, []).append(name)
    need = set(map(int, setting.roster.helpers))
    return {deltas: names for deltas, names in sums.items() if set(names) == need}


def _is_delta(
    setting: RepairSetting, deltas: tuple[bytes, ...], name: str, raw: bytes, helper: int
) -> bool:
    try:
        position = setting.position_of(helper)
        return DeltaFile.parse(raw, name).digest == deltas[position]
    except (SignerError, IndexError):
        return False


def _delta(board: RepairBoard, name: str, raw: bytes, helper: int, _: int) -> None:
    setting = board.setting
    setting.position_of(helper)
    file = DeltaFile.parse(raw, name)
    checked = check_delta(file, setting, helper)
    if board.files.setdefault(helper, file).digest != file.digest:
        raise DealError(
            f"{setting.name_of(helper)} has signed two different sets of deltas",
            dealer=helper, code=EQUIVOCATION,
        )  # fmt: skip
    board.deltas[helper] = checked


def _sigma(board: RepairBoard, name: str, raw: bytes, helper: int, _: int) -> None:
    setting = board.setting
    setting.position_of(helper)
    file = SigmaFile.parse(raw, name)
    if board.transcript is None:
        raise CeremonyError(f"{name}: it is ahead of the deltas it adds up", code="E_EARLY")
    try:
        body = file.check(setting, helper, board.deltas, name)
    except CeremonyError as error:
        if error.code == "E_TRANSCRIPT":
            board.stop = board.stop or error
        raise
    if helper in board.zero:
        raise DealError(
            f"{setting.name_of(helper)} added up deltas that come to zero: he chose his own so",
            dealer=helper, code=E_ZERO,
        )  # fmt: skip
    known = board.sigmas.setdefault(helper, (file, body))
    if known[0].digest != file.digest:
        board.stop = board.stop or CeremonyError(
            f"{setting.name_of(helper)} has signed two different sums",
            code=EQUIVOCATION,
        )
        raise board.stop


def _ack(board: RepairBoard, name: str, raw: bytes, index: int, _: int) -> None:
    if index != board.setting.roster.lost:
        raise CeremonyError(f"{name}: nobody of this repair has this number")
    if board.transcript is None or board.missing_sigmas:
        raise CeremonyError(f"{name}: it is ahead of the deltas and sums", code="E_EARLY")
    file = Acknowledgement.parse(raw, name)
    body = check_proof(file, board.setting, board.transcript, name)
    board.proof = board.proof or (file, body)


def _replacement(board: RepairBoard, name: str, raw: bytes, helper: int, _: int) -> None:
    board.setting.position_of(helper)
    signed = parse_replacement(raw, name)
    if board.proof is None:
        raise CeremonyError(f"{name}: it is ahead of the holder's proof", code="E_EARLY")
    check_replacement(signed, board.setting, helper, name)
    board.replacements.setdefault(helper, signed)


def _complaint(board: RepairBoard, name: str, raw: bytes, index: int, helper: int) -> None:
    signed = parse_statement(raw, COMPLAINT, name)
    said = open_complaint(signed, board.setting, index, helper, name)
    if index in board.sigmas:
        raise CeremonyError(
            f"{name}: {board.setting.name_of(index)} has checked and added up what he was sent; he "
            "cannot complain of it any more",
            code="E_COMPLAINT",
        )
    if board.complaints.setdefault((index, helper), said) is said:
        board.signed_complaints[index, helper] = signed


def _opening(board: RepairBoard, name: str, raw: bytes, helper: int, index: int) -> None:
    signed = parse_statement(raw, OPENING, name)
    said = open_opening(signed, board.setting, helper, index, name)
    board.openings.setdefault((helper, index), said)


_TAKE = {
    "delta": _delta, "sigma": _sigma, "ack": _ack, "complaint": _complaint, "opening": _opening,
    "replacement": _replacement,
}  # fmt: skip
_TOO_LATE = "the repair stands without it: all have added up, and the holder has proved his share"

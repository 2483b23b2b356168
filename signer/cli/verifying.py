"""The wiring of `signer ceremony verify`: has the ceremony succeeded, by its public files alone?"""

import contextlib
import re
import time
from pathlib import Path
from typing import NamedTuple

from signer.ceremony.agreement import DEALER, MEMBER, agreeing
from signer.ceremony.board import Board, Problem
from signer.ceremony.certificate import MAX_BYTES as MAX_CERTIFICATE_BYTES
from signer.ceremony.certificate import Certificate, group_of
from signer.ceremony.destruction import deletion_words
from signer.ceremony.entries import Entry, activation_entries, entries_of, in_order
from signer.ceremony.minutes import minutes_text
from signer.ceremony.setting import Setting
from signer.ceremony.steps import abort_words, name_of
from signer.cli.ceremony_words import board_json, problem_lines
from signer.cli.printer import Printer
from signer.custody.ceremony_folder import (
    CERTIFICATE,
    GROUP,
    PENDING,
    POLICY,
    CeremonyFolder,
    files_of,
)
from signer.custody.ceremony_receipts import destroyed_of
from signer.custody.ceremony_results import (
    active_group,
    has_pending,
    note_strange,
    policy_problem,
)
from signer.errors import CeremonyError, SignerError
from signer.messages.drill_certificate import DrillCertificate
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.messages.group_file import GroupFile

_SLOT = re.compile(
    r"(deal|bindings|agree|ack|destroyed)(-dealer)?-(\d{1,3})(?:-[a-z0-9]{1,8})?\.json"
)


def verify(printer: Printer, *, folder: Path) -> None:
    """Do what `signer ceremony verify` is asked.

    Raises:
        CeremonyError: it did not succeed: something is missing, or E_ABORTED.
    """
    there = CeremonyFolder(folder)
    if (repair := there.repair()) is not None:
        from signer.cli.repairing import verify_repair

        verify_repair(printer, repair, folder=folder)
        return
    setting = there.setting()
    certified = there.certified(setting)
    board = certified or there.board(setting, int(time.time()))
    active = active_group(there, board)
    note_strange(there, board, int(time.time()))
    gone = destroyed_of(there, board)
    lacks = _missing(there, board, active)
    if certified is None:
        lacks.append(_no_certificate(there, setting))
    lacks += [_Lack(f"{one.file}: {one.words}", one.code) for one in _damaged(there, board)]
    missing = [lack.words for lack in lacks]
    entries = _entries(there, board, active)
    text = minutes_text(board, active, entries)
    if setting.previous is not None:
        text += "\n" + deletion_words(setting.previous, gone)
    text = "\n".join([text, *problem_lines(board), *(f"missing: {what}" for what in missing)])
    value = board_json(board, active, gone, None)
    value |= {"verified": not missing, "missing": missing}
    value["entries"] = [entry.to_json() for entry in entries]
    show = printer.failed_result if missing or board.aborted else printer.result
    show(value, text)
    if board.aborted:
        raise CeremonyError(abort_words(board), code="E_ABORTED")
    if missing:
        code = next((lack.code for lack in lacks if lack.code is not None), "E_CEREMONY")
        raise CeremonyError(f"not there, or not as it was: {'; '.join(missing)}", code=code)


def _entries(there: CeremonyFolder, board: Board, active: GroupFile | None) -> list[Entry]:
    """Return everything that was done, by the files in the folder and those in the certificate."""
    files = there.files()
    parts = [
        (CERTIFICATE, name, raw)
        for name, raw in there.uncertified(board.setting).items()
        if name not in files
    ]
    entries = entries_of(board, files, parts)
    if board.outcome is None or not board.certified:
        return entries
    pending = group_of(board.outcome)
    drills = []
    for name, raw in there.drills():
        with contextlib.suppress(SignerError):  # another drill
            drills.append((name, DrillCertificate.parse(raw, pending, int(time.time()), name)))
    file = PENDING
    if active is not None:
        copies = there.copies(GROUP, MAX_GROUP_BYTES)
        file = next((name for name, raw in copies if raw == active.to_bytes()), GROUP)
    return in_order([*entries, *activation_entries(board, active or pending, file, drills)])


class _Lack(NamedTuple):
    """What keeps a ceremony from being verified."""

    words: str
    code: str | None = None  # of the file that is damaged; None: something is only not there


def _missing(there: CeremonyFolder, board: Board, active: GroupFile | None) -> list[_Lack]:
    """Return what a ceremony that has succeeded has, and this one has not."""
    found = []
    if not board.certified:
        found.append(_Lack("deals and agreements of all"))
    elif board.missing_acknowledgements:
        names = [name_of(board, MEMBER, index) for index in board.missing_acknowledgements]
        found.append(_Lack(f"the acknowledgements of {', '.join(names)}"))
    if active is None:
        words = f"{GROUP}: the group file with the signature that the members made together"
        found.append(_Lack(words, _code_of(board, GROUP)))
    if board.outcome is not None and not has_pending(there, board):
        words = f"{PENDING}: what lies there is not of this ceremony"
        found.append(_Lack(words, _code_of(board, PENDING)))
    if (other := policy_problem(there, board.setting)) is not None:
        is_there = (there.path / POLICY).exists()
        found.append(_Lack(f"{POLICY}: {other.words}", other.code if is_there else None))
    return found


def _code_of(board: Board, name: str) -> str | None:
    """Return by which code the file of this very name is listed, if it is."""
    return next((one.code for one in board.problems if one.file == name), None)


def _no_certificate(there: CeremonyFolder, setting: Setting) -> _Lack:
    """Return why no certificate in the folder holds, by the one that lies under the name itself."""
    words = f"{CERTIFICATE}: none that holds is in the folder"
    for name, raw in there.copies(CERTIFICATE, MAX_CERTIFICATE_BYTES):
        try:
            files_of(raw, setting, name)
            Certificate.parse(raw, name).outcome(setting.previous)
        except SignerError as error:
            return _Lack(f"{words}: {error.message.removeprefix(f'{name}: ')}", error.code)
        break  # of the ones after it nobody was promised anything
    return _Lack(words)


def _damaged(there: CeremonyFolder, board: Board) -> list[Problem]:
    """Return the files of participants that do not hold, where no other copy of theirs does.

    What stands beside a file that holds, or has a number that nobody has, is only told of.
    """
    files, roster = there.files(), board.setting.roster
    wrong = {files.get(problem.file) for problem in board.problems}
    good = {slot_of(name) for name, raw in files.items() if raw not in wrong}
    old = board.setting.previous
    numbers = {
        "deal": set(roster.dealers),
        "bindings": set() if old is None else set(roster.dealers),
        "agree": {index for role, index in agreeing(board.setting) if role == MEMBER},
        "agree-dealer": {index for role, index in agreeing(board.setting) if role == DEALER},
        "ack": set(map(int, roster.indices)),
        "destroyed": set() if old is None else set(map(int, old.indices)),
    }
    found = []
    for problem in board.problems:
        slot = slot_of(problem.file)
        if slot is not None and slot[1] in numbers.get(slot[0], ()) and slot not in good:
            found.append(problem)
    return found


def slot_of(name: str) -> tuple[str, int] | None:
    """Return whose file it is by its name: what it is, and his number; None: of no such kind."""
    match = _SLOT.fullmatch(name)
    return None if match is None else (match[1] + (match[2] or ""), int(match[3]))

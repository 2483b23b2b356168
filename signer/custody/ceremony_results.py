"""What comes of a ceremony, and what a desk has to show: from the board and the state folder."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from signer.ceremony.agreement import agreeing
from signer.ceremony.board import Board, Problem
from signer.ceremony.certificate import Certificate, assemble, group_of
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_folder import CERTIFICATE, GROUP, PENDING, POLICY, CeremonyFolder
from signer.custody.ceremony_state import CeremonyState, file_name
from signer.custody.desk import read_policy
from signer.errors import CeremonyError, InputError, PolicyError, SignerError
from signer.messages.activation import activation_from_drill
from signer.messages.drill_certificate import DrillCertificate
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.messages.group_file import GroupFile
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS


def certificate_of(board: Board, desk: CeremonyState) -> bytes | None:
    """Return the certificate, once everybody has agreed; keep it, whoever this is."""
    known = desk.get(kept.CERTIFICATE)
    if known is None and board.outcome is not None and board.certified and not board.slim:
        agreements = {who: board.agreements[who] for who in agreeing(board.setting)}
        dealers = board.setting.roster.dealers
        statements = [board.bindings[d] for d in dealers if d in board.bindings]
        known = assemble(board.outcome, board.deals, agreements, statements).to_bytes()
        require_readable(known, CERTIFICATE, Certificate.parse)
        desk.keep(kept.CERTIFICATE, known)
    return known


def require_readable(raw: bytes, what: str, parse: Callable[[bytes, str], object]) -> None:
    """Refuse what was made and could not be read back, before anybody relies on it.

    Raises:
        CeremonyError: E_CEREMONY: it is too large, or holds what its readers refuse.
    """
    try:
        parse(raw, what)
    except SignerError as error:
        raise CeremonyError(
            f"what came of it could not be read back: {error.message}",
            hint="fewer members, or smaller files of theirs",
        ) from None


def active_group(folder: CeremonyFolder, board: Board) -> GroupFile | None:
    """Return the active group file in the folder that came of this ceremony.

    What lies under its name and is something else is a problem, and otherwise as good as absent.
    """
    made = None if board.outcome is None else group_of(board.outcome)
    if made is None:
        return None
    found = None
    for name, raw in folder.copies(GROUP, MAX_GROUP_BYTES):
        try:
            group = GroupFile.parse(raw, name)
        except InputError as error:
            _add_problem(board, Problem(name, error.code, error.message))
            continue
        if replace(group, amendments=(), replacements=(), activation=None) != made:
            _add_problem(board, _not_ours(name))
        elif group.active:
            found = found or group
        else:
            _add_problem(board, Problem(name, "E_NOT_ACTIVE", "it is the one before activation"))
    return found


def has_pending(folder: CeremonyFolder, board: Board) -> bool:
    """Tell whether nothing but this ceremony's own group file goes by the name of the pending one.

    A file of that name beside ours, under its second name, is a problem and no more.
    """
    made = None if board.outcome is None else group_of(board.outcome).to_bytes()
    ours = {name: raw == made for name, raw in folder.copies(PENDING, MAX_GROUP_BYTES)}
    for name, is_ours in ours.items():
        if not is_ours:
            _add_problem(board, _not_ours(name))
    return not ours or any(ours.values())


def _not_ours(name: str) -> Problem:
    return Problem(name, "E_TRANSCRIPT", "it is not of this ceremony: ask who put it there")


def _add_problem(board: Board, problem: Problem) -> None:
    if problem not in board.problems:
        board.problems.append(problem)


def note_strange(folder: CeremonyFolder, board: Board, now: int) -> None:
    """Add to a board's problems the policy that is not the roster's, and the drills that are none.

    Neither undoes a ceremony that has succeeded: its group file names the policy, and holds the
    signature that came of the drill.
    """
    if os.path.lexists(folder.path / POLICY):
        problem = policy_problem(folder, board.setting)
        if problem is not None:
            _add_problem(board, problem)
    if board.outcome is None:
        return
    pending = group_of(board.outcome)
    for name, raw in folder.drills():
        try:
            DrillCertificate.parse(raw, pending, now, name)
        except InputError as error:
            _add_problem(board, Problem(name, error.code, error.message))


def policy_problem(folder: CeremonyFolder, setting: Setting) -> Problem | None:
    """Return why the folder's policy is not the one that the roster names; None: it is."""
    try:
        policy = read_policy(folder.path / POLICY)
    except SignerError as error:
        return Problem(POLICY, error.code, error.message)
    if policy.digest == setting.roster.policy_digest:
        return None
    return Problem(POLICY, PolicyError.code, "it is not the policy that the roster names")


def require_policy(folder: CeremonyFolder, setting: Setting) -> None:
    """Refuse to go on beside a policy that is not the one everybody read when he joined.

    None at all is no danger: whoever joined has read it.

    Raises:
        PolicyError: E_POLICY.
    """
    if not os.path.lexists(folder.path / POLICY):
        return
    if (problem := policy_problem(folder, setting)) is not None:
        raise PolicyError(
            f"{POLICY} in the folder: {problem.words}; nothing was signed",
            hint="somebody exchanged it: ask who, put the one back that everybody joined with, and "
            "run the same again",
        )


def activated(
    pending: GroupFile, drills: Iterable[tuple[str, bytes]], now: int
) -> GroupFile | None:
    """Return the group file with the signature that its holders made together, if they did."""
    for _, raw in drills:
        try:
            drill = DrillCertificate.parse(raw, pending, now, "drill")
            return pending.activated(activation_from_drill(pending, drill))
        except InputError:
            continue  # another drill, or one that too few have answered
    return None


def outgoing(desk: CeremonyState, me: Me) -> Mapping[str, bytes]:
    """Return what this desk has to show, by the name it has in the folder."""
    files: dict[str, bytes] = {}
    if me.dealer is not None:
        dealt = desk.dealt()
        if dealt is not None:
            files[file_name("deal", me.dealer)] = canonical(dealt["deal"]) + b"\n"
            if dealt["bindings"] is not None:
                files[file_name("bindings", me.dealer)] = canonical(dealt["bindings"]) + b"\n"
        for path in sorted(desk.path.glob("opening-*.json")):
            files[path.name] = desk.get(path.name) or b""
    if me.old is not None and (data := desk.get(kept.RECEIPT)) is not None:
        files[file_name("destroyed", me.old)] = data
    agreements = [canonical(value) + b"\n" for value in desk.agreements()]
    if me.member is not None:
        if (data := desk.get(kept.ACKNOWLEDGEMENT)) is not None:
            files[file_name("ack", me.member)] = data
        if (data := desk.get(kept.COMPLAINT)) is not None:
            said = Fields(parse_object(data, what=kept.COMPLAINT, max_bytes=8192), kept.COMPLAINT)
            dealer = said.integer("dealer", low=0, high=MAX_HOLDERS)
            files[file_name("complaint", me.member, dealer)] = (
                canonical(said.take("signed")) + b"\n"
            )
        if agreements:
            files[file_name("agree", me.member)] = agreements.pop(0)
    if agreements and me.dealer is not None:
        files[file_name("agree", me.dealer, dealer=True)] = agreements.pop(0)
    return files

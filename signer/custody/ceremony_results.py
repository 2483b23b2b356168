"""What comes of a ceremony, and what a desk has to show: from the board and the state folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from signer.ceremony.agreement import agreeing
from signer.ceremony.board import Board
from signer.ceremony.certificate import assemble, group_of
from signer.ceremony.steps import Me
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_folder import GROUP, CeremonyFolder
from signer.custody.ceremony_state import CeremonyState, file_name
from signer.errors import CeremonyError, InputError
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
        desk.keep(kept.CERTIFICATE, known)
    return known


def active_group(folder: CeremonyFolder, board: Board) -> GroupFile | None:
    """Return the active group file in the folder.

    Raises:
        InputError: it is no group file.
        CeremonyError: E_TRANSCRIPT: it is of another ceremony than this one.
    """
    raw = None if board.outcome is None else folder.read(GROUP, MAX_GROUP_BYTES)
    if raw is None or board.outcome is None:
        return None
    group = GroupFile.parse(raw, GROUP)
    if replace(group, amendments=(), replacements=(), activation=None) != group_of(board.outcome):
        raise not_ours(GROUP)
    return group if group.active else None


def not_ours(name: str) -> CeremonyError:
    """Return what is to be said of a result in the folder that did not come of the ceremony."""
    return CeremonyError(
        f"{name} in the folder is not of this ceremony",
        hint="take it out of the folder, and ask who put it there",
        code="E_TRANSCRIPT",
    )


def activated(pending: GroupFile, drills: Sequence[bytes], now: int) -> GroupFile | None:
    """Return the group file with the signature that its holders made together, if they did."""
    for raw in drills:
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
        if (data := desk.get(kept.BINDINGS)) is not None:
            files[file_name("bindings", me.dealer)] = data
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

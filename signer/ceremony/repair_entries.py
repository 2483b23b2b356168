"""What each participant of a repair did, when, by which digest; as `signer.ceremony.entries`."""

import re
from collections.abc import Mapping
from functools import partial

from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.entries import Entry, digest_of, in_order, read_entries, require
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_complaint import COMPLAINT, OPENING, open_complaint, open_opening
from signer.ceremony.repair_delta import DeltaBody, DeltaFile
from signer.ceremony.repair_replacement import parse_replacement
from signer.ceremony.repair_sigma import SigmaFile
from signer.ceremony.statement import parse_statement
from signer.errors import CeremonyError, InputError

_NAME = re.compile(
    r"(?P<kind>delta|sigma|ack|complaint|opening|replacement)-(?P<first>\d{1,3})"
    r"(?:-(?:against|for)-(?P<second>\d{1,3}))?(?:-[a-z0-9]{1,8})?\.json"
)


def repair_entries(board: RepairBoard, files: Mapping[str, bytes]) -> list[Entry]:
    """Return everything that was done, in the order of the participants' own clocks.

    Args:
        board: the repair's folder.
        files: the participants' files in it, by name.
    """
    readers = {
        "delta": _delta, "sigma": _sigma, "ack": _proof, "complaint": _complaint,
        "opening": _opening, "replacement": _replacement,
    }  # fmt: skip
    bound = {kind: partial(reader, board) for kind, reader in readers.items()}
    return in_order(read_entries(files, (), _NAME, bound))


def _delta(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    setting, helper, name = board.setting, int(match["first"]), match[0]
    setting.position_of(helper)
    file = DeltaFile.parse(raw, name)
    require(file.signed.signed_by(setting.card_of(helper).body.id_sign))
    moment = None
    try:
        body = DeltaBody.parse(file.signed.payload, name)
        require((body.ceremony, body.helper) == (setting.roster.id, helper))
        moment = body.moment
    except InputError:
        require(helper in board.faults)  # he signed what are no deltas: the proof of his guilt
    held = board.deltas.get(helper)
    require(not board.settled or (held is not None and held.digest == file.digest))
    return Entry("delta", setting.name_of(helper), "helped", moment, file.digest, name)


def _sigma(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    helper, name = int(match["first"]), match[0]
    file = SigmaFile.parse(raw, name)
    body = file.opened(board.setting, helper, name)
    held = board.sigmas.get(helper)
    require(not board.settled or (held is not None and held[0].digest == file.digest))
    who = board.setting.name_of(helper)
    return Entry("sigma", who, "added up", body.moment, file.digest, name)


def _proof(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    lost, name = board.setting.roster.lost, match[0]
    if board.proof is None:
        raise CeremonyError("nobody has proved anything yet")
    file, (held, said) = Acknowledgement.parse(raw, name), board.proof
    require(int(match["first"]) == lost and held.signed.payload == file.signed.payload)
    who, digest = board.setting.name_of(lost), said.envelope_sha256
    return Entry("acknowledgement", who, "proved his share", said.moment, digest, name)


def _complaint(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    setting, name = board.setting, match[0]
    index, helper = int(match["first"]), int(match["second"] or 0)
    require(not board.settled)
    signed = parse_statement(raw, COMPLAINT, name)
    said = open_complaint(signed, setting, index, helper, name)
    did = f"complained of {setting.name_of(helper)} ({said.code})"
    return Entry("complaint", setting.name_of(index), did, said.moment, digest_of(signed), name)


def _opening(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    setting, name = board.setting, match[0]
    helper, index = int(match["first"]), int(match["second"] or 0)
    require(not board.settled)
    signed = parse_statement(raw, OPENING, name)
    said = open_opening(signed, setting, helper, index, name)
    did = f"showed the key of what he sealed to {setting.name_of(index)}"
    return Entry("opening", setting.name_of(helper), did, said.moment, digest_of(signed), name)


def _replacement(board: RepairBoard, match: re.Match[str], raw: bytes) -> Entry:
    helper, name = int(match["first"]), match[0]
    signed, held = parse_replacement(raw, name), board.replacements.get(helper)
    require(held is not None and held.payload == signed.payload)
    require(signed.signed_by(board.setting.card_of(helper).body.id_sign))
    who, card = board.setting.name_of(helper), board.setting.roster.card.body.name
    return Entry(
        "replacement", who, f"signed the new card of {card}", None, digest_of(signed), name
    )

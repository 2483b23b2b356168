"""What strangers put into a ceremony's folder delays nobody for longer than it takes to read it."""

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.ceremony.board import read_board
from signer.ceremony.certificate import Certificate, group_of
from signer.ceremony.deal import Deal
from signer.ceremony.steps import ACTIVATE, DONE
from signer.cli.verifying import _damaged
from signer.custody import ceremony_folder, ceremony_runner
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_results import active_group, certificate_of
from signer.custody.ceremony_state import CeremonyState
from signer.messages.group_file import GroupFile
from tests.simulators.ceremony import Gathering
from tests.simulators.ceremony_desk import Room
from tests.simulators.holders import NOW
from tests.unit.ceremony.honest import dkg, dkg_files, refused, reshare

EVERYBODY = (1, 2, 3)
JUNK = b"junk"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room.open(Gathering.dkg(2, 3), tmp_path, monkeypatch, random.Random(3).randbytes)


def rounds(room: Room, count: int) -> list[str]:
    return [room.next(member).after.name for _ in range(count) for member in EVERYBODY]


def second_names(room: Room, stem: str) -> list[Path]:
    return [path for path in room.usb.glob(f"{stem}-*.json") if len(path.stem) == len(stem) + 9]


@pytest.mark.case("X755", "junk under every name that the ceremony's results have")
@pytest.mark.parametrize("junk", [JUNK, b"", b"{}"])
def test_junk_under_the_names_of_results(room: Room, junk: bytes) -> None:
    for name in ("certificate.json", "group-pending.json", "group.json", "previous.json"):
        (room.usb / name).write_bytes(junk)
    (room.usb / "deal-01.json").symlink_to(room.usb / "nowhere")
    (room.usb / "deal-77.json").write_bytes(junk)
    for number in range(30):
        (room.usb / f"drill-{number:02}.json").write_bytes(junk)
    assert set(rounds(room, 4)[-3:]) == {ACTIVATE}
    (certificate,) = second_names(room, "certificate")
    (pending,) = second_names(room, "group-pending")
    (deal,) = second_names(room, "deal-01")
    assert Certificate.parse(certificate.read_bytes()).outcome().setting == room.gathering.setting
    assert Deal.parse(deal.read_bytes()).digest
    made = GroupFile.parse(pending.read_bytes())
    # Whoever has but the folder sees the same.
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    assert board.outcome is not None
    assert board.certified
    assert group_of(board.outcome) == made


@pytest.mark.case("X755", "pending group file, or another group's, laid down as group.json")
def test_the_active_group_is_found_under_its_second_name(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds(room, 4)
    folder, setting = CeremonyFolder(room.usb), room.gathering.setting
    board = folder.board(setting, NOW)
    assert board.outcome is not None
    pending = group_of(board.outcome)
    drills: list[bytes] = []
    known: dict[bytes, GroupFile] = {}

    def activated(group: GroupFile, found: Any, now: int) -> GroupFile:
        drills.extend(found)
        return replace(group, activation=dkg().group(active=True).activation)

    monkeypatch.setattr(ceremony_runner, "activated", activated)
    monkeypatch.setattr(GroupFile, "parse", lambda raw, what: known[raw])
    active = activated(pending, [], NOW)
    for group in (pending, active, dkg().group(active=True)):
        known[group.to_bytes()] = group
    for strange in (pending, dkg().group(active=True)):
        (room.usb / "group.json").write_bytes(strange.to_bytes())
        for number in range(25):
            (room.usb / f"drill-{number:02}.json").write_bytes(JUNK)
        for path in second_names(room, "group"):
            path.unlink()
        assert active_group(folder, board) is None
        taken = room.next(1)
        assert taken.after.name == DONE
        assert len(taken.new) == 1
        assert len(drills) == 25
        drills.clear()
        assert active_group(folder, board) == active
        assert "group.json" in {problem.file for problem in board.problems}


@pytest.mark.case("X755", "another group's file laid down as previous.json of a reshare")
def test_the_group_file_before_is_found_by_its_digest(tmp_path: Path) -> None:
    setting = reshare().setting
    (tmp_path / "roster.json").write_bytes(setting.roster.to_bytes())
    (tmp_path / "previous-0123abcd.json").write_bytes(setting.old.to_bytes())
    for other in (JUNK, dkg().group().to_bytes()):
        (tmp_path / "previous.json").write_bytes(other)
        assert CeremonyFolder(tmp_path).setting() == setting
    (tmp_path / "previous-0123abcd.json").unlink()
    refused("E_ROSTER", "follows another group file", CeremonyFolder(tmp_path).setting)


@pytest.mark.case("X761", "one file a thousand times under other names")
def test_equal_bytes_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files, read = dict(dkg_files()), []

    def counted(raw: bytes, what: str) -> Deal:
        read.append(what)
        return parse(raw, what)

    parse = Deal.parse
    monkeypatch.setattr(Deal, "parse", counted)
    for number in range(1000):
        files[f"deal-01-c{number}.json"] = files["deal-01.json"]
        files[f"deal-02-j{number}.json"] = JUNK
    board = read_board(dkg().setting, files)
    assert board.certified
    assert len(read) == 4  # three deals and one piece of junk
    assert len(board.problems) == 1


@pytest.mark.case("X760", "certificate that nobody could read back: it is not handed out")
def test_a_certificate_is_read_back_before_it_is_kept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signer.ceremony.certificate.MAX_BYTES", 1000)
    with pytest.raises(Exception, match="could not be read back") as caught:
        rounds(room, 4)
    assert getattr(caught.value, "code", "") == "E_CEREMONY"
    assert not list(room.usb.glob("certificate*"))
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    desk = CeremonyState.of(room.state(1), room.gathering.setting.roster)
    refused("E_CEREMONY", "could not be read back", certificate_of, board, desk)
    assert desk.get("certificate.json") is None


@pytest.mark.case("X791", "junk under a name that only a reshare has, in a finished key generation")
def test_verify_asks_for_no_bindings_where_there_are_none(room: Room) -> None:
    rounds(room, 4)
    folder = CeremonyFolder(room.usb)
    for name, counts in (("bindings-01.json", False), ("deal-01.json", True)):
        kept = (room.usb / name).read_bytes() if counts else None
        (room.usb / name).write_bytes(JUNK)
        board = folder.board(room.gathering.setting, NOW)
        assert name in {problem.file for problem in board.problems}
        assert [problem.file for problem in _damaged(folder, board)] == ([name] if counts else [])
        if kept is not None:
            (room.usb / name).write_bytes(kept)


@pytest.mark.case("X792", "folder full of certificates that do not hold")
def test_certificates_that_do_not_hold_fill_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = dkg().certificate()
    wrong = replace(certificate, agreements=certificate.agreements[::-1]).to_bytes()
    (tmp_path / "roster.json").write_bytes(dkg().setting.roster.to_bytes())
    for number in range(8):
        (tmp_path / f"certificate-{number:08x}.json").write_bytes(wrong + b" " * number)
    for number in range(8, 30):  # hard links cost a stranger nothing
        os.link(tmp_path / "certificate-00000000.json", tmp_path / f"certificate-{number:08x}.json")
    folder = CeremonyFolder(tmp_path)
    read: list[str] = []

    def parts(raw: bytes, _: object, name: str) -> dict[str, bytes]:
        read.append(name)
        return {name: raw}

    monkeypatch.setattr(ceremony_folder, "files_of", parts)
    folder.certified(dkg().setting)
    assert len(read) == 8
    read.clear()
    monkeypatch.setattr(ceremony_folder, "_MAX_TOTAL_BYTES", 2 * len(wrong) + 10)
    refused("E_INPUT", "its certificates have more", folder.board, dkg().setting, NOW)
    assert len(read) == 2

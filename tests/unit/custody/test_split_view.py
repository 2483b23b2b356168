"""Who shows different people different files is named to all by the next run of who saw another."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from signer.ceremony.bundle import Bundle
from signer.ceremony.deal import Deal
from signer.ceremony.repair_reading import read_repair
from signer.ceremony.steps import ABORTED, AGREE
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_runner import Taken
from tests.simulators.ceremony import Gathering
from tests.simulators.ceremony_desk import Room
from tests.simulators.holders import NOW
from tests.unit.custody.test_repair_runner import Desks

ADA, BORIS, CHEAT = 1, 2, 3


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Ada and Boris have dealt, and the cheat shows one of his two deals in the folder."""
    room = Room.open(Gathering.dkg(2, 3), tmp_path, monkeypatch, random.Random(3).randbytes)
    for member in (ADA, BORIS):
        room.next(member)
    (room.usb / "deal-03.json").write_bytes(room.gathering.deal(CHEAT).to_bytes())
    return room


def second_deal(room: Room) -> Deal:
    return room.gathering.deal(CHEAT, moment=NOW + 1)


def elsewhere(room: Room, name: str, data: bytes) -> CeremonyFolder:
    """Return a copy of the folder in which the cheat shows something else."""
    path = room.path / "elsewhere"
    shutil.copytree(room.usb, path)
    (path / "deal-03.json").unlink()
    (path / name).write_bytes(data)
    return CeremonyFolder(path)


def at(room: Room, folder: CeremonyFolder, member: int) -> Taken:
    return replace(room.runner(member), folder=folder).run()


def added(room: Room, kind: str) -> str:
    (path,) = room.usb.glob(f"{kind}-????????.json")
    return path.name


def all_name_the_cheat(room: Room) -> None:
    for member in (ADA, BORIS):
        taken = room.next(member)
        assert (taken.after.name, taken.new) == (ABORTED, ())
        assert "dealer 3 (holder 3) has signed two different deals" in taken.after.words
        assert "(E_DEAL_EQUIVOCATION)" in taken.after.words
        assert "member" not in taken.after.words
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    assert [(one.dealer, one.code) for one in board.verdicts] == [(CHEAT, "E_DEAL_EQUIVOCATION")]


@pytest.mark.case("X1000", "a dealer shows one member another signed deal than the others")
def test_who_saw_another_deal_hands_it_on(room: Room) -> None:
    away = elsewhere(room, "deal-03.json", second_deal(room).to_bytes())
    assert at(room, away, BORIS).step.name == AGREE
    assert room.next(ADA).step.name == AGREE
    shutil.copy(away.path / "agree-02.json", room.usb)
    assert "need not be his fault" in room.next(ADA).after.words
    taken = room.next(BORIS)
    assert taken.new == (added(room, "deal-03"),)
    assert (room.usb / taken.new[0]).read_bytes() == second_deal(room).to_bytes()
    all_name_the_cheat(room)


@pytest.mark.case("X1001", "a dealer puts another signed deal into one member's bundle")
@pytest.mark.parametrize("place", ["in the folder", "on a stick"])
def test_a_second_deal_in_a_bundle_is_handed_on(room: Room, place: str) -> None:
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    deals = {**board.deals, CHEAT: second_deal(room)}
    bundle = Bundle.of(board.setting.roster, board.setting.roster.indices[1], deals, {})
    if place == "on a stick":
        away = elsewhere(room, "bundle-02.json", bundle.to_bytes())
        for path in away.path.glob("deal-*"):
            path.unlink()
        assert at(room, away, BORIS).step.name == AGREE
        taken = room.next(BORIS)
        assert set(taken.new) == {"agree-02.json", "bundle-02.json"}
        handed_on = Bundle.parse((room.usb / "bundle-02.json").read_bytes())
        assert handed_on.deals[CHEAT] == bundle.deals[CHEAT]
    else:
        (room.usb / "bundle-02.json").write_bytes(bundle.to_bytes())
    all_name_the_cheat(room)


@pytest.mark.case("X1001", "a bundle in the folder that is damaged, or has what nobody signed")
def test_a_bundle_accuses_nobody_of_what_he_did_not_sign(room: Room) -> None:
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    forged = second_deal(room)
    forged = replace(forged, signed=replace(forged.signed, payload=forged.signed.payload + b" "))
    bundle = Bundle.of(
        board.setting.roster, board.setting.roster.indices[1], {**board.deals, CHEAT: forged}, {}
    )
    for raw, code in ((bundle.to_bytes(), "E_DEAL_SIGNATURE"), (b"junk", "E_SCHEMA")):
        (room.usb / "bundle-02.json").write_bytes(raw)
        board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
        assert (board.faults, [one.code for one in board.problems]) == ({}, [code])
        assert board.outcome is not None


@pytest.mark.case("X1002", "a helper shows one helper other signed deltas than the others")
def test_who_saw_other_deltas_hands_them_on(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    for helper in (1, 3, 4):
        desks.runner(helper).run()
    one = desks.folder.path / "delta-04.json"
    shown, other = one.read_bytes(), desks.repair.delta(4, moment=NOW + 99).to_bytes()
    one.write_bytes(other)
    assert desks.runner(3).run().step.name == "sigma"
    one.write_bytes(shown)
    stray = read_repair(desks.repair.setting, desks.folder.files())
    assert stray.stop is not None
    assert "need not be his fault" in stray.stop.message
    (new,) = desks.runner(3).run().new
    assert (desks.folder.path / new).read_bytes() == other
    assert new.startswith("delta-04-")
    for helper in (1, 3):
        taken = desks.runner(helper).run()
        assert (taken.after.name, taken.new) == (ABORTED, ())
        assert "helper 4 (holder 4) has signed two different sets of deltas" in taken.after.words
    board = read_repair(desks.repair.setting, desks.folder.files())
    assert board.faults[4].code == "E_REPAIR_EQUIVOCATION"

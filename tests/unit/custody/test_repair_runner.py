"""The runner with software keys in the place of the worker: it keeps first, and resumes."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.repair_delta import DeltaFile
from signer.ceremony.repair_replacement import statement_of
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.steps import Me
from signer.cli.printer import Printer
from signer.cli.repairing import verify_repair
from signer.custody.ceremony_folder import REPAIRED, CeremonyFolder
from signer.custody.ceremony_state import CeremonyState
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.repair import (
    AddUpDeltas,
    FinishRepair,
    MakeDelta,
    OpenRepair,
    ReplaceCard,
)
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.repair_record import ReplacementRecord
from signer.custody.repair_results import repaired_files
from signer.custody.repair_runner import RepairRunner
from signer.errors import CeremonyError, DealError, OutputError, SignerError
from signer.hsm.profile import load_profile
from signer.messages.group_file import GroupFile
from signer.strict import Fields, parse_object
from signer.threshold.params import ShareIndex
from tests.simulators.holders import NOW
from tests.simulators.repair import Repair

HONEST = Repair.of()
_SESSION = {"enc": "00", "ciphertext": "00"}


@dataclass
class Desks:
    """Everybody's runner around one folder; each order makes bytes that were never made before."""

    folder: CeremonyFolder
    states: Path
    repair: Repair
    clock: Callable[[], int] = lambda: NOW
    orders: list[str] = field(default_factory=list)
    moments: Any = field(default_factory=lambda: itertools.count(NOW))
    first_failed: Callable[[str], bool] = lambda ceremony: False

    @classmethod
    def at(cls, place: Path, repair: Repair = HONEST) -> "Desks":
        (place / "folder").mkdir()
        (place / "folder" / "roster.json").write_bytes(repair.setting.roster.to_bytes())
        (place / "folder" / "previous.json").write_bytes(repair.setting.group.to_bytes())
        desks = cls(CeremonyFolder(place / "folder"), place / "states", repair)
        for index in (*repair.helpers, repair.lost):
            me = Me(ShareIndex(index), None) if index == repair.lost else Me(None, index)
            desks.runner(index).desk.join(me, NOW)
        return desks

    def runner(self, index: int) -> RepairRunner:
        return RepairRunner(
            folder=self.folder, setting=self.repair.setting, state=self.states / str(index),
            token=TokenChoice(profile=load_profile("softhsm2"), label="x"),
            pin=SecretSource(file="/pin"), envelope=b"{}", clock=self.clock,
            worker=lambda job, **_: self.work(job, index), first_failed=self.first_failed,
        )  # fmt: skip

    def work(self, job: Job, index: int) -> Fields:
        """Do an order as a worker does, after it was written and read again."""
        kind, fields = open_order(order_bytes(job))
        self.orders.append(f"{kind} {index}")
        jobs = (MakeDelta, AddUpDeltas, FinishRepair, OpenRepair, ReplaceCard)
        job = {j.kind: j for j in jobs}[kind].parse(fields)
        value = self._done(job, index, next(self.moments))
        return Fields(value, "result")

    def _done(self, job: Job, index: int, moment: int) -> dict[str, Any]:
        repair = self.repair
        if isinstance(job, MakeDelta):
            file = repair.made.get(index) or repair.delta(index, moment=moment)
            return {"session": _SESSION, "delta": file.to_bytes().decode()}
        if isinstance(job, OpenRepair):
            raw = repair.opening(index, job.recipient)
            return {"opening": parse_object(raw, what="opening", max_bytes=9999)}
        if isinstance(job, ReplaceCard):
            Acknowledgement.parse(job.proof.encode())
            return {"replacement": repair.replacement(index).to_json()}
        deltas = [DeltaFile.parse(text.encode()) for text in getattr(job, "deltas", ())]
        seen = replace(repair, made=dict(zip(repair.helpers, deltas, strict=True)))
        try:
            if isinstance(job, AddUpDeltas):
                return {"sigma": seen.sigma(index, moment=moment).to_bytes().decode()}
            proof = seen.acknowledgement(moment=moment)
            return {"acknowledgement": proof.to_bytes().decode()}
        except DealError as error:
            digest = seen.made[error.dealer].digest
            raw = seen.complaint(index, error.dealer, error.code, digest)
            signed = parse_object(raw, what="complaint", max_bytes=9999)
            return {"complaint": signed, "helper": error.dealer}

    def names(self) -> set[str]:
        return {path.name for path in self.folder.path.iterdir()}

    def run(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            for index in (*self.repair.helpers, self.repair.lost):
                self.runner(index).run()


def test_a_repair_from_beginning_to_end(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    first = desks.runner(1).run()
    assert (first.step.name, first.after.name, first.new) == ("delta", "wait", ("delta-01.json",))
    assert "helper 3" in first.after.words
    desks.run()
    assert {desks.runner(index).look().name for index in (1, 2, 3, 4)} == {"done"}
    assert desks.orders == [
        "make_delta 1", "make_delta 3", "make_delta 4",
        "add_up_deltas 1", "add_up_deltas 3", "add_up_deltas 4", "finish_repair 2",
        "replace_card 1", "replace_card 3", "replace_card 4",
    ]  # fmt: skip
    group = GroupFile.parse((desks.folder.path / "group-repaired.json").read_bytes())
    assert group.card_of(2) == HONEST.setting.roster.card
    kept = desks.runner(2).desk.get("envelope.json")
    assert kept is not None
    ack = Acknowledgement.parse((desks.folder.path / "ack-02.json").read_bytes())
    assert ack.envelope.to_bytes() == kept
    setting = desks.folder.repair()
    assert setting is not None
    assert setting.roster == HONEST.setting.roster


@pytest.mark.case("X679", "a repair cut off before, while and after each file is written")
@pytest.mark.parametrize("at", range(16))
def test_a_repair_that_was_cut_off_goes_on_with_the_same_bytes(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desks, writes = Desks.at(tmp_path), itertools.count()
    keep, add = CeremonyState.keep, CeremonyFolder.add

    def cut_off(write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            number = next(writes)
            if number == 2 * at:
                raise OutputError("cut off before")
            found = write(*arguments)
            if number == 2 * at + 1:
                raise OutputError("cut off after")
            return found

        return wrapped

    monkeypatch.setattr(CeremonyState, "keep", cut_off(keep))
    monkeypatch.setattr(CeremonyFolder, "add", cut_off(add))
    seen: dict[str, bytes] = {}
    for _ in range(9):
        for index in (1, 3, 4, 2):
            try:
                desks.runner(index).run()
            except OutputError as error:
                assert "cut off" in error.message  # noqa: PT017
            for path in desks.folder.path.glob("*-0*.json"):
                assert seen.setdefault(path.name, path.read_bytes()) == path.read_bytes()
    assert desks.runner(2).look().name == "done"
    assert "group-repaired.json" in desks.names()
    assert len([name for name in desks.names() if name.startswith(("delta", "sigma"))]) == 6


@pytest.mark.case(
    "X680", "a file taken out of a repair's folder; another of one's own in its place"
)
def test_what_was_lost_on_the_way_is_put_there_again(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    desks.run(2)
    (desks.folder.path / "ack-02.json").unlink()
    path = desks.folder.path / "delta-01.json"
    before = path.read_bytes()
    path.unlink()
    desks.runner(1).run()
    assert path.read_bytes() == before
    path.unlink()
    path.write_bytes(HONEST.delta(1, moment=NOW - 5).to_bytes())
    told = desks.runner(1).run()
    assert told.after.name == "aborted"
    assert "two different sets of deltas" in told.after.words


@pytest.mark.case("C22", "a bad delta, from the helper's desk to the verdict")
def test_a_cheating_helper_is_named(tmp_path: Path) -> None:
    from signer.ceremony.deal import leaves_of
    from signer.sealing import merkle

    _, sealed = HONEST.body(3)
    swapped = (sealed[1], sealed[0], sealed[2])
    bad = replace(HONEST, made={})
    bad.made[3] = HONEST.delta(
        3, ciphertexts=swapped, ciphertexts_root=merkle.root(leaves_of(swapped))
    )
    desks = Desks.at(tmp_path, bad)
    for index in (1, 3, 4):
        desks.runner(index).run()
    told = desks.runner(1).run()
    assert (told.step.name, told.after.name) == ("sigma", "aborted")
    assert told.new == ("complaint-01-against-03.json",)
    assert "helper 3 (holder 3)" in told.after.words
    assert "sigma-01.json" not in desks.names()
    told = desks.runner(3).run()
    assert (told.step.name, told.after.name) == ("answer", "aborted")
    assert "opening-03-for-01.json" in told.new
    assert "helper 3 (holder 3) showed a key that is not" in told.after.words
    assert desks.runner(4).run().after.name == "aborted"
    assert desks.orders.count("add_up_deltas 4") == 0


@pytest.mark.case("X681", "helping in a repair that is over, or twice with another state folder")
def test_a_repair_is_not_helped_too_late_or_twice(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    desks.clock = lambda: NOW + 10 * 86400
    assert desks.runner(1).run().step.name == "aborted"
    assert desks.orders == []
    desks.clock = lambda: NOW - 3600  # not yet
    with pytest.raises(CeremonyError) as caught:
        desks.runner(1).run()
    assert caught.value.code == "E_CEREMONY_EXPIRED"
    desks.clock = lambda: NOW
    desks.runner(1).run()
    other = replace(desks, states=tmp_path / "other")
    with pytest.raises(CeremonyError) as caught:
        other.runner(1).run()
    assert caught.value.code == "E_CEREMONY_STATE"
    other.runner(1).desk.join(Me(None, 1), NOW)
    with pytest.raises(CeremonyError) as caught:
        other.runner(1).run()
    assert caught.value.code == "E_CEREMONY_STATE"
    assert desks.orders == ["make_delta 1"]


@pytest.mark.case("X682", "a second repair with the nonce or the new key of an earlier one")
def test_a_nonce_and_a_new_key_are_used_once(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    roster = replace(HONEST.setting.roster, not_before=NOW - 61)
    later = RepairSetting.of(RepairRoster.parse(roster.to_bytes()), HONEST.setting.group)
    with pytest.raises(CeremonyError, match="nonce"):
        CeremonyState.of(tmp_path / "states" / "1", later.roster).join(Me(None, 1), NOW)
    fresh = replace(later.roster, nonce=b"\3" * 32)
    with pytest.raises(CeremonyError, match="receiving key"):
        CeremonyState.of(tmp_path / "states" / "2", fresh).join(
            Me(ShareIndex(2), None), NOW + 86401
        )
    assert desks.names() == {"roster.json", "previous.json"}


def test_a_step_says_what_it_lacks(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    runner = desks.runner(1)
    with pytest.raises(SignerError, match="--token"):
        replace(runner, token=None).run()
    with pytest.raises(SignerError, match="--envelope"):
        replace(runner, envelope=None).run()
    assert desks.orders == []


@pytest.mark.case("X775", "a complaint, a second file or a junk one after success: the runner")
def test_a_repair_that_succeeded_is_done_for_every_desk(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    desks.run()
    group = (desks.folder.path / "group-repaired.json").read_bytes()
    late = {
        "complaint-01-against-03.json": HONEST.complaint(
            1, 3, "E_REPAIR_DELTA", HONEST.delta(3).digest),
        "delta-04-a.json": HONEST.delta(4, moment=NOW + 500).to_bytes(),
        "sigma-77.json": b"{}",
    }  # fmt: skip
    for name, raw in late.items():
        (desks.folder.path / name).write_bytes(raw)
    orders = list(desks.orders)
    for index in (1, 2, 3, 4):
        assert desks.runner(index).run().after.name == "done"
    assert desks.orders == orders  # above all no key of a delta was shown
    assert (desks.folder.path / "group-repaired.json").read_bytes() == group


@pytest.mark.case("X776", "the session seed after a repair: it could still open every delta")
def test_the_session_is_forgotten_once_the_repair_stands(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    desks.run(1)
    kept = desks.runner(1).desk.path / "helped.json"
    assert parse_object(kept.read_bytes(), what="x", max_bytes=99999)["session"] == _SESSION
    desks.run()
    for index in HONEST.helpers:
        kept = desks.runner(index).desk.path / "helped.json"
        assert parse_object(kept.read_bytes(), what="x", max_bytes=99999)["session"] is None
        assert desks.runner(index).run().after.name == "done"


@pytest.mark.case("X777", "two repairs at once: a helper signs a second card with the same number")
def test_one_number_is_signed_for_one_repair_only(tmp_path: Path) -> None:
    desks = Desks.at(tmp_path)
    desks.run()
    (tmp_path / "more").mkdir()
    second = Repair.of(5, (1, 3, 4), nonce=b"\4" * 32, not_before=NOW - 90)
    # The first has to be over, or it could not be joined at all.
    later = Desks(CeremonyFolder(tmp_path / "more"), desks.states, second)
    for index in (1, 3, 4):
        joined = desks.runner(index).desk.path / "joined.json"
        joined.rename(joined.with_name("joined-before.json"))
        later.runner(index).desk.join(Me(None, index), NOW)
    with pytest.raises(CeremonyError) as caught:
        later.runner(1).run()
    assert caught.value.code == "E_REPLACEMENT"
    assert "two with one number make two group files" in caught.value.message
    assert not later.orders
    asked: list[str] = []

    def failed(ceremony: str) -> bool:
        asked.append(ceremony)
        return True

    later.first_failed = failed
    later.runner(5).desk.join(Me(ShareIndex(5), None), NOW)
    later.run(2)
    assert "ack-05.json" in later.names()
    later.first_failed = lambda ceremony: False
    with pytest.raises(CeremonyError) as caught:
        later.runner(1).run()
    assert caught.value.code == "E_REPLACEMENT"
    assert "replacement-01.json" not in later.names()
    later.first_failed = failed
    later.run()
    assert set(asked) == {HONEST.setting.roster.id.hex()}
    assert "group-repaired.json" in later.names()
    assert later.runner(1).look().name == "done"


@pytest.mark.case("X778", "a second process signs another card between the question and the record")
def test_the_record_of_a_number_is_made_once(tmp_path: Path) -> None:
    first = ReplacementRecord.of(tmp_path / "s", statement_of(HONEST.setting))
    other = replace(first, statement=replace(first.statement, card=bytes(32), ceremony=b"\5" * 32))
    assert first.path == other.path
    assert first.other() is None
    first.keep(first_failed=False)
    first.keep(first_failed=False)
    assert first.other() is None
    assert other.other() == HONEST.setting.roster.id.hex()
    with pytest.raises(CeremonyError) as caught:
        other.keep(first_failed=False)
    assert caught.value.code == "E_REPLACEMENT"
    assert first.other() is None
    other.keep(first_failed=True)
    assert first.other() == (b"\5" * 32).hex()
    third = ReplacementRecord.of(tmp_path / "s", replace(first.statement, number=2))
    assert third.other() is None
    first.path.write_bytes(b"{}")
    with pytest.raises(SignerError):
        first.other()


@pytest.mark.case("X793", "another group file laid down under the name of a repair's result")
@pytest.mark.parametrize("stranger", [HONEST.setting.group.to_bytes(), b"junk"])
def test_a_planted_result_hides_nothing(tmp_path: Path, stranger: bytes) -> None:
    desks = Desks.at(tmp_path)
    planted = desks.folder.path / REPAIRED
    planted.write_bytes(stranger)
    desks.run()
    board = desks.runner(1).board(desks.runner(1).desk)
    assert board.repaired is not None
    good, strange = repaired_files(desks.folder, board)
    assert strange == (REPAIRED,)
    (name,) = good
    assert (desks.folder.path / name).read_bytes() == board.repaired.to_bytes()
    taken = desks.runner(2).run()
    assert (taken.new, taken.strange) == ((), (REPAIRED,))
    planted.unlink()
    assert desks.runner(2).run().strange == ()
    printed = Printer()
    verify_repair(printer=printed, setting=desks.repair.setting, folder=desks.folder.path)
    (desks.folder.path / name).write_bytes(stranger)
    with pytest.raises(CeremonyError, match="not what the other files come to"):
        verify_repair(printer=printed, setting=desks.repair.setting, folder=desks.folder.path)


@pytest.mark.case("X1005", "what a helper's state folder keeps of what he signed is damaged")
@pytest.mark.parametrize("name", ["helped.json", "sigma.json"])
def test_what_was_kept_is_whole_before_it_is_handed_on(tmp_path: Path, name: str) -> None:
    desks = Desks.at(tmp_path)
    desks.run(1 if name == "helped.json" else 2)
    kept, before = desks.runner(1).desk.path / name, desks.names()
    raw = kept.read_bytes()
    at = raw.index(b"payload") + 60
    kept.write_bytes(raw[:at] + (b"1" if raw[at : at + 1] != b"1" else b"2") + raw[at + 1 :])
    for run in (desks.runner(1).run, desks.runner(1).look):
        with pytest.raises(CeremonyError, match=f"{name} in the state folder is damaged") as caught:
            run()
        assert caught.value.code == "E_CEREMONY_STATE"
    assert desks.names() == before

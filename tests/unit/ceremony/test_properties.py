"""What holds whatever the people, their machines and their sticks do."""

import contextlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from signer.ceremony.certificate import Certificate, certificate_digest, group_of
from signer.ceremony.destruction import open_destroyed
from signer.ceremony.roster import Roster
from signer.ceremony.setting import Setting
from signer.ceremony.statement import parse_statement
from signer.ceremony.steps import ACTIVATE
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_results import active_group
from signer.errors import SignerError
from signer.messages.group_file import GroupFile
from signer.strict import canonical, parse_base64
from tests.simulators.ceremony import Gathering
from tests.simulators.ceremony_desk import Room
from tests.simulators.holders import NOW
from tests.unit.ceremony.honest import dkg, dkg_files, reshare, reshare_files
from tests.unit.ceremony.test_agreements import receipt
from tests.unit.ceremony.test_reshare import partial, verifies

MESSAGE = b"\x44" * 32
QUICK = settings(max_examples=10, deadline=None)


# Shares and epochs


@QUICK
@given(st.data())
def test_any_t_sign_and_fewer_do_not(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 5))
    t = data.draw(st.integers(2, n))
    gathering = Gathering.dkg(t, n, seed=data.draw(st.integers(1, 2**32)))
    key = gathering.group().public_key
    who = data.draw(st.permutations(range(1, n + 1)))
    partials = {i: partial(gathering, i, MESSAGE) for i in who[:t]}
    assert verifies(partials, MESSAGE, key)
    assert not verifies({i: partials[i] for i in who[: t - 1]}, MESSAGE, key)


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_a_reshare_of_a_reshare_keeps_the_key_and_no_epochs_mix(data: st.DataObject) -> None:
    first = dkg()
    t = data.draw(st.integers(2, 3))
    second = first.reshare(t, ["Fay", "Gus"][: data.draw(st.integers(0, 2))])
    more = data.draw(st.sampled_from([(), ("Hal",)]))
    third = second.reshare(2, more, without=data.draw(st.sampled_from([(), (1,)])))
    groups = [gathering.group() for gathering in (first, second, third)]
    assert {group.public_key for group in groups} == {groups[0].public_key}
    assert {group.group_id for group in groups} == {groups[0].group_id}
    assert [group.epoch for group in groups] == [1, 2, 3]
    assert {group.origin for group in groups} == {"dkg"}
    epochs = [
        {i: partial(gathering, i, MESSAGE) for i in gathering.members}
        for gathering in (first, second, third)
    ]
    for group, partials in zip(groups, epochs, strict=True):
        chosen = dict(list(partials.items())[: group.threshold.t])
        assert verifies(chosen, MESSAGE, group.public_key)
    one, other = data.draw(st.sampled_from([(0, 1), (1, 2), (0, 2), (2, 0)]))
    mixed = dict(list(epochs[one].items())[: groups[one].threshold.t])
    changed = data.draw(st.sampled_from(sorted(set(mixed) & set(epochs[other]))))
    mixed[changed] = epochs[other][changed]
    assert not verifies(mixed, MESSAGE, groups[0].public_key)


# One bit


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def damaged(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    name = draw(st.sampled_from(sorted(files)))
    bit = draw(st.integers(0, 8 * len(files[name]) - 1))
    return files | {name: flipped(files[name], bit)}


@pytest.mark.case("F15", "one bit flipped anywhere in a folder's files: listed, or no difference")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from([(dkg, dkg_files), (reshare, reshare_files)]), st.data())
def test_one_bit_in_the_folder(which: Any, data: st.DataObject) -> None:
    gathering, files = which[0](), which[1]()
    changed = data.draw(damaged(files))
    board = gathering.board(changed)
    assert not board.aborted  # it proves nothing against anybody
    assert board.problems
    assert all(problem.code.startswith("E_") for problem in board.problems)
    if board.outcome is not None:
        assert board.outcome.transcript == gathering.outcome().transcript
    (name,) = (name for name in files if files[name] != changed[name])
    assert board.certified == name.startswith("ack")


@cache
def signed_papers() -> dict[str, bytes]:
    """Return the files that a whole reshare leaves beside those of its people."""
    return {
        "certificate": reshare().certificate().to_bytes(),
        "roster": reshare().setting.roster.to_bytes(),
        "previous": reshare().setting.old.to_bytes(),
        "group": reshare().group(active=True).to_bytes(),
        "receipt": canonical(receipt().to_json()),
    }


def outcome_of_papers(papers: dict[str, bytes]) -> list[bytes]:
    """Read them all, as `verify` does."""
    previous = GroupFile.parse(papers["previous"])
    setting = Setting.of(Roster.parse(papers["roster"]), previous)
    outcome = Certificate.parse(papers["certificate"]).outcome(previous)
    if outcome.setting.roster.id != setting.roster.id:
        raise SignerError("the certificate is of another ceremony")
    successor = certificate_digest(outcome)
    signed = parse_statement(papers["receipt"], "signer-destroyed", "receipt")
    open_destroyed(signed, previous, 1, successor)
    group = GroupFile.parse(papers["group"])
    if group.certificate != successor or group.vector != outcome.vector:
        raise SignerError("the group is of another ceremony")
    return [setting.roster.id, successor, group.group_id, bytes([group.active])]


@pytest.mark.case("F15", "one bit flipped in roster, old group, certificate, group or receipt")
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_bit_in_what_is_kept(data: st.DataObject) -> None:
    changed = data.draw(damaged(signed_papers()))
    with contextlib.suppress(SignerError):
        assert outcome_of_papers(changed) == outcome_of_papers(signed_papers())


class Desks:
    """An honest DKG at three desks, held once; what it left can be copied and damaged."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.place = Path(tempfile.mkdtemp())
        draw = random.Random(5).randbytes
        self.room = Room.open(dkg(), self.place / "first", self.patch, draw)
        for _ in range(4):
            self.steps = [self.room.next(index).after.name for index in (1, 2, 3)]
        (self.room.usb / "group.json").write_bytes(b"")
        (self.room.usb / "group.json").unlink()
        self.good = self.outcome()

    def outcome(self) -> bytes:
        board = CeremonyFolder(self.room.usb).board(self.room.gathering.setting, NOW)
        assert board.outcome is not None
        return certificate_digest(board.outcome)

    def close(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.place)


@pytest.fixture(scope="module")
def desks() -> Iterator[Desks]:
    made = Desks()
    yield made
    made.close()


@pytest.mark.case("X719", "one bit flipped in a state folder, before or after a restart")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_bit_in_a_state_folder(desks: Desks, data: st.DataObject) -> None:
    room = desks.room
    assert desks.steps == [ACTIVATE] * 3
    files = sorted(path.name for path in room.desk(1).iterdir() if path.name != "lock")
    assert {"joined.json", "dealt.json", "agreements.json", "certificate.json"} <= set(files)
    path = room.desk(1) / data.draw(st.sampled_from(files))
    good, shared = path.read_bytes(), set(room.usb.iterdir())
    path.write_bytes(flipped(good, data.draw(st.integers(0, 8 * len(good) - 1))))
    lost = data.draw(st.sampled_from([None, *sorted(p.name for p in shared)]))
    kept = (room.usb / lost).read_bytes() if lost and lost != "roster.json" else None
    if kept is not None:
        (room.usb / str(lost)).unlink()
    try:
        with contextlib.suppress(SignerError):
            room.next(1)
        with contextlib.suppress(SignerError):
            room.runner(1).look()
    finally:
        path.write_bytes(good)
        for entry in set(room.usb.iterdir()) - shared:
            entry.unlink()
        if kept is not None:
            (room.usb / str(lost)).write_bytes(kept)
    assert desks.outcome() == desks.good
    assert room.orders.count("make_deal") == 3  # nothing was dealt, agreed or finished again


@pytest.mark.case("X720", "another group's file, or one with another key, laid down as group.json")
def test_a_group_file_is_the_ceremonys_own(desks: Desks) -> None:
    room = desks.room
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    assert board.outcome is not None
    own = group_of(board.outcome)
    for strange in (dkg().group(active=True), reshare().group(active=True)):
        (room.usb / "group.json").write_bytes(strange.to_bytes())
        board.problems.clear()
        assert active_group(CeremonyFolder(room.usb), board) is None
        assert [(one.file, one.code) for one in board.problems] == [("group.json", "E_TRANSCRIPT")]
        assert room.next(1).after.name == ACTIVATE
    (room.usb / "group.json").write_bytes(own.to_bytes())
    assert active_group(CeremonyFolder(room.usb), board) is None  # it has no activation
    assert room.next(1).after.name == ACTIVATE
    (room.usb / "group.json").unlink()


# Anybody may stop anywhere, and files get lost on the way


class Killed(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def killed_at(count: int) -> Iterator[None]:
    """End what runs in this block at its `count`-th call that changes the disk."""
    left = [count]
    real = {name: getattr(os, name) for name in ("open", "fsync", "link", "unlink", "replace")}

    def around(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real[name](*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, around(name))
        try:
            yield
        except Killed:
            return


class HonestPeople(RuleBasedStateMachine):
    """Three people generate a key; their machines die, their sticks lose files."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.place = Path(tempfile.mkdtemp())
        self.draw = random.Random(seed)
        self.room = Room.open(Gathering.dkg(2, 3), self.place, self.patch, self.draw.randbytes)
        self.signed: dict[tuple[str, int], set[bytes]] = {}

    @rule(index=st.integers(1, 3))
    def step(self, index: int) -> None:
        taken = self.room.next(index)
        assert taken.after.name in ("wait", "agree", "acknowledge", "activate")

    @rule(index=st.integers(1, 3), at=st.integers(1, 40))
    def die(self, index: int, at: int) -> None:
        with killed_at(at):
            self.room.next(index)

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        names = sorted(p.name for p in self.room.usb.iterdir() if p.name != "roster.json")
        if names:
            (self.room.usb / data.draw(st.sampled_from(names))).unlink()

    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        names = sorted(p.name for p in self.room.usb.glob("*-0?.json"))
        if names:
            path = self.room.usb / data.draw(st.sampled_from(names))
            path.rename(path.with_name(path.name.replace(".json", "-copy.json")))

    @invariant()
    def nobody_signs_two_things(self) -> None:
        if not hasattr(self, "room"):
            return
        for path in self.room.usb.glob("*.json"):
            kind, _, rest = path.name.partition("-")
            if kind not in ("deal", "agree"):
                continue
            value = json.loads(path.read_bytes())
            signed = value["signed"] if kind == "deal" else value
            payload = parse_base64(signed["payload"], "payload", max_bytes=2**20)
            self.signed.setdefault((kind, int(rest[:2])), set()).add(payload)
        assert all(len(payloads) == 1 for payloads in self.signed.values())

    def teardown(self) -> None:
        if not hasattr(self, "room"):
            return
        try:
            told: list[str] = []
            for _ in range(5):
                told = [self.room.next(index).after.name for index in (1, 2, 3)]
            assert told == [ACTIVATE] * 3
            self.nobody_signs_two_things()
            board = CeremonyFolder(self.room.usb).board(self.room.gathering.setting, NOW)
            assert board.certified
            assert not board.missing_acknowledgements
            assert not board.problems
        finally:
            self.patch.undo()
            shutil.rmtree(self.place)


TestHonestPeople = pytest.mark.case(
    "C17", "machines that die anywhere, sticks that lose files: the same bytes, and it ends well"
)(HonestPeople.TestCase)
TestHonestPeople.settings = settings(max_examples=8, stateful_step_count=14, deadline=None)

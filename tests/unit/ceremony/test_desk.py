"""A participant's desk: what it keeps, what it refuses, what it shows again."""

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_sum
from signer.ceremony.bundle import Bundle
from signer.ceremony.certificate import Certificate
from signer.ceremony.complaint import COMPLAINT_TYPE, Complaint
from signer.ceremony.deal import Deal, DealBody, ProofText
from signer.ceremony.dealing import make_deal
from signer.ceremony.setting import Setting
from signer.ceremony.steps import ABORTED, ACTIVATE, AGREE
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_state import CeremonyState
from signer.custody.jobs.ceremony import MakeDeal, OpenDeal
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker import dealing
from signer.errors import EngineError, SignerError
from signer.hsm.profile import load_profile
from signer.messages.group_file import GroupFile
from signer.policy.policy import NEVER, Policy
from signer.sealing.envelope import Envelope
from signer.strict import Fields, canonical
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex
from signer.threshold.possession import prove
from tests.simulators.ceremony import Gathering, Person, roster_of
from tests.simulators.ceremony_desk import Room
from tests.simulators.holders import ADDRESS, NOW
from tests.unit.ceremony.honest import dkg, refused

EVERYBODY = (1, 2, 3)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    draw = random.Random(3).randbytes
    return Room.open(Gathering.dkg(2, 3), tmp_path, monkeypatch, draw)


def rounds(room: Room, count: int) -> None:
    for _ in range(count):
        for member in EVERYBODY:
            room.next(member)


def dealt(room: Room, member: int) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((room.desk(member) / "dealt.json").read_bytes())
    return value


def shown_deal(room: Room, member: int) -> Deal:
    return Deal.parse((room.usb / f"deal-0{member}.json").read_bytes())


def opening(room: Room, dealer: int, recipient: int) -> OpenDeal:
    """Return an order to open what a dealer sealed to a member who has complained of it."""
    deal = Deal.take(Fields(dealt(room, dealer)["deal"], "deal"))
    said = Complaint(
        ceremony=room.gathering.setting.roster.id, index=recipient, dealer=dealer,
        code="E_DEAL_SHARE", deal=deal.digest, moment=NOW,
    )  # fmt: skip
    signed = room.gathering.members[recipient].sign(COMPLAINT_TYPE, said.to_payload())
    return OpenDeal(
        token=TokenChoice(profile=load_profile("softhsm2"), label=str(dealer)),
        pin=SecretSource(file="/none"), roster=room.gathering.setting.roster.to_bytes().decode(),
        dealer=dealer, recipient=recipient, session=dealt(room, dealer)["session"],
        complaint=signed.to_json(),
    )  # fmt: skip


@pytest.mark.case(
    "X722", "order to show a key that nobody complained of, or another one's complaint"
)
def test_the_worker_opens_only_what_is_complained_of(room: Room) -> None:
    rounds(room, 1)
    order = opening(room, 1, 2)
    assert set(room.work(order).take("opening")) == {"payload", "payloadType", "signatures"}
    wrong: list[dict[str, Any]] = [
        {"recipient": 3}, {"dealer": 3}, {"recipient": 9}, {"complaint": {}}
    ]  # fmt: skip
    for changes in wrong:
        with pytest.raises(SignerError) as caught:
            room.work(replace(order, **changes))
        assert caught.value.code in ("E_CEREMONY", "E_SIGNATURE", "E_SCHEMA", "E_CARD")
    loud = Complaint(
        ceremony=room.gathering.setting.roster.id, index=2, dealer=1, code="E_DEAL_PROOF",
        deal=bytes(32), moment=NOW,
    )  # fmt: skip
    signed = room.gathering.members[2].sign(COMPLAINT_TYPE, loud.to_payload()).to_json()
    refused("E_CEREMONY", "needs no answer", room.work, replace(order, complaint=signed))


@pytest.mark.case("X823", "each step with a token whose receiving key does not prove its point")
def test_no_step_is_taken_with_a_key_that_is_another_s(room: Room) -> None:
    def left() -> set[Path]:
        return {path for path in room.path.rglob("*") if path.name != "certificate.json"}

    for step in ("deal", "agree", "acknowledge"):
        room.swapped, before = {1}, left()
        refused("E_PROVENANCE", "another key", room.next, 1)
        assert left() == before, step  # neither a file nor a complaint
        if step == "agree":
            refused("E_PROVENANCE", "another key", room.work, opening(room, 1, 2))
        room.swapped = set()
        assert [room.next(member).step.name for member in EVERYBODY] == [step] * 3


@pytest.mark.case("X822", "new share sealed to a member's token only, his card shows a spare too")
def test_a_new_share_is_sealed_to_the_spare_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = Person.new("Ada backup").card.body.kex
    people = {1: Person.new("Ada", kex_backup=backup), 2: Person.new("Ben")}
    gathering = Gathering(Setting.of(roster_of(people, 2), None), people, people)
    room = Room.open(gathering, tmp_path, monkeypatch, random.Random(3).randbytes)
    for member in (1, 2) * 3:
        room.next(member)
    for member, spares in ((1, [backup]), (2, [])):
        sealed = Envelope.parse((room.desk(member) / "envelope.json").read_bytes())
        assert sealed.recipients == (people[member].card.body.kex, *spares)


@pytest.mark.case("C21", "session seed kept after the certificate, when no complaint can come")
def test_the_session_is_forgotten_with_the_certificate(room: Room) -> None:
    rounds(room, 1)
    assert all(dealt(room, member)["session"] for member in EVERYBODY)
    shown = {m: (room.usb / f"deal-0{m}.json").read_bytes() for m in EVERYBODY}
    rounds(room, 4)
    assert not any(dealt(room, member)["session"] for member in EVERYBODY)
    for member in EVERYBODY:
        (room.usb / f"deal-0{member}.json").unlink()
        room.next(member)
        assert (room.usb / f"deal-0{member}.json").read_bytes() == shown[member]


@pytest.mark.case("C16", "second deal, second agreement or complaint once everybody has agreed")
def test_nothing_undoes_a_certificate(room: Room) -> None:
    rounds(room, 3)
    assert room.next(1).after.name == ACTIVATE
    person = room.gathering.members[3]
    second = room.gathering.deal(3)
    (room.usb / "deal-03-b.json").write_bytes(second.to_bytes())
    stray = room.gathering.agreement("member", 3, transcript=bytes(32))
    (room.usb / "agree-03-b.json").write_bytes(canonical(stray.to_json()))
    complaint = room.gathering.complaint(3, 1, "E_DEAL_SHARE", second)
    (room.usb / "complaint-03-against-01.json").write_bytes(canonical(complaint.to_json()))
    assert person.card.body.name == "holder 3"
    for member in EVERYBODY:
        taken = room.next(member)
        assert (taken.after.name, taken.new) == (ACTIVATE, ())
    board = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    assert (board.aborted, board.certified) == (False, True)
    assert {(problem.file, problem.code) for problem in board.problems} == {
        ("deal-03-b.json", "E_TRANSCRIPT"), ("agree-03-b.json", "E_TRANSCRIPT"),
    }  # fmt: skip
    (room.desk(2) / "certificate.json").unlink()  # nor for who has only the folder's
    assert room.next(2).after.name == ACTIVATE


@pytest.mark.case("C15", "a certificate in the folder that lacks an agreement, or has a wrong one")
def test_a_certificate_that_does_not_hold_stands_for_nothing(room: Room) -> None:
    rounds(room, 1)
    room.next(1), room.next(2)
    made = room.usb / "certificate.json"
    there = CeremonyFolder(room.usb).board(room.gathering.setting, NOW)
    agreements = (there.agreements["member", 1], there.agreements["member", 2])
    deals = tuple(there.deals[dealer] for dealer in EVERYBODY)
    for agreed in (agreements, (*agreements, agreements[0])):
        certificate = Certificate(room.gathering.setting.roster, deals, agreed)
        made.write_bytes(certificate.to_bytes())
        taken = room.next(1)
        assert taken.after.waits_for == ("member 3 (holder 3)",)
    assert not (room.desk(1) / "certificate.json").exists()


@pytest.mark.case("C8", "a bundle instead of the deals: the certificate is waited for")
def test_a_machine_without_a_network(room: Room, tmp_path: Path) -> None:
    rounds(room, 1)
    there = CeremonyFolder(room.usb)
    board = there.board(room.gathering.setting, NOW)
    bundle = Bundle.of(board.setting.roster, ShareIndex(1), board.deals, {})
    away = tmp_path / "away"
    away.mkdir()
    (away / "roster.json").write_bytes((room.usb / "roster.json").read_bytes())
    (away / "bundle-01.json").write_bytes(bundle.to_bytes())
    runner = replace(room.runner(1), folder=CeremonyFolder(away))
    taken = runner.run()
    assert taken.step.name == "agree"
    assert "agree-01.json" in taken.new
    (room.usb / "agree-01.json").write_bytes((away / "agree-01.json").read_bytes())

    for member in (2, 3):
        room.next(member)
        name = f"agree-0{member}.json"
        (away / name).write_bytes((room.usb / name).read_bytes())
    error = refused("E_EARLY", "certificate is waited for", runner.run)
    assert "certificate.json" in error.hint
    room.next(2)
    (away / "certificate.json").write_bytes((room.usb / "certificate.json").read_bytes())
    assert runner.run().step.name == "acknowledge"


@pytest.mark.case("X720", "junk where the results of a ceremony go")
@pytest.mark.parametrize("name", ["certificate.json", "drill-1.json"])
@pytest.mark.parametrize("junk", [b"", b"{}", b" " * 5_000_000, None])
def test_junk_where_results_go(room: Room, name: str, junk: bytes | None) -> None:
    path = room.usb / name
    if junk is None:
        path.mkdir()
    else:
        path.write_bytes(junk)
    rounds(room, 4)
    assert [room.next(member).after.name for member in EVERYBODY] == [ACTIVATE] * 3
    assert path.is_dir() if junk is None else path.read_bytes() == junk


@pytest.mark.case("X720", "another group's file, or junk, laid down as group-pending.json")
def test_the_group_that_is_to_be_activated_is_the_ceremonys(room: Room) -> None:
    pending = room.usb / "group-pending.json"
    for other in (dkg().group().to_bytes(), b"{}", b""):
        pending.write_bytes(other)
        for member in EVERYBODY * 4:
            with contextlib.suppress(SignerError):
                room.next(member)
        taken = room.next(1)
        assert (taken.after.name, taken.strange) == (ACTIVATE, ("group-pending.json",))
        (ours,) = room.usb.glob("group-pending-????????.json")
        made = GroupFile.parse(ours.read_bytes())
        assert made.cards == room.gathering.setting.roster.members
        pending.unlink()
    assert room.next(1).new == ("group-pending.json",)
    assert room.next(2).after.name == ACTIVATE


@pytest.mark.case("X719", "a state folder's files cut short, emptied, or of something else")
@pytest.mark.parametrize("name", ["joined.json", "dealt.json", "agreements.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"dealer":1}', b"[]", b"\xff"])
def test_damaged_state(room: Room, name: str, content: bytes) -> None:
    rounds(room, 2)
    (room.desk(1) / "certificate.json").unlink(missing_ok=True)
    (room.desk(1) / name).write_bytes(content)
    for run in (room.runner(1).run, room.runner(1).look):
        with pytest.raises(SignerError):
            run()


@pytest.mark.case(
    "X1005", "one hex digit changed in what the state folder keeps of what was signed"
)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("dealt.json", "ciphertext"), ("dealt.json", "payload"), ("dealt.json", "sig"),
        ("agreements.json", "payload"), ("ack.json", "payload"), ("ack.json", "envelope"),
    ],
)  # fmt: skip
def test_what_was_kept_is_whole_before_it_is_handed_on(room: Room, name: str, field: str) -> None:
    rounds(room, {"dealt.json": 1, "agreements.json": 2, "ack.json": 3}[name])
    for path in room.usb.iterdir():
        if path.name != "roster.json":
            path.unlink()
    there = room.desk(1) / name
    raw = there.read_bytes()
    at = raw.index(f'"{field}":"'.encode(), max(0, raw.find(b'"ciphertexts"'))) + len(field) + 44
    there.write_bytes(raw[:at] + (b"1" if raw[at : at + 1] != b"1" else b"2") + raw[at + 1 :])
    for run in (room.runner(1).run, room.runner(1).look):
        refused("E_CEREMONY_STATE", f"{name} in the state folder is damaged", run)
    assert [path.name for path in room.usb.iterdir()] == ["roster.json"]
    there.write_bytes(raw)
    assert room.next(1).new


@pytest.mark.case("X719", "a complaint in the state folder that is none")
@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"dealer":"1"}', b'{"dealer":-1}'])
def test_a_damaged_complaint(room: Room, content: bytes) -> None:
    rounds(room, 1)
    (room.desk(1) / "complaint.json").write_bytes(content)
    refused("E_SCHEMA", "complaint.json", room.next, 1)


@pytest.mark.case("C17", "a second process at the same desk")
def test_one_at_a_time(room: Room) -> None:
    state = CeremonyState.of(room.state(1), room.gathering.setting.roster)
    with state.alone():
        refused("E_CEREMONY_STATE", "another command", room.next, 1)
    assert room.next(1).step.name == "deal"


@pytest.mark.case("X1003", "policy.json in the folder exchanged, or damaged, after joining")
def test_nothing_is_signed_beside_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
    other = replace(policy, labels={ADDRESS: "another"})
    gathering = Gathering.dkg(2, 3, policy_digest=policy.digest)
    room = Room.open(gathering, tmp_path, monkeypatch, random.Random(3).randbytes)
    there = room.usb / "policy.json"
    for step in ("deal", "agree", "acknowledge"):
        orders = list(room.orders)
        for raw in (canonical(other.to_json()), b"junk", b""):
            there.write_bytes(raw)
            error = refused("E_POLICY", "policy.json in the folder", room.next, 1)
            assert "put the one back" in error.hint
        assert room.orders == orders
        there.write_bytes(canonical(policy.to_json()))
        assert [room.next(member).step.name for member in EVERYBODY] == [step] * 3
    there.write_bytes(canonical(other.to_json()))
    taken = room.next(1)
    assert (taken.after.name, taken.strange) == (ACTIVATE, ("policy.json",))


@pytest.mark.case(
    "X1006", "state folder restored or lost after the deal left: a second deal is made"
)
def test_who_has_dealt_twice_is_told_why(room: Room) -> None:
    room.next(1)
    shown = room.usb / "deal-01.json"
    first = shown.read_bytes()
    shown.unlink()  # carried away
    (room.desk(1) / "dealt.json").unlink()
    assert room.next(1).step.name == "deal"
    for name in ("deal-01-0.json", "deal-01-z.json"):  # read before his own, or after it
        (room.usb / name).write_bytes(first)
        error = refused("E_DEAL_CHANGED", "two different deals of yours", room.next, 1)
        assert "lost, or restored from a copy" in error.hint
        assert "signed two different deals" in room.next(2).after.words
        (room.usb / name).unlink()
    shown.unlink()
    bundle = Bundle.of(room.gathering.setting.roster, ShareIndex(1), {1: Deal.parse(first)}, {})
    (room.usb / "bundle-01.json").write_bytes(bundle.to_bytes())
    refused("E_DEAL_CHANGED", "two different deals of yours", room.next, 1)


@pytest.mark.case("P6", "joining twice")
def test_joining_twice(room: Room) -> None:
    error = refused("E_CEREMONY_STATE", "joined before", room.join, 1)
    assert "next" in error.hint


@pytest.mark.case("C25", "the machine's random source repeats itself")
def test_a_stuck_machine_deals_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    order = MakeDeal(
        token=TokenChoice(profile=load_profile("softhsm2"), label="1"),
        pin=SecretSource(file="/none"), dealer=1,
        roster=room.gathering.setting.roster.to_bytes().decode(),
    )  # fmt: skip
    for stuck in (bytes(32), b"\x07" * 32):
        with monkeypatch.context() as patch:
            patch.setattr(dealing.os, "urandom", lambda _, stuck=stuck: stuck)  # type: ignore[attr-defined]
            with pytest.raises(EngineError, match="repeats itself"):
                room.work(order)

    assert room.next(1).step.name == "deal"


@pytest.mark.case("C7", "who deals last cancels the others' top commitments: he is found out")
def test_whoever_makes_the_sum_no_key_is_named(room: Room) -> None:
    for member in (1, 2):
        room.next(member)
    setting = room.gathering.setting
    others = [DealBody.parse(shown_deal(room, member).signed.payload, "deal") for member in (1, 2)]
    top = g1_sum([PublicKey(body.commitments[-1]).affine for body in others])
    assert top is not None
    negated = bytearray(PublicKey.from_affine(top))
    negated[0] ^= 0x20
    with room.gathering.session(3) as seed:
        body, ciphertexts = make_deal(setting, 3, seed, NOW)
        with Dealing.derive(seed, setting.roster.id, setting.roster.threshold.t) as dealing:
            commitments = (*dealing.commitments[:-1], PublicKey(bytes(negated)))
            dealing.commitments = commitments
            proof = prove(dealing, seed, setting.proof_context(3))
    data = replace(
        body, commitments=tuple(map(bytes, commitments)), proof=ProofText(bytes(proof.r), proof.z)
    )
    deal = room.gathering.signed_deal(3, data, ciphertexts)
    (room.usb / "deal-03.json").write_bytes(deal.to_bytes())
    taken = room.next(1)
    assert (taken.step.name, taken.after.name) == (AGREE, ABORTED)
    assert taken.new == ("complaint-01-against-03.json",)
    assert "dealer 3" in taken.after.words


@pytest.mark.case("C17", "own deal in a bundle, of which the state folder knows nothing")
def test_a_bundle_shows_ones_own_deal_too(room: Room) -> None:
    rounds(room, 1)
    setting = room.gathering.setting
    deals = {member: shown_deal(room, member) for member in EVERYBODY}
    bundle = Bundle.of(setting.roster, ShareIndex(3), deals, {})
    for member in EVERYBODY:
        (room.usb / f"deal-0{member}.json").unlink()
    (room.usb / "bundle-03.json").write_bytes(bundle.to_bytes())
    (room.desk(3) / "dealt.json").unlink()
    refused("E_CEREMONY_STATE", "knows nothing of it", room.next, 3)

"""Agreements, certificates, acknowledgements, receipts: what holds, and what is refused."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from signer.ceremony.acknowledgement import Acknowledgement, envelope_digest
from signer.ceremony.agreement import (
    DEALER,
    MEMBER,
    Agreement,
    agreeing,
    agreement_of,
    open_agreement,
)
from signer.ceremony.agreement import PAYLOAD_TYPE as AGREEMENT_TYPE
from signer.ceremony.certificate import Certificate, certificate_digest, group_of
from signer.ceremony.destruction import PAYLOAD_TYPE as DESTROYED_TYPE
from signer.ceremony.destruction import Destroyed, deletion_words, open_destroyed
from signer.ceremony.entries import entries_of
from signer.ceremony.minutes import minutes_text
from signer.ceremony.statement import MAX_BYTES as MAX_STATEMENT_BYTES
from signer.ceremony.statement import parse_statement
from signer.messages.drill import DRILL_DST
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import NOW
from tests.unit.ceremony.honest import (
    dkg,
    dkg_files,
    refused,
    reshare,
    reshare_files,
    split,
)

OTHER = b"\x55" * 32


def file_of(signed: SignedFile) -> bytes:
    return canonical(signed.to_json())


def said_by(member: int, **changes: Any) -> SignedFile:
    """Return what a member signs who says something else in the place of his agreement."""
    said = replace(agreement_of(dkg().outcome(), MEMBER, member, NOW), **changes)
    return dkg().members[member].sign(AGREEMENT_TYPE, said.to_payload())


def board_with(**changed: bytes | None) -> Any:
    """Read the honest folder with other files in it: `agree_01` stands for agree-01.json."""
    files = dict(dkg_files())
    for name, data in changed.items():
        key = name.replace("_", "-") + ".json"
        if data is None:
            del files[key]
        else:
            files[key] = data
    return dkg().board(files)


def test_the_honest_folder_is_certified() -> None:
    for gathering, files in ((dkg(), dkg_files()), (reshare(), reshare_files())):
        board = gathering.board(files)
        assert board.certified
        assert not board.problems
        assert not board.missing_acknowledgements
        assert set(board.proofs) == {1, 2, 3}


@pytest.mark.case("C14", "an agreement over another transcript")
def test_an_agreement_to_other_deals_ends_the_ceremony() -> None:
    strange = dkg().agreement(MEMBER, 2, transcript=OTHER)
    board = board_with(agree_02=file_of(strange))
    assert board.aborted
    assert not board.certified
    assert board.stop is not None
    assert board.stop.code == "E_TRANSCRIPT"
    assert "member 2 (holder 2) has seen other deals" in board.stop.message
    assert f"because: {board.stop.message} (E_TRANSCRIPT)" in minutes_text(board, None, [])
    assert [problem.code for problem in board.problems] == ["E_TRANSCRIPT"]


@pytest.mark.case("C14", "an agreement missing, doubled, of a wrong index, in another's place")
def test_everybody_agrees_for_himself() -> None:
    missing = board_with(agree_02=None)
    assert not missing.certified
    assert missing.missing_agreements == ((MEMBER, 2),)

    again = file_of(dkg().agreement(MEMBER, 2, moment=NOW + 5))
    doubled = board_with(agree_02_copy=again)
    assert doubled.certified
    assert not doubled.problems

    for strange in (said_by(2, index=3), dkg().agreement(MEMBER, 3)):
        board = board_with(agree_02=file_of(strange))
        assert not board.certified
        assert not board.aborted  # it proves nothing against member 2
        assert [problem.code for problem in board.problems] in (["E_CEREMONY"], ["E_SIGNATURE"])

    stranger = board_with(agree_04=file_of(said_by(2, index=4)))
    assert stranger.certified
    assert [problem.code for problem in stranger.problems] == ["E_CEREMONY"]


@pytest.mark.case("C14", "an agreement of another ceremony or role; as a dealer in a DKG")
def test_agreements_have_a_place() -> None:
    setting = dkg().setting
    several: list[dict[str, Any]] = [{"ceremony": OTHER}, {"index": 3}, {"role": DEALER}]
    for changes in several:
        signed = said_by(2, **changes)
        refused("E_CEREMONY", "another", open_agreement, signed, setting, MEMBER, 2)
    assert (DEALER, 1) not in agreeing(setting)
    as_dealer = board_with(agree_dealer_01=file_of(said_by(1, role=DEALER)))
    assert [problem.code for problem in as_dealer.problems] == ["E_CEREMONY"]


@pytest.mark.case(
    "C14", "reshare: a dealer who does not agree, or whose member's agreement he shows"
)
def test_dealers_of_a_reshare_agree_too() -> None:
    gathering, files = reshare(), dict(reshare_files())
    agreed = files.pop("agree-dealer-01.json")
    board = gathering.board(files)
    assert board.missing_agreements == ((DEALER, 1),)
    assert not board.certified
    moved = gathering.board(files | {"agree-dealer-01.json": files["agree-01.json"]})
    assert moved.missing_agreements
    assert gathering.board(files | {"agree-dealer-01.json": agreed}).certified


@pytest.mark.case("X713", "agreement with a field more, of another version, of another type")
def test_statements_are_strict() -> None:
    value = json.loads(dkg().agreement(MEMBER, 2).payload)
    bad: list[dict[str, Any]] = [
        value | {"version": 2}, value | {"type": "signer-complaint"}, value | {"more": 1},
        value | {"index": "2"}, value | {"index": 0}, value | {"role": "owner"},
        value | {"transcript": "00"}, value | {"moment": 2**53 - 1},
    ]  # fmt: skip
    bad += [{k: v for k, v in value.items() if k != name} for name in value]
    for changed in bad:
        signed = dkg().members[2].sign(AGREEMENT_TYPE, canonical(changed))
        refused("E_SCHEMA", "", open_agreement, signed, dkg().setting, MEMBER, 2)
    raw = dkg_files()["agree-02.json"]
    refused("E_SCHEMA", "", parse_statement, raw, "signer-complaint", "file")
    too_long = raw + b" " * MAX_STATEMENT_BYTES
    refused("E_SCHEMA", "at most", parse_statement, too_long, "signer-agreement", "file")


@pytest.mark.case(
    "X723", "files of a moment that no calendar has: the minutes are written all the same"
)
def test_minutes_of_any_moment() -> None:
    last = 253_402_300_799
    files = dict(dkg_files())
    files["agree-02.json"] = file_of(dkg().agreement(MEMBER, 2, moment=last))
    board = dkg().board(files)
    text = minutes_text(board, None, entries_of(board, files))
    assert "9999-12-31 23:59:59  member 2" in text
    for moment in (last + 1, 2**53 - 1):
        files["agree-02.json"] = file_of(dkg().agreement(MEMBER, 2, moment=moment))
        files["deal-03.json"] = dkg().deal(3, moment=moment).to_bytes()
        board = dkg().board(files)
        text = minutes_text(board, None, entries_of(board, files))
        assert "GUILTY: the deal of dealer 3" in text
        assert "(no time stated)     dealer 3 (holder 3) dealt" in text


# Certificates


@pytest.mark.parametrize("kind", [dkg, split, reshare])
def test_a_certificate_stands_for_itself(kind: Any) -> None:
    gathering: Gathering = kind()
    made = gathering.certificate()
    again = Certificate.parse(made.to_bytes())
    assert again == made
    assert again.to_bytes() == made.to_bytes()
    outcome = again.outcome(gathering.setting.previous)
    assert outcome.transcript == gathering.outcome().transcript
    group = group_of(outcome)
    assert GroupFile.parse(group.to_bytes()) == group
    assert not group.active
    assert group.certificate == certificate_digest(outcome)
    assert group.origin == ("split" if kind is split else "dkg")
    assert group.epoch == (2 if kind is reshare else 1)


def test_the_digest_leaves_signatures_out() -> None:
    made = dkg().certificate()
    later = dkg().agreement(MEMBER, 1, moment=NOW + 77)
    other = replace(made, agreements=(later, *made.agreements[1:]))
    assert other.to_bytes() != made.to_bytes()
    assert certificate_digest(other.outcome()) == certificate_digest(made.outcome())


@pytest.mark.case("C15", "certificate with a deal of an aborted ceremony, or of another dealer")
def test_certificates_are_of_one_ceremony() -> None:
    made = dkg().certificate()
    roster = replace(dkg().setting.roster, nonce=b"\1" * 32)
    aborted = Gathering(replace(dkg().setting, roster=roster), dkg().members, dkg().dealers)
    first, second, third = made.deals
    for deals, code in (
        ((aborted.deal(1), second, third), "E_DEAL_CEREMONY"),
        ((second, first, third), "E_DEAL_SIGNATURE"),
        ((first, second), "E_CEREMONY"),
        ((first, second, third, third), "E_CEREMONY"),
        ((dkg().deal(1, moment=NOW + 1), second, third), "E_TRANSCRIPT"),
    ):
        refused(code, "", replace(made, deals=deals).outcome)
    refused("E_DEAL_CEREMONY", "", replace(made, roster=roster).outcome)


@pytest.mark.case("C15", "certificate with an agreement too few, too many, moved, or of another")
def test_certificates_have_every_agreement() -> None:
    made = dkg().certificate()
    one, two, three = made.agreements
    strange = dkg().agreement(MEMBER, 2, transcript=OTHER)
    for agreements, code in (
        ((one, two), "E_CEREMONY"),
        ((one, two, three, three), "E_CEREMONY"),
        ((two, one, three), "E_SIGNATURE"),
        ((one, one, three), "E_SIGNATURE"),
        ((one, strange, three), "E_TRANSCRIPT"),
    ):
        refused(code, "", replace(made, agreements=agreements).outcome)


@pytest.mark.case("C15", "certificate of a reshare: without the old group, with another's bindings")
def test_certificates_of_reshares_follow_their_group() -> None:
    made, old = reshare().certificate(), reshare().setting.old
    refused("E_ROSTER", "needs the group file", made.outcome)
    refused("E_ROSTER", "another group file", made.outcome, replace(old, activation=None))
    one, two = made.bindings
    for bindings in ((one,), (two, one), (one, two, two), ()):
        refused("E_BINDINGS", "", replace(made, bindings=bindings).outcome, old)
    refused("E_BINDINGS", "only a reshare", replace(dkg().certificate(), bindings=(one,)).outcome)


@pytest.mark.case("X714", "certificate with any field missing or one more, of another version")
def test_certificates_are_strict() -> None:
    value = dkg().certificate().to_json()
    changes: list[dict[str, Any]] = [
        {"version": 2}, {"type": "signer-roster"}, {"more": 1}, {"deals": []}, {"agreements": []},
        {"bindings": None}, {"roster": None},
    ]  # fmt: skip
    for change in changes:
        refused("E_SCHEMA", "", Certificate.parse, canonical(value | change))
    for name in value:
        fewer = {key: entry for key, entry in value.items() if key != name}
        refused("E_SCHEMA", name, Certificate.parse, canonical(fewer))


# Acknowledgements


def checked(file: Acknowledgement, member: int = 2) -> object:
    return file.check(dkg().outcome(), ShareIndex(member))


@pytest.mark.case("C23", "share proof with another share, under another tag, of another message")
def test_proofs_are_of_ones_own_share() -> None:
    checked(dkg().acknowledgement(2))
    other = dkg().acknowledgement(2, share=dkg().share(3))
    refused("E_SHARE_PROOF", "member 2", checked, other)
    refused("E_SHARE_PROOF", "", checked, dkg().acknowledgement(2, dst=DRILL_DST))
    neighbours = dkg().acknowledgement(3)
    body = json.loads(neighbours.signed.payload)
    proof = bytes.fromhex(body["share_proof"])
    refused("E_SHARE_PROOF", "", checked, dkg().acknowledgement(2, share_proof=proof))
    for bad in (b"\xc0" + bytes(95), bytes(96), b"\xff" * 96):
        refused("E_SHARE_PROOF", "", checked, dkg().acknowledgement(2, share_proof=bad))


@pytest.mark.case(
    "C23", "acknowledgement of another certificate, ceremony or index; in another's place"
)
def test_acknowledgements_have_a_place() -> None:
    refused("E_TRANSCRIPT", "", checked, dkg().acknowledgement(2, certificate=OTHER))
    refused("E_CEREMONY", "", checked, dkg().acknowledgement(2, ceremony=OTHER))
    refused("E_CEREMONY", "", checked, dkg().acknowledgement(2, index=3))
    refused("E_SIGNATURE", "", checked, dkg().acknowledgement(3))


@pytest.mark.case("C23", "acknowledgement with another's envelope, or one bound to something else")
def test_acknowledgements_carry_ones_own_envelope() -> None:
    good, other = dkg().acknowledgement(2), dkg().acknowledgement(3)
    swapped = replace(good, envelope=other.envelope)
    refused("E_CEREMONY", "not the one", checked, swapped)
    named = dkg().acknowledgement(2, envelope_sha256=envelope_digest(other.envelope))
    strange = replace(named, envelope=other.envelope)
    refused("E_CEREMONY", "bound to something else", checked, strange)
    board = board_with(ack_02=replace(good, envelope=other.envelope).to_bytes())
    assert board.missing_acknowledgements == (2,)
    assert board.certified


@pytest.mark.case("X715", "acknowledgement's file in another form")
def test_acknowledgements_are_strict() -> None:
    value = json.loads(dkg_files()["ack-02.json"])
    changes: list[dict[str, Any]] = [{"version": 2}, {"more": 1}, {"envelope": "{}\n"},
                                     {"envelope": value["envelope"] + " "}, {"envelope": None},
                                     {"type": "signer-deal"}]  # fmt: skip
    for change in changes:
        refused("E_SCHEMA", "", Acknowledgement.parse, canonical(value | change))
    spaced = value["envelope"].replace(",", ", ", 1)
    raw = canonical(value | {"envelope": spaced})
    refused("E_CEREMONY", "canonical", Acknowledgement.parse, raw)


# Receipts


def receipt(index: int = 1, **changes: Any) -> SignedFile:
    old, outcome = reshare().setting.old, reshare().outcome()
    fields: dict[str, Any] = {
        "group": old.group_id, "epoch": old.epoch, "index": index,
        "keys": (old.card_of(index).body.kex,), "successor": certificate_digest(outcome),
        "moment": NOW,
    }  # fmt: skip
    return dkg().members[index].sign(DESTROYED_TYPE, Destroyed(**(fields | changes)).to_payload())


@pytest.mark.case("C21", "receipt of another key, epoch, group, index or certificate, by another")
def test_receipts_are_about_one_key() -> None:
    old, successor = reshare().setting.old, certificate_digest(reshare().outcome())
    open_destroyed(receipt(), old, 1, successor)
    other = old.card_of(2).body.kex
    wrong: list[dict[str, Any]] = [
        {"group": OTHER}, {"epoch": 2}, {"keys": (other,)}, {"successor": OTHER}
    ]  # fmt: skip
    for changes in wrong:
        refused("E_CEREMONY", "another", open_destroyed, receipt(**changes), old, 1, successor)
    refused("E_SIGNATURE", "", open_destroyed, receipt(2), old, 1, successor)


@pytest.mark.case("C21", "an old sharing called dead while t can open their shares")
def test_an_old_sharing_is_dead_below_t() -> None:
    old = dkg().group(active=True)  # 2 of 3
    assert "still lives" in deletion_words(old, [])
    assert "still lives" in deletion_words(old, [2])
    assert "1 left < 2: the old sharing is dead" in deletion_words(old, [2, 3])
    assert "2 of 3 destroyed" in deletion_words(old, [2, 3, 3])


def test_an_agreement_says_what_it_says() -> None:
    said = open_agreement(dkg().agreement(MEMBER, 1), dkg().setting, MEMBER, 1)
    assert said == Agreement(
        ceremony=dkg().setting.roster.id, role=MEMBER, index=1, moment=NOW,
        transcript=dkg().outcome().transcript,
    )  # fmt: skip
    assert len(hashlib.sha256(said.to_payload()).digest()) == 32

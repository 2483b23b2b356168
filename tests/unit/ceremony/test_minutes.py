"""The minutes: everything that somebody signed, with who, when and which digest."""

import hashlib
from dataclasses import replace

import pytest

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony.agreement import MEMBER
from signer.ceremony.bundle import Bundle
from signer.ceremony.certificate import certificate_digest
from signer.ceremony.deal import PAYLOAD_TYPE as DEAL_TYPE
from signer.ceremony.deal import Deal
from signer.ceremony.destruction import PAYLOAD_TYPE as DESTROYED_TYPE
from signer.ceremony.destruction import Destroyed
from signer.ceremony.entries import Entry, activation_entries, entries_of, in_order
from signer.ceremony.minutes import minutes_text
from signer.ceremony.repair_entries import repair_entries
from signer.ceremony.repair_minutes import repair_minutes
from signer.messages.drill import DRILL_DST, DrillOrder
from signer.messages.drill_certificate import Drill, DrillCertificate
from signer.messages.drill_report import PAYLOAD_TYPE as REPORT_TYPE
from signer.messages.drill_report import PRIMARY, Drilled, DrillReport, ReportBody
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import NOW
from tests.simulators.marks import bare_digests
from tests.simulators.repair import Repair, pool_of
from tests.unit.ceremony.honest import dkg, dkg_files, reshare, reshare_files

REPAIR = Repair.of()


def file_of(signed: SignedFile) -> bytes:
    return canonical(signed.to_json())


def digest(signed: SignedFile) -> bytes:
    return hashlib.sha256(signed.payload).digest()


def entries(made: Gathering, files: dict[str, bytes]) -> list[Entry]:
    return entries_of(made.board(files), files)


def drilled(made: Gathering, group: GroupFile, *indices: int) -> DrillCertificate:
    """Return the drill in which these members signed, to activate the group."""
    assert group.activation is not None
    order: DrillOrder = group.activation.order
    reports = []
    for index in indices:
        card = made.members[index].card.body
        with SecretScalar.from_big_endian(bytearray(made.share(index))) as scalar:
            partial = bytes(sign(scalar, order.message, DRILL_DST))
        device = Drilled(role=PRIMARY, serial_sha256=card.serial_sha256, profile=card.profile,
                         kex=card.kex, partial=partial)  # fmt: skip
        body = ReportBody(
            order_digest=order.digest, group_id=group.group_id, epoch=group.epoch,
            index=ShareIndex(index), devices=(device,), moment=NOW + index,
        )  # fmt: skip
        signed = made.members[index].sign(REPORT_TYPE, body.to_payload())
        reports.append(DrillReport.open(signed, order, group, NOW + 99, "report"))
    return DrillCertificate.of(group, [Drill(order, tuple(reports))])


def receipt(made: Gathering, old: int) -> SignedFile:
    """Return an old holder's receipt."""
    before, card = made.setting.old, made.setting.old.card_of(old).body
    said = Destroyed(group=before.group_id, epoch=before.epoch, index=old, keys=(card.kex,),
                     successor=certificate_digest(made.outcome()), moment=NOW + 50)  # fmt: skip
    return made.dealers[old].sign(DESTROYED_TYPE, said.to_payload())


@pytest.mark.case("X1010", "minutes of a ceremony that a dealer's own deal ended: it is in them")
def test_the_deal_that_proves_guilt_is_in_the_minutes() -> None:
    files = dict(dkg_files())
    no_deal = dkg().dealers[3].sign(DEAL_TYPE, b'{"type":"signer-deal"}')
    malformed = Deal(no_deal, dkg().deal(3).ciphertexts)
    for guilty, code, moment in (
        (dkg().deal(3, moment=NOW + 7, proof=None), "E_DEAL_PROOF", NOW + 7),
        (malformed, "E_DEAL_SCHEMA", None),
    ):
        files["deal-03.json"] = guilty.to_bytes()
        board = dkg().board(files)
        assert board.faults[3].code == code
        found = entries_of(board, files)
        dealt = {one.who: one for one in found if one.kind == "deal"}
        assert set(dealt) == {f"dealer {index} (holder {index})" for index in (1, 2, 3)}
        hers = dealt["dealer 3 (holder 3)"]
        assert (hers.digest, hers.moment) == (guilty.digest, moment)
        assert (hers.file, hers.did) == ("deal-03.json", "dealt")
        text = minutes_text(board, None, found)
        assert guilty.digest.hex() in text
        assert "GUILTY" in text


@pytest.mark.case("X1010", "minutes of a ceremony in which a dealer signed two deals: both")
def test_two_deals_of_one_dealer_are_both_in_the_minutes() -> None:
    second = dkg().deal(1, moment=NOW + 1)
    files = {**dkg_files(), "deal-01-more.json": second.to_bytes(),
             "deal-01-zopy.json": second.to_bytes()}  # fmt: skip
    found = [one for one in entries(dkg(), files) if one.who == "dealer 1 (holder 1)"]
    assert {one.digest for one in found} == {dkg().deal(1).digest, second.digest}
    assert [one.file for one in found] == ["deal-01.json", "deal-01-more.json"]


@pytest.mark.case("X1010", "minutes: the second deal of a dealer, which only a bundle shows")
def test_a_deal_that_only_a_bundle_shows_is_in_the_minutes() -> None:
    second = dkg().deal(1, moment=NOW + 1)
    deals = {1: second, 2: dkg().deal(2), 3: Gathering.dkg(2, 3).deal(3)}
    bundle = Bundle.of(dkg().setting.roster, ShareIndex(2), deals, {}).to_bytes()
    deals_only = {name: raw for name, raw in dkg_files().items() if name.startswith("deal")}
    files = {**deals_only, "bundle-02.json": bundle, "bundle-02-x.json": bundle,
             "bundle-03.json": b"{}"}  # fmt: skip
    assert dkg().board(files).faults[1].code == "E_DEAL_EQUIVOCATION"
    found = entries(dkg(), files)
    assert len(found) == 4
    (shown,) = [one for one in found if one.digest == second.digest]
    assert (shown.who, shown.moment) == ("dealer 1 (holder 1)", NOW + 1)
    assert shown.file == "bundle-02-x.json"


@pytest.mark.case("X1011", "minutes: a complaint and the answer to it")
def test_complaint_and_opening_are_in_the_minutes() -> None:
    files = {name: raw for name, raw in dkg_files().items() if name.startswith("deal")}
    complaint = dkg().complaint(2, 1, "E_DEAL_SHARE", dkg().deal(1))
    opening = dkg().opening(1, 2)
    files |= {"complaint-02-against-01.json": file_of(complaint),
              "opening-01-for-02.json": file_of(opening)}  # fmt: skip
    found = {one.kind: one for one in entries(dkg(), files)}
    said, shown = found["complaint"], found["opening"]
    assert said.did == "complained of dealer 1 (holder 1) (E_DEAL_SHARE)"
    assert (said.who, said.moment) == ("member 2 (holder 2)", NOW)
    assert (said.digest, said.file) == (digest(complaint), "complaint-02-against-01.json")
    assert shown.did == "showed the key of what he sealed to member 2 (holder 2)"
    assert (shown.who, shown.moment) == ("dealer 1 (holder 1)", NOW)
    assert (shown.digest, shown.file) == (digest(opening), "opening-01-for-02.json")


@pytest.mark.case("X1011", "minutes: files of nobody, of another ceremony, beside a certificate")
def test_what_does_not_count_is_not_in_the_minutes() -> None:
    honest = entries(dkg(), dkg_files())
    assert len(honest) == 9
    strange = Gathering.dkg(2, 3)
    late = dkg().complaint(2, 1, "E_DEAL_SHARE", dkg().deal(1))
    junk = {
        "deal-00.json": dkg().deal(1).to_bytes(), "deal-99.json": dkg().deal(1).to_bytes(),
        "deal-01-x.json": strange.deal(1).to_bytes(), "deal-02-x.json": b"junk",
        "deal-03-x.json": dkg().deal(3, moment=NOW + 1).to_bytes(),
        "agree-02-x.json": file_of(dkg().agreement(MEMBER, 2, moment=NOW + 1)),
        "agree-dealer-01.json": b"{}", "agree-00.json": dkg_files()["agree-01.json"],
        "ack-00.json": dkg_files()["ack-01.json"], "ack-04.json": dkg_files()["ack-01.json"],
        "complaint-02-against-01.json": file_of(late),
        "complaint-00-against-01.json": file_of(late),
        "opening-09-for-02.json": file_of(dkg().opening(1, 2)), "opening-01.json": b"{}",
        "bindings-01.json": b"{}", "destroyed-01.json": b"{}", "drill.json": b"",
    }  # fmt: skip
    board = dkg().board(dkg_files())  # as it stands by its certificate
    assert entries_of(board, {**dkg_files(), **junk}) == honest


@pytest.mark.case("X1012", "minutes of a reshare: bindings, receipts, who signed together")
def test_bindings_receipts_and_activation_are_in_the_minutes() -> None:
    made = reshare()
    gone = receipt(made, 1)
    files = {**reshare_files(), "destroyed-01.json": file_of(gone)}
    found = entries(made, files)
    stated = [one for one in found if one.kind == "bindings"]
    assert [one.who for one in stated] == ["dealer 1 (holder 1)", "dealer 2 (holder 2)"]
    assert [one.digest for one in stated] == [digest(made.bindings(dealer)) for dealer in (1, 2)]
    assert {one.did for one in stated} == {"stated what his journal binds"}
    (last,) = [one for one in found if one.kind == "destruction"]
    assert last.who == "old holder 1 (holder 1)"
    assert last.did == "destroyed what opened his share of epoch 1, 1 key"
    assert (last.moment, last.digest) == (NOW + 50, digest(gone))
    agreed = {one.who for one in found if one.kind == "agreement"}
    assert {made.setting.name_of(1), made.setting.name_of_member(3)} <= agreed
    assert found[-1] == last

    active = made.group(active=True)
    drill = drilled(made, active, 1, 3)
    signed = activation_entries(made.board(files), active, "group.json", [("drill-1.json", drill)])
    assert [(one.kind, one.file) for one in signed] == [
        ("activation", "group.json"), ("report", "drill-1.json"), ("report", "drill-1.json"),
    ]  # fmt: skip
    assert [one.who for one in signed[1:]] == [made.setting.name_of_member(i) for i in (1, 3)]
    assert active.activation is not None
    assert (signed[0].moment, signed[0].digest) == (NOW, active.activation.order.digest)
    assert [one.moment for one in signed[1:]] == [NOW + 1, NOW + 3]
    pending = replace(active, activation=None)
    again = activation_entries(made.board(files), pending, "x", [("drill-1.json", drill)] * 2)
    assert again == signed[1:]


@pytest.mark.case("X1012", "minutes: another statement of bindings than the one a deal names")
def test_only_the_bindings_that_the_deal_names_count() -> None:
    made = reshare()
    other = made.bindings(1, sequence=9)
    files = {**reshare_files(), "bindings-01-x.json": file_of(other)}
    assert entries(made, files) == entries(made, reshare_files())
    guilty = made.bindings(1, group=bytes(32))
    named = made.deal(1, bindings=digest(guilty))
    files |= {"bindings-01.json": file_of(guilty), "deal-01.json": named.to_bytes()}
    assert made.board(files).faults[1].code == "E_DEAL_BINDINGS"
    found = {one.digest for one in entries(made, files)}
    assert {digest(guilty), named.digest} <= found
    assert digest(other) not in found


@pytest.mark.case("X1013", "minutes of a repair: complaint, answer, signatures of the new card")
def test_everything_in_a_repair_is_in_its_minutes() -> None:
    files = REPAIR.files()
    found = repair_entries(REPAIR.board(files), files)
    assert len(found) == len(files)
    signed = [one for one in found if one.kind == "replacement"]
    assert [one.who for one in signed] == [REPAIR.setting.name_of(h) for h in REPAIR.helpers]
    assert {one.did for one in signed} == {"signed the new card of returned 2"}
    assert {one.digest for one in signed} == {digest(REPAIR.replacement(1))}
    assert found[-3:] == signed  # which state no time

    files = {name: raw for name, raw in files.items() if name.startswith("delta")}
    files["complaint-04-against-03.json"] = REPAIR.complaint(
        4, 3, "E_REPAIR_DECRYPT", REPAIR.delta(3).digest
    )
    files["opening-03-for-04.json"] = REPAIR.opening(3, 4)
    board = REPAIR.board(files)
    found = repair_entries(board, files)
    words = [f"{one.who} {one.did}" for one in found]
    assert "helper 4 (holder 4) complained of helper 3 (holder 3) (E_REPAIR_DECRYPT)" in words
    assert "helper 3 (holder 3) showed the key of what he sealed to helper 4 (holder 4)" in words
    text = repair_minutes(board, found)
    for one in found:
        assert f"{one.who} {one.did}\n{'':23}{one.digest.hex()}" in text
        assert one.moment == NOW


@pytest.mark.case("X1013", "minutes of a repair that a helper's own deltas ended")
def test_the_deltas_that_prove_guilt_are_in_the_minutes() -> None:
    body, _ = REPAIR.body(3)
    points = (body.commitments[1], *body.commitments[1:])
    guilty = REPAIR.delta(3, commitments=points)
    files = {"delta-03.json": guilty.to_bytes()}
    board = REPAIR.board(files)
    assert board.faults[3].code == "E_REPAIR_COMMITMENTS"
    (entry,) = repair_entries(board, files)
    assert (entry.who, entry.digest) == ("helper 3 (holder 3)", guilty.digest)
    both = {"delta-03.json": REPAIR.delta(3).to_bytes(), "delta-03-x.json": guilty.to_bytes(),
            "delta-09.json": guilty.to_bytes(), "sigma-03.json": b"{}"}  # fmt: skip
    found = repair_entries(REPAIR.board(both), both)
    assert {one.digest for one in found} == {guilty.digest, REPAIR.delta(3).digest}


@pytest.mark.case("X1014", "minutes of a rehearsal: a digest without the word REHEARSAL")
def test_every_digest_in_a_rehearsal_s_minutes_says_so() -> None:
    first = Gathering.dkg(2, 3, rehearsal=True)
    again = first.reshare(2, ["newcomer"], without=(3,), rehearsal=True)
    for made in (first, again):
        files, active = made.files(), made.group(active=True)
        board = made.board(files)
        drills = [("drill.json", drilled(made, active, 1, 2))]
        done = [*entries_of(board, files), *activation_entries(board, active, "group", drills)]
        text = minutes_text(board, active, in_order(done))
        assert text.count("REHEARSAL ") > len(done)
        assert bare_digests(text) == []
        follows = "follows      epoch 1, group file REHEARSAL"
        assert (follows in text) == (made is again)
    assert bare_digests(minutes_text(dkg().board(dkg_files()), None, []))


@pytest.mark.case("X1014", "minutes of a repair in a rehearsal: a digest without the word")
def test_every_digest_in_a_rehearsed_repair_s_minutes_says_so() -> None:
    first = Gathering.dkg(3, 5, rehearsal=True)
    shares = {index: first.share(index) for index in first.members}
    pool = replace(pool_of(3, 5), group=first.group(active=True), people=dict(first.members),
                   shares=shares)  # fmt: skip
    made = Repair.of(pool=pool, rehearsal=True)
    files = made.files()
    board = made.board(files)
    text = repair_minutes(board, repair_entries(board, files))
    assert "with the new card" in text
    assert "origin       dkg: generated together" in text
    assert bare_digests(text) == []

"""The token remembers how far the journal had come; an older one, or another, signs nothing."""

import json
import shutil
from pathlib import Path

import pytest

from signer.custody.anchor import Anchor, share_name
from signer.custody.jobs.journal import CheckAnchor
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal_backup import import_journal
from signer.custody.worker_process import run_worker
from signer.errors import JournalError, SignerError
from signer.hsm.profile import load_profile
from signer.messages.drill import DrillOrder
from signer.messages.group_file import GroupFile
from signer.messages.items import Change
from signer.messages.witness import Witness
from signer.testing.pool import Pool
from tests.faults.rollback import ADDRESS, RealDesk, rollback_trials
from tests.faults.token_objects import data_objects, make_data_object, remove_data_objects
from tests.simulators.holders import NOW


@pytest.fixture
def desk(pool: Pool, tmp_path: Path) -> RealDesk:
    return RealDesk(pool, tmp_path / "state")


def check(desk: RealDesk, *, anchored: bool = False) -> int | str | None:
    """Do as the agent does at its start; return the anchor's sequence, or the code."""
    paper = desk.papers()
    serial = desk.serial_digest()
    job = CheckAnchor(
        token=TokenChoice(profile=load_profile("softhsm2"), label=desk.holder.token.label),
        pin=SecretSource(file=str(desk.holder.token.pin_file)),
        group=paper.group.group_id,
        index=int(paper.index),
        journal=str(desk.path),
        anchored_serials=frozenset({serial} if anchored else ()),
    )
    environment = {"SOFTHSM2_CONF": str(desk.holder.token.config)}
    try:
        result = run_worker(job, environment=environment, seconds=20)
    except SignerError as error:
        return error.code
    sequence: int | None = result.take("anchor_sequence")
    assert result.hex_bytes("serial_sha256", 32) == serial
    return sequence


@pytest.mark.case("X410", "earlier copy of the state folder, the token as it is")
def test_every_earlier_copy_is_noticed(pool: Pool, tmp_path: Path) -> None:
    assert rollback_trials(10, tmp_path / "trials", pool) == (10, 10)


def test_one_anchor_follows_the_journal(desk: RealDesk) -> None:
    desk.start()
    assert check(desk) is None
    for number in (1, 3, 5):
        desk.sign()
        with desk.open() as journal:
            head = journal.head_at(number)
            assert journal.anchored_serials == {desk.serial_digest()}
        assert head is not None
        (found,) = data_objects(desk.holder.token)
        assert found == (desk.name, Anchor(number, head).to_bytes(), True)
        assert check(desk) == number


@pytest.mark.case("T10", "the journal is ahead of the anchor: the power went between the two")
def test_a_journal_ahead_of_its_anchor_is_normal(desk: RealDesk) -> None:
    desk.sign()
    with desk.open() as journal:
        journal.intent(bytes(32), [Change(77, ADDRESS)], 0)
    assert check(desk) == 1
    desk.sign()
    assert check(desk) == 4


@pytest.mark.case("X411", "state folder deleted, another holder's, a fork of the same length")
@pytest.mark.parametrize("how", ["deleted", "anothers", "fork"])
def test_another_journal_is_noticed(desk: RealDesk, tmp_path: Path, how: str) -> None:
    desk.sign()
    before = desk.copy_to(tmp_path / "before")
    desk.sign()
    match how:
        case "deleted":
            shutil.rmtree(desk.state)
            desk.state.mkdir(mode=0o700)
            expected = "E_ROLLBACK"
        case "anothers":
            neighbour = RealDesk(desk.pool, tmp_path / "neighbour", 1)
            neighbour.sign()
            desk.put_back(neighbour.state)
            expected = "E_JOURNAL"  # of another index: it does not even open
        case _:
            desk.put_back(before)
            with desk.open() as journal:
                intent = journal.intent(bytes(32), [Change(99, ADDRESS)], 0)
                journal.released(intent, [bytes(96)])
            expected = "E_ROLLBACK"
    assert desk.code() == expected
    if how == "fork":
        assert check(desk) == "E_ROLLBACK"


@pytest.mark.case("T10", "the anchor is gone from a token that is known to have had one")
def test_an_anchor_that_is_gone_is_missed(desk: RealDesk) -> None:
    desk.sign()
    remove_data_objects(desk.holder.token)
    assert desk.code() == "E_ANCHOR"
    assert check(desk, anchored=True) == "E_ANCHOR"
    assert data_objects(desk.holder.token) == []


@pytest.mark.case("T10", "two anchors: an old one left over, two of one number, one of the future")
def test_of_two_anchors_the_later_counts(desk: RealDesk) -> None:
    desk.sign()
    (newest,) = data_objects(desk.holder.token)
    with desk.open() as journal:
        first = journal.head_at(0)
    assert first is not None
    make_data_object(desk.holder.token, desk.name, Anchor(0, first).to_bytes())
    desk.sign()
    assert len(data_objects(desk.holder.token)) == 1  # the leftover went with the old one
    make_data_object(desk.holder.token, desk.name, newest.value)
    make_data_object(desk.holder.token, desk.name, Anchor(1, bytes(32)).to_bytes())
    desk.sign()  # both are older than the one that counts
    make_data_object(desk.holder.token, desk.name, Anchor(5, bytes(32)).to_bytes())
    assert desk.code() == "E_ANCHOR"
    remove_data_objects(desk.holder.token)
    make_data_object(desk.holder.token, desk.name, Anchor(9999, bytes(32)).to_bytes())
    assert desk.code() == "E_ROLLBACK"


@pytest.mark.case("T10", "objects with the anchor's label that are none: private, public, others'")
def test_garbage_is_refused_and_what_is_not_ours_ignored(desk: RealDesk) -> None:
    token = desk.holder.token
    make_data_object(token, desk.name, Anchor(9999, bytes(32)).to_bytes(), private=False)
    make_data_object(token, share_name(bytes(32), 1), b"another share's, of another version")
    desk.sign()
    assert len(data_objects(token)) == 3
    for value in (b"\1", Anchor(1, bytes(32)).to_bytes() + b"\0", b"\2" + bytes(40), b"\1" * 41):
        remove_data_objects(token)
        make_data_object(token, desk.name, value)
        assert desk.code() == "E_ANCHOR"
    remove_data_objects(token)
    make_data_object(token, "", Anchor(1, bytes(32)).to_bytes())
    assert desk.code() == "E_ANCHOR"


@pytest.mark.case("X412", "order whose journal does not end with its request, or is none")
def test_the_worker_looks_at_the_journal_itself(desk: RealDesk, tmp_path: Path) -> None:
    desk.sign()
    before = data_objects(desk.holder.token)
    moved = desk.copy_to(tmp_path / "moved")
    for journal in (str(desk.path), "/nowhere/journal", str(tmp_path)):
        assert desk.code_of_order(journal=journal) == "E_JOURNAL"
    (moved / "journal.jsonl").chmod(0o644)
    assert desk.code_of_order(journal=str(moved / "journal.jsonl")) == "E_JOURNAL"
    assert data_objects(desk.holder.token) == before


def test_without_an_anchor_the_intent_is_still_required(desk: RealDesk) -> None:
    desk.anchor = "none"
    desk.sign()
    assert data_objects(desk.holder.token) == []
    assert desk.code_of_order(journal=str(desk.path)) == "E_JOURNAL"


def test_the_witness_names_the_intent_and_is_the_holders(desk: RealDesk) -> None:
    reply = desk.sign()
    assert reply.witness is not None
    paper = desk.papers()
    witness = Witness.open_with(reply.witness, paper.group.card_of(paper.index).body.id_sign)
    assert witness is not None
    with desk.open() as journal:
        assert (witness.sequence, witness.head) == (1, journal.head_at(1))
        assert journal.require_not_behind([reply.witness]) == 0
    assert (witness.request_digest, witness.partials_sha256) == (
        reply.request_digest,
        reply.partials_digest,
    )


@pytest.mark.case("X493", "a stubborn requester at an agent on an older journal; then its restore")
def test_an_older_journal_takes_one_attempt_and_is_restored(desk: RealDesk, tmp_path: Path) -> None:
    desk.sign()
    older = desk.copy_to(tmp_path / "older")
    desk.sign()
    newest = desk.copy_to(tmp_path / "newest")
    desk.put_back(older)
    with desk.open() as journal:
        custodian = desk._custodian(journal)
        for _ in range(3):
            with pytest.raises(JournalError) as refused:
                custodian.sign(desk._request(), 0)
            assert refused.value.code == "E_ROLLBACK"
    kinds = [json.loads(line)["type"] for line in desk.path.read_text().splitlines()]
    assert kinds == ["OPENED", "INTENT", "RELEASED", "INTENT", "FAILED"]
    import_journal(newest / "journal.jsonl", desk.path, None)
    assert desk.code() == ""


@pytest.mark.case("X494", "drill of an agent on an older journal")
def test_a_drill_looks_at_the_anchor_too(desk: RealDesk, tmp_path: Path) -> None:
    order = new_order(desk.papers().group)
    desk.sign()
    older = desk.copy_to(tmp_path / "older")
    desk.sign()
    with desk.open() as journal:
        desk._custodian(journal).drill(order, None)
    desk.put_back(older)
    with desk.open() as journal, pytest.raises(JournalError) as refused:
        desk._custodian(journal).drill(order, None)
    assert refused.value.code == "E_ROLLBACK"


def new_order(group: GroupFile) -> DrillOrder:
    return DrillOrder(
        group_id=group.group_id, epoch=group.epoch, nonce=bytes(32), moment=NOW, expires=NOW + 60
    )


@pytest.mark.case("X410", "order that says the token keeps no anchor, and a journal put back")
@pytest.mark.parametrize("said", ["none", "host"])
def test_an_anchor_counts_whatever_the_order_says(
    desk: RealDesk, tmp_path: Path, said: str
) -> None:
    desk.sign()
    copy = desk.copy_to(tmp_path / "copy")
    desk.anchor = said
    desk.sign()
    desk.put_back(copy)
    assert desk.code() == "E_ROLLBACK"

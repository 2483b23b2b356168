"""What a journal may lack after a loss or a reshare, and what takes the lack away."""

import itertools
from pathlib import Path

import pytest

from signer.cli.journaling import Place, import_ceremony
from signer.cli.printer import Printer
from signer.custody import vouching
from signer.custody.anchor import Anchor
from signer.custody.ceremony_folder import PREVIOUS, ROSTER
from signer.custody.host_anchor import HostAnchor, host_anchor_path
from signer.custody.journal import Journal
from signer.custody.journal_backup import verify_journal
from signer.custody.mark import mark_journal
from signer.errors import JournalError, UsageError
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.items import Change
from signer.messages.witness import PAYLOAD_TYPE as WITNESS_TYPE
from signer.messages.witness import Witness
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool, signed_as
from tests.unit.ceremony.honest import dkg, reshare, reshare_files

DIGEST = bytes(32)
LATER = SimulatedPool.new(epoch=2).group


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a reshare that has succeeded."""
    made = tmp_path / "folder"
    made.mkdir()
    for name, data in reshare_files().items():
        (made / name).write_bytes(data)
    (made / ROSTER).write_bytes(reshare().setting.roster.to_bytes())
    (made / PREVIOUS).write_bytes(dkg().group(active=True).to_bytes())
    return made


def opened(path: Path, group: GroupFile, *, recovered: bool = False) -> Journal:
    return Journal.open(path, group, 1, recovered=recovered, clock=lambda: NOW)


def sign(path: Path, group: GroupFile, *changes: Change, recovered: bool = False) -> None:
    with opened(path, group, recovered=recovered) as journal:
        journal.intent(DIGEST, changes, None)


def envelope_at(path: Path) -> Path:
    return path.with_name("share.envelope.json")


def code(refused: pytest.ExceptionInfo[JournalError]) -> str:
    return refused.value.code


@pytest.mark.case("X786", "recovered share of epoch 2, given only what its ceremony knew")
def test_a_ceremony_does_not_know_what_was_signed_after_it(path: Path, folder: Path) -> None:
    group = reshare().group(active=True)
    place = Place(path=path, group=group, index=1, envelope=envelope_at(path), recovered=True)
    import_ceremony(Printer(), place, folder)
    with pytest.raises(JournalError, match="was recovered") as refused:
        sign(path, group, Change(9, OTHER), recovered=True)
    assert code(refused) == "E_JOURNAL_EMPTY"
    with opened(path, group) as journal:  # what the journal says counts, not what the caller says
        journal.imported([Change(9, ADDRESS)], None, {2: bytes(32)})
        journal.intent(DIGEST, [Change(9, ADDRESS)], None)


def test_a_ceremony_is_all_that_a_share_lacks_that_was_never_lost(path: Path, folder: Path) -> None:
    group = reshare().group(active=True)
    import_ceremony(
        Printer(), Place(path=path, group=group, index=1, envelope=envelope_at(path)), folder
    )
    sign(path, group, Change(9, ADDRESS))
    assert verify_journal(path).generation.certificate == group.certificate


@pytest.mark.case("X786", "journal of epoch 2 lost: another is begun with what the ceremony knew")
def test_a_lost_journal_is_not_made_up_for_by_a_ceremony(path: Path, folder: Path) -> None:
    group, envelope = reshare().group(active=True), path.with_name("envelope.json")
    place = Place(path=path, group=group, envelope=envelope, index=1)
    import_ceremony(Printer(), place, folder)
    sign(path, group, Change(9, ADDRESS))
    assert mark_journal(envelope, path)
    path.unlink()
    with pytest.raises(JournalError, match="is gone"):
        import_ceremony(Printer(), place, folder)
    assert not path.exists()


@pytest.mark.case("X786", "recovered share whose journal stopped an epoch before")
def test_a_recovered_share_lacks_its_epoch_in_an_older_journal_too(path: Path) -> None:
    sign(path, SimulatedPool.new().group, Change(1, ADDRESS))
    with opened(path, LATER, recovered=True) as journal:
        assert (journal.generation.lacks_union, journal.generation.lacks_own) == (True, True)
        journal.imported([], None, {2: bytes(32)}, certificate=LATER.certificate)
        assert (journal.generation.lacks_union, journal.generation.lacks_own) == (False, True)
    with opened(path, LATER) as journal:
        assert journal.generation.lacks_own


@pytest.mark.case("X787", "bindings of another ceremony than the one that made the shares")
def test_bindings_of_another_ceremony_fill_nothing(path: Path) -> None:
    with opened(path, LATER) as journal:
        with pytest.raises(JournalError, match="bindings are of ceremony"):
            journal.imported([], None, {2: bytes(32)}, certificate=b"\x05" * 32)
        assert journal.generation.needs_history
    opened(path, LATER).close()  # and nothing was written that could not be read


@pytest.mark.case("X788", "two groups of one epoch on one journal")
def test_a_journal_follows_one_group_of_an_epoch(path: Path) -> None:
    old = Gathering.dkg(2, 3)
    first = old.reshare(2, dealers=(1, 2)).group(active=True)
    rival = old.reshare(2, ["x"], without=(1,), dealers=(1, 2), nonce=bytes(32)).group(active=True)
    assert (first.epoch, first.group_id) == (rival.epoch, rival.group_id)
    Journal.open(path, first, 2, clock=lambda: NOW).close()
    with pytest.raises(JournalError, match="other shares of epoch 2") as refused:
        Journal.open(path, rival, 2, clock=lambda: NOW)
    assert code(refused) == "E_EPOCH"
    Journal.open(path, first, 2, clock=lambda: NOW).close()


@pytest.mark.case("X794", "witness of this epoch, and a ceremony taken over on an older journal")
def test_a_ceremony_silences_no_witness_of_its_own_epoch(path: Path) -> None:
    moments = itertools.count(NOW, 100)

    def at_next(group: GroupFile) -> Journal:
        return Journal.open(path, group, 1, clock=lambda: next(moments))

    with at_next(SimulatedPool.new().group) as journal:
        journal.drilled(NOW, bytes(32))
    older = path.read_bytes()
    with at_next(LATER) as journal:
        journal.imported([], None, {2: bytes(32)}, certificate=LATER.certificate)
        journal.intent(DIGEST, [Change(7, ADDRESS)], None)
        seen = witness(LATER, journal.sequence - 1, journal.head, journal.last_time)
    path.write_bytes(older)
    with at_next(LATER) as journal:
        journal.imported([], None, {2: bytes(32)}, certificate=LATER.certificate)
        with pytest.raises(JournalError) as refused:
            journal.require_not_behind([seen])
    assert code(refused) == "E_ROLLBACK"
    with at_next(LATER) as journal:  # what the others say today knows of it
        journal.imported([Change(7, ADDRESS)], None, {2: bytes(32)})
        assert journal.require_not_behind([seen]) == 1


@pytest.mark.case("X794", "witness of an epoch before, and a journal that was begun later")
def test_a_younger_journal_knows_of_earlier_epochs_by_the_union(path: Path) -> None:
    seen = witness(LATER, 3, b"\x07" * 32, NOW, epoch=1)
    with opened(path, LATER) as journal:
        with pytest.raises(JournalError) as refused:
            journal.require_witnessed([seen], LATER.card_of(ShareIndex(1)).body.id_sign)
        assert code(refused) == "E_ROLLBACK"
        journal.imported([], None, {2: bytes(32)}, certificate=LATER.certificate)
        assert journal.require_not_behind([seen]) == 1


def witness(
    group: GroupFile, sequence: int, head: bytes, moment: int, epoch: int = 2
) -> SignedFile:
    said = Witness(
        group=group.group_id, epoch=epoch, index=1, sequence=sequence, head=head,
        request_digest=DIGEST, partials_sha256=bytes(32), moment=moment,
    )  # fmt: skip
    id_sign = group.card_of(ShareIndex(1)).body.id_sign
    return signed_as(id_sign, said.to_payload(), WITNESS_TYPE)


@pytest.mark.case("X795", "bindings of a ceremony without the envelope of the share")
def test_a_ceremony_is_taken_over_with_the_envelope_in_sight(path: Path, folder: Path) -> None:
    group = reshare().group(active=True)
    opened(path, group).close()
    with pytest.raises(UsageError, match="needs --config"):
        import_ceremony(Printer(), Place(path=path, group=group, index=1), folder)


@pytest.mark.case("X796", "bindings of a ceremony over a journal behind the host's anchor")
def test_the_hosts_anchor_counts_at_an_import_too(path: Path, folder: Path) -> None:
    group, envelope = reshare().group(active=True), envelope_at(path)
    opened(path, group).close()
    HostAnchor(host_anchor_path(envelope), group.group_id, 1).advance(Anchor(5, bytes(32)))
    place = Place(path=path, group=group, index=1, envelope=envelope, host_anchor=True)
    with pytest.raises(JournalError) as refused:
        import_ceremony(Printer(), place, folder)
    assert code(refused) == "E_ROLLBACK"


# What lies beside the envelope


def vouch(envelope: Path | None, journal: Path | None, *, anchored: bool = False) -> None:
    group = SimulatedPool.new().group
    vouching.require_whole_journal(envelope, journal, group.group_id, 1, anchored=anchored)


@pytest.mark.case("X789", "statement of bindings over a journal that the host's anchor is ahead of")
def test_a_journal_that_was_rolled_back_vouches_for_nothing(path: Path) -> None:
    group, envelope = SimulatedPool.new().group, path.with_name("envelope.json")
    anchor = host_anchor_path(envelope)
    with Journal.open(path, group, 1, host_anchor=anchor, clock=lambda: NOW) as journal:
        before = path.read_bytes()
        journal.intent(DIGEST, [Change(1, ADDRESS)], None)
    vouch(envelope, path, anchored=True)
    path.write_bytes(before)
    with pytest.raises(JournalError) as refused:
        vouch(envelope, path)  # an anchor that is there counts, whatever the profile says
    assert code(refused) == "E_ROLLBACK"
    with pytest.raises(UsageError, match="beside the envelope"):
        vouch(None, path, anchored=True)
    vouch(None, path)


@pytest.mark.case("X789", "no journal is said to have been, and a mark or an anchor tells of one")
@pytest.mark.parametrize("trace", ["mark", "anchor"])
def test_a_share_that_has_had_a_journal_has_one(path: Path, trace: str) -> None:
    group, envelope = SimulatedPool.new().group, path.with_name("envelope.json")
    vouch(envelope, None)
    opened(path, group).close()
    if trace == "mark":
        mark_journal(envelope, path)
    else:
        anchor = HostAnchor(host_anchor_path(envelope), group.group_id, 1)
        head = verify_journal(path).head_at(0)
        assert head is not None
        anchor.advance(Anchor(0, head))
    with pytest.raises(JournalError, match="has had a journal"):
        vouch(envelope, None)


@pytest.mark.case("X789", "statement of bindings over another journal than the marked one")
def test_another_journal_than_the_marked_one_vouches_for_nothing(path: Path) -> None:
    group, envelope = SimulatedPool.new().group, path.with_name("envelope.json")
    opened(path, group).close()
    mark_journal(envelope, path)
    other = path.with_name("other.jsonl")
    opened(other, group).close()
    vouch(envelope, path)
    with pytest.raises(JournalError, match="this share's journal is"):
        vouch(envelope, other)

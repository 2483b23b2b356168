"""A ceremony's folder: in any order, under other names, with whatever else lies there."""

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.ceremony.agreement import MEMBER
from signer.ceremony.board import Board, read_board
from signer.ceremony.bundle import Bundle
from signer.ceremony.certificate import certificate_digest
from signer.custody.ceremony_folder import CeremonyFolder
from signer.errors import OutputError
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import KEY, NOW
from tests.unit.ceremony.honest import dkg, dkg_files, refused, reshare, reshare_files, split

JUNK = {
    "empty": b"", "text": b"hello\n", "array": b"[]", "other": b'{"type":"signer-deal"}',
    "deep": b"[" * 9000, "zeros": bytes(5000), "bom": b"\xef\xbb\xbf{}",
    "twice": b'{"type":"a","type":"a"}', "float": b'{"version":1.0}',
}  # fmt: skip


def same(board: Board, other: Board) -> bool:
    """Tell whether two folders come to the same."""
    return (
        board.outcome is not None
        and other.outcome is not None
        and certificate_digest(board.outcome) == certificate_digest(other.outcome)
        and (board.certified, set(board.proofs), board.aborted)
        == (other.certified, set(other.proofs), other.aborted)
    )


@pytest.mark.case("F19", "a ceremony's files in any order")
@pytest.mark.parametrize(("gathering", "files"), [(dkg, dkg_files), (reshare, reshare_files)])
def test_the_order_of_arrival_does_not_matter(gathering: Any, files: Any) -> None:
    whole = gathering().board(files())
    for seed in range(5):
        names = list(files())
        random.Random(seed).shuffle(names)
        board = gathering().board({name: files()[name] for name in names})
        assert same(board, whole)
        assert not board.problems


@pytest.mark.case("F19", "files copied under the names that file managers give them")
def test_copies_change_nothing() -> None:
    files = dict(dkg_files())
    for name, data in dkg_files().items():
        stem = name.removesuffix(".json")
        files |= {f"{stem}-copy.json": data, f"{stem}-2.json": data, f"{stem}-0badcafe.json": data}
    board = dkg().board(files)
    assert same(board, dkg().board(dkg_files()))
    assert not board.problems


@pytest.mark.case("F19", "only copies are left: the plain names are gone")
def test_renamed_files_are_found() -> None:
    files = {name.replace(".json", "-copy.json"): data for name, data in dkg_files().items()}
    assert same(dkg().board(files), dkg().board(dkg_files()))
    padded = {f"deal-{d}.json": dkg_files()[f"deal-0{d}.json"] for d in (1, 2, 3)}
    assert not dkg().board(padded).missing_deals


@pytest.mark.case("F19", "each file under the name of every other")
def test_a_name_proves_nothing() -> None:
    for name in dkg_files():
        for other in dkg_files():
            if name == other:
                continue
            files = dict(dkg_files())
            files[name] = dkg_files()[other]
            board = dkg().board(files)
            assert not board.aborted, (name, other)
            assert board.problems, (name, other)
            if not name.startswith("ack"):
                assert not board.certified


@pytest.mark.case("F1", "junk under every name: it is listed, the ceremony goes on")
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_listed_and_passed_over(junk: str) -> None:
    for name in dkg_files():
        extra = name.replace(".json", "-a.json")  # before the true one, in the order of names
        board = dkg().board(dkg_files() | {extra: JUNK[junk]})
        assert same(board, dkg().board(dkg_files()))
        assert [problem.file for problem in board.problems] == [extra]
    strange = {"deal-1x.json": b"", "deal.json": b"", "x": b"", "deal-0001.json": b"",
               "deal-01.json.exe": b"", "complaint-01.json": b""}  # fmt: skip
    assert same(dkg().board(dkg_files() | strange), dkg().board(dkg_files()))


@pytest.mark.case("X716", "files of people whom the roster does not have")
def test_numbers_that_the_roster_does_not_have() -> None:
    first = dkg_files()
    strange = {"deal-00.json": first["deal-01.json"], "deal-04.json": first["deal-01.json"],
               "deal-999.json": first["deal-01.json"], "agree-00.json": first["agree-01.json"],
               "agree-dealer-01.json": first["agree-01.json"], "ack-00.json": first["ack-01.json"],
               "ack-04.json": first["ack-01.json"], "bindings-01.json": b"{}",
               "opening-09-for-01.json": b"{}", "complaint-01-against-00.json": b"{}"}  # fmt: skip
    board = dkg().board(first | strange)
    assert same(board, dkg().board(first))
    assert {problem.file for problem in board.problems} == set(strange)


@pytest.mark.case("C16", "a second deal after everybody agreed")
def test_a_late_second_deal_names_the_dealer() -> None:
    late = dkg().deal(2, moment=NOW + 9)
    board = dkg().board(dkg_files() | {"deal-02-b.json": late.to_bytes()})
    assert board.aborted
    assert board.faults[2].code == "E_DEAL_EQUIVOCATION"
    assert not board.certified


@pytest.mark.case("X717", "agreements and acknowledgements that came before the deals")
def test_what_is_early_waits() -> None:
    files = dict(dkg_files())
    del files["deal-02.json"]
    board = dkg().board(files)
    assert not board.aborted
    assert board.missing_deals == (2,)
    assert {problem.code for problem in board.problems} == {"E_EARLY"}
    assert len(board.problems) == 6


@pytest.mark.case("C8", "a bundle of another member, another ceremony, with something changed")
def test_bundles_stand_for_the_deals() -> None:
    deals = {d: dkg().deal(d) for d in (1, 2, 3)}
    bundle = Bundle.of(dkg().setting.roster, ShareIndex(2), deals, {})
    raw = bundle.to_bytes()
    assert Bundle.parse(raw).to_bytes() == raw
    rest = {n: d for n, d in dkg_files().items() if not n.startswith("deal")}

    def read(data: bytes, reader: int = 2) -> Board:
        return read_board(dkg().setting, rest | {"bundle-02.json": data}, reader=reader)

    board = read(raw)
    assert board.certified
    assert board.outcome is not None
    assert board.outcome.transcript == dkg().outcome().transcript
    assert read(raw, reader=3).missing_deals == (1, 2, 3)
    for wrong in (replace(bundle, ceremony=b"\1" * 32), replace(bundle, index=3),
                  replace(bundle, deals={**bundle.deals, 1: bundle.deals[2]}),
                  replace(bundle, deals={9: bundle.deals[2], **bundle.deals}),
                  replace(bundle, deals={1: deals[1].slim(ShareIndex(3))})):  # fmt: skip
        board = read(wrong.to_bytes())
        assert not board.certified
        assert not board.aborted
        assert "bundle-02.json" in {problem.file for problem in board.problems}
    for bad in (b"", raw[:-20], raw.replace(b'"version":1', b'"version":2', 1)):
        assert read(bad).missing_deals == (1, 2, 3)


def test_a_split_has_one_dealer() -> None:
    files = split().files()
    assert "deal-00.json" in files
    board = split().board(files)
    assert board.certified
    assert board.outcome is not None
    assert bytes(board.outcome.vector.group_public_key) == bytes(
        split().setting.roster.terms.group_public_key  # type: ignore[union-attr]
    )
    assert KEY not in b"".join(files.values())


# The folder on disk


def laid(path: Path, files: dict[str, bytes], gathering: Gathering | None = None) -> CeremonyFolder:
    path.mkdir(exist_ok=True)
    roster = (gathering or dkg()).setting.roster.to_bytes()
    for name, data in ({"roster.json": roster} | files).items():
        (path / name).write_bytes(data)
    return CeremonyFolder(path)


@pytest.mark.case(
    "F17", "a folder, a link to nowhere, a pipe, a huge file under a participant's name"
)
def test_what_is_no_file_is_a_problem(tmp_path: Path) -> None:
    there = laid(tmp_path / "usb", dict(dkg_files()))
    (there.path / "deal-01-a.json").mkdir()
    (there.path / "deal-02-a.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(there.path / "agree-01-a.json")
    (there.path / "ack-01-a.json").write_bytes(b" " * (300 * 1024))
    board = there.board(there.setting(), NOW)
    assert board.certified
    assert len(board.problems) == 4
    assert not board.missing_acknowledgements


@pytest.mark.case("F17", "names that are taken: ours gets a second one, which is found as well")
def test_a_name_that_is_taken(tmp_path: Path) -> None:
    there = laid(tmp_path / "usb", {})
    deal = dkg_files()["deal-01.json"]
    assert there.add("deal-01.json", deal) == "deal-01.json"
    assert there.add("deal-01.json", deal) is None
    (there.path / "deal-02.json").mkdir()
    other = dkg_files()["deal-02.json"]
    second = there.add("deal-02.json", other)
    assert second is not None
    assert second != "deal-02.json"
    assert there.add("deal-02.json", other) is None
    assert there.board(there.setting(), NOW).missing_deals == (3,)
    (there.path / second).unlink()
    (there.path / second).mkdir()
    with pytest.raises(OutputError, match="both taken"):
        there.add("deal-02.json", other)


@pytest.mark.case("C15", "a certificate of another ceremony in the folder, or junk in its place")
def test_a_certificate_brings_the_files_it_was_made_of(tmp_path: Path) -> None:
    acks = {n: d for n, d in dkg_files().items() if n.startswith("ack")}
    made = dkg().certificate().to_bytes()
    there = laid(tmp_path / "usb", acks | {"certificate.json": made})
    board = there.board(there.setting(), NOW)
    assert board.certified
    assert not board.missing_acknowledgements
    roster = replace(dkg().setting.roster, nonce=b"\1" * 32)
    other = Gathering(replace(dkg().setting, roster=roster), dkg().members, dkg().dealers)
    for strange in (other.certificate().to_bytes(), b"{}", b"", made[:-100]):
        there = laid(tmp_path / "usb", dict(dkg_files()) | {"certificate.json": strange})
        board = there.board(there.setting(), NOW)
        assert board.certified
        assert not board.problems
    (there.path / "certificate.json").unlink()
    (there.path / "certificate.json").mkdir()
    assert there.board(there.setting(), NOW).certified


@pytest.mark.case("X718", "more files than a folder may have; no folder; no roster")
def test_folders_that_are_none(tmp_path: Path) -> None:
    there = laid(tmp_path / "usb", {f"deal-01-{n}.json": b"" for n in range(2001)})
    refused("E_INPUT", "at most 2000", there.files)
    refused("E_INPUT", "roster", CeremonyFolder(tmp_path / "none").setting)
    refused("E_INPUT", "folder", CeremonyFolder(tmp_path / "none").files)
    (tmp_path / "usb" / "roster.json").write_bytes(b"{}")
    refused("E_SCHEMA", "roster", there.setting)


@pytest.mark.case("C14", "everybody agreed and one of them agrees to something else as well")
def test_two_agreements_of_one_member() -> None:
    strange = canonical(dkg().agreement(MEMBER, 2, transcript=b"\x55" * 32).to_json())
    board = dkg().board(dkg_files() | {"agree-02-b.json": strange})
    assert board.stop is not None
    assert "member 2" in board.stop.message

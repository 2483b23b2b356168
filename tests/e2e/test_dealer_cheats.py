"""Cheats of a dealer in a split and in a reshare, with a real token: all name her, old shares live.

Nothing is ever opened there: a dealer's secret lives on. So where only one member sees what is
wrong, both are named, and nobody is found guilty.
"""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from signer.messages.items import changes_from_json
from signer.testing.ceremony import Ceremony
from signer.testing.pool import TEST_ADDRESS
from tests.hostile.dealer_cheats import BOUND as LIED_ABOUT
from tests.simulators.begun import (
    ADA,
    BEN,
    BOUND,
    DAN,
    EVE,
    FAY,
    begun_reshare,
    begun_split,
    sign_once,
)
from tests.simulators.gathered import all_are_told, cheats, copied, status, told
from tests.simulators.marks import bare_digests

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def a_reshare(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return begun_reshare(tmp_path_factory.mktemp("reshare") / "p")


@pytest.fixture(scope="module")
def a_split(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return begun_split(tmp_path_factory.mktemp("split") / "p")


@pytest.fixture
def reshare(a_reshare: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(a_reshare, tmp_path / "p") as made:
        yield made


@pytest.fixture
def split(a_split: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(a_split, tmp_path / "p") as made:
        yield made


def cheat(ceremony: Ceremony, name: str, who: int = EVE, victim: int = BEN) -> list[str]:
    return cheats(ceremony, name, who, victim)


def nothing_came_of_it(ceremony: Ceremony) -> None:
    """Expect no certificate, no new share, no opening, and every old envelope where it was."""
    names = {path.name for path in ceremony.folder.iterdir()}
    assert not [name for name in names if name.startswith(("certificate", "ack", "group"))]
    assert not [name for name in names if name.startswith(("opening-01", "opening-02"))]
    for holder in ceremony.pool.holders[:2]:
        assert holder.envelope.exists()
        assert not list(ceremony.state(holder).glob("ceremony-*/envelope.json"))


def case(name: str, code: str, number: str, what: str) -> ParameterSet:
    return pytest.param(name, code, id=name, marks=pytest.mark.case(number, what))


SEEN = [
    case("another-secret", "E_DEAL_CONSTANT", "C20", "an old holder deals another secret"),
    case("copied", "E_DEAL_CONSTANT", "C7", "an old holder takes over another's commitments"),
    case("short", "E_DEAL_LENGTH", "C1", "an old holder deals t - 1 commitments"),
    case("long", "E_DEAL_LENGTH", "C1", "an old holder deals t + 1 commitments"),
    case("infinity", "E_DEAL_POINT", "C3", "an old holder commits to infinity"),
    case("outside", "E_DEAL_POINT", "C4", "an old holder commits outside the group"),
    case("a-proof", "E_DEAL_PROOF", "C6", "an old holder proves what is not asked"),
    case("fewer", "E_DEAL_LENGTH", "C8", "an old holder seals n - 1 shares"),
    case("two-deals", "E_DEAL_EQUIVOCATION", "C12", "an old holder signs two deals"),
    case("malformed", "E_DEAL_SCHEMA", "X801", "an old holder signs what is no deal"),
    case("no-bindings", "E_DEAL_SCHEMA", "X802", "an old holder's deal names no bindings"),
    case("another-group", "E_DEAL_BINDINGS", "X800", "bindings of another group, named in a deal"),
    case("another-index", "E_DEAL_BINDINGS", "X800", "bindings of another share, named in a deal"),
    case("before", "E_DEAL_BINDINGS", "X800", "bindings of before the ceremony, named in a deal"),
]


@pytest.mark.parametrize(("name", "code"), SEEN)
def test_what_everybody_sees_in_a_reshare(reshare: Ceremony, name: str, code: str) -> None:
    assert "deal-03.json" in cheat(reshare, name)
    shown = all_are_told(reshare, (ADA, BEN), "dealer 3 (Eve)", f"({code})")
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["dealer_is_guilty"], verdict["code"]) == (3, True, code)
    assert ("outside the prime-order group" in verdict["reason"]) == (name == "outside")
    minutes = reshare.pool.run("ceremony", "verify", reshare.folder, expect=1).stdout
    assert minutes.count("dealer 3 (Eve) dealt\n") == (2 if name == "two-deals" else 1)
    assert bare_digests(minutes) == []
    nothing_came_of_it(reshare)


SEEN_IN_A_SPLIT = [
    case("another-secret", "E_DEAL_CONSTANT", "P14", "a dealer commits to another key"),
    case("short", "E_DEAL_LENGTH", "C1", "the dealer of a split deals t - 1 commitments"),
    case("a-proof", "E_DEAL_PROOF", "C6", "the dealer of a split proves what is not asked"),
    case("fewer", "E_DEAL_LENGTH", "C8", "the dealer of a split seals n - 1 shares"),
    case("two-deals", "E_DEAL_EQUIVOCATION", "C12", "the dealer of a split signs two deals"),
    case("some-bindings", "E_DEAL_SCHEMA", "X802", "the deal of a split names bindings"),
]


@pytest.mark.parametrize(("name", "code"), SEEN_IN_A_SPLIT)
def test_what_everybody_sees_in_a_split(split: Ceremony, name: str, code: str) -> None:
    assert "deal-00.json" in cheat(split, name)
    shown = all_are_told(split, (ADA, BEN), "the dealer (Eve)", f"({code})")
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["dealer_is_guilty"], verdict["code"]) == (0, True, code)
    nothing_came_of_it(split)


HIDDEN = [
    case("bad-share", "E_DEAL_SHARE", "C11", "a dealer seals a share off his polynomial"),
    case("large-share", "E_DEAL_SHARE", "C10", "a dealer seals a share above the order"),
    case("bad-ciphertext", "E_DEAL_DECRYPT", "C9", "a dealer seals for another place"),
    case("no-point", "E_DEAL_DECRYPT", "C9", "a dealer's ephemeral point is none"),
    case("shows", "E_DEAL_SHARE", "C18", "a dealer shows a key where none is asked"),
]


@pytest.mark.parametrize(("name", "code"), HIDDEN)
@pytest.mark.parametrize("kind", ["reshare", "split"])
def test_what_only_the_victim_sees_names_both(
    request: pytest.FixtureRequest, kind: str, name: str, code: str
) -> None:
    ceremony: Ceremony = request.getfixturevalue(kind)
    dealer = "dealer 3 (Eve)" if kind == "reshare" else "the dealer (Eve)"
    cheat(ceremony, name)
    assert told(ceremony, ADA)[1]["done"] == "agree"
    ended, value, error = told(ceremony, BEN)
    number = "03" if kind == "reshare" else "00"
    assert (ended, value["done"], value["next"]) == (1, "agree", "aborted"), error
    assert value["new_files"] == [f"complaint-02-against-{number}.json"]
    shown = cheat(ceremony, name)
    assert shown == ([f"opening-{number}-for-02.json"] if name == "shows" else [])
    both = "one of the two is at fault, or his token"
    found = all_are_told(ceremony, (ADA, BEN), "member 2 (Ben)", dealer, both, f"({code})")
    (verdict,) = found["verdicts"]
    assert (verdict["member"], verdict["dealer_is_guilty"], verdict["code"]) == (2, False, code)
    minutes = ceremony.pool.run("ceremony", "verify", ceremony.folder, expect=1).stdout
    assert "undecided: member 2 (Ben) says that what" in minutes
    nothing_came_of_it(ceremony)


@pytest.mark.case("C19", "a member of a reshare complains of an honest dealer: nothing is opened")
def test_a_false_complaint_in_a_reshare(reshare: Ceremony) -> None:
    cheat(reshare, "false-complaint")
    assert cheat(reshare, "false-complaint") == ["complaint-03-against-02.json"]
    all_are_told(reshare, (BEN, ADA), "member 3 (Eve)", "dealer 2 (Ben)", "(E_DEAL_SHARE)")
    nothing_came_of_it(reshare)


@pytest.mark.case("C19", "a member of a split complains of the honest dealer: nothing is opened")
def test_a_false_complaint_in_a_split(split: Ceremony) -> None:
    cheat(split, "honest")
    assert cheat(split, "false-complaint", BEN, 0) == ["complaint-02-against-00.json"]
    all_are_told(split, (ADA,), "member 2 (Ben)", "the dealer (Eve)", "(E_DEAL_SHARE)")
    nothing_came_of_it(split)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        pytest.param("stray", "member 3 (Eve)",
                     marks=pytest.mark.case("C14", "a member of a reshare agrees to other deals")),
        pytest.param("stray-dealer", "dealer 3 (Eve)",
                     marks=pytest.mark.case("C14", "a reshare's dealer agrees to other deals")),
    ],
)  # fmt: skip
def test_a_stray_agreement(reshare: Ceremony, name: str, who: str) -> None:
    cheat(reshare, name)
    assert told(reshare, ADA)[1]["done"] == "agree"
    assert cheat(reshare, name) == ["agree-03.json", "agree-dealer-03.json"]
    shown = all_are_told(reshare, (ADA, BEN), who, "(E_TRANSCRIPT)")
    assert "E_TRANSCRIPT" in {problem["code"] for problem in shown["problems"]}
    nothing_came_of_it(reshare)


# What the journals bind


@pytest.mark.case("C20", "a dealer states another address for a validator than another dealer")
def test_a_lie_about_a_journal_that_another_contradicts(reshare: Ceremony) -> None:
    assert LIED_ABOUT == BOUND
    cheat(reshare, "binds-otherwise")
    said = f"state validator {BOUND} bound differently"
    all_are_told(reshare, (ADA, BEN), "dealer 1 (Ada)", "dealer 3 (Eve)", said, "(E_CONFLICT)")
    minutes = reshare.pool.run("ceremony", "verify", reshare.folder, expect=1).stdout
    assert f"{said}: it was signed for twice, or one of the two lies (E_CONFLICT)" in minutes
    nothing_came_of_it(reshare)
    assert sign_once(reshare.pool, [ADA, BEN], 8) == 1  # the old shares live


@pytest.mark.case("C20", "a dealer lays another statement than the one that his deal names")
def test_another_statement_than_the_named_one(
    reshare: Ceremony, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheat(reshare, "swaps")
    for holder in (ADA, BEN):
        ended, value, _ = told(reshare, holder)
        assert (ended, value["next"], value["waits_for"]) == (0, "wait", ["dealer 3 (Eve)"])
    (problem,) = status(reshare)["problems"]
    assert (problem["file"], problem["code"]) == ("bindings-03.json", "E_BINDINGS")
    assert "dealer 3 (Eve) stated it another time" in problem["message"]
    verified = reshare.pool.run("ceremony", "verify", reshare.folder, expect=1).stderr
    assert verified.startswith("E_BINDINGS: ")
    never_came(reshare, monkeypatch, "dealer 3 (Eve)")


@pytest.mark.case("X803", "a dealer who never deals: named when the time is over")
@pytest.mark.parametrize(("kind", "who"), [("reshare", "dealer 3 (Eve)"),
                                           ("split", "the dealer (Eve)")])  # fmt: skip
def test_a_dealer_who_keeps_away(
    request: pytest.FixtureRequest, kind: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceremony: Ceremony = request.getfixturevalue(kind)
    assert told(ceremony, ADA)[1]["waits_for"] == [who]
    never_came(ceremony, monkeypatch, who)


def never_came(ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """Let the time pass, and expect that the dealer is named."""
    late = time.time() + 15 * 86400
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: late)
        ended, value, error = told(ceremony, ADA)
    assert (ended, value["next"]) == (1, "aborted")
    assert f"time is over, and the deals of {who} never came" in error
    nothing_came_of_it(ceremony)


# After everybody has agreed


def agreed(ceremony: Ceremony, name: str, honest: tuple[int, ...]) -> None:
    """Let everybody deal and agree, and the honest acknowledge."""
    for _ in range(2):
        cheat(ceremony, name)
        for holder in honest:
            assert told(ceremony, holder)[0] == 0
    assert status(ceremony)["certified"]
    for holder in honest:
        assert told(ceremony, holder)[0] == 0


@pytest.mark.case("C23", "a member of a reshare acknowledges with another share: old keys stay")
def test_a_wrong_share(reshare: Ceremony) -> None:
    agreed(reshare, "wrong-share", (ADA, BEN, FAY))
    assert cheat(reshare, "wrong-share") == ["ack-03.json"]
    for holder in (ADA, BEN):
        ended, value, _ = told(reshare, holder, "--yes-destroy")
        assert (ended, value["done"], value["next"]) == (0, None, "wait")
        assert value["waits_for"] == ["member 3 (Eve)"]
    (problem,) = status(reshare)["problems"]
    assert (problem["file"], problem["code"]) == ("ack-03.json", "E_SHARE_PROOF")
    assert "member 3 (Eve)" in problem["message"]
    verified = reshare.pool.run("ceremony", "verify", reshare.folder, expect=1).stderr
    assert verified.startswith("E_SHARE_PROOF: ")
    assert not (reshare.folder / "group-pending.json").exists()
    assert not list(reshare.folder.glob("destroyed-*"))
    assert cheat(reshare, "honest") == ["ack-03.json"]  # she may still mend it
    assert told(reshare, ADA)[1]["next"] == "activate"


@pytest.mark.case("C16", "a dealer of a reshare signs a second deal when all have acknowledged")
@pytest.mark.case("C20", "a dealer leaves out what his journal binds: another's statement has it")
def test_a_forgetful_and_late_dealer_undoes_nothing(reshare: Ceremony) -> None:
    agreed(reshare, "forgets-and-late", (ADA, BEN, FAY))
    said = json.loads((reshare.folder / "bindings-03.json").read_bytes())
    assert b'"changes":[]' in base64.b64decode(said["payload"])
    assert cheat(reshare, "forgets-and-late") == ["ack-03.json"]
    made = cheat(reshare, "forgets-and-late")
    assert made == ["bindings-03-late.json", "deal-03-late.json"]
    ended, value, error = told(reshare, ADA)
    assert (ended, value["next"]) == (0, "activate"), error
    shown = status(reshare)
    assert (shown["certified"], shown["aborted"], shown["verdicts"]) == (True, False, [])
    assert {problem["file"]: problem["code"] for problem in shown["problems"]} == {
        "bindings-03-late.json": "E_TRANSCRIPT", "deal-03-late.json": "E_TRANSCRIPT",
    }  # fmt: skip

    pool, fay = reshare.pool, reshare.pool.holders[FAY - 1]
    pool.group.unlink()
    pool.group.write_bytes((reshare.folder / "group-pending.json").read_bytes())
    fay.envelope.write_bytes(reshare.envelope(fay).read_bytes())
    reshare.take_over(fay)
    records = [json.loads(line)["body"] for line in fay.journal.read_text().splitlines()]
    (imported,) = [record for record in records if "changes" in record]
    changes = changes_from_json(imported["changes"], "imported")
    assert [(index, address.wire) for index, address in changes] == [(BOUND, TEST_ADDRESS.lower())]


@pytest.mark.case("C16", "the dealer of a split signs a second deal when all have acknowledged")
def test_a_late_deal_in_a_split(split: Ceremony) -> None:
    agreed(split, "late-deal", (ADA, BEN, DAN))
    assert "deal-00-late.json" in {path.name for path in split.folder.iterdir()}
    ended, value, error = told(split, ADA)
    assert (ended, value["next"]) == (0, "activate"), error
    shown = status(split)
    assert (shown["aborted"], shown["verdicts"]) == (False, [])
    (problem,) = shown["problems"]
    assert (problem["file"], problem["code"]) == ("deal-00-late.json", "E_TRANSCRIPT")

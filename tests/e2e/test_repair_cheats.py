"""Cheats in a repair, with real tokens: of a helper, and of the one who returns.

Everybody is told who it was and by which code; no card is replaced; the others' shares still sign.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from signer.testing.ceremony import Ceremony
from tests.simulators.begun import ADA, BEN, EVE, FAY, begun_repair, sign_once
from tests.simulators.gathered import all_are_told, cheats, copied, status, told

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]
EVERYBODY = (ADA, BEN, FAY)


@pytest.fixture(scope="module")
def begun(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """Ada and Ben have helped."""
    return begun_repair(tmp_path_factory.mktemp("repair") / "p")


@pytest.fixture(scope="module")
def helped(begun: Ceremony, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceremony]:
    """All have helped, honestly; Ada and Ben have added up."""
    with copied(begun, tmp_path_factory.mktemp("helped") / "p") as made:
        cheats(made, "honest", EVE)
        for holder in (ADA, BEN):
            assert told(made, holder)[1]["done"] == "sigma"
        yield made


@pytest.fixture
def repair(begun: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(begun, tmp_path / "p") as made:
        yield made


@pytest.fixture
def adding(helped: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(helped, tmp_path / "p") as made:
        yield made


def nothing_came_of_it(ceremony: Ceremony) -> None:
    """Expect no card replaced, no share repaired, no sum opened, the others' envelopes there."""
    names = {path.name for path in ceremony.folder.iterdir()}
    assert not [name for name in names if name.startswith(("replacement", "group"))]
    assert not [name for name in names if name.startswith("opening") and "-for-04" in name]
    for holder in ceremony.pool.holders[:2]:
        assert holder.envelope.exists()
    assert not list(ceremony.state(ceremony.pool.holders[FAY - 1]).glob("*/envelope.json"))


def case(name: str, code: str, number: str, what: str) -> ParameterSet:
    return pytest.param(name, code, id=name, marks=pytest.mark.case(number, what))


# Deltas

SEEN = [
    case("no-sum", "E_REPAIR_COMMITMENTS", "C22", "a helper's commitments do not add up"),
    case("another-share", "E_REPAIR_COMMITMENTS", "C22", "a helper breaks another share than his"),
    case("short", "E_REPAIR_LENGTH", "C1", "a helper makes a delta too few"),
    case("long", "E_REPAIR_LENGTH", "C1", "a helper makes a delta too many"),
    case("fewer", "E_REPAIR_LENGTH", "C8", "a helper seals a delta too few"),
    case("infinity", "E_REPAIR_POINT", "C3", "a helper commits to infinity"),
    case("malformed", "E_REPAIR_SCHEMA", "X804", "a helper signs what are no deltas"),
    case("two-deltas", "E_REPAIR_EQUIVOCATION", "C12", "a helper signs two sets of deltas"),
]


@pytest.mark.parametrize(("name", "code"), SEEN)
def test_what_everybody_sees(repair: Ceremony, name: str, code: str) -> None:
    assert "delta-03.json" in cheats(repair, name, EVE)
    shown = all_are_told(repair, EVERYBODY, "helper 3 (Eve)", f"({code})")
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["dealer_is_guilty"], verdict["code"]) == (3, True, code)
    nothing_came_of_it(repair)


HIDDEN = [
    case("bad-delta", "E_REPAIR_DELTA", "C22", "a bad delta, off by one"),
    case("large-delta", "E_REPAIR_DELTA", "C10", "a delta above the order"),
    case("to-another", "E_REPAIR_DECRYPT", "C22", "a delta sealed to another recipient"),
    case("wrong-key", "E_OPENING", "C18", "a bad delta, and a wrong key in answer"),
]


@pytest.mark.parametrize(("name", "code"), HIDDEN)
def test_what_only_the_victim_sees(repair: Ceremony, name: str, code: str) -> None:
    cheats(repair, name, EVE)
    assert told(repair, ADA)[1]["done"] == "sigma"
    ended, value, error = told(repair, BEN)
    assert (ended, value["done"], value["next"]) == (1, "sigma", "aborted")
    assert value["new_files"] == ["complaint-02-against-03.json"]
    assert "helper 2 (Ben) complains of helper 3 (Eve)" in error
    assert cheats(repair, name, EVE) == ["opening-03-for-02.json"]
    shown = all_are_told(repair, EVERYBODY, "helper 3 (Eve)", f"({code})")
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["dealer_is_guilty"], verdict["code"]) == (3, True, code)
    nothing_came_of_it(repair)


@pytest.mark.case("C22", "a helper commits so that all deltas for another add up to zero")
def test_deltas_that_cancel(repair: Ceremony) -> None:
    cheats(repair, "cancelling", EVE)
    ended, value, error = told(repair, ADA)
    assert (ended, value["done"]) == (1, "sigma")
    assert value["new_files"] == ["complaint-01-against-03.json"]
    assert "(E_REPAIR_ZERO)" in error
    assert cheats(repair, "cancelling", EVE) == ["opening-03-for-01.json"]
    words = ("what helper 3 (Eve) sealed to helper 1 (Ada) does not open (E_REPAIR_DECRYPT)",)
    all_are_told(repair, EVERYBODY, *words, "(E_REPAIR_ZERO)")
    nothing_came_of_it(repair)


@pytest.mark.case("C19", "a helper sends a bad delta and never answers")
def test_silence(repair: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    cheats(repair, "silent", EVE)
    assert told(repair, BEN)[0] == 1
    assert cheats(repair, "silent", EVE) == []
    all_are_told(repair, EVERYBODY, "helper 3 (Eve)", "his answer is waited for")
    late = time.time() + 15 * 86400
    monkeypatch.setattr("time.time", lambda: late)
    words = "helper 3 (Eve) did not answer the complaint of helper 2 (Ben) in time"
    all_are_told(repair, EVERYBODY, words, "(E_OPENING_ABSENT)")
    nothing_came_of_it(repair)


@pytest.mark.case("X805", "a helper who never helps, or never adds up: named when the time is over")
@pytest.mark.parametrize(
    ("fixture", "cheat", "what"),
    [("repair", None, "deltas"), ("adding", "no-sum-at-all", "sums")],
)
def test_a_helper_who_keeps_away(
    request: pytest.FixtureRequest, fixture: str, cheat: str | None, what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ceremony: Ceremony = request.getfixturevalue(fixture)
    assert cheat is None or cheats(ceremony, cheat, EVE) == []
    for holder in EVERYBODY:
        assert told(ceremony, holder)[1]["waits_for"] == ["helper 3 (Eve)"]
    late = time.time() + 15 * 86400
    monkeypatch.setattr("time.time", lambda: late)
    for holder in EVERYBODY:
        ended, value, error = told(ceremony, holder)
        assert (ended, value["next"]) == (1, "aborted")
        assert f"time is over, and the {what} of helper 3 (Eve) never came" in error
    error = ceremony.pool.run("ceremony", "verify", ceremony.folder, expect=1).stderr
    assert f"the {what} of helper 3 (Eve) are waited for, and the repair's time is over" in error
    nothing_came_of_it(ceremony)


@pytest.mark.case("C19", "a helper complains of an honest helper, who answers")
def test_a_false_complaint(adding: Ceremony) -> None:
    assert cheats(adding, "false-complaint", EVE) == ["complaint-03-against-02.json"]
    ended, value, _ = told(adding, BEN)  # who has added up already
    assert (ended, value["done"]) == (1, "answer")
    assert value["new_files"] == ["opening-02-for-03.json"]
    words = ("helper 2 (Ben)", "helper 3 (Eve)", "the complaint is false", "(E_COMPLAINT)")
    shown = all_are_told(adding, EVERYBODY, *words)
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["member"], verdict["dealer_is_guilty"]) == (2, 3, False)
    nothing_came_of_it(adding)


# Sums


@pytest.mark.parametrize(
    ("name", "code"),
    [
        case("bad-sum", "E_REPAIR_SIGMA", "C22", "a helper's sum is not what he was sent"),
        case("closed-sum", "E_REPAIR_DECRYPT", "C22", "a helper's sum does not open"),
    ],
)
def test_a_sum_that_only_the_returning_holder_sees(adding: Ceremony, name: str, code: str) -> None:
    assert cheats(adding, name, EVE) == ["sigma-03.json"]
    ended, value, _ = told(adding, FAY)
    assert (ended, value["done"], value["next"]) == (1, "finish", "aborted")
    assert value["new_files"] == ["complaint-04-against-03.json"]
    assert cheats(adding, name, EVE) == []  # a sum is never opened
    words = "holder 4 (Fay) complains of the sum that helper 3 (Eve) sealed to him"
    shown = all_are_told(adding, EVERYBODY, words, f"({code})")
    (verdict,) = shown["verdicts"]
    assert (verdict["member"], verdict["dealer_is_guilty"], verdict["code"]) == (4, False, code)
    nothing_came_of_it(adding)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        case("other-deltas", "E_TRANSCRIPT", "C14", "a helper adds up other deltas"),
        case("two-sums", "E_REPAIR_EQUIVOCATION", "C12", "a helper signs two sums"),
    ],
)
def test_a_sum_that_everybody_sees(adding: Ceremony, name: str, code: str) -> None:
    assert "sigma-03.json" in cheats(adding, name, EVE)
    shown = all_are_told(adding, EVERYBODY, "helper 3 (Eve)", f"({code})")
    assert {problem["code"] for problem in shown["problems"]} == {code}
    minutes = adding.pool.run("ceremony", "verify", adding.folder, expect=1).stdout
    assert "because: " in minutes
    nothing_came_of_it(adding)


@pytest.mark.case("X804", "a helper signs what is no sum: it is as good as absent")
def test_a_malformed_sum(adding: Ceremony) -> None:
    cheats(adding, "malformed-sum", EVE)
    for holder in EVERYBODY:
        ended, value, _ = told(adding, holder)
        assert (ended, value["waits_for"]) == (0, ["helper 3 (Eve)"])
    (problem,) = status(adding)["problems"]
    assert (problem["file"], problem["code"]) == ("sigma-03.json", "E_SCHEMA")
    error = adding.pool.run("ceremony", "verify", adding.folder, expect=1).stderr
    assert error.startswith("E_SCHEMA: sigma-03.json: field 'version'")
    nothing_came_of_it(adding)
    assert cheats(adding, "honest", EVE) == ["sigma-03.json"]  # she may still mend it
    assert told(adding, FAY)[1]["done"] == "finish"


# The one who returns


@pytest.mark.case("C19", "who returns complains of an honest sum: nothing is opened")
def test_a_false_complaint_of_who_returns(adding: Ceremony) -> None:
    cheats(adding, "honest", EVE)
    assert cheats(adding, "false-complaint", FAY) == ["complaint-04-against-02.json"]
    words = "holder 4 (Fay) complains of the sum that helper 2 (Ben) sealed to him"
    shown = all_are_told(adding, (BEN, ADA), words, "(E_REPAIR_SIGMA)")
    (verdict,) = shown["verdicts"]
    assert (verdict["dealer"], verdict["member"], verdict["dealer_is_guilty"]) == (2, 4, False)
    minutes = adding.pool.run("ceremony", "verify", adding.folder, expect=1).stdout
    assert "undecided: holder 4 (Fay) complains" in minutes
    nothing_came_of_it(adding)


@pytest.mark.case("C23", "who returns proves another share: no card is signed")
def test_a_wrong_proof(adding: Ceremony) -> None:
    cheats(adding, "honest", EVE)
    assert cheats(adding, "wrong-proof", FAY) == ["ack-04.json"]
    for holder in (ADA, BEN):
        ended, value, _ = told(adding, holder)
        assert (ended, value["next"], value["waits_for"]) == (0, "wait", ["holder 4 (Fay)"])
    (problem,) = status(adding)["problems"]
    assert (problem["file"], problem["code"]) == ("ack-04.json", "E_SHARE_PROOF")
    error = adding.pool.run("ceremony", "verify", adding.folder, expect=1).stderr
    assert error.startswith("E_SHARE_PROOF: ack-04.json: ")
    nothing_came_of_it(adding)


# After the proof


@pytest.mark.case("X806", "a helper keeps back his signature of the new card, or signs another")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-signature", "the new card's signatures of helper 3 (Eve) are waited for"),
        ("another-card", "replacement-03.json: it is of another repair, or of another card"),
    ],
)
def test_a_card_that_a_helper_does_not_sign(adding: Ceremony, name: str, words: str) -> None:
    cheats(adding, "honest", EVE)
    assert told(adding, FAY)[1]["done"] == "finish"
    made = cheats(adding, name, EVE)
    for holder in (ADA, BEN):
        assert told(adding, holder)[1]["done"] == "replace"
    for holder in EVERYBODY:
        ended, value, _ = told(adding, holder)
        assert (ended, value["next"], value["waits_for"]) == (0, "wait", ["helper 3 (Eve)"])
    problems = {problem["file"] for problem in status(adding)["problems"]}
    assert problems == set(made)
    error = adding.pool.run("ceremony", "verify", adding.folder, expect=1).stderr
    assert error.startswith("E_CEREMONY: ")
    assert words in error
    assert not (adding.folder / "group-repaired.json").exists()


@pytest.mark.case("C16", "a helper signs a second set of deltas when the share is repaired")
def test_late_deltas_undo_nothing(adding: Ceremony) -> None:
    cheats(adding, "late-delta", EVE)
    assert told(adding, FAY)[1]["done"] == "finish"
    assert cheats(adding, "late-delta", EVE) == ["replacement-03.json"]
    for holder in (ADA, BEN):
        assert told(adding, holder)[1]["done"] == "replace"
    assert cheats(adding, "late-delta", EVE) == ["delta-03-late.json"]
    for holder in EVERYBODY:
        assert told(adding, holder)[1]["next"] == "done"
    (problem,) = status(adding)["problems"]
    assert (problem["file"], problem["code"]) == ("delta-03-late.json", "E_TRANSCRIPT")
    verified = adding.pool.run("ceremony", "verify", adding.folder).stdout
    assert "every helper has signed the new card" in verified


def test_the_others_still_sign_after_a_repair_that_failed(repair: Ceremony) -> None:
    cheats(repair, "no-sum", EVE)
    all_are_told(repair, (ADA,), "helper 3 (Eve)")
    assert sign_once(repair.pool, [ADA, BEN], 8) == 1

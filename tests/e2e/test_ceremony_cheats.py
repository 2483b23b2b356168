"""Cheats of a holder with a real token: everybody names him, by one code, and nothing is lost."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import SignerError
from signer.testing.ceremony import Ceremony
from signer.testing.hostile.token import HostileToken
from tests.simulators.gathered import all_are_told, cheats, copied, gathered, status, told

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]
HONEST = (1, 2, 3, 4)
VICTIM = 2


@pytest.fixture(scope="module")
def begun(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return gathered(tmp_path_factory.mktemp("cheats") / "p")


@pytest.fixture
def ceremony(begun: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(begun, tmp_path / "p") as made:
        yield made


def everybody_names(
    ceremony: Ceremony, who: str, code: str, *, holders: tuple[int, ...] = HONEST
) -> None:
    """Expect `next` of each, `status` and `verify` to end with this name and this code."""
    shown = all_are_told(ceremony, holders, who, f"({code})")
    assert not shown["certified"]
    assert code in {verdict["code"] for verdict in shown["verdicts"]} or code == "E_TRANSCRIPT"
    assert not (ceremony.folder / "certificate.json").exists()


def nothing_is_lost(ceremony: Ceremony) -> None:
    """Expect each honest holder's deal to be what it was, and no share to have been made."""
    for holder in ceremony.pool.holders[:-1]:
        (state,) = ceremony.state(holder).iterdir()
        kept = json.loads((state / "dealt.json").read_bytes())["deal"]
        shown = json.loads((ceremony.folder / f"deal-{holder.index:02}.json").read_bytes())
        assert kept == shown
        assert not (state / "envelope.json").exists()


def case(cheat: str, code: str, number: str, what: str) -> ParameterSet:
    return pytest.param(cheat, code, id=cheat, marks=pytest.mark.case(number, what))


SEEN = [
    case("short", "E_DEAL_LENGTH", "C1", "a holder deals t - 1 commitments"),
    case("long", "E_DEAL_LENGTH", "C1", "a holder deals t + 1 commitments"),
    case("none", "E_DEAL_SCHEMA", "C2", "a holder commits to nothing"),
    case("infinity", "E_DEAL_POINT", "C3", "a holder commits to infinity"),
    case("outside", "E_DEAL_POINT", "C4", "a holder commits to a point outside the group"),
    case("large-x", "E_DEAL_POINT", "C5", "a holder's point has a coordinate that is not reduced"),
    case("no-flag", "E_DEAL_POINT", "C5", "a holder's point lacks the flag of its compression"),
    case("wrong-flag", "E_DEAL_POINT", "C5", "a holder's point has infinity's flag and is not it"),
    case("uncompressed", "E_DEAL_POINT", "C5", "a holder's point is not compressed"),
    case("no-proof", "E_DEAL_PROOF", "C6", "a holder proves nothing"),
    case("wrong-proof", "E_DEAL_PROOF", "C6", "a holder's proof does not verify"),
    case("proof-elsewhere", "E_DEAL_PROOF", "C6", "a holder's proof is of another ceremony"),
    case("proof-of-infinity", "E_DEAL_PROOF", "C6", "the nonce's point of a proof is infinity"),
    case("proof-not-reduced", "E_DEAL_PROOF", "C6", "a proof's scalar is not below the order"),
    case("proof-of-zero", "E_DEAL_PROOF", "C6", "a proof's scalar is zero"),
    case("copied", "E_DEAL_PROOF", "C7", "a holder takes over another's commitments"),
    case("fewer", "E_DEAL_LENGTH", "C8", "a holder seals n - 1 shares"),
    case("more", "E_DEAL_LENGTH", "C8", "a holder seals n + 1 shares"),
    case("malformed", "E_DEAL_SCHEMA", "X712", "a holder signs what is no deal"),
    case("two-deals", "E_DEAL_EQUIVOCATION", "C12", "a holder signs two deals"),
]


@pytest.mark.parametrize(("cheat", "code"), SEEN)
def test_what_everybody_sees(ceremony: Ceremony, cheat: str, code: str) -> None:
    cheats(ceremony, cheat)
    everybody_names(ceremony, "Eve", code, holders=(1, 3))
    nothing_is_lost(ceremony)


HIDDEN = [
    case(
        "bad-share",
        "E_DEAL_SHARE",
        "C11",
        "a holder seals a share off his polynomial, and shows his key",
    ),
    case(
        "large-share",
        "E_DEAL_SHARE",
        "C10",
        "a holder seals a share above the order, and shows his key",
    ),
    case(
        "bad-ciphertext",
        "E_DEAL_DECRYPT",
        "C9",
        "a holder seals for another place, and shows his key",
    ),
    case("zero-share", "E_DEAL_SHARE", "C10", "a holder seals the share 0, and shows his key"),
    case(
        "share-not-reduced",
        "E_DEAL_SHARE",
        "C10",
        "a holder seals the right share plus the order, and shows his key",
    ),
    case("exchanged", "E_OPENING", "C8", "a holder gives a member his neighbour's ciphertext"),
    case("no-point", "E_OPENING", "C9", "a holder's ephemeral point is none"),
    case("wrong-key", "E_OPENING", "C18", "a holder shows a wrong key"),
    case("zero-key", "E_OPENING", "C18", "a holder shows the key 0"),
    case("key-of-another", "E_OPENING", "C18", "a holder shows the key of another's ciphertext"),
]


@pytest.mark.parametrize(("cheat", "code"), HIDDEN)
def test_what_only_the_victim_sees(ceremony: Ceremony, cheat: str, code: str) -> None:
    cheats(ceremony, cheat)
    assert told(ceremony, 1)[1]["done"] == "agree"
    ended, value, error = told(ceremony, VICTIM)
    assert (ended, value["done"], value["next"]) == (1, "agree", "aborted")
    assert value["new_files"] == ["complaint-02-against-05.json"]
    assert "member 2 (Ben) complains of dealer 5 (Eve)" in error
    assert told(ceremony, 3)[0] == 1
    assert cheats(ceremony, cheat) == ["opening-05-for-02.json"]
    everybody_names(ceremony, "Eve", code)
    nothing_is_lost(ceremony)


@pytest.mark.case("C19", "a holder seals a bad share and never answers")
def test_silence(ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    cheats(ceremony, "silent")
    assert told(ceremony, VICTIM)[0] == 1
    assert cheats(ceremony, "silent") == []
    assert "his answer is waited for" in told(ceremony, 1)[2]
    late = time.time() + 15 * 86400
    monkeypatch.setattr("time.time", lambda: late)
    words = ["ceremony", "verify", str(ceremony.folder)]
    done = CliRunner().invoke(cli, words, obj=Printer())
    assert isinstance(done.exception, SignerError)
    assert done.exception.code == "E_ABORTED"
    assert "dealer 5 (Eve) did not answer" in done.exception.message
    assert "(E_OPENING_ABSENT)" in done.exception.message


@pytest.mark.case("C19", "a holder complains of an honest dealer, who answers")
def test_a_false_complaint(ceremony: Ceremony) -> None:
    cheats(ceremony, "false-complaint")
    assert cheats(ceremony, "false-complaint") == ["complaint-05-against-02.json"]
    assert told(ceremony, 1)[0] == 1
    ended, value, _ = told(ceremony, VICTIM)
    assert (ended, value["done"]) == (1, "answer")
    assert value["new_files"] == ["opening-02-for-05.json"]
    assert told(ceremony, VICTIM)[1]["new_files"] == []
    everybody_names(ceremony, "member 5", "E_COMPLAINT")


@pytest.mark.case("C14", "a holder agrees to other deals than the others")
def test_a_stray_agreement(ceremony: Ceremony) -> None:
    cheats(ceremony, "stray")
    assert told(ceremony, 1)[1]["done"] == "agree"
    assert cheats(ceremony, "stray") == ["agree-05.json"]
    everybody_names(ceremony, "member 5", "E_TRANSCRIPT")


@pytest.mark.parametrize(
    "cheat",
    [
        pytest.param("wrong-share",
                     marks=pytest.mark.case("C23", "a holder proves another share than his")),
        pytest.param("wrong-tag",
                     marks=pytest.mark.case("C23", "a holder proves his share under another tag")),
    ],
)  # fmt: skip
def test_a_wrong_share(ceremony: Ceremony, cheat: str) -> None:
    cheats(ceremony, cheat)
    for holder in HONEST:
        told(ceremony, holder)
    assert cheats(ceremony, cheat) == ["agree-05.json"]
    for holder in HONEST:
        assert told(ceremony, holder)[1]["done"] == "acknowledge"
    assert cheats(ceremony, cheat) == ["ack-05.json"]
    for holder in HONEST:
        ended, value, _ = told(ceremony, holder)
        assert (ended, value["next"]) == (0, "wait")
        assert value["waits_for"] == ["member 5 (Eve)"]
    (problem,) = status(ceremony)["problems"]
    assert (problem["file"], problem["code"]) == ("ack-05.json", "E_SHARE_PROOF")
    assert not (ceremony.folder / "group-pending.json").exists()
    verified = ceremony.pool.run("ceremony", "verify", ceremony.folder, expect=1)
    assert "E_SHARE_PROOF" in verified.stderr
    assert cheats(ceremony, "honest") == ["ack-05.json"]  # he may still mend it
    assert told(ceremony, 1)[1]["next"] == "activate"


@pytest.mark.case("C12", "a holder shows one deal to two holders and another to the rest")
def test_a_split_view(ceremony: Ceremony, tmp_path: Path) -> None:
    cheats(ceremony, "two-deals")
    one, other = ceremony.folder / "deal-05.json", ceremony.folder / "deal-05-again.json"
    second = other.read_bytes()
    other.unlink()
    elsewhere = Ceremony(ceremony.pool, tmp_path / "other", ceremony.people, ceremony.cards)
    shutil.copytree(ceremony.folder, elsewhere.folder)
    (elsewhere.folder / "deal-05.json").write_bytes(second)
    assert told(ceremony, 1)[1]["done"] == "agree"
    assert told(elsewhere, 2)[1]["done"] == "agree"
    shutil.copy(elsewhere.folder / "agree-02.json", ceremony.folder / "agree-02.json")
    ended, _, error = told(ceremony, 3)
    assert ended == 1
    assert "(E_TRANSCRIPT)" in error
    ended, value, error = told(ceremony, 2)  # he brings what only he was shown
    assert ended == 1
    (added,) = ceremony.folder.glob("deal-05-????????.json")
    assert value["new_files"] == [added.name]
    assert added.read_bytes() == second
    assert "dealer 5 (Eve) has signed two different deals (E_DEAL_EQUIVOCATION)" in error
    everybody_names(ceremony, "Eve", "E_DEAL_EQUIVOCATION", holders=(1, 3))
    one.unlink()  # who has seen both deals needs no folder to know
    ended, _, error = told(ceremony, 1)
    assert ended == 1
    assert "(E_DEAL_EQUIVOCATION)" in error


@pytest.mark.case("C16", "a holder signs a second deal when everybody has acknowledged")
@pytest.mark.case("C15", "a certificate with another deal of a holder's, over the true one")
def test_a_late_deal_undoes_nothing(ceremony: Ceremony) -> None:
    for _ in range(3):
        cheats(ceremony, "late-deal")
        for holder in HONEST:
            told(ceremony, holder)
    assert cheats(ceremony, "late-deal") == ["deal-05-late.json"]
    ended, value, error = told(ceremony, 1)
    assert (ended, value["next"]) == (0, "activate"), error
    shown = status(ceremony)
    assert (shown["certified"], shown["aborted"], shown["verdicts"]) == (True, False, [])
    (problem,) = shown["problems"]
    assert (problem["file"], problem["code"]) == ("deal-05-late.json", "E_TRANSCRIPT")

    assert cheats(ceremony, "certifies") == ["certificate.json"]  # over the true one
    ended, value, error = told(ceremony, 1)
    assert (ended, value["next"]) == (0, "activate"), error
    (name,) = value["new_files"]
    assert re.fullmatch(r"certificate-[0-9a-f]{8}\.json", name)
    shown = status(ceremony)
    assert (shown["certified"], shown["aborted"], shown["verdicts"]) == (True, False, [])


@pytest.mark.case("C15", "a certificate with another deal of a holder's, before there is any other")
def test_a_foreign_certificate(ceremony: Ceremony) -> None:
    cheats(ceremony, "certifies")
    for holder in HONEST:
        told(ceremony, holder)
    assert cheats(ceremony, "certifies") == ["agree-05.json", "certificate.json"]
    shown = all_are_told(ceremony, (1, 3), "Eve", "(E_DEAL_EQUIVOCATION)")  # she has signed two
    assert not shown["certified"]
    assert [path.name for path in ceremony.folder.glob("certificate*")] == ["certificate.json"]
    nothing_is_lost(ceremony)


@pytest.mark.case("C13", "a deal of mine altered in the folder: `next` puts the true one beside it")
def test_an_own_deal_that_was_altered(ceremony: Ceremony) -> None:
    path = ceremony.folder / "deal-01.json"
    good = path.read_bytes()
    value = json.loads(good)
    value["ciphertexts"].reverse()
    path.write_text(json.dumps(value))
    (problem,) = status(ceremony)["problems"]
    assert (problem["file"], problem["code"]) == ("deal-01.json", "E_DEAL_CIPHERTEXTS")
    ended, value, error = told(ceremony, 1)
    assert (ended, value["next"], value["waits_for"]) == (0, "wait", ["dealer 5 (Eve)"]), error
    (name,) = value["new_files"]
    assert (ceremony.folder / name).read_bytes() == good
    shown = status(ceremony)
    assert (shown["aborted"], shown["verdicts"], shown["problems"]) == (False, [], [])


@pytest.mark.case("C13", "a deal of mine signed anew by my token: I am told, the others name me")
def test_an_own_deal_that_was_signed_anew(ceremony: Ceremony) -> None:
    assert cheats(ceremony, "anew", 1) == ["deal-01.json"]
    assert told(ceremony, 3)[1]["next"] == "wait"  # who has seen but one deal cannot know
    ended, value, error = told(ceremony, 1)
    assert (ended, value["error"]["code"]) == (1, "E_DEAL_CHANGED")
    assert error.startswith("E_DEAL_CHANGED: two different deals of yours are there"), error
    assert "somebody uses your token" in error
    everybody_names(ceremony, "dealer 1 (Ada)", "E_DEAL_EQUIVOCATION", holders=(3,))


@pytest.mark.case("C25", "a token whose random source is dead: it gives zeros, again and again")
def test_a_dead_random_source(ceremony: Ceremony, tmp_path: Path) -> None:
    eve = ceremony.pool.holders[4]
    before = {path.name for path in ceremony.folder.iterdir()}
    hostile = HostileToken.in_front_of(eve.token, tmp_path / "hostile")
    hostile.truncate("C_GenerateRandom", 0)
    ended, value, error = told(ceremony, 5, "--module", hostile.module)
    assert (ended, value["error"]["code"]) == (7, "E_TOKEN")
    assert "gave the same random bytes twice" in error
    assert {path.name for path in ceremony.folder.iterdir()} == before
    assert not list(ceremony.state(eve).glob("ceremony-*/dealt.json"))
    hostile.calm()
    ended, value, error = told(ceremony, 5, "--module", hostile.module)
    assert (ended, value["done"]) == (0, "deal"), error

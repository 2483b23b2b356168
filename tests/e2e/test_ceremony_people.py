"""Mistakes of honest people in a ceremony: each is told at once, and nothing is lost."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import SignerError
from signer.hsm.profile import load_profile
from signer.testing.ceremony import Ceremony
from signer.testing.pool import TEST_MNEMONIC, Holder
from signer.testing.softhsm import SoftHSM
from tests.simulators.gathered import copied, gathered, status, told

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]
EVE = 5  # has joined and not dealt


@pytest.fixture(scope="module")
def begun(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return gathered(tmp_path_factory.mktemp("people") / "p")


@pytest.fixture
def ceremony(begun: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    with copied(begun, tmp_path / "p") as made:
        yield made


def join(
    ceremony: Ceremony, holder: Holder, *, card: Path | None = None, folder: Path | None = None,
    fingerprint: str | None = None,
) -> str:  # fmt: skip
    """Run `join`, expect it to fail, and return its error."""
    there = folder or ceremony.folder
    done = ceremony.pool.run(
        "ceremony", "join", there, "--state", holder.folder / "new-state",
        "--card", card or ceremony.card_of(holder),
        "--fingerprint", fingerprint or ceremony.fingerprint, holder=holder, expect=None,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list((holder.folder / "new-state").glob("ceremony-*/joined.json"))
    return done.stderr


def unchanged(ceremony: Ceremony, holder: int) -> None:
    """Expect that the holder has dealt nothing."""
    who = ceremony.pool.holders[holder - 1]
    assert not list(ceremony.state(who).glob("ceremony-*/dealt.json"))
    assert not (ceremony.folder / f"deal-{holder:02}.json").exists()


@pytest.mark.case(
    "P12", "a holder is shown another roster than the others: the fingerprint differs"
)
def test_a_roster_swapped_for_one_holder(ceremony: Ceremony, tmp_path: Path) -> None:
    eve = ceremony.pool.holders[EVE - 1]
    other = Ceremony(ceremony.pool, tmp_path / "swapped", ceremony.people, ceremony.cards)
    other.new("dkg", ceremony.pool.holders, 2, "--network", "mainnet", "--name", "stakers")
    assert other.fingerprint != ceremony.fingerprint
    error = join(ceremony, eve, folder=other.folder, fingerprint=ceremony.fingerprint)
    assert "E_CONFIRM" in error
    assert "not this ceremony's fingerprint" in error
    # Swapped after he joined: his state folder knows nothing of that ceremony.
    shutil.copy(other.folder / "roster.json", ceremony.folder / "roster.json")
    ended, _, error = told(ceremony, EVE)
    assert ended == 1
    assert "E_CEREMONY_STATE" in error


@pytest.mark.case(
    "P6", "joining twice, with another holder's card, with an old card, with a stranger's"
)
def test_joining_as_somebody_else(ceremony: Ceremony) -> None:
    eve, ada = ceremony.pool.holders[EVE - 1], ceremony.pool.holders[0]
    again = ceremony.pool.run(
        "ceremony", "join", ceremony.folder, "--state", ceremony.state(eve),
        "--card", ceremony.card_of(eve), "--fingerprint", ceremony.fingerprint,
        holder=eve, expect=None,
    )  # fmt: skip
    assert again.returncode == 1
    assert "E_CEREMONY_STATE" in again.stderr
    assert "joined before" in again.stderr
    error = join(ceremony, eve, card=eve.card)  # of setup, not the one that was made for this
    assert "E_ROSTER" in error
    assert "another card of Eve" in error

    joined = ceremony.pool.run(
        "ceremony", "join", ceremony.folder, "--state", eve.folder / "as-ada",
        "--card", ceremony.card_of(ada), "--fingerprint", ceremony.fingerprint, holder=eve,
    )  # fmt: skip
    assert "as member 1" in joined.stdout
    done = ceremony.pool.run(
        "ceremony", "next", ceremony.folder, "--state", eve.folder / "as-ada",
        *eve.token_options, holder=eve, expect=None,
    )  # fmt: skip
    assert done.returncode == 1
    assert "E_CEREMONY_STATE" in done.stderr  # Ada's deal is there already


@pytest.mark.case("T4", "next with another holder's token, and with none")
def test_the_wrong_token_and_none(ceremony: Ceremony) -> None:
    eve, ada = ceremony.pool.holders[EVE - 1], ceremony.pool.holders[0]
    done = ceremony.pool.run(
        "ceremony", "next", ceremony.folder, "--state", ceremony.state(eve),
        *ada.token_options, holder=ada, expect=None,
    )  # fmt: skip
    assert done.returncode == 7
    assert "E_TOKEN_KEY" in done.stderr
    assert "no PIN was tried" in done.stderr
    assert "no receiving key of the card or envelope that this is about" in done.stderr
    ended, _, error = told(ceremony, EVE, "--token", "no such token")
    assert ended == 7
    assert "E_TOKEN_ABSENT" in error
    done = ceremony.pool.run("ceremony", "next", ceremony.folder, "--state", ceremony.state(eve),
                             holder=eve, expect=None)  # fmt: skip
    assert done.returncode == 2
    assert "needs your token" in done.stderr
    unchanged(ceremony, EVE)


@pytest.mark.case("T1", "next with a wrong PIN")
def test_a_wrong_pin(ceremony: Ceremony) -> None:
    eve = ceremony.pool.holders[EVE - 1]
    good = eve.token.pin_file.read_text()
    eve.token.pin_file.write_text("not-the-pin\n")
    ended, _, error = told(ceremony, EVE)
    assert ended == 7
    assert "E_PIN" in error
    assert "not-the-pin" not in error
    unchanged(ceremony, EVE)
    eve.token.pin_file.write_text(good)
    assert told(ceremony, EVE)[1]["done"] == "deal"


@pytest.mark.case("C17", "next twice, one after the other: the second one changes no byte")
def test_next_twice(ceremony: Ceremony) -> None:
    first = told(ceremony, 1)[1]
    assert (first["next"], first["new_files"]) == ("wait", [])
    assert first["waits_for"] == ["dealer 5 (Eve)"]
    before = {path.name: path.read_bytes() for path in ceremony.folder.iterdir()}
    deal = ceremony.folder / "deal-01.json"
    deal.unlink()
    assert told(ceremony, 1)[1]["new_files"] == ["deal-01.json"]
    assert {path.name: path.read_bytes() for path in ceremony.folder.iterdir()} == before
    deal.write_bytes(b"{}")  # somebody wrote over it
    (second,) = told(ceremony, 1)[1]["new_files"]
    assert (ceremony.folder / second).read_bytes() == before["deal-01.json"]


@pytest.mark.case("C17", "next by two processes at once: one deals, nobody deals twice")
def test_next_by_two_processes(ceremony: Ceremony) -> None:
    eve = ceremony.pool.holders[EVE - 1]
    command = [sys.executable, "-m", "signer", "ceremony", "next", str(ceremony.folder), "--state",
               str(ceremony.state(eve)), *eve.token_options, "--json"]  # fmt: skip
    running = [
        subprocess.Popen(command, env=eve.token.environment, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        for _ in range(3)
    ]  # fmt: skip
    ends = [(*process.communicate(timeout=60), process.returncode) for process in running]
    done = [json.loads(out)["done"] for out, _, ended in ends if ended == 0]
    assert done.count("deal") == 1, ends
    assert all("E_CEREMONY_STATE" in error for _, error, ended in ends if ended != 0)
    assert [path.name for path in ceremony.folder.glob("deal-05*")] == ["deal-05.json"]
    assert not status(ceremony)["aborted"]


@pytest.mark.case("P10", "next when the ceremony's time is over")
def test_a_ceremony_that_is_late(ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    eve, ada = ceremony.pool.holders[EVE - 1], ceremony.pool.holders[0]
    late = time.time() + 15 * 86400
    monkeypatch.setattr("time.time", lambda: late)
    said = {"nothing was dealt": eve, "dealer 5 (Eve) never came": ada}
    for words, holder in said.items():
        monkeypatch.setenv("SOFTHSM2_CONF", str(holder.token.config))
        command = ["ceremony", "next", ceremony.folder, "--state", ceremony.state(holder),
                   *holder.token_options]  # fmt: skip
        done = CliRunner().invoke(cli, list(map(str, command)), obj=Printer())
        assert isinstance(done.exception, SignerError)
        assert done.exception.code == "E_ABORTED"
        assert words in done.exception.message
    unchanged(ceremony, EVE)
    new = ["ceremony", "join", ceremony.folder, "--state", eve.folder / "late", "--card",
           ceremony.card_of(eve), "--fingerprint", "x"]  # fmt: skip
    done = CliRunner().invoke(cli, list(map(str, new)), obj=Printer())
    assert isinstance(done.exception, SignerError)
    assert done.exception.code == "E_CEREMONY_EXPIRED"


@pytest.mark.case("C17", "a state folder that is lost, joined anew: nobody deals a second time")
def test_a_lost_state_folder(ceremony: Ceremony) -> None:
    ada = ceremony.pool.holders[0]
    shutil.rmtree(ceremony.state(ada))
    ended, _, error = told(ceremony, 1)
    assert ended == 1
    assert "E_CEREMONY_STATE" in error
    ceremony.join(ada)
    ended, _, error = told(ceremony, 1)
    assert ended == 1
    assert "E_CEREMONY_STATE" in error
    assert "never deal twice" in error


@pytest.mark.case("X721", "a kind of token that lacks what a ceremony needs")
def test_a_token_without_raw_keys(ceremony: Ceremony, tmp_path: Path) -> None:
    profile = tmp_path / "no-ceremony.yaml"
    value = load_profile("softhsm2").to_json() | {"ceremony": False, "name": "no-ceremony"}
    profile.write_text(json.dumps(value))
    eve = ceremony.pool.holders[EVE - 1]
    card = ceremony.pool.run(
        "token", "card", *eve.token_options, "--profile", profile, "--fresh-key", "--name", "Eve",
        "--out", tmp_path / "card.json", holder=eve, expect=None,
    )  # fmt: skip
    ended, _, error = told(ceremony, EVE, "--profile", profile)
    assert (card.returncode, ended) == (1, 1)
    for text in (card.stderr, error):
        assert "E_PROFILE" in text
        assert "cannot take part in a ceremony" in text
    assert not (tmp_path / "card.json").exists()
    unchanged(ceremony, EVE)


@pytest.mark.case("P14", "split by a dealer who has another key than the roster's")
def test_a_dealer_with_another_key(ceremony: Ceremony, tmp_path: Path) -> None:
    pool = ceremony.pool
    words = tmp_path / "mnemonic"
    words.touch(mode=0o600)
    words.write_text(TEST_MNEMONIC + "\n")
    eve, members = pool.holders[EVE - 1], pool.holders[:2]
    key = "99b1f1d84d76185466d86c34bde1101316afddae76217aa86cd066979b19858c2c9d9e56eebc1e067ac54277a61790db"  # noqa: E501
    split = Ceremony(pool, tmp_path / "split", [eve, *members])
    split.new("split", members, 2, "--network", "mainnet", "--name", "stakers",
              "--dealer-card", eve.card, "--public-key", key)  # fmt: skip
    split.join(eve, eve.card)
    ended, _, error = told(split, EVE, "--mnemonic-file", words, "--key-index", "1")
    assert ended == 1
    assert "another key than the one that the roster names" in error
    assert TEST_MNEMONIC.split()[0] not in error
    assert not list(split.folder.glob("deal-*"))
    ended, _, error = told(split, EVE)
    assert ended == 2
    assert "needs the key" in error
    ended, value, _ = told(split, EVE, "--mnemonic-file", words)
    assert (ended, value["done"]) == (0, "deal")
    assert split.folder.joinpath("deal-00.json").exists()


@pytest.mark.case("T4", "a token that was replaced by an empty one of the same label")
def test_a_token_that_was_replaced(ceremony: Ceremony, tmp_path: Path) -> None:
    eve = ceremony.pool.holders[EVE - 1]
    other = SoftHSM.create(tmp_path / "other", eve.token.label)
    done = ceremony.pool.run(
        "ceremony", "next", ceremony.folder, "--state", ceremony.state(eve), "--token",
        other.label, "--pin-file", other.pin_file,
        holder=Holder(EVE, "Eve", eve.folder, other), expect=None,
    )  # fmt: skip
    assert done.returncode == 7
    assert "E_TOKEN_KEY" in done.stderr
    unchanged(ceremony, EVE)

"""What a person at a terminal sees: prompts that show nothing, a progress line, a calm end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.testing.pool import TEST_MNEMONIC, Pool
from signer.testing.softhsm import USER_PIN
from tests.simulators.terminal import at_terminal

pytestmark = pytest.mark.softhsm


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("terminal")
    with Pool.with_tokens(folder / "p", ("Ada", "Boris")) as pool:
        pool.write_policy()
        pool.split(2)
        pool.start()
        yield pool


def test_a_pin_is_asked_for_and_not_shown(pool: Pool) -> None:
    holder = pool.holders[0]
    seen = at_terminal(
        ["token", "setup", "--token", holder.token.label],
        [("PIN of token 'holder-1'", USER_PIN + "\n")],
        holder.token.environment,
    )
    assert seen.status == 0, seen.screen
    assert "id-sign was there" in seen.stdout
    assert USER_PIN not in seen.screen


@pytest.mark.case("T1", "wrong PIN typed at the prompt")
def test_a_wrong_pin_is_not_asked_for_again(pool: Pool) -> None:
    holder = pool.holders[0]
    seen = at_terminal(
        ["token", "setup", "--token", holder.token.label],
        [("PIN of token", "90871234\n"), ("PIN of token 'again'", "unused\n")],
        holder.token.environment,
    )
    assert seen.status == 7
    assert "E_PIN_REFUSED" in seen.screen
    assert seen.screen.count("PIN of") == 1
    assert "90871234" not in seen.screen


@pytest.mark.case("T2", "an empty line, and Ctrl-D, at the PIN prompt")
@pytest.mark.parametrize("typed", ["\n", "\x04"])
def test_no_pin_typed(pool: Pool, typed: str) -> None:
    holder = pool.holders[0]
    seen = at_terminal(
        ["token", "setup", "--token", holder.token.label],
        [("PIN of token", typed)],
        holder.token.environment,
    )
    assert seen.status == 7
    assert "E_PIN" in seen.screen


@pytest.mark.case("R15", "Ctrl-C at the PIN prompt")
def test_ctrl_c_at_a_prompt_ends_calmly(pool: Pool) -> None:
    holder = pool.holders[0]
    seen = at_terminal(
        ["token", "setup", "--token", holder.token.label],
        [("PIN of token", "\x03")],
        holder.token.environment,
    )
    assert seen.status == 130
    assert "interrupted" in seen.screen
    assert "Traceback" not in seen.screen


@pytest.mark.case("X15", "Ctrl-Z and Ctrl-backslash at the PIN prompt")
@pytest.mark.parametrize("typed", ["\x1a", "\x1c"])
def test_a_prompt_is_not_left_behind_in_the_background(pool: Pool, typed: str) -> None:
    """They are characters of a wrong PIN, so nothing the shell is told next reaches the prompt."""
    holder = pool.holders[0]
    seen = at_terminal(
        ["token", "setup", "--token", holder.token.label],
        [("PIN of token", typed + "wrong\n")],
        holder.token.environment,
    )
    assert seen.status == 7
    assert "E_PIN_REFUSED" in seen.screen


def test_a_mnemonic_is_asked_for_and_not_shown(pool: Pool, tmp_path: Path) -> None:
    cards = [part for holder in pool.holders for part in ("--card", holder.card)]
    seen = at_terminal(
        ["group", "split", *cards, "--threshold", "2", "--policy", pool.policy,
         "--network", "mainnet", "--mnemonic", "--out", tmp_path / "out"],
        [("mnemonic: ", TEST_MNEMONIC + "\n")],
        pool.holders[0].token.environment,
    )  # fmt: skip
    assert seen.status == 0, seen.screen
    assert "abandon" not in seen.screen + seen.stdout
    assert (tmp_path / "out" / "group.json").exists()


def test_progress_is_drawn_and_wiped(pool: Pool, tmp_path: Path) -> None:
    request = pool.request(range(50))
    sockets = [part for holder in pool.holders for part in ("--agent", holder.socket)]
    seen = at_terminal(
        ["sign", request, "--group", pool.group, *sockets, "--out", tmp_path],
        [],
        pool.holders[0].token.environment,
    )
    assert seen.status == 0
    assert "0 of 2  holders answered, 50 items" in seen.screen
    assert "2 of 2" in seen.screen
    assert seen.screen.endswith("\r\x1b[2K")
    assert seen.stdout.startswith("signed 50 of 50 items by holders 1, 2\n")
    quiet = pool.sign(pool.request([99], name="quiet.json"), tmp_path)
    assert quiet.stderr == ""

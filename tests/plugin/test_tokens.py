"""`softhsm_tokens`: each test its own tokens and module, in no time and without root."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from signer.errors import ModuleError
from signer.hsm.discovery import list_tokens
from signer.hsm.keys import identity_key, receiving_key
from signer.hsm.module import load_module
from signer.testing import mint as mint_room
from signer.testing.mint import TokenMint
from signer.testing.provision import session_here
from signer.testing.softhsm import SoftHSM

Tokens = Callable[..., SoftHSM]
MOST_MILLISECONDS = 10  # for one token; a busy machine is granted five times as much


def shown(token: SoftHSM) -> list[tuple[str, str]]:
    """Return what SoftHSM's own tool says of the tokens there: labels and serials."""
    done = subprocess.run(
        ["softhsm2-util", "--show-slots"],
        env=token.environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = [line.strip().partition(":") for line in done.stdout.splitlines()]
    labels = [value.strip() for name, _, value in lines if name == "Label"]
    serials = [value.strip() for name, _, value in lines if name == "Serial number"]
    return [pair for pair in zip(labels, serials, strict=True) if pair[0]]


@pytest.mark.softhsm
def test_tokens_of_one_test_are_apart(softhsm_tokens: Tokens) -> None:
    ada, ben = softhsm_tokens("ada"), softhsm_tokens("ben")
    assert [[label for label, _ in shown(token)] for token in (ada, ben)] == [["ada"], ["ben"]]
    assert shown(ada)[0][1] != shown(ben)[0][1]
    assert ada.module != ben.module
    assert os.environ["SOFTHSM2_CONF"] == str(ben.config)


@pytest.mark.softhsm
def test_two_tokens_are_used_side_by_side_in_one_process(softhsm_tokens: Tokens) -> None:
    ada, ben = softhsm_tokens("ada", keys=True), softhsm_tokens("ben", keys=True)
    with session_here(ada) as one, session_here(ben) as other:
        keys = {
            key.public_point
            for session in (one, other)
            for key in (identity_key(session), receiving_key(session))
        }
    assert len(keys) == 4


@pytest.mark.softhsm
def test_a_token_without_keys_is_what_softhsm_makes(softhsm_tokens: Tokens, tmp_path: Path) -> None:
    """The copy is, file by file and byte for byte in length, what an initialisation leaves."""
    copied = softhsm_tokens("ada")
    made = SoftHSM.create(tmp_path / "made", "ada")

    def files(token: SoftHSM) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in token.tokens.glob("*/*")}

    assert files(copied) == files(made)
    with session_here(copied) as session:  # the PIN of its file is right
        assert session.token.label == "ada"


@pytest.mark.softhsm
def test_a_token_costs_under_ten_milliseconds(
    softhsm_mint: TokenMint, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    spent = []
    for number in range(20):
        start = time.perf_counter()
        softhsm_mint.token(tmp_path / str(number), f"token-{number}")
        spent.append(1000 * (time.perf_counter() - start))
    record_property("fixture_token_ms", statistics.median(spent))
    assert statistics.median(spent) < 5 * MOST_MILLISECONDS


@pytest.mark.softhsm
def test_another_layout_of_files_is_initialised_the_slow_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mint_room, "_serial_of", lambda name: b"elsewhere")
    token = TokenMint(tmp_path / "pattern").token(tmp_path / "token", "ada")
    assert [label for label, _ in shown(token)] == ["ada"]


@pytest.mark.softhsm
@pytest.mark.case("X730", "a label of a test's token that PKCS#11 has no room for")
@pytest.mark.parametrize("label", ["", "x" * 33, "é" * 17])
def test_a_label_without_room_is_refused(softhsm_tokens: Tokens, label: str) -> None:
    with pytest.raises(ValueError, match="1 to 32 bytes"):
        softhsm_tokens(label)


@pytest.mark.softhsm
def test_a_label_of_32_bytes_and_other_letters_stands(softhsm_tokens: Tokens) -> None:
    for label in ("y" * 32, "é" * 16):
        token = softhsm_tokens(label)
        with session_here(token) as session:
            assert session.token.label == label


@pytest.mark.softhsm
def test_the_module_is_left_as_it_was_found(softhsm_tokens: Tokens) -> None:
    """SOFTHSM2_CONF of the test is not changed by looking at another token."""
    ada = softhsm_tokens("ada", keys=True)
    softhsm_tokens("ben")
    before = os.environ["SOFTHSM2_CONF"]
    with session_here(ada):
        assert os.environ["SOFTHSM2_CONF"] == before
    with load_module(ada.module) as module:  # now as the environment says
        assert [token.label for token in list_tokens(module) if token.initialized] == ["ben"]


@pytest.mark.case("X731", "the fixtures on a machine without SoftHSM")
def test_without_softhsm_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModuleError) as failed:
        TokenMint(tmp_path / "pattern")
    assert "apt-get install softhsm2" in failed.value.line()


def test_the_plugin_loads_nothing_before_a_fixture_is_used() -> None:
    """Everybody who installs this has it in each of his test runs."""
    code = (
        "import sys, signer.testing.plugin; "
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('pkcs11', 'ckzg', 'aiohttp', 'yaml') or name.startswith('signer.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['signer.testing', 'signer.testing.plugin']"

"""A validator key among holders: its exit and deposit are what the deposit tool writes."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.testing.pool import TEST_MNEMONIC, Pool, summary

FOLDER = "deposit-cli/ethstaker-1.2.2/mainnet"


@pytest.fixture(scope="module")
def validators(
    softhsm_here: None,
    tmp_path_factory: pytest.TempPathFactory,
    vectors: Callable[[str], Any],
) -> Iterator[Pool]:
    """Yield a running pool of two that holds the first validator key of the test mnemonic."""
    deposit = vectors(f"{FOLDER}/deposit_data.json")[0]
    with Pool.with_tokens(tmp_path_factory.mktemp("v") / "p", ["Ada", "Ben"]) as pool:
        pool.policy.write_text(
            "version: 2\nexits: allowed\napproval: never\ndeposits:\n  credentials:\n"
            f'    - credentials: "0x{deposit["withdrawal_credentials"]}"\n      label: ours\n'
        )
        words = pool.folder / "mnemonic"
        words.touch(mode=0o600)
        words.write_text(TEST_MNEMONIC + "\n")
        pool.split(2, network=("--network", "mainnet", "--role", "validator"))
        pool.start()
        yield pool


def signed(pool: Pool, folder: Path, *options: str) -> Any:
    """Make a request, have it signed, and return what was written."""
    request = folder / "request.json"
    pool.run("request", "new", "--group", pool.group, *options, "--out", request)
    done = pool.sign(request, folder / "out")
    return json.loads(Path(summary(done)["file"]).read_text())


def test_an_exit_is_byte_for_byte_the_tools(
    validators: Pool, tmp_path: Path, vectors: Callable[[str], Any]
) -> None:
    written = signed(validators, tmp_path, "--kind", "voluntary_exit", "--validator", "1234567",
                     "--epoch", "300000")  # fmt: skip
    assert written == vectors(f"{FOLDER}/signed_exit_transaction-1234567.json")


def test_a_deposit_is_what_the_tool_writes(
    validators: Pool, tmp_path: Path, vectors: Callable[[str], Any]
) -> None:
    theirs = vectors(f"{FOLDER}/deposit_data.json")[0]
    credentials = "0x" + theirs["withdrawal_credentials"]
    (ours,) = signed(validators, tmp_path, "--kind", "deposit", "--credentials", credentials,
                     "--amount", str(theirs["amount"] // 10**9))  # fmt: skip
    for name in ("pubkey", "withdrawal_credentials", "amount", "signature",
                 "deposit_message_root", "deposit_data_root", "fork_version"):  # fmt: skip
        assert ours[name] == theirs[name], name


@pytest.mark.case("R8", "deposit under credentials that the policy does not list")
def test_other_credentials_are_denied(validators: Pool, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    credentials = "0x01" + "00" * 11 + "11" * 20
    validators.run("request", "new", "--group", validators.group, "--kind", "deposit",
                   "--credentials", credentials, "--amount", "32", "--out", request)  # fmt: skip
    done = validators.sign(request, tmp_path / "out", expect=None)
    assert done.returncode == 3  # one denial of two is too many
    assert "E_TARGET" in done.stderr
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.case("F23", "keystore of a signing key for a withdrawal group, and the other way")
def test_a_keystores_path_must_fit_the_role(pool: Pool, tmp_path: Path) -> None:
    exits = tmp_path / "exits.yaml"
    exits.write_text("version: 2\nexits: allowed\n")
    for role, path, policy in (
        ("withdrawal", "m/12381/3600/0/0/0", pool.policy),
        ("validator", "m/12381/3600/0/0", exits),
    ):
        keystore = tmp_path / f"{role}.json"
        value = {
            "crypto": {
                "kdf": {"function": "pbkdf2", "message": "", "params": {
                    "dklen": 32, "c": 262144, "prf": "hmac-sha256", "salt": "00" * 32}},
                "checksum": {"function": "sha256", "params": {}, "message": "00" * 32},
                "cipher": {"function": "aes-128-ctr", "params": {"iv": "00" * 16},
                           "message": "00" * 32},
            },
            "description": "", "path": path, "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
            "pubkey": "b3" + "84" * 47, "version": 4,
        }  # fmt: skip
        keystore.write_text(json.dumps(value))
        password = tmp_path / "password"
        password.touch(mode=0o600)
        password.write_text("any")
        cards = [part for holder in pool.holders for part in ("--card", holder.card)]
        done = pool.run("group", "split", *cards, "--threshold", "3", "--policy", policy,
                        "--network", "mainnet", "--role", role, "--keystore", keystore,
                        "--password-file", password, "--out", tmp_path / f"out-{role}",
                        "--json", expect=1)  # fmt: skip
        assert summary(done)["error"]["code"] == "E_KEY_PATH"
        assert not os.path.lexists(tmp_path / f"out-{role}")

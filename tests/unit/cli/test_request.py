"""`signer request new` and `show`, on files alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import SignerError
from signer.messages.items import Change, Deposit, Exit
from signer.messages.request import SignRequest
from signer.messages.witness import witnesses_to_bytes
from tests.simulators.holders import ADDRESS, OTHER, SimulatedPool

POOL = SimulatedPool.new()
VALIDATORS = SimulatedPool.new(role="validator")
CREDENTIALS = "0x01" + "00" * 11 + ADDRESS.hex()
EXIT = ("--kind", "voluntary_exit", "--validator", "1234567", "--epoch", "300000")
DEPOSIT = ("--kind", "deposit", "--credentials", CREDENTIALS, "--amount", "32")


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, ["request", *map(str, arguments)], obj=Printer())
    if isinstance(done.exception, SignerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def new(folder: Path, pool: SimulatedPool, *options: str | Path) -> SignRequest:
    """Make a request for the group of `pool` and read it back."""
    group, out = folder / "group.json", folder / "request.json"
    group.write_bytes(pool.group.to_bytes())
    run("new", "--group", group, "--out", out, *options)
    return SignRequest.parse(out.read_bytes())


def change(folder: Path, text: str = "3\n5\n") -> tuple[str | Path, ...]:
    listed = folder / "validators.txt"
    listed.write_text(text)
    return ("--to", str(ADDRESS), "--validators", listed)


@pytest.mark.case("X708", "output path with a newline and an escape in it")
def test_a_path_does_not_steer_the_terminal(tmp_path: Path) -> None:
    group, out = tmp_path / "group.json", tmp_path / "a\nb\x1b[2J"
    group.write_bytes(POOL.group.to_bytes())
    said = run("new", "--group", group, "--out", out, *change(tmp_path))
    assert "written to " in said.splitlines()[0]
    assert said.splitlines()[0].endswith("a\\nb\\x1b[2J")
    assert len(said.splitlines()) == 2
    assert out.exists()


def test_each_kind_is_made_of_its_options(tmp_path: Path) -> None:
    made = new(tmp_path, POOL, *change(tmp_path))
    assert made.items == (Change(3, ADDRESS), Change(5, ADDRESS))
    for place, (options, items) in enumerate(
        [
            (EXIT, (Exit(1234567, 300_000),)),
            (DEPOSIT, (Deposit(bytes.fromhex(CREDENTIALS[2:]), 32 * 10**9),)),
            (
                (*DEPOSIT, "--amount", "1.000000001"),
                tuple(
                    Deposit(bytes.fromhex(CREDENTIALS[2:]), amount)
                    for amount in (32 * 10**9, 1_000_000_001)
                ),
            ),
        ]
    ):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert new(folder, VALIDATORS, *options).items == items


@pytest.mark.case("R8", "exit or deposit asked of a withdrawal key, a change of a validator key")
@pytest.mark.parametrize("options", [EXIT, DEPOSIT])
def test_a_key_of_another_role_is_not_asked(tmp_path: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(SignerError) as caught:
        new(tmp_path, POOL, *options)
    assert (caught.value.code, caught.value.exit_status) == ("E_ROLE", 3)
    with pytest.raises(SignerError) as caught:
        new(tmp_path, VALIDATORS, *change(tmp_path))
    assert caught.value.code == "E_ROLE"
    assert not (tmp_path / "request.json").exists()


@pytest.mark.case("X364", "request new with an option missing, or with another kind's")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (EXIT[:4], "needs --epoch"),
        ((*EXIT[:2], *EXIT[4:]), "needs --validator"),
        (DEPOSIT[:4], "needs --amount"),
        ((*DEPOSIT[:2], *DEPOSIT[4:]), "needs --credentials"),
        ((*EXIT, "--amount", "32"), "--amount is not for voluntary_exit"),
        ((*DEPOSIT, "--to", str(ADDRESS)), "--to is not for deposit"),
        ((*DEPOSIT, "--validator", "0"), "--validator is not for deposit"),
    ],
)
def test_options_are_of_the_kind(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    with pytest.raises(SignerError, match=named) as caught:
        new(tmp_path, VALIDATORS, *options)
    assert caught.value.exit_status == 2


@pytest.mark.case("X360", "deposit or exit out of range on the command line")
@pytest.mark.parametrize(
    "options",
    [
        (*DEPOSIT[:5], "0.999999999"),
        (*DEPOSIT[:5], "2048.000000001"),
        (*DEPOSIT[:5], "32.0000000001"),
        (*DEPOSIT[:5], "3.2e1"),
        (*DEPOSIT[:5], "-32"),
        (*DEPOSIT[:5], "32 ETH"),
        (*DEPOSIT[:3], CREDENTIALS[2:], *DEPOSIT[4:]),
        (*DEPOSIT[:3], CREDENTIALS + "00", *DEPOSIT[4:]),
        (*DEPOSIT[:3], "0x03" + CREDENTIALS[4:], *DEPOSIT[4:]),
        (*DEPOSIT[:3], "0x01" + "00" * 31, *DEPOSIT[4:]),
        (*EXIT[:5], str(2**40)),
        (*EXIT[:5], str(2**64)),
        (*EXIT[:5], "-1"),
        (*EXIT[:3], str(2**40), *EXIT[4:]),
        (*EXIT[:3], "-1", *EXIT[4:]),
    ],
)
def test_values_out_of_range_make_no_request(tmp_path: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(SignerError) as caught:
        new(tmp_path, VALIDATORS, *options)
    assert caught.value.exit_status == 1
    assert not (tmp_path / "request.json").exists()


def test_witnesses_are_carried(tmp_path: Path) -> None:
    said = POOL.witness(1), POOL.witness(2)
    for number, witness in enumerate(said):
        (tmp_path / f"w{number}").write_bytes(witnesses_to_bytes([witness]))
    made = new(
        tmp_path,
        POOL,
        *change(tmp_path),
        "--witness",
        tmp_path / "w0",
        "--witness",
        tmp_path / "w1",
    )
    assert made.witnesses == said


@pytest.mark.case("X362", "request new with a witness file that is none")
def test_a_witness_file_is_one(tmp_path: Path) -> None:
    bad = tmp_path / "w"
    for raw in (b"", b"[]", b"{}", POOL.group.to_bytes()):
        bad.write_bytes(raw)
        with pytest.raises(SignerError) as caught:
            new(tmp_path, POOL, *change(tmp_path), "--witness", bad)
        assert caught.value.code == "E_SCHEMA"


def shown(folder: Path, *options: str | Path) -> Any:
    return json.loads(run("show", folder / "request.json", *options, "--json"))


def test_show_says_what_the_policy_would_deny(tmp_path: Path) -> None:
    new(tmp_path, POOL, *change(tmp_path))
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"version: 2\naddresses: [{{address: {ADDRESS}, label: treasury}}]\n")
    assert shown(tmp_path, "--policy", policy)["denied"] == []
    assert "treasury" in run("show", tmp_path / "request.json", "--policy", policy)
    policy.write_text(f"version: 2\naddresses: [{{address: {OTHER}, label: cold}}]\n")
    denied = shown(tmp_path, "--policy", policy)["denied"]
    assert [(entry["item"], entry["code"]) for entry in denied] == [
        (0, "E_TARGET"), (1, "E_TARGET"),
    ]  # fmt: skip
    assert "NOT SIGNED" in run("show", tmp_path / "request.json", "--policy", policy)
    assert "denied" not in shown(tmp_path)
    assert len(shown(tmp_path)["words"].split()) == 12

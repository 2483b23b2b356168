"""A kind of token that can prove nothing of its keys: every command that shows it says so."""

import json
from pathlib import Path

import pytest

from signer.hsm.profile import load_profile
from signer.messages.card import UNPROVEN, Card
from signer.testing.pool import Holder, Pool, summary

pytestmark = pytest.mark.softhsm


@pytest.fixture
def doubted(tmp_path: Path) -> Path:
    """Return a profile of SoftHSM as if it could not be believed."""
    path = tmp_path / "doubted.yaml"
    value = load_profile("softhsm2").to_json()
    changes = {"name": "doubted", "provenance": "unproven", "ceremony": False}
    path.write_text(json.dumps(value | changes))
    return path


def said(pool: Pool, holder: Holder, *arguments: str | Path) -> str:
    return pool.run(*arguments, holder=holder).stdout


@pytest.mark.case("X875", "token that can prove nothing: shown as UNPROVEN wherever it is shown")
def test_it_is_told_everywhere(pool: Pool, doubted: Path, tmp_path: Path) -> None:
    ada, ben = pool.holders[0], pool.holders[1]
    of_ada: list[str | Path] = [*ada.token_options, "--profile", doubted]

    assert UNPROVEN in said(pool, ada, "token", "setup", *of_ada)
    assert summary(pool.run("token", "setup", *of_ada, "--json", holder=ada))["proven"] is False
    assert "doubted UNPROVEN" in said(pool, ada, "token", "list", "--profile", doubted)
    rows = summary(pool.run("token", "list", "--profile", doubted, "--json", holder=ada))["tokens"]
    assert {row["proven"] for row in rows} == {False}

    path = tmp_path / "ada.json"
    assert UNPROVEN in said(pool, ada, "token", "card", *of_ada, "--name", "Ada", "--out", path)
    card = Card.parse_file(path.read_bytes(), "card")
    assert not card.body.proven
    assert b'"keys":null' in card.signed.payload

    group = tmp_path / "group"
    shown = said(pool, ada, "group", "split", "--card", path, "--card", ben.card,
                 "--threshold", "2", "--policy", pool.policy, "--network", "mainnet",
                 "--mnemonic-file", pool.folder / "mnemonic", "--out", group)  # fmt: skip
    assert [line.count(UNPROVEN) for line in shown.splitlines() if line.startswith("for ")] == [
        1,
        0,
    ]
    shown = said(pool, ada, "group", "show", group / "group.json")
    assert [line.split()[1] for line in shown.splitlines() if "UNPROVEN" in line] == ["Ada"]

    paper: list[str | Path] = [
        "--group",
        group / "group.json",
        "--envelope",
        group / "share-1.envelope.json",
    ]
    assert UNPROVEN in said(pool, ada, "share", "verify", *paper, *of_ada)
    proof = summary(pool.run("share", "verify", *paper, *of_ada, "--json", holder=ada))
    assert (proof["verified"], proof["proven"]) == (True, False)

    token = f'{{profile: "{doubted}", label: {ada.token.label}}}'
    ada.envelope.write_bytes((group / "share-1.envelope.json").read_bytes())
    with pool:
        pool.start_agent(ada, token=token, group=f'"{group / "group.json"}"')
        assert UNPROVEN in said(pool, ada, "agent", "status", ada.socket)
        status = summary(pool.run("agent", "status", ada.socket, "--json", holder=ada))
        assert status["token"]["provenance"] == "unproven"
        config = ada.folder / "agent.yaml"
        found = pool.run("doctor", "--config", config, holder=ada, expect=None).stdout
        assert UNPROVEN in found


def test_of_another_token_nothing_is_said(pool: Pool) -> None:
    ada = pool.holders[0]
    commands: list[list[str | Path]] = [
        ["token", "setup", *ada.token_options],
        ["token", "list"],
        ["group", "show", pool.group],
        ["share", "verify", "--group", pool.group, "--envelope", ada.envelope, *ada.token_options],
    ]
    for arguments in commands:
        assert "UNPROVEN" not in said(pool, ada, *arguments)


@pytest.mark.case("X876", "card of a spare that can prove nothing: then the whole card claims none")
def test_a_card_claims_what_its_weaker_token_can(pool: Pool, doubted: Path, tmp_path: Path) -> None:
    ada, ben = pool.holders[0], pool.holders[1]
    spare = tmp_path / "spare.json"
    pool.run("token", "card", *ben.token_options, "--profile", doubted, "--name", "Ada",
             "--out", spare, holder=ben)  # fmt: skip
    both = tmp_path / "both.json"
    shown = said(pool, ada, "token", "card", *ada.token_options, "--name", "Ada",
                 "--spare-card", spare, "--out", both)  # fmt: skip
    assert UNPROVEN in shown
    assert not Card.parse_file(both.read_bytes(), "card").body.proven

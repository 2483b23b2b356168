"""A lost token's share repaired, and a lost disk's recovered, with real tokens and commands."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.custody.desk import read_group
from signer.sealing.envelope import Envelope
from signer.testing.ceremony import Ceremony
from signer.testing.pool import TEST_ADDRESS, Holder, Pool, summary

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def made(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Yield a pool of three whose key was generated together, 2 of 3, and a fourth token."""
    folder = tmp_path_factory.mktemp("repair")
    with Pool.with_tokens(folder / "p", ["Ada", "Ben", "Cy", "Cy again"]) as pool:
        pool.write_policy([TEST_ADDRESS])
        members = pool.holders[:3]
        ceremony = Ceremony(pool, folder / "dkg", members)
        ceremony.new("dkg", members, 2, "--name", "test pool", "--network", "mainnet")
        for holder in members:
            ceremony.join(holder)
        ceremony.run()
        group = ceremony.activate(members)
        pool.group.parent.mkdir()
        pool.group.write_bytes(group.read_bytes())
        shutil.copy(ceremony.folder / "group-pending.json", pool.group.parent / "pending.json")
        for name in ("certificate.json", "ack-01.json"):
            shutil.copy(ceremony.folder / name, folder / name)
        yield pool


def code(pool: Pool, *arguments: str | Path, holder: Holder, expect: int) -> str:
    return str(
        pool.run(*arguments, holder=holder, expect=expect).stderr.splitlines()[-1].split(":")[0]
    )


def agent(pool: Pool, holder: Holder, group: Path) -> None:
    uid = os.geteuid()
    pool.start_agent(
        holder, group=f'"{group}"', peers=f"{{status: [{uid}], sign: [{uid}], drill: [{uid}]}}"
    )


def kinds(holder: Holder) -> list[str]:
    return [json.loads(line)["type"] for line in holder.journal.read_text().splitlines()]


def test_a_share_whose_disk_is_lost_comes_back(made: Pool, tmp_path: Path) -> None:
    ada, ben = made.holders[:2]
    there = made.group.parent.parent.parent
    again = tmp_path / "again.json"
    recover: list[str | Path] = ["share", "recover", *ada.token_options]
    certificate: list[str | Path] = ["--certificate", there / "certificate.json"]
    done = made.run(*recover, *certificate, "--out", again, "--json", holder=ada)
    assert summary(done) == {"index": 1, "epoch": 1, "recovered": True, "envelope": str(again)}
    made.run("share", "verify", "--group", made.group, "--envelope", again, *ada.token_options,
             holder=ada)  # fmt: skip
    assert Envelope.parse(again.read_bytes()).binding.recovered
    copied = tmp_path / "copied.json"
    made.run(*recover, "--ack", there / "ack-01.json", "--group", made.group, "--out", copied,
             holder=ada)  # fmt: skip
    assert Envelope.parse(copied.read_bytes()).binding.recovered
    made.run("share", "verify", "--group", made.group, "--envelope", copied, *ada.token_options,
             holder=ada)  # fmt: skip

    before = again.read_bytes()
    assert code(made, *recover, *certificate, "--out", again, holder=ada, expect=1) == "E_OUTPUT"
    assert again.read_bytes() == before
    elsewhere: list[str | Path] = ["--out", tmp_path / "none.json"]
    assert code(made, *recover, *elsewhere, holder=ada, expect=2) == "E_USAGE"
    ack: list[str | Path] = ["--ack", there / "ack-01.json", "--group", made.group]
    other: list[str | Path] = ["share", "recover", *ben.token_options, *ack, *elsewhere]
    assert code(made, *other, holder=ben, expect=7) == "E_TOKEN_KEY"  # no PIN was tried
    assert not (tmp_path / "none.json").exists()


@pytest.mark.case(
    "C22", "repair of a share of a group on tokens: own live one, index 4, no helpers"
)
def test_a_destroyed_token_s_share_is_repaired_and_signs(made: Pool, tmp_path: Path) -> None:
    ada, ben, cy, again = made.holders
    for holder in (ada, ben):
        agent(made, holder, made.group)
    made.sign(made.request([7], name="seven.json"), tmp_path / "seven",
              agents=[ada.socket, ben.socket])  # fmt: skip
    shutil.rmtree(cy.token.folder)

    repair = Ceremony(made, tmp_path / "repair", [ada, ben, again])
    new: list[str | Path] = ["ceremony", "new", "repair", "--previous", made.group]
    card: list[str | Path] = ["--card", again.card, "--out", repair.folder]
    for terms, ended, why in (
        (["--lost", "4", "--helper", "1", "--helper", "2"], 2, "E_USAGE"),
        (["--lost", "2", "--helper", "1", "--helper", "2"], 1, "E_ROSTER"),
        (["--lost", "3", "--helper", "1"], 1, "E_ROSTER"),
        (["--lost", "3", "--helper", "1", "--helper", "1"], 2, "E_USAGE"),
    ):
        assert code(made, *new, *terms, *card, holder=ada, expect=ended) == why
        assert not repair.folder.exists()
    made.run(*new, "--lost", "3", "--helper", "1", "--helper", "2", *card)
    repair.cards = {
        1: ada.folder / "card-dkg.json", 2: ben.folder / "card-dkg.json", 4: again.card,
    }  # fmt: skip
    repair.options = {1: ["--envelope", ada.envelope], 2: ["--envelope", ben.envelope]}
    joined: list[str | Path] = [
        "ceremony",
        "join",
        repair.folder,
        "--state",
        tmp_path / "s",
        "--card",
        again.card,
        "--fingerprint",
        repair.fingerprint,
    ]
    assert code(made, *joined, holder=again, expect=2) == "E_USAGE"  # which group file?
    older = tmp_path / "older.json"
    older.write_bytes((made.group.parent / "pending.json").read_bytes())
    assert code(made, *joined, "--group", older, holder=again, expect=1) == "E_ROSTER"
    for holder in repair.people:
        repair.join(holder, group=made.group)
    assert repair.next(again)["next"] == "wait"
    repair.run("done")
    verified = summary(made.run("ceremony", "verify", repair.folder, "--json"))
    assert (verified["verified"], verified["lost"], verified["helpers"]) == (True, 3, [1, 2])
    assert "share" in made.run("ceremony", "verify", repair.folder).stdout
    group = repair.folder / "group-repaired.json"
    assert read_group(group).card_of(3).body.name == "Cy again"
    (repair.folder / "sigma-01-late.json").write_bytes(b"{}")  # undoes nothing
    assert "not used: sigma-01-late.json" in made.run("ceremony", "verify", repair.folder).stdout
    assert repair.next(ada)["next"] == "done"
    assert [path.name for path in repair.state(ada).glob("replacement-*-1-1.json")]
    assert "Cy again" in made.run("group", "show", group).stdout

    again.envelope.write_bytes(repair.envelope(again).read_bytes())
    assert Envelope.parse(again.envelope.read_bytes()).binding.recovered
    made.run("share", "verify", "--group", group, "--envelope", again.envelope,
             *again.token_options, holder=again)  # fmt: skip
    for holder in (ada, ben):
        made.stop_agent(holder)
        agent(made, holder, group)
    agent(made, again, group)
    made.group.unlink()
    made.group.write_bytes(group.read_bytes())
    eight, pair = made.request([8], name="eight.json"), [ada.socket, again.socket]
    refused = made.sign(eight, tmp_path / "early", agents=pair, expect=None)
    assert refused.returncode
    assert "E_JOURNAL_EMPTY" in refused.stdout + refused.stderr
    made.stop_agent(again)
    statements = []
    for holder in (ada, ben):
        statements.append(tmp_path / f"bindings-{holder.index}.json")
        made.run("journal", "export", holder.journal.parent, "--bindings", *holder.token_options,
                 "--out", statements[-1], holder=holder)  # fmt: skip
    made.run("journal", "import", "--bindings", "--config", again.folder / "agent.yaml",
             *statements)  # fmt: skip
    agent(made, again, group)
    done = made.sign(eight, tmp_path / "eight", agents=pair)
    assert summary(done)["signers"] == [1, 3]
    assert "IMPORTED" in kinds(again)

"""Spares and drills with real commands, agents and tokens."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from signer.custody.desk import read_group
from signer.custody.jobs.drilling import SealToCard
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker_process import run_worker
from signer.errors import CardError
from signer.hsm.profile import load_profile
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.testing.pool import Holder, Pool, summary
from signer.testing.softhsm import USER_PIN
from signer.threshold.params import ShareIndex
from tests.conftest import copy_of
from tests.simulators.terminal import at_terminal

pytestmark = pytest.mark.softhsm

SPARE, SCRATCH = "spare-1", "scratch-1"


def options(holder: Holder, label: str, prefix: str = "") -> list[str]:
    """The options that choose a token of this holder's, with its PIN."""
    return [f"--{prefix}token", label, f"--{prefix}pin-file", str(holder.token.pin_file)]


@pytest.fixture(scope="module")
def prepared(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Return a pool of three, two of whom sign together. Ada has a spare token, proved to open."""
    pool = Pool.with_tokens(tmp_path_factory.mktemp("drill") / "p", ["Ada", "Ben", "Cy"])
    pool.write_policy()
    pool.split(2)
    ada = pool.holders[0]
    tokens = ada.token.folder / "tokens"
    (primary,) = tokens.iterdir()
    (ada.folder / "primary").write_text(primary.name)
    for label in (SPARE, SCRATCH):
        ada.token.initialise(label)
    pool.run("token", "setup", *options(ada, SPARE), holder=ada)
    pool.run("token", "card", *options(ada, SPARE), "--name", "Ada spare",
             "--out", ada.folder / "spare.json", holder=ada)  # fmt: skip
    share_spare(pool, ada.folder / "both.json")
    return pool


@pytest.fixture
def pool(prepared: Pool, tmp_path: Path) -> Iterator[Pool]:
    with copy_of(prepared, tmp_path / "p") as copied:
        yield copied


def share_spare(
    pool: Pool, out: Path, *, envelope: Path | None = None, card: Path | None = None,
    opener: str = "holder-1", spare: str = SPARE, expect: int | None = 0,
) -> str:  # fmt: skip
    ada = pool.holders[0]
    done = pool.run(
        "share", "spare", "--group", pool.group, "--envelope", envelope or ada.envelope,
        "--card", card or ada.folder / "spare.json", *options(ada, opener),
        *options(ada, spare, "spare-"), "--out", out, holder=ada, expect=expect,
    )  # fmt: skip
    return done.stderr


@contextmanager
def without_primary(pool: Pool) -> Iterator[None]:
    """Take Ada's first token away."""
    ada = pool.holders[0]
    tokens = ada.token.folder / "tokens"
    name = (ada.folder / "primary").read_text()
    (tokens / name).rename(ada.folder / "away")
    yield
    (ada.folder / "away").rename(tokens / name)


def verify(pool: Pool, envelope: Path, label: str, *more: str | Path, expect: int) -> str:
    ada = pool.holders[0]
    done = pool.run("share", "verify", "--group", pool.group, "--envelope", envelope,
                    *options(ada, label), *more, holder=ada, expect=expect)  # fmt: skip
    return done.stderr


def drill(
    pool: Pool, holder: Holder, out: Path, *more: str | Path, envelope: Path | None = None,
    label: str | None = None, expect: int | None = 0,
) -> Any:  # fmt: skip
    """Drill at the holder's desk."""
    return pool.run(
        "drill", "run", "--group", pool.group, "--envelope", envelope or holder.envelope,
        *options(holder, label or holder.token.label), "--out", out, "--json", *more,
        holder=holder, expect=expect,
    )  # fmt: skip


def certificate(done: Any) -> Path:
    return Path(summary(done)["certificate"])


def code(done: Any) -> str:
    return str(summary(done)["error"]["code"])


# Spares.


def test_a_spare_opens_alone(pool: Pool) -> None:
    ada = pool.holders[0]
    both, card = ada.folder / "both.json", ada.folder / "spare.json"
    with without_primary(pool):
        assert "E_TOKEN_ABSENT" in verify(pool, both, "holder-1", expect=7)
        verify(pool, both, SPARE, "--card", card, expect=0)
        # From the spare another spare can be made: the primary is not needed any more.
        pool.run("token", "setup", *options(ada, SCRATCH), holder=ada)
        pool.run("token", "card", *options(ada, SCRATCH), "--name", "Ada third",
                 "--out", ada.folder / "third.json", holder=ada)  # fmt: skip
        three = ada.folder / "three.json"
        share_spare(pool, three, envelope=both, card=ada.folder / "third.json", opener=SPARE,
                    spare=SCRATCH)  # fmt: skip
        verify(pool, three, SCRATCH, "--card", ada.folder / "third.json", expect=0)
    verify(pool, both, "holder-1", expect=0)
    assert "E_TOKEN_KEY" in verify(pool, ada.envelope, SPARE, "--card", card, expect=7)


@pytest.mark.case("T13", "the spare passed off as the primary, or the primary as a spare")
def test_a_spare_is_not_taken_for_the_primary(pool: Pool, tmp_path: Path) -> None:
    ada = pool.holders[0]
    both, card = ada.folder / "both.json", ada.folder / "spare.json"
    assert "E_CARD" in verify(pool, both, SPARE, expect=1)
    assert "E_CARD" in verify(pool, both, "holder-1", "--card", card, expect=1)
    assert "E_CARD" in verify(pool, both, "holder-1", "--card", ada.card, expect=1)
    out = tmp_path / "out"
    assert code(drill(pool, ada, out, envelope=both, label=SPARE, expect=1)) == "E_CARD"
    swapped = options(ada, "holder-1", "spare-")
    assert code(drill(pool, ada, out, *swapped, envelope=both, expect=1)) == "E_CARD"
    assert list(out.iterdir()) == []


@pytest.mark.case("X462", "a spare that has its slot, is another holder's, or is not there")
def test_what_is_no_spare_gets_no_slot(pool: Pool, tmp_path: Path) -> None:
    ada, ben = pool.holders[:2]
    both, out = ada.folder / "both.json", tmp_path / "new.json"
    before = both.read_bytes()
    assert "E_ENVELOPE" in share_spare(pool, out, envelope=both, expect=7)
    assert "E_CARD" in share_spare(pool, out, card=ben.card, expect=1)
    assert "E_CARD" in share_spare(pool, out, card=ada.card, spare="holder-1", expect=1)
    assert "E_TOKEN_ABSENT" in share_spare(pool, out, spare="nowhere", expect=7)
    assert "E_TOKEN_KEY" in share_spare(pool, out, spare="holder-1", opener=SPARE, expect=7)
    pool.run("token", "setup", *options(ada, SCRATCH), holder=ada)
    assert "E_TOKEN_KEY" in share_spare(pool, out, spare=SCRATCH, expect=7)  # not the card's token
    other = pool.folder / "group" / "share-2.envelope.json"
    assert "E_TOKEN_KEY" in share_spare(pool, out, envelope=other, expect=7)
    assert not out.exists()
    assert "E_OUTPUT" in share_spare(pool, both, expect=1)
    assert both.read_bytes() == before


@pytest.mark.case("T13", "recovery rehearsed from the primary's slot, by a forged order")
def test_a_recovery_is_not_rehearsed_from_the_primary(pool: Pool) -> None:
    ada = pool.holders[0]
    pool.run("token", "setup", *options(ada, SCRATCH), holder=ada)
    pool.run("token", "card", *options(ada, SCRATCH), "--name", "scratch",
             "--out", ada.folder / "scratch.json", holder=ada)  # fmt: skip

    def rehearse(label: str) -> None:
        job = SealToCard(
            token=TokenChoice(profile=load_profile("softhsm2"), label=label),
            pin=SecretSource(file=str(ada.token.pin_file)),
            group=pool.group.read_text(),
            envelope=(ada.folder / "both.json").read_text(),
            card=(ada.folder / "scratch.json").read_text(),
            rehearsal=True,
        )
        run_worker(job, environment={"SOFTHSM2_CONF": str(ada.token.config)}, seconds=20)

    with pytest.raises(CardError, match="from the spare's slot"):
        rehearse("holder-1")
    rehearse(SPARE)


def test_the_journal_mark_goes_with_the_share(pool: Pool, tmp_path: Path) -> None:
    ada = pool.holders[0]
    mark = ada.envelope.with_name(ada.envelope.name + ".journal")
    pool.start_agent(ada)
    pool.stop_agent(ada)
    out = tmp_path / "new.json"
    share_spare(pool, out)
    assert (tmp_path / "new.json.journal").read_bytes() == mark.read_bytes()


# Drills at desks.


def test_holders_drill_by_file(pool: Pool, tmp_path: Path) -> None:
    """Ada drills spare and recovery too; Ben and Cy join her order by its certificate."""
    ada, ben, cy = pool.holders
    more = [*options(ada, SPARE, "spare-"), "--restore", *options(ada, SCRATCH, "scratch-")]
    both = ada.folder / "both.json"
    done = drill(pool, ada, tmp_path / "a", *more, envelope=both)
    found = [(entry["index"], entry["device"]) for entry in summary(done)["reports"]]
    assert found == [(1, "primary"), (1, "spare"), (1, "scratch")]
    assert [entry["holder"] for entry in summary(done)["missing"]] == ["Ben", "Cy"]
    assert summary(done)["combined"] == []
    assert "delete them" in done.stderr.lower()
    assert str(certificate(done).name).startswith(f"drill-{summary(done)['group'][:8]}-")
    # The scratch token has keys, and nothing of the share.
    listed = pool.run("share", "verify", "--group", pool.group, "--envelope", both,
                      *options(ada, SCRATCH), holder=ada, expect=7)  # fmt: skip
    assert "E_TOKEN_KEY" in listed.stderr

    second = drill(pool, ben, tmp_path / "b", "--include", certificate(done))
    assert summary(second)["combined"] == [[1, 2]]
    third = drill(pool, cy, tmp_path / "c", "--include", certificate(second))
    assert summary(third)["combined"] == [[1, 2], [2, 3]]
    assert summary(third)["missing"] == []
    value = json.loads(certificate(third).read_text())
    assert len(value["drills"]) == 1

    good = pool.run("drill", "verify", certificate(third), "--group", pool.group, "--json")
    assert summary(good)["verified"]
    status = pool.run("drill", "status", certificate(third), "--group", pool.group, "--json")
    assert summary(status)["overdue"] == []
    part = pool.run("drill", "status", certificate(second), "--group", pool.group, "--json",
                    expect=6)  # fmt: skip
    assert summary(part)["overdue"] == [3]
    # The same file again is written beside the first.
    again = drill(pool, cy, tmp_path / "c", "--include", certificate(second))
    assert certificate(again) != certificate(third)


@pytest.mark.case("X463", "a drill certificate changed in a file, or of another split or network")
def test_a_certificate_that_does_not_hold(pool: Pool, tmp_path: Path) -> None:
    ada = pool.holders[0]
    true = certificate(drill(pool, ada, tmp_path / "a"))
    value = json.loads(true.read_text())
    value["drills"][0]["order"]["nonce"] = "00" * 32
    false = tmp_path / "false.json"
    false.write_text(json.dumps(value))
    commands: list[list[str | Path]] = [["verify", false], ["status", true, false]]
    for command in commands:
        done = pool.run("drill", *command, "--group", pool.group, "--json", expect=1)
        assert code(done) == "E_DRILL"
    assert code(drill(pool, ada, tmp_path / "a", "--include", false, expect=1)) == "E_DRILL"

    cards = [part for holder in pool.holders for part in ("--card", holder.card)]
    for network, expected in (("hoodi", "E_DRILL"), ("mainnet", "E_PARTIAL_INVALID")):
        folder = tmp_path / network
        pool.run("group", "split", *cards, "--threshold", "2", "--policy", pool.policy, "--network",
                 network, "--mnemonic-file", pool.folder / "mnemonic", "--out", folder)  # fmt: skip
        done = pool.run("drill", "verify", true, "--group", folder / "group.json", "--json",
                        expect=1)  # fmt: skip
        assert code(done) == expected


@pytest.mark.case("T12", "the receiving key destroyed: a drill finds it out")
def test_a_destroyed_key_is_found_out(pool: Pool, tmp_path: Path) -> None:
    ben = pool.holders[1]
    (token,) = (ben.token.folder / "tokens").iterdir()
    shutil.rmtree(token)
    ben.token.initialise(ben.token.label)
    done = drill(pool, ben, tmp_path / "out", expect=7)
    assert code(done) == "E_TOKEN_KEY"  # the token is as good as new
    pool.run("token", "setup", *ben.token_options, holder=ben)
    done = drill(pool, ben, tmp_path / "out", expect=7)
    assert code(done) == "E_TOKEN_KEY"  # with other keys it opens nothing
    assert list((tmp_path / "out").iterdir()) == []


USAGE: dict[str, list[str]] = {
    "neither agent nor envelope": [],
    "both": ["--agent", "a", "--envelope", "e"],
    "an agent twice": ["--agent", "a", "--agent", "a"],
    "a token for an agent": ["--agent", "a", "--token", "t"],
    "a spare for an agent": ["--agent", "a", "--spare-token", "t"],
    "a recovery without spare": ["--envelope", "e", "--restore", "--scratch-token", "s"],
    "a recovery to nowhere": ["--envelope", "e", "--restore", "--spare-token", "s"],
    "a scratch token for nothing": ["--envelope", "e", "--scratch-token", "s"],
    "a PIN for no spare": ["--envelope", "e", "--spare-pin-file", "p"],
}


@pytest.mark.parametrize("name", USAGE)
def test_what_cannot_be_meant_is_refused(prepared: Pool, tmp_path: Path, name: str) -> None:
    done = prepared.run("drill", "run", "--group", prepared.group, *USAGE[name],
                        "--out", tmp_path, "--json", expect=2)  # fmt: skip
    assert code(done) == "E_USAGE"
    assert list(tmp_path.iterdir()) == []


# Drills by agents.


def start(pool: Pool, holder: Holder, **changes: str) -> None:
    uid = os.geteuid()
    peers = f"{{status: [{uid}], sign: [{uid}], drill: [{uid}]}}"
    pool.start_agent(holder, **{"peers": peers} | changes)


def by_agents(pool: Pool, out: Path, *more: str | Path, expect: int | None = 0) -> Any:
    agents = [part for holder in pool.holders for part in ("--agent", holder.socket)]
    return pool.run("drill", "run", "--group", pool.group, *agents, "--out", out, "--json", *more,
                    expect=expect)  # fmt: skip


def drilled(holder: Holder) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in holder.journal.read_text().splitlines()]
    return [record["body"] for record in records if record["type"] == "DRILLED"]


def test_agents_drill(pool: Pool, tmp_path: Path) -> None:
    for holder in pool.holders:
        start(pool, holder)
    done = by_agents(pool, tmp_path)
    assert summary(done)["combined"] == [[1, 2], [2, 3]]
    assert summary(done)["failed"] == summary(done)["missing"] == []
    for holder, entry in zip(pool.holders, summary(done)["reports"], strict=True):
        (record,) = drilled(holder)
        assert record["device"] == entry["serial_sha256"]
    pool.run("drill", "verify", certificate(done), "--group", pool.group)
    # What agents drilled is no hindrance to what they sign.
    assert summary(pool.sign(pool.request([7]), tmp_path / "signed"))["signed"] == 1


@pytest.mark.case("X464", "a wrong share in one envelope, an agent that does not run")
def test_who_cannot_use_his_share_is_named(pool: Pool, tmp_path: Path) -> None:
    """Ben's envelope is well made and bound, and holds another number than his share."""
    ada, ben, cy = pool.holders
    group = read_group(pool.group)
    with SecretBytes(bytes(31) + b"\x07") as wrong:
        sealed = seal_share(wrong, group.binding(ShareIndex(2)), [group.card_of(2).body.kex],
                            os.urandom)  # fmt: skip
    ben.envelope.write_bytes(sealed.to_bytes())
    start(pool, ada)
    start(pool, ben)
    done = by_agents(pool, tmp_path, expect=6)
    assert [entry["holder"] for entry in summary(done)["missing"]] == ["Ben", "Cy"]
    failed = {entry["index"]: entry["code"] for entry in summary(done)["failed"]}
    assert failed == {None: "E_UNREACHABLE", 2: "E_SHARE"}
    assert "holder 2 (Ben): E_SHARE" in done.stderr
    assert "missing: holder 3 (Cy)" in done.stderr
    assert drilled(ben) == []
    first = certificate(done)
    # Cy comes later, into the same drill: two holders' partials combine now.
    start(pool, cy)
    pool.stop_agent(ada)
    done = by_agents(pool, tmp_path, "--include", first, expect=6)
    assert summary(done)["combined"] == [[1, 3]]
    assert [entry["holder"] for entry in summary(done)["missing"]] == ["Ben"]
    pool.stop_agent(cy)
    nobody = by_agents(pool, tmp_path / "none", expect=4)
    assert code(nobody) == "E_TOO_FEW"
    assert list((tmp_path / "none").iterdir()) == []


def test_a_holder_who_has_the_pin_drills_when_he_says_yes(pool: Pool, tmp_path: Path) -> None:
    ada = pool.holders[0]
    start(pool, ada, pin="{ask: true}", control="private/control.sock")
    config = ada.folder / "agent.yaml"
    result: list[Any] = []
    runner = threading.Thread(
        target=lambda: result.append(
            pool.run(
                "drill",
                "run",
                "--group",
                pool.group,
                "--agent",
                ada.socket,
                "--wait",
                "2m",
                "--out",
                tmp_path,
                "--json",
                expect=None,
            )
        )
    )
    runner.start()
    deadline = time.monotonic() + 30
    while True:
        listed = pool.run("agent", "pending", "--config", config, "--json")
        if tickets := summary(listed)["tickets"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    seen = at_terminal(
        ["agent", "approve", tickets[0]["ticket"], "--config", config],
        [('Type "drill" to say yes: ', "drill\n"), ("PIN of holder-1: ", USER_PIN + "\n")],
        ada.token.environment,
    )
    assert seen.status == 0, seen.screen
    runner.join(60)
    assert result[0].returncode == 6  # the others were not asked
    assert [entry["index"] for entry in summary(result[0])["reports"]] == [1]
    assert len(drilled(ada)) == 1


def test_nobody_drills_an_agent_that_names_nobody(pool: Pool, tmp_path: Path) -> None:
    pool.start_agent(pool.holders[0])
    done = by_agents(pool, tmp_path, expect=4)
    assert "E_PEER" in {entry["code"] for entry in summary(done)["failed"]}
    assert drilled(pool.holders[0]) == []

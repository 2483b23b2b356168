"""`signer journal` and `--witness`, as a holder uses them after a day's work."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.testing.pool import TEST_ADDRESS, CommandFailedError, Holder, Pool, summary
from tests.faults.token_objects import remove_data_objects

PROFILE = Path(__file__).resolve().parents[2] / "hsm_profiles" / "softhsm2.yaml"


@pytest.fixture
def worked(pool: Pool) -> Iterator[Pool]:
    """Yield a pool of which holders 1 to 3 signed for validators 7 and 8; their agents run."""
    with pool:
        for holder in pool.holders[:3]:
            pool.start_agent(holder)
        agents = [holder.socket for holder in pool.holders[:3]]
        pool.sign(pool.request([7, 8]), pool.folder / "out", agents=agents)
        yield pool


def config(holder: Holder) -> Path:
    return holder.folder / "agent.yaml"


def journal(
    pool: Pool, *arguments: str | Path, expect: int = 0, **options: Holder
) -> dict[str, object]:
    return summary(pool.run("journal", *arguments, "--json", expect=expect, **options))


def error(pool: Pool, *arguments: str | Path, expect: int) -> object:
    value = journal(pool, *arguments, expect=expect)["error"]
    assert isinstance(value, dict)
    return value["code"]


def token_anchored(holder: Holder, anchor: str, folder: Path) -> str:
    """Write a profile that promises `anchor`; return the setting of a token with it."""
    profile = folder / "softhsm2.yaml"
    promised = "journal_anchor: token"
    text = PROFILE.read_text()
    assert promised in text
    profile.write_text(text.replace(promised, f"journal_anchor: {anchor}"))
    return f'{{profile: "{profile}", label: {holder.token.label}}}'


def test_show_and_verify_while_the_agent_runs(worked: Pool) -> None:
    holder = worked.holders[0]
    shown = journal(worked, "show", holder.journal.parent)
    records = shown["records"]
    assert isinstance(records, list)
    assert [r["type"] for r in records] == ["OPENED", "POLICY", "INTENT", "RELEASED"]
    text = worked.run("journal", "show", "--config", config(holder)).stdout
    assert f"7, 8 to {TEST_ADDRESS}" in text
    (witnesses,) = (worked.folder / "out").glob("witnesses-*.json")
    told = journal(worked, "verify", "--config", config(holder), "--witness", witnesses)
    assert (told["sequence"], told["witnesses"], told["ignored"]) == (3, 1, 2)
    assert error(worked, "verify", holder.journal, "--witness", witnesses, expect=2) == "E_USAGE"
    raw = bytearray(holder.journal.read_bytes())
    raw[40] ^= 1
    copy = worked.folder / "copy.jsonl"
    copy.write_bytes(raw)
    assert error(worked, "verify", copy, expect=8) == "E_JOURNAL"
    assert error(worked, "show", copy, expect=8) == "E_JOURNAL"


@pytest.mark.case(
    "X419", "agent started, or asked, on an older journal that a witness knows better"
)
def test_a_witness_stops_an_older_journal(worked: Pool, tmp_path: Path) -> None:
    holder = worked.holders[0]
    worked.stop_agent(holder)
    older = tmp_path / "older"
    shutil.copytree(holder.journal.parent, older)
    worked.start_agent(holder)
    agents = [h.socket for h in worked.holders[:3]]
    worked.sign(worked.request([9], name="nine.json"), tmp_path / "out", agents=agents)
    worked.stop_agent(holder)
    (witnesses,) = (tmp_path / "out").glob("witnesses-*.json")
    options: list[str | Path] = ["--config", config(holder), "--witness", witnesses]
    assert journal(worked, "verify", *options)["witnesses"] == 1
    shutil.rmtree(holder.journal.parent)
    shutil.copytree(older, holder.journal.parent)
    assert error(worked, "verify", *options, expect=8) == "E_ROLLBACK"
    done = worked.run("agent", "run", *options, holder=holder, expect=8)
    assert "E_ROLLBACK: restored VM or old disk" in done.stderr
    with pytest.raises(CommandFailedError, match="E_ROLLBACK"):  # the token knows it as well
        worked.start_agent(holder)


@pytest.mark.case(
    "X706", "agent whose token keeps no anchor, started with witnesses on an older journal"
)
def test_the_witnesses_given_at_the_start_count_alone(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[0]
    settings = {"token": token_anchored(holder, "none", tmp_path)}
    others = [h.socket for h in pool.holders[1:3]]
    with pool:
        for other in pool.holders[1:3]:
            pool.start_agent(other)
        pool.start_agent(holder, **settings)
        words = pool.run("agent", "status", holder.socket).stdout
        assert "anchor: none; UNVERIFIED: only witnesses tell of a later one" in words
        pool.stop_agent(holder)
        older = shutil.copytree(holder.journal.parent, tmp_path / "older")
        pool.start_agent(holder, **settings)
        pool.sign(pool.request([9]), tmp_path / "out", agents=[holder.socket, *others])
        pool.stop_agent(holder)
        shutil.rmtree(holder.journal.parent)
        shutil.copytree(older, holder.journal.parent)
        (witnesses,) = (tmp_path / "out").glob("witnesses-*.json")
        start: list[str | Path] = ["agent", "run", "--config", config(holder)]
        done = pool.run(*start, "--witness", witnesses, holder=holder, expect=8)
        assert "E_ROLLBACK: restored VM or old disk" in done.stderr
        pool.start_agent(holder, **settings)  # without them nobody knows; a request tells it
        pool.run("request", "new", "--group", pool.group, "--to", TEST_ADDRESS, "--validators",
                 pool.folder / "request.json.validators", "--witness", witnesses,
                 "--out", tmp_path / "told.json")  # fmt: skip
        pool.sign(tmp_path / "told.json", tmp_path / "told", agents=[holder.socket], expect=4)
        words = pool.run("agent", "status", holder.socket).stdout
        assert "BEHIND: a later one is known (E_ROLLBACK" in words
        assert "state    REFUSING" in words
        assert "ready" not in words.split("state ")[-1]


@pytest.mark.case("X707", "agent started with a token that has lost its anchor")
def test_a_token_that_lost_its_anchor_stops_the_start(worked: Pool) -> None:
    holder = worked.holders[0]
    worked.stop_agent(holder)
    remove_data_objects(holder.token)
    done = worked.run("agent", "run", "--config", config(holder), holder=holder, expect=7)
    assert "E_ANCHOR" in done.stderr
    assert not holder.socket.exists()


@pytest.mark.case("X708", "backup asked for with a token; made of a file that is cut")
def test_a_backup_needs_no_token_and_tells_what_it_leaves_out(worked: Pool, tmp_path: Path) -> None:
    holder = worked.holders[0]
    out = tmp_path / "a\nb.jsonl"
    export: list[str | Path] = ["journal", "export", "--config", config(holder), "--out", out]
    for options in (["--token", "x"], ["--serial", "1"], holder.token_options):
        done = worked.run(*export, *options, expect=2)
        assert "E_USAGE" in done.stderr
    worked.stop_agent(holder)
    with holder.journal.open("ab") as file:
        file.write(b'{"half')
    done = worked.run(*export)
    assert "an unfinished last line is left out" in done.stderr
    assert "a\\nb.jsonl" in done.stdout
    assert out.read_bytes() + b'{"half' == holder.journal.read_bytes()


@pytest.mark.case("X709", "restore on a host whose anchor an older journal has moved")
def test_a_restore_takes_the_hosts_anchor_along(worked: Pool, tmp_path: Path) -> None:
    holder = worked.holders[0]
    settings = {"token": token_anchored(holder, "host", tmp_path)}
    agents = [h.socket for h in worked.holders[:3]]
    worked.stop_agent(holder)
    older = shutil.copytree(holder.journal.parent, tmp_path / "older")
    worked.start_agent(holder)
    worked.sign(worked.request([9], name="nine.json"), tmp_path / "nine", agents=agents)
    backup = tmp_path / "backup.jsonl"
    journal(worked, "export", "--config", config(holder), "--out", backup)
    worked.stop_agent(holder)
    shutil.rmtree(holder.journal.parent)  # an old disk is put back, and serves until it is noticed
    shutil.copytree(older, holder.journal.parent)
    worked.start_agent(holder, **settings)
    worked.sign(worked.request([10], name="ten.json"), tmp_path / "ten", agents=agents, expect=4)
    worked.stop_agent(holder)
    journal(worked, "import", backup, "--config", config(holder))
    assert len(list(holder.journal.parent.glob("*.rolled-back-*"))) == 1
    worked.start_agent(holder, **settings)
    again = worked.sign(worked.request([11], name="eleven.json"), tmp_path / "eleven",
                        agents=agents)  # fmt: skip
    assert summary(again)["signers"] == [1, 2, 3]


def test_backup_and_restore(worked: Pool, tmp_path: Path) -> None:
    holder = worked.holders[0]
    backup = tmp_path / "backup.jsonl"
    journal(worked, "export", "--config", config(holder), "--out", backup)
    into: list[str | Path] = ["import", backup, "--config", config(holder)]
    assert error(worked, *into, expect=8) == "E_JOURNAL"  # the agent runs
    worked.stop_agent(holder)
    whole = holder.journal.read_bytes()
    shutil.rmtree(holder.journal.parent)
    assert journal(worked, *into)["sequence"] == 3
    assert holder.journal.read_bytes() == whole
    worked.start_agent(holder)
    again = worked.sign(worked.request([7], name="seven.json"), tmp_path / "out",
                        agents=[h.socket for h in worked.holders[:3]])  # fmt: skip
    assert summary(again)["signers"] == [1, 2, 3]
    other: list[str | Path] = ["import", backup, "--config", config(worked.holders[1])]
    worked.stop_agent(worked.holders[1])
    assert error(worked, *other, expect=8) == "E_JOURNAL"  # another share's


@pytest.mark.case("X415", "statements of n - t holders, then of enough")
def test_other_holders_bindings_are_taken_over(worked: Pool, tmp_path: Path) -> None:
    lost = worked.holders[4]
    worked.write_agent_config(lost)
    files = []
    for holder in worked.holders[1:4]:
        if not holder.journal.exists():
            worked.start_agent(holder)
        out = tmp_path / f"bindings-{holder.index}.json"
        worked.run("journal", "export", holder.journal.parent, "--bindings", *holder.token_options,
                   "--out", out, holder=holder)  # fmt: skip
        files.append(out)
    take: list[str | Path] = ["import", "--bindings", "--config", config(lost)]
    assert error(worked, *take, *files[:2], expect=1) == "E_INPUT"
    assert error(worked, *take, *files[:2], files[0], expect=1) == "E_INPUT"
    assert not lost.journal.exists()
    assert journal(worked, *take, *files)["bindings"] == 2
    types = [json.loads(line)["type"] for line in lost.journal.read_bytes().splitlines()]
    assert types == ["OPENED", "IMPORTED"]
    worked.start_agent(lost)
    agents = [h.socket for h in (*worked.holders[:2], lost)]
    done = worked.sign(worked.request([7, 11], name="eleven.json"), tmp_path / "out", agents=agents)
    assert summary(done)["signers"] == [1, 2, 5]

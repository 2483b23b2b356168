"""What people are told of a group: `group show`, `request show`, `agent status`, the doctor."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from signer.agent.doctor import papers_finding
from signer.cli.agent import _token_words as token_words
from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.cli.splitting import Split, split_text
from signer.custody.desk import Desk
from signer.errors import DeniedError, SignerError
from signer.messages.card import UNPROVEN, fingerprint
from signer.messages.group_file import GroupFile
from signer.policy.policy import NEVER, Policy
from signer.strict import canonical
from tests.simulators.desk import desk_of
from tests.simulators.drills import simulated_status
from tests.simulators.holders import ADDRESS, SimulatedPool, make_card
from tests.simulators.marks import bare_digests

POOL = SimulatedPool.new()
MADE = SimulatedPool.new(origin="dkg", rehearsal=True)
WAITING = SimulatedPool.new(epoch=3, active=False)
SPLIT_WORDS = "split by a dealer, who has held the whole key"
DKG_WORDS = "generated together; nobody has held the whole key"


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, list(map(str, arguments)), obj=Printer())
    if isinstance(done.exception, SignerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def written(folder: Path, group: GroupFile) -> Path:
    path = folder / "group.json"
    path.write_bytes(group.to_bytes())
    return path


def test_a_split_group_is_shown_with_its_dealer(tmp_path: Path) -> None:
    text = run("group", "show", written(tmp_path, POOL.group))
    assert f"origin       split: {SPLIT_WORDS}" in text
    assert "certificate  none: split at one desk" in text
    assert "A dealer has held the whole key" in text
    assert "REHEARSAL" not in text
    assert "NOT ACTIVE" not in text


def test_a_token_that_proves_nothing_is_marked(tmp_path: Path) -> None:
    doubted = make_card("holder 2", proven=False, profile="nss-softokn")
    cards = (POOL.group.cards[0], doubted, *POOL.group.cards[2:])
    path = written(tmp_path, replace(POOL.group, cards=cards))
    lines = run("group", "show", path).splitlines()
    marked = [line for line in lines if "UNPROVEN" in line]
    assert len(marked) == 1
    assert re.match(r"2 +holder 2 +nss-softokn UNPROVEN ", marked[0])
    holders = json.loads(run("group", "show", path, "--json"))["holders"]
    assert [holder["proven"] for holder in holders] == [True, False, True, True, True]


def test_a_status_says_what_its_token_proves() -> None:
    raw = {"group": POOL.group.group_id.hex(), "epoch": 1}
    token = {"state": "ready", "reason": "", "since": 0}
    said = {
        word: simulated_status(raw | {"token": token | more}, 1).token
        for word, more in {
            "nothing": {},
            "strict": {"provenance": "strict"},
            "unproven": {"provenance": "unproven"},
            "later": {"provenance": "attested"},
        }.items()
    }
    proven = {word: status.proven for word, status in said.items()}
    assert proven == {"nothing": None, "strict": True, "unproven": False, "later": None}
    words = {word: token_words(status) for word, status in said.items()}
    assert words["unproven"] == f"ready; {UNPROVEN}"
    assert {words[word] for word in ("nothing", "strict", "later")} == {"ready"}


def test_a_rehearsal_says_so_before_every_fingerprint(tmp_path: Path) -> None:
    path = written(tmp_path, MADE.group)
    text = run("group", "show", path)
    for digest in (MADE.group.group_id, MADE.group.digest, MADE.group.certificate or b""):
        assert f"REHEARSAL {fingerprint(digest)}" in text
    assert f"origin       dkg: {DKG_WORDS}" in text
    assert "dealer" not in text
    value = json.loads(run("group", "show", path, "--json"))
    assert (value["origin"], value["rehearsal"], value["active"]) == ("dkg", True, True)
    assert MADE.group.certificate is not None
    assert value["certificate"] == MADE.group.certificate.hex()


def test_a_group_that_waits_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, WAITING.group)
    assert "NOT ACTIVE" in run("group", "show", path)
    assert json.loads(run("group", "show", path, "--json"))["active"] is False


# Requests


def test_a_request_is_shown_with_its_groups_origin(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(MADE.request(1).to_bytes())
    group = written(tmp_path, MADE.group)
    text = run("request", "show", request, "--group", group)
    assert f"  group       REHEARSAL {fingerprint(MADE.group.group_id)}   epoch 1\n" in text
    assert f"  request     REHEARSAL {fingerprint(MADE.request(1).digest)}\n" in text
    assert f"  origin      {DKG_WORDS}\n" in text
    value = json.loads(run("request", "show", request, "--group", group, "--json"))
    assert (value["origin"], value["rehearsal"], value["active"]) == ("dkg", True, True)
    assert "origin" not in run("request", "show", request)


@pytest.mark.case("X629", "request shown with the group file of another group")
def test_a_request_is_not_shown_with_another_groups_origin(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(POOL.request(1).to_bytes())
    other = SimulatedPool.new(role="validator")
    with pytest.raises(DeniedError) as refused:
        run("request", "show", request, "--group", written(tmp_path, other.group))
    assert refused.value.code == "E_GROUP"


# Agents


def status_words(monkeypatch: pytest.MonkeyPatch, **said: Any) -> str:
    document = {"group": MADE.group.group_id.hex(), "epoch": 1} | said

    class Client:
        def __init__(self, _: Path) -> None:
            pass

        async def status(self) -> Any:
            return simulated_status(document, 1)

    monkeypatch.setattr("signer.client.AgentClient", Client)
    return run("agent", "status", "agent.sock")


def test_an_agents_status_tells_origin_rehearsal_and_activity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = fingerprint(MADE.group.group_id)
    text = status_words(monkeypatch, origin="dkg", rehearsal=True, active=True)
    assert f"group    REHEARSAL {shown}   mainnet" in text
    assert f"origin   {DKG_WORDS}" in text
    assert "state    ready" in text
    text = status_words(monkeypatch, origin="split", rehearsal=False, active=False)
    assert f"group    {shown}   mainnet" in text
    assert f"origin   {SPLIT_WORDS}" in text
    assert "state    NOT ACTIVE" in text


@pytest.mark.case(
    "X1015", "agent status, policy amend, show and explain of a rehearsal: the bare digest"
)
def test_a_rehearsal_s_policy_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bare_digests(status_words(monkeypatch, origin="dkg", rehearsal=True)) == []
    assert len(bare_digests(status_words(monkeypatch, origin="dkg", rehearsal=False))) == 2
    group, policy = written(tmp_path, MADE.group), tmp_path / "policy.json"
    policy.write_bytes(canonical(Policy(labels={ADDRESS: "other"}, approval=NEVER).to_json()))
    text = run(
        "policy", "amend", "--policy", policy, "--group", group, "--out", tmp_path / "a.json"
    )
    assert "policy       REHEARSAL " in text
    assert bare_digests(text) == []
    assert bare_digests(run("policy", "show", policy, "--group", group)) == []
    assert len(bare_digests(run("policy", "show", policy))) == 1
    request = tmp_path / "request.json"
    request.write_bytes(MADE.request(1).to_bytes())
    command = ["policy", "explain", request, "--policy", policy, "--group", group]
    done = CliRunner().invoke(cli, list(map(str, command)), obj=Printer())
    assert "NO: the group's policy is REHEARSAL " in done.stdout
    assert bare_digests(done.stdout) == []
    text = split_text(tmp_path, Split(MADE.group, ("1.json",) * len(MADE.group.cards)))
    assert "group.json   REHEARSAL " in text


@pytest.mark.case("X630", "agent of before, or one that lies, in what it says of its group")
@pytest.mark.parametrize("origin", [..., None, 5, [], "\x1b[2J", "reshare"])
def test_what_an_agent_says_of_its_origin_is_of_a_closed_set(
    monkeypatch: pytest.MonkeyPatch, origin: Any
) -> None:
    text = status_words(monkeypatch, **({} if origin is ... else {"origin": origin}))
    (line,) = [line for line in text.splitlines() if line.startswith("origin")]
    assert line in ("origin   unknown", "origin   not told")


# The doctor


def papers(monkeypatch: pytest.MonkeyPatch, pool: SimulatedPool) -> tuple[str, str, str]:
    class Config:
        group = policy = envelope = Path()
        network = None

    monkeypatch.setattr(Desk, "lay", lambda *_: desk_of(pool))
    found, _ = papers_finding(Config())  # type: ignore[arg-type]
    return found.state, found.what, found.fix


def test_the_doctor_tells_origin_and_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    state, what, fix = papers(monkeypatch, POOL)
    assert (state, fix) == ("ok", "")
    assert SPLIT_WORDS in what
    state, what, fix = papers(monkeypatch, MADE)
    assert state == "ok"
    assert "REHEARSAL share 1 of 5" in what
    state, what, fix = papers(monkeypatch, WAITING)
    assert (state, fix) == ("warn", "finish the ceremony: signer ceremony status")
    assert "NOT ACTIVE" in what


def test_a_group_of_any_epoch_keeps_its_origin() -> None:
    later = replace(MADE.group, epoch=2, activation=None)
    assert GroupFile.parse(later.to_bytes()).origin_words == DKG_WORDS

"""`signer policy show` and `explain`, on files alone: no token, no journal, no agent."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import SignerError
from signer.messages.amounts import GWEI
from signer.messages.items import KIND_DEPOSIT, Change, Deposit
from signer.messages.request import SignRequest
from signer.policy.policy import Policy
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

VALIDATORS = SimulatedPool.new(role="validator")
POOL = SimulatedPool.new()


@dataclass
class Files:
    folder: Path

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    @property
    def group(self) -> Path:
        return self.write("group.json", POOL.group.to_bytes())

    def policy(self, more: str = "approval: never\n") -> Path:
        line = f"addresses: [{{address: {ADDRESS}, label: treasury}}]\n"
        return self.write("policy.yaml", "version: 2\n" + line + more)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def run(*arguments: str | Path, expect: int = 0) -> str:
    done = CliRunner().invoke(cli, ["policy", *map(str, arguments)], obj=Printer())
    if isinstance(done.exception, SignerError):
        raise done.exception
    assert done.exit_code == expect, done.output
    return done.stdout


def test_show_says_whose_policy_it_is(files: Files) -> None:
    policy = files.policy()
    text = run("show", policy, "--group", files.group)
    assert "in force     yes, the group's first" in text
    assert "8c1F f978" in text
    other = files.policy("approval: always\n")
    assert "in force     NO: the group's policy is" in run("show", other, "--group", files.group)
    assert "in force" not in run("show", other)
    value = json.loads(run("show", other, "--json"))
    assert value["in_force"] is None
    assert Policy.parse(value["policy"]).digest.hex() == value["digest"]


def test_show_says_when_a_key_can_sign_nothing(files: Files) -> None:
    policy = files.write("p.yaml", "version: 2\nexits: allowed\n")
    assert "A withdrawal key can sign nothing" in run("show", policy, "--group", files.group)
    group = files.write("v.json", VALIDATORS.group.to_bytes())
    assert "can sign nothing" not in run("show", policy, "--group", group)
    assert "A validator key can sign nothing" in run("show", files.policy(), "--group", group)


def explain(files: Files, request: SignRequest, *options: str, expect: int, **more: Any) -> str:
    path = files.write("request.json", request.to_bytes())
    at = () if "--at" in options else ("--at", str(NOW))
    policy = more.get("policy") or files.policy()
    group = more.get("group") or files.group
    return run("explain", path, "--policy", policy, "--group", group, *at, *options, expect=expect)


def test_all_allowed(files: Files) -> None:
    text = explain(files, POOL.request(1, 2), expect=0)
    assert "yes  addresses: treasury: the policy allows it: treasury   [2 items]" in text
    assert "All 2 items would be signed, without a person." in text
    assert "bindings of journals are not looked at" in text
    policy = files.policy("approval: always\n")
    text = explain(files, POOL.request(1), expect=0, policy=policy)
    assert "The one item would be signed, once a person says yes." in text
    assert "in force: NO" in text


def test_some_denied(files: Files) -> None:
    items = [Change(1, ADDRESS), Change(2, OTHER), Change(4, OTHER), Change(3, OTHER)]
    request = SignRequest.new(POOL.group, items, expires=NOW + 60)
    text = explain(files, request, expect=6)
    assert "NO   addresses: E_TARGET" in text
    assert "denied: validator 2-4" in text
    assert "1 of 4 items would be signed" in text
    value = json.loads(explain(files, request, "--json", expect=6))
    assert [item["code"] for item in value["items"]] == [None, "E_TARGET", "E_TARGET", "E_TARGET"]
    assert (value["allowed"], value["needs_person"], value["in_force"]) == (1, False, True)


def test_all_denied(files: Files) -> None:
    request = POOL.request(1, to=OTHER)
    assert "every item is denied" in explain(files, request, expect=3)


@pytest.mark.case("R11", "request explained a second after it expired, and 15 days before")
def test_denied_as_a_whole(files: Files) -> None:
    request = POOL.request(1, expires=NOW + 60)
    text = explain(files, request, "--at", str(NOW + 60), expect=3)
    assert "NO   expires: E_EXPIRED: the request has expired" in text
    assert "denied as a whole" in text
    assert "E_EXPIRED" in explain(files, request, "--at", str(NOW - 15 * 86400), expect=3)
    explain(files, request, "--at", "2027-01-15T08:00:00Z", expect=0)  # NOW
    assert "E_EPOCH" in explain(files, replace(request, epoch=2), expect=3)


def test_a_user_is_judged_when_one_is_given(files: Files) -> None:
    policy = files.policy("requesters: {bls_to_execution_change: [1000]}\n")
    explain(files, POOL.request(1), expect=0, policy=policy)
    explain(files, POOL.request(1), "--as", "1000", expect=0, policy=policy)
    assert "E_PEER" in explain(files, POOL.request(1), "--as", "0", expect=3, policy=policy)


def test_deposits_are_named_by_their_place(files: Files) -> None:
    ours, theirs = b"\1" + bytes(11) + ADDRESS, b"\1" + bytes(11) + OTHER
    items = [Deposit(ours, 32 * GWEI), Deposit(theirs, 32 * GWEI), Deposit(theirs, GWEI)]
    request = SignRequest.new(VALIDATORS.group, items, expires=NOW + 60, kind=KIND_DEPOSIT)
    text = explain(
        files,
        request,
        expect=6,
        group=files.write("v.json", VALIDATORS.group.to_bytes()),
        policy=files.policy(
            f"deposits: {{credentials: [{{credentials: '0x{ours.hex()}', label: ours}}]}}\n"
        ),
    )
    assert "denied: deposit 2, 3" in text


@pytest.mark.parametrize("moment", ["yesterday", "-1", "2027-01-15", "9" * 30, "1e9", "٣"])
def test_moments_are_plain(files: Files, moment: str) -> None:
    with pytest.raises(SignerError) as refused:
        explain(files, POOL.request(1), "--at", moment, expect=2)
    assert refused.value.exit_status == 2


def test_amend_writes_what_everybody_signs(files: Files) -> None:
    old = files.policy()
    new = files.write("new.yaml", old.read_text() + "drill: {every: 90d}\n")
    out = files.folder / "amendment.json"
    text = run("amend", "--group", files.group, "--policy", new, "--current", old, "--out", out)
    assert "New:        A holder whose last drill is more than 90 days ago" in text
    assert "No longer:  Nobody needs to drill." in text
    assert json.loads(out.read_bytes())["number"] == 1
    out.unlink()
    text = run("amend", "--group", files.group, "--policy", new, "--out", out)
    assert "give the policy in force with --current" in text
    with pytest.raises(SignerError, match="is not the one in force"):
        run("amend", "--group", files.group, "--policy", new, "--current", new, "--out", out)
    with pytest.raises(SignerError, match="in force already"):
        run("amend", "--group", files.group, "--policy", old, "--out", files.folder / "x")

"""Where a result is to go is looked at first: before a token, an agent or a person is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import OutputError
from signer.policy.amending import propose
from signer.strict import canonical
from tests.simulators.ceremony import Person
from tests.simulators.holders import NOW, OTHER, SimulatedPool
from tests.simulators.repair import Repair

POOL = SimulatedPool.new()
REPAIR = Repair.of()
TOKEN = "--token x --pin-file none"
PLACE = "nowhere/new"
AMENDED = replace(POOL.policy, labels={**POOL.policy.labels, OTHER: "other"})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lay what the commands read into the folder they run in; return what is there."""
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "group.json": POOL.group.to_bytes(),
        "request.json": POOL.request(1).to_bytes(),
        "policy.json": canonical(POOL.policy.to_json()),
        "amendment.json": propose(POOL.group, AMENDED).to_payload(),
        "ada.json": canonical(Person.new("Ada").card.to_json()),
        "ben.json": canonical(Person.new("Ben").card.to_json()),
        "back.json": canonical(REPAIR.setting.roster.card.to_json()),
        "previous.json": REPAIR.setting.group.to_bytes(),
        "roster.json": REPAIR.setting.roster.to_bytes(),
    }.items():
        (tmp_path / name).write_bytes(data)
    return sorted(tmp_path.rglob("*"))


@pytest.mark.case("X827", "a result whose folder lies in no folder: refused first, nothing is made")
@pytest.mark.parametrize(
    "command",
    [
        f"token card {TOKEN} --name Ada --fresh-key --out {PLACE}",
        f"share spare {TOKEN} --spare-token y --group none --envelope none --card none "
        f"--out {PLACE}",
        f"share recover {TOKEN} --certificate none --out {PLACE}",
        f"policy sign amendment.json --group group.json {TOKEN} --out {PLACE}",
        f"group split --card none --threshold 1 --policy none --network mainnet "
        f"--mnemonic-file none --out {PLACE}",
        f"ceremony new dkg --card ada.json --card ben.json --threshold 2 --policy policy.json "
        f"--name pool --network mainnet --out {PLACE}",
        f"ceremony new repair --previous previous.json --lost 2 --helper 1 --helper 3 --helper 4 "
        f"--card back.json --out {PLACE}",
        f"ceremony join . --card back.json --group previous.json --state {PLACE}",
        f"sign request.json --group group.json --agent a --out {PLACE}",
        f"sign request.json --group group.json --agent a --out . --work {PLACE}",
        f"drill run --group group.json --agent a --out {PLACE}",
    ],
)
def test_no_parent_is_made(files: list[Path], command: str) -> None:
    done = CliRunner().invoke(cli, command.split(), obj=Printer())
    assert isinstance(done.exception, OutputError), done.output
    assert "there is no folder 'nowhere'" in done.exception.message
    assert sorted(Path.cwd().rglob("*")) == files

"""Which shares a ceremony's options may name."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import UsageError
from signer.strict import canonical
from tests.simulators.repair import pool_of

REPAIR = "repair --card card.json"
RESHARE = "reshare --card card.json --threshold 2 --policy policy.json"


@pytest.mark.case(
    "X830", "--dealer, --helper, --lost of no share of the group, or one of them twice"
)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (f"{RESHARE} --dealer 0", "--dealer 0: the group has shares 1 to 5"),
        (f"{RESHARE} --dealer 1 --dealer -1", "--dealer -1: "),
        (f"{RESHARE} --dealer 6", "--dealer 6: "),
        (f"{RESHARE} --dealer 999", "--dealer 999: "),
        (f"{RESHARE} --dealer 2 --dealer 1 --dealer 2", "--dealer 2 is given twice"),
        (f"{REPAIR} --lost 0 --helper 1", "--lost 0: the group has shares 1 to 5"),
        (f"{REPAIR} --lost 101 --helper 1", "--lost 101: "),
        (f"{REPAIR} --lost 2 --helper 1 --helper 0", "--helper 0: "),
        (f"{REPAIR} --lost 2 --helper 6", "--helper 6: "),
        (f"{REPAIR} --lost 2 --helper 1 --helper 3 --helper 1", "--helper 1 is given twice"),
    ],
)
def test_a_share_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = pool_of(3, 5)
    Path("group.json").write_bytes(pool.group.to_bytes())
    Path("card.json").write_bytes(canonical(pool.people[1].renewed().card.to_json()))
    monkeypatch.setattr("signer.cli.convening.read_policy", lambda _: InForce())
    command = ["ceremony", "new", *options.split(), "--previous", "group.json", "--out", "new"]
    done = CliRunner().invoke(cli, command, obj=Printer())
    assert isinstance(done.exception, UsageError), done.exception
    assert done.exception.message.startswith(words)
    assert not Path("new").exists()


class InForce:
    """The policy in force of the simulated group, whose digest is made up."""

    digest = pool_of(3, 5).group.current_policy_digest

"""Who is overdue, by certificates on disk; drills that activate a group."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.cli import drilling
from signer.cli.drill_words import drill_status, read_certificate
from signer.cli.printer import Printer
from signer.errors import InputError, UsageError
from signer.messages.activation import activation_from_drill
from signer.messages.drill import DrillOrder
from signer.messages.drill_certificate import Drill, DrillCertificate
from tests.simulators.drills import DrillPool

HOLDERS = DrillPool(2, 3)
DAY = 86400
NOW = int(time.time())


@pytest.fixture
def group(tmp_path: Path) -> Path:
    path = tmp_path / "group.json"
    path.write_bytes(HOLDERS.group.to_bytes())
    return path


def written(path: Path, days: int, *indices: int, spare: bool = False) -> Path:
    """Write the certificate of a drill `days` days ago."""
    moment = NOW - days * DAY
    order = HOLDERS.new_order(nonce=bytes([days % 256]) * 32, moment=moment, expires=moment + DAY)
    reports = tuple(HOLDERS.report(i, order, moment=moment, spare=spare) for i in indices)
    path.write_bytes(DrillCertificate.of(HOLDERS.group, [Drill(order, reports)]).to_bytes())
    return path


def status(
    capsys: pytest.CaptureFixture[str], group: Path, *certificates: Path, every: str = "90d"
) -> tuple[int, dict[str, Any]]:
    printer = Printer(json=True)
    exit_status = drill_status(printer, certificates=certificates, group=group, every=every)
    return exit_status, json.loads(capsys.readouterr().out)


def states(value: dict[str, Any]) -> list[tuple[int, str | None, str]]:
    return [(row["index"], row["device"], row["state"]) for row in value["devices"]]


def test_each_device_has_an_age_of_its_own(
    tmp_path: Path, group: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = written(tmp_path / "old.json", 100, 1, 2, spare=True)
    new = written(tmp_path / "new.json", 1, 1)
    exit_status, value = status(capsys, group, old, new)
    assert exit_status == 6
    assert states(value) == [
        (1, "primary", "good"),
        (1, "spare", "overdue"),
        (2, "primary", "overdue"),
        (2, "spare", "overdue"),
        (3, None, "overdue"),
    ]
    assert value["overdue"] == [1, 2, 3]
    assert value["every_seconds"] == 90 * DAY
    age = value["devices"][0]["age_seconds"]
    assert DAY <= age < DAY + 600
    # The order in which files are given does not matter.
    assert states(status(capsys, group, new, old)[1]) == states(value)


def test_nobody_is_overdue(tmp_path: Path, group: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "c.json", 100, 1, 2, 3)
    assert status(capsys, group, path, every="101d")[0] == 0
    assert status(capsys, group, path, every="99d")[0] == 6


def test_people_see_a_table(
    tmp_path: Path, group: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "c.json", 100, 1, 2)
    drill_status(Printer(), certificates=(path,), group=group, every="90d")
    shown = capsys.readouterr()
    assert "holder 1" in shown.out
    assert "100 d" in shown.out
    assert "never" in shown.out
    assert "overdue: holder 1, 2, 3" in shown.err


@pytest.mark.case("X458", "a drill certificate from the future, or with a holder twice")
def test_a_certificate_from_the_future_counts_for_nothing(tmp_path: Path, group: Path) -> None:
    path = written(tmp_path / "c.json", -1, 1)
    with pytest.raises(InputError) as refused:
        drill_status(Printer(), certificates=(path,), group=group, every="90d")
    assert refused.value.code == "E_DRILL"


# --activate

ENDING = DrillPool(2, 3, epoch=2)
ENDING.group = replace(ENDING.group, activation=None)


def ending(tmp_path: Path, group: Any = ENDING.group) -> Path:
    path = tmp_path / "ending.json"
    path.write_bytes(group.to_bytes())
    return path


def run_drill(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *indices: int, include: tuple[Path, ...] = (),
    group: Any = ENDING.group, activate: bool = True,
) -> tuple[int, DrillOrder, Path]:  # fmt: skip
    """Run a drill that agents of `indices` answer; return exit status, order and certificate."""
    orders: list[DrillOrder] = []

    def ask(_: Any, order: DrillOrder, *__: Any) -> tuple[list[Any], list[Any]]:
        orders.append(order)
        return [ENDING.report(index, order, moment=order.moment) for index in indices], []

    monkeypatch.setattr(drilling, "_ask_agents", ask)
    out = tmp_path / "drills"
    status = drilling.run_drill(
        Printer(), group=ending(tmp_path, group), agents=(Path("a.sock"),), envelope=None,
        include=include, activate=activate, timeout=1.0, wait=None, out=out,
    )  # fmt: skip
    return status, orders[0], max(out.iterdir(), key=lambda path: path.name)


def test_a_drill_in_the_certificates_name_activates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, order, path = run_drill(monkeypatch, tmp_path, 1, 3)
    assert (status, order.nonce) == (6, ENDING.group.certificate)
    found = read_certificate(path, ENDING.group, int(time.time()))
    assert ENDING.group.activated(activation_from_drill(ENDING.group, found)).active


def test_holders_activate_one_after_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, random, first = run_drill(monkeypatch, tmp_path, 3, activate=False)
    assert random.nonce != ENDING.group.certificate
    _, order, second = run_drill(monkeypatch, tmp_path, 1, include=(first,))
    assert order.nonce == ENDING.group.certificate  # an open order of another nonce does not do
    _, again, third = run_drill(monkeypatch, tmp_path, 2, include=(second,))
    assert again == order
    found = read_certificate(third, ENDING.group, int(time.time()))
    assert activation_from_drill(ENDING.group, found).order == order


@pytest.mark.case("X627", "drill to activate a group that has no certificate, or is active")
@pytest.mark.parametrize(
    ("group", "why"),
    [(HOLDERS.group, "with a certificate"), (DrillPool(2, 3, epoch=2).group, "active already")],
)
def test_there_must_be_something_to_activate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: Any, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        run_drill(monkeypatch, tmp_path, 1, group=group)
    assert not (tmp_path / "drills").exists()

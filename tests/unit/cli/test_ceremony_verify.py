"""`signer ceremony verify`: 0 for a ceremony that has succeeded, and for nothing less."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.errors import SignerError
from signer.messages.drill import DRILL_DST, DrillOrder
from signer.messages.drill_certificate import Drill, DrillCertificate
from signer.messages.drill_report import PAYLOAD_TYPE as REPORT_TYPE
from signer.messages.drill_report import PRIMARY, Drilled, DrillReport, ReportBody
from signer.policy.policy import NEVER, Policy
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import ADDRESS, NOW

POLICY = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
Damage = Callable[[Path], object]


@cache
def gathering() -> Gathering:
    return Gathering.dkg(2, 3, policy_digest=POLICY.digest)


@cache
def finished_files() -> dict[str, bytes]:
    made = gathering()
    return made.files() | {
        "roster.json": made.setting.roster.to_bytes(),
        "policy.json": canonical(POLICY.to_json()) + b"\n",
        "certificate.json": made.certificate().to_bytes(),
        "group-pending.json": made.group().to_bytes(),
        "group.json": made.group(active=True).to_bytes(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in finished_files().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def verify(folder: Path) -> tuple[SignerError | None, dict[str, Any]]:
    """Run it: its error, and what it printed."""
    printer = Printer()
    done = CliRunner().invoke(cli, ["ceremony", "verify", str(folder), "--json"], obj=printer)
    if done.exception is not None and not isinstance(done.exception, SignerError | SystemExit):
        raise done.exception
    value = json.loads(done.stdout) if done.stdout.strip() else dict(printer.account)
    error = done.exception if isinstance(done.exception, SignerError) else None
    assert (error is None) == bool(value["verified"])
    return error, value


def status(folder: Path) -> str:
    done = CliRunner().invoke(cli, ["ceremony", "status", str(folder)], obj=Printer())
    assert done.exit_code == 0, done.exception
    return done.stdout


def removed(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def put(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def doctored(**changes: Any) -> bytes:
    return replace(gathering().group(), **changes).to_bytes()


OTHER_POLICY = canonical(Policy(labels={ADDRESS: "other"}, approval=NEVER).to_json())


@pytest.mark.case("X756", "verify: something is missing, or is of another ceremony")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (removed("ack-02.json"), "the acknowledgements of member 2"),
        (removed("group.json"), "group.json: the group file"),
        (put("group.json", doctored()), "group.json: the group file"),
        (put("group.json", b"junk"), "group.json: the group file"),
        (put("group-pending.json", doctored(origin="split")), "group-pending.json: what lies"),
        (put("group-pending.json", doctored(rehearsal=True)), "group-pending.json: what lies"),
        (put("group-pending.json", doctored(policy_digest=bytes(32))), "group-pending.json: what"),
        (removed("policy.json"), "policy.json: "),
        (put("policy.json", OTHER_POLICY), "policy.json: it is not the policy that the roster"),
        (removed("certificate.json"), "certificate.json: none that holds"),
        (put("certificate.json", b"junk"), "certificate.json: none that holds"),
        (put("deal-01.json", b"junk"), "deal-01.json: "),
        (put("agree-03.json", b"{}"), "agree-03.json: "),
    ],
    ids=lambda value: value.replace(" ", "-")[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_missing_is_said(folder: Path, damage: Damage, words: str) -> None:
    assert verify(folder)[0] is None
    damage(folder)
    error, value = verify(folder)
    assert error is not None
    assert words in error.message
    assert any(what.startswith(words[:12]) for what in value["missing"])


@pytest.mark.case("X1012", "verify --json: what was done, also where only the certificate has it")
def test_what_was_done_is_told_to_programs(folder: Path) -> None:
    for name in ("deal-01.json", "agree-02.json"):
        (folder / name).unlink()
    error, value = verify(folder)
    assert error is None
    found = value["entries"]
    assert {tuple(one) for one in found} == {("kind", "who", "did", "moment", "digest", "file")}
    kinds = [one["kind"] for one in found]
    assert sorted(kinds) == sorted(
        [*["deal", "agreement", "acknowledgement"] * 3, "activation"]
    )  # fmt: skip
    files = {(one["kind"], one["who"]): one["file"] for one in found}
    assert files["deal", "dealer 1 (holder 1)"] == "certificate.json"
    assert files["deal", "dealer 2 (holder 2)"] == "deal-02.json"
    assert files["agreement", "member 2 (holder 2)"] == "certificate.json"
    assert files["activation", "at least 2 members"] == "group.json"
    (deal,) = [one for one in found if one["file"] == "deal-02.json"]
    made = gathering().deal(2)
    assert (deal["digest"], deal["moment"]) == (made.digest.hex(), NOW)
    (folder / "ack-03.json").unlink()
    assert len(verify(folder)[1]["entries"]) == 9
    (folder / "group.json").rename(folder / "group-0123abcd.json")
    assert {"activation": "group-0123abcd.json"}.items() <= {
        one["kind"]: one["file"] for one in verify(folder)[1]["entries"]
    }.items()


@pytest.mark.case("X755", "verify: junk beside the files of a ceremony that has succeeded")
def test_junk_beside_a_good_ceremony(folder: Path) -> None:
    strange = Gathering.dkg(2, 3)
    junk = {
        "deal-77.json": b"junk", "deal-01-more.json": strange.deal(1).to_bytes(),
        "agree-02-x.json": b"{}", "ack-99.json": b"", "group-0123abcd.json": b"junk",
        "certificate-0123abcd.json": strange.certificate().to_bytes(),
        "group-pending-0123abcd.json": strange.group().to_bytes(), "previous.json": b"junk",
    }  # fmt: skip
    for name, data in junk.items():
        (folder / name).write_bytes(data)
    error, value = verify(folder)
    assert (error, value["missing"]) == (None, [])
    files = [problem["file"] for problem in value["problems"]]
    assert {"deal-77.json", "ack-99.json", "group-0123abcd.json"} <= set(files)
    done = CliRunner().invoke(cli, ["ceremony", "verify", str(folder)], obj=Printer())
    (line,) = (line for line in done.stdout.splitlines() if "ack-99" in line)
    assert line.count("ack-99.json") == 1
    # And the true ones may stand under their second names.
    for name in ("group.json", "certificate.json", "group-pending.json"):
        true = finished_files()[name]
        (folder / name.replace(".json", "-0123abcd.json")).write_bytes(true)
        (folder / name).write_bytes(b"junk")
    assert verify(folder)[0] is None


@pytest.mark.case("X1003", "another policy, or a damaged one, in the folder of a ceremony")
@pytest.mark.parametrize("raw", [OTHER_POLICY, b"version: [", b""])
def test_another_policy_is_shown(folder: Path, raw: bytes) -> None:
    assert "policy.json" not in status(folder)
    (folder / "policy.json").write_bytes(raw)
    shown = status(folder)
    assert "\nactive\n" in shown
    assert "not used: policy.json: E_" in shown


def one_drill() -> bytes:
    """Return what one holder's drill of this group leaves: too little to activate it."""
    made, group, moment = gathering(), gathering().group(), 1_700_000_000
    assert group.certificate is not None
    order = DrillOrder(group_id=group.group_id, epoch=group.epoch, nonce=group.certificate,
                       moment=moment, expires=moment + 600)  # fmt: skip
    card = made.members[1].card.body
    with SecretScalar.from_big_endian(bytearray(made.share(1))) as scalar:
        partial = bytes(sign(scalar, order.message, DRILL_DST))
    device = Drilled(role=PRIMARY, serial_sha256=card.serial_sha256, profile=card.profile,
                     kex=card.kex, partial=partial)  # fmt: skip
    body = ReportBody(order_digest=order.digest, group_id=group.group_id, epoch=group.epoch,
                      index=ShareIndex(1), devices=(device,), moment=moment)  # fmt: skip
    signed = made.members[1].sign(REPORT_TYPE, body.to_payload())
    report = DrillReport.open(signed, order, group, moment, "report")
    return DrillCertificate.of(group, [Drill(order, (report,))]).to_bytes()


@pytest.mark.case("X1004", "a drill's file damaged, or of another group, in a finished folder")
def test_a_drill_that_does_not_hold_is_listed(folder: Path) -> None:
    name = "drill-0a78b147-20261125T100353Z.json"
    drill = one_drill()
    (folder / name).write_bytes(drill)
    assert verify(folder)[1]["problems"] == []
    for raw, code in (
        (drill.replace(b'"epoch":1', b'"epoch":2', 1), "E_DRILL"), (b"junk", "E_SCHEMA"),
        (drill[:-9], "E_SCHEMA"),
    ):  # fmt: skip
        (folder / name).write_bytes(raw)
        error, value = verify(folder)
        assert error is None  # the active group file holds what came of it
        assert [(one["file"], one["code"]) for one in value["problems"]] == [(name, code)]
        assert f"not used: {name}: {code}" in status(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert [one["file"] for one in verify(folder)[1]["problems"]] == [name]

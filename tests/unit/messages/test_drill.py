import functools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.encoding import Signature
from signer.bls.scheme import ETHEREUM_DST, hash_to_g2, verify
from signer.errors import DeniedError, InputError, SchemaError, SignerError
from signer.messages.drill import DRILL_DST, MAX_OPEN_SECONDS, DrillOrder, is_overdue, require_open
from signer.messages.drill_certificate import Drill, DrillCertificate, last_drills
from signer.messages.drill_report import SCRATCH, SPARE, Drilled, DrillReport
from signer.messages.dsse import key_id_of
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.drills import DrillPool, new_point, point, sign
from tests.simulators.holders import NOW

HOLDERS = DrillPool()
ELSE = DrillPool(seed=9)
LATER = NOW + 3600


def code_of(call: Any) -> str:
    with pytest.raises(SignerError) as refused:
        call()
    return refused.value.code


# The domain.


@given(nonce=st.binary(min_size=32, max_size=32), moment=st.integers(0, 2**50))
@settings(max_examples=25, deadline=None)
def test_a_drill_partial_is_no_ethereum_signature(nonce: bytes, moment: int) -> None:
    order = HOLDERS.new_order(nonce=nonce, moment=moment, expires=moment + 1)
    partial = Signature(HOLDERS.partial(1, order))
    key = HOLDERS.group.vector.public_share(ShareIndex(1))
    assert verify(key, order.message, partial, DRILL_DST)
    assert not verify(key, order.message, partial, ETHEREUM_DST)
    assert hash_to_g2(order.message, DRILL_DST) != hash_to_g2(order.message, ETHEREUM_DST)


@pytest.mark.case("X450", "a partial under Ethereum's tag passed off as a drill's")
def test_an_ethereum_partial_is_no_drill() -> None:
    body = HOLDERS.body(1)
    foreign = replace(body.devices[0], partial=HOLDERS.partial(1, HOLDERS.order, ETHEREUM_DST))
    signed = HOLDERS.seal(1, replace(body, devices=(foreign,)).to_payload())
    assert open_code(signed) == "E_PARTIAL_INVALID"


def test_the_tag_is_ours() -> None:
    assert DRILL_DST == b"SIGNER_DRILL_V1_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
    assert len(DRILL_DST) <= 255  # RFC 9380 5.3.1


# Orders.


def test_an_order_comes_out_as_it_went_in() -> None:
    assert DrillOrder.parse(HOLDERS.order.to_bytes()) == HOLDERS.order


@pytest.mark.parametrize(
    "change", [{"nonce": b"\1" * 32}, {"moment": NOW + 1}, {"epoch": 2}, {"group_id": b"\2" * 32}]
)
def test_every_field_is_in_the_message(change: dict[str, Any]) -> None:
    other = replace(HOLDERS.order, **change)
    assert other.message != HOLDERS.order.message
    assert other.digest != HOLDERS.order.digest


BAD_ORDERS: dict[str, Any] = {
    "another type": {"type": "signer-drill"},
    "another version": {"version": 2},
    "short nonce": {"nonce": "00" * 31},
    "nonce in capitals": {"nonce": "AB" * 32},
    "epoch 0": {"epoch": 0},
    "over before it began": {"expires": NOW},
    "open for too long": {"expires": NOW + MAX_OPEN_SECONDS + 1},
    "a float": {"moment": 1.5},
    "unknown field": {"root": "00" * 32},
}


@pytest.mark.case("X451", "drill orders that are none")
@pytest.mark.parametrize("name", BAD_ORDERS)
def test_a_bad_order_is_refused(name: str) -> None:
    value = HOLDERS.order.to_json() | BAD_ORDERS[name]
    with pytest.raises(SchemaError):
        DrillOrder.parse(json.dumps(value).encode())


def test_each_field_of_an_order_must_be_there() -> None:
    for field in HOLDERS.order.to_json():
        value = HOLDERS.order.to_json()
        del value[field]
        with pytest.raises(SchemaError):
            DrillOrder.parse(canonical(value))


@pytest.mark.case("X452", "a drill order of another group or epoch, over, or from the future")
@pytest.mark.parametrize(
    ("change", "now", "code"),
    [
        ({"group_id": b"\2" * 32}, NOW, "E_GROUP"),
        ({"epoch": 2}, NOW, "E_EPOCH"),
        ({}, NOW - 301, "E_CLOCK"),
        ({}, NOW + 86400, "E_EXPIRED"),
    ],
)
def test_an_order_that_is_not_for_now(change: dict[str, Any], now: int, code: str) -> None:
    with pytest.raises(DeniedError) as refused:
        require_open(replace(HOLDERS.order, **change), HOLDERS.group, now)
    assert refused.value.code == code


def test_an_order_is_open_from_its_moment_to_its_end() -> None:
    for now in (NOW - 300, NOW, NOW + 86399):
        require_open(HOLDERS.order, HOLDERS.group, now)


def test_overdue() -> None:
    assert is_overdue(None, 10, 0)
    assert not is_overdue(90, 10, 100)
    assert is_overdue(89, 10, 100)


# Reports.


def open_code(signed: Any, *, now: int = LATER, order: DrillOrder | None = None) -> str:
    def call() -> object:
        return DrillReport.open(signed, order or HOLDERS.order, HOLDERS.group, now, "report")

    return code_of(call)


def test_a_true_report_holds() -> None:
    report = HOLDERS.report(2, spare=True)
    assert report.index == 2
    assert [device.role for device in report.body.devices] == ["primary", "spare"]


def flipped(value: Any, path: tuple[Any, ...]) -> Any:
    """Change one leaf so that its form stays right."""
    copy = json.loads(json.dumps(value))
    place = copy
    for step in path[:-1]:
        place = place[step]
    leaf = place[path[-1]]
    if isinstance(leaf, int):
        place[path[-1]] = leaf + 1
    else:
        place[path[-1]] = leaf[:-1] + ("0" if leaf[-1] != "0" else "1")
    return copy


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
    if isinstance(value, list):
        return [leaf for i, entry in enumerate(value) for leaf in leaves(entry, (*path, i))]
    return [path]


PAYLOAD = json.loads(HOLDERS.body(1, spare=True).to_payload())


@pytest.mark.case("X453", "a drill report with any field changed")
@pytest.mark.parametrize("path", leaves(PAYLOAD), ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_a_report_is_signed(path: tuple[Any, ...]) -> None:
    true = HOLDERS.signed(1, spare=True)
    with pytest.raises(InputError):
        DrillReport.open(
            replace(true, payload=canonical(flipped(PAYLOAD, path))),
            HOLDERS.order, HOLDERS.group, LATER, "report",
        )  # fmt: skip


@pytest.mark.case("X453", "a drill report with any field changed")
@pytest.mark.parametrize(
    "path",
    # A spare's own words are only the holder's; its key and serial are known to nobody else.
    [p for p in leaves(PAYLOAD) if p[-1] not in ("profile", "moment")
     and p not in (("devices", 1, "serial_sha256"), ("devices", 1, "kex"))],
    ids=lambda path: ".".join(map(str, path)),
)  # fmt: skip
def test_a_holder_who_signs_a_wrong_field_is_refused(path: tuple[Any, ...]) -> None:
    """His signature is good; what he signed does not agree with group, card, order or share."""
    assert open_code(HOLDERS.seal(1, canonical(flipped(PAYLOAD, path)))).startswith("E_")


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_no_bit_of_a_report_can_be_changed(position: int, bit: int) -> None:
    true = HOLDERS.signed(1, spare=True)
    payload = bytearray(true.payload)
    payload[position % len(payload)] ^= 1 << bit
    changed = replace(true, payload=bytes(payload))
    with pytest.raises(InputError):
        DrillReport.open(changed, HOLDERS.order, HOLDERS.group, LATER, "report")


def devices_refused(*devices: Drilled) -> str:
    body = replace(HOLDERS.body(1, spare=True), devices=devices)
    return open_code(HOLDERS.seal(1, body.to_payload()))


def test_devices_that_cannot_all_be_the_holders() -> None:
    primary, spare = HOLDERS.body(1, spare=True).devices
    other = HOLDERS.group.card_of(2).body
    lies = {
        "no primary": (spare,),
        "spare first": (spare, primary),
        "two primaries": (primary, replace(spare, role="primary")),
        "another kex": (replace(primary, kex=new_point()), spare),
        "another serial": (replace(primary, serial_sha256=bytes(32)), spare),
        "one device twice": (primary, replace(spare, kex=primary.kex)),
        "one serial twice": (primary, replace(spare, serial_sha256=primary.serial_sha256)),
        "another holder's key": (primary, replace(spare, kex=other.kex)),
        "rehearsal without spare": (primary, replace(spare, role=SCRATCH)),
    }
    for name, devices in lies.items():
        assert devices_refused(*devices) == "E_DRILL", name


@pytest.mark.case("X454", "a spare's partial that is another share's")
def test_a_spare_with_another_share() -> None:
    primary, spare = HOLDERS.body(1, spare=True).devices
    wrong = replace(spare, partial=HOLDERS.partial(2, HOLDERS.order))
    assert devices_refused(primary, wrong) == "E_PARTIAL_INVALID"
    infinity = replace(spare, partial=b"\xc0" + bytes(95))
    assert devices_refused(primary, infinity) == "E_PARTIAL_ENCODING"


def test_a_rehearsal_stands_beside_its_spare() -> None:
    primary, spare = HOLDERS.body(1, spare=True).devices
    scratch = replace(spare, role=SCRATCH, kex=new_point(), serial_sha256=b"\7" * 32)
    body = replace(HOLDERS.body(1), devices=(primary, spare, scratch))
    signed = HOLDERS.seal(1, body.to_payload())
    report = DrillReport.open(signed, HOLDERS.order, HOLDERS.group, LATER, "report")
    assert [device.role for device in report.body.devices] == ["primary", "spare", "scratch"]


@pytest.mark.case("X455", "a drill report of another holder, drill, group, or time")
def test_a_report_that_is_not_what_it_is_taken_for() -> None:
    stranger = sign(HOLDERS.keys[2], HOLDERS.signed(1).payload_type, HOLDERS.signed(1).payload)
    assert open_code(stranger) == "E_DRILL"  # holder 2 speaks for holder 1
    borrowed = replace(stranger, key_id=key_id_of(point(HOLDERS.keys[1])))
    assert open_code(borrowed) == "E_DRILL"
    assert open_code(ELSE.signed(1)) == "E_DRILL"
    old = HOLDERS.new_order(nonce=b"\1" * 32)
    assert open_code(HOLDERS.signed(1, old)) == "E_DRILL"
    for moment in (NOW - 301, NOW + 86400 + 301, LATER + 301):
        assert open_code(HOLDERS.signed(1, moment=moment)) == "E_DRILL"


# Certificates.


def certificate_of(*reports: DrillReport, order: DrillOrder | None = None) -> DrillCertificate:
    return DrillCertificate.of(HOLDERS.group, [Drill(order or HOLDERS.order, reports)])


def parsed(certificate: DrillCertificate, now: int = LATER) -> DrillCertificate:
    return DrillCertificate.parse(certificate.to_bytes(), HOLDERS.group, now, "certificate")


def test_a_certificate_comes_out_as_it_went_in() -> None:
    certificate = certificate_of(*(HOLDERS.report(i, spare=i == 2) for i in (1, 2, 4)))
    again = parsed(certificate)
    assert again == certificate
    assert again.missing == (3, 5)
    assert again.combined_sets() == [(1, 2, 4)]


def test_the_sets_use_every_partial() -> None:
    every = certificate_of(*(HOLDERS.report(i) for i in range(1, 6)))
    assert every.combined_sets() == [(1, 2, 3), (3, 4, 5)]
    assert certificate_of(HOLDERS.report(1), HOLDERS.report(2)).combined_sets() == []


CERTIFICATE = certificate_of(*(HOLDERS.report(i, spare=i == 2) for i in (1, 2, 4))).to_json()


@pytest.mark.case("X456", "a drill certificate with any field changed")
@pytest.mark.parametrize("path", leaves(CERTIFICATE), ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_a_certificate_counts(path: tuple[Any, ...]) -> None:
    raw = canonical(flipped(CERTIFICATE, path))
    with pytest.raises(InputError):
        DrillCertificate.parse(raw, HOLDERS.group, LATER, "certificate")


@pytest.mark.case("X457", "a drill certificate of another epoch or group")
def test_a_certificate_of_another_epoch_or_group() -> None:
    raw = certificate_of(HOLDERS.report(1)).to_bytes()
    for group in (replace(HOLDERS.group, epoch=2), DrillPool(2, 3).group):
        call = lambda group=group: DrillCertificate.parse(raw, group, LATER, "c")  # noqa: E731
        assert code_of(call) in ("E_DRILL", "E_PARTIAL_INVALID")
    relabelled = CERTIFICATE | {"epoch": 2}
    raw = canonical(relabelled)
    moved = replace(HOLDERS.group, epoch=2)
    assert code_of(lambda: DrillCertificate.parse(raw, moved, LATER, "c")) == "E_DRILL"


@pytest.mark.case("X458", "a drill certificate from the future, or with a holder twice")
def test_a_certificate_that_contradicts_itself() -> None:
    true = certificate_of(HOLDERS.report(1), HOLDERS.report(2)).to_json()
    drill = true["drills"][0]
    twice = true | {"drills": [drill | {"reports": [drill["reports"][0]] * 2}]}
    again = true | {"drills": [drill, drill]}
    for value in (twice, again):
        raw = canonical(value)
        parse = functools.partial(DrillCertificate.parse, raw, HOLDERS.group, LATER, "c")
        assert code_of(parse) == "E_DRILL"
    assert code_of(lambda: parsed(certificate_of(HOLDERS.report(1)), NOW - 301)) == "E_DRILL"
    for value in (true | {"drills": []}, true | {"note": ""}):
        with pytest.raises(SchemaError):
            DrillCertificate.parse(canonical(value), HOLDERS.group, LATER, "c")
    with pytest.raises(SchemaError):
        DrillCertificate.parse(b"{" + b" " * 2**23 + b"}", HOLDERS.group, LATER, "c")


def test_merging_keeps_the_last_time_of_each_device() -> None:
    first = HOLDERS.order
    second = HOLDERS.new_order(nonce=b"\x08" * 32, moment=NOW + 1000, expires=NOW + 90000)
    old = [HOLDERS.report(1), HOLDERS.report(2, spare=True), HOLDERS.report(3)]
    new = [HOLDERS.report(1, second), HOLDERS.report(2, second)]
    merged = DrillCertificate.of(
        HOLDERS.group, [Drill(second, tuple(new)), Drill(first, tuple(old))]
    )
    assert parsed(merged) == merged
    assert merged.missing == (4, 5)
    newest, older = merged.drills
    assert [int(report.index) for report in newest.reports] == [1, 2]
    assert [int(report.index) for report in older.reports] == [2, 3]  # 2 for its spare
    last = [(entry.index, entry.device.role, entry.moment) for entry in last_drills([merged])]
    assert last == [
        (1, "primary", NOW + 1060),
        (2, "primary", NOW + 1060),
        (2, SPARE, NOW + 60),
        (3, "primary", NOW + 60),
    ]


def test_a_certificate_needs_a_report() -> None:
    with pytest.raises(ValueError, match="a report"):
        DrillCertificate.of(HOLDERS.group, [])


def test_a_certificate_of_100_holders_fits() -> None:
    """The largest there is: its size is bounded, and reading it takes seconds at most."""
    crowd = DrillPool(67, 100)
    reports = tuple(crowd.report(i, spare=True) for i in range(1, 101))
    certificate = DrillCertificate.of(crowd.group, [Drill(crowd.order, reports)])
    again = DrillCertificate.parse(certificate.to_bytes(), crowd.group, LATER, "c")
    assert again.missing == ()
    assert {i for chosen in again.combined_sets() for i in chosen} == set(range(1, 101))

"""What makes a certified group active, and all that does not."""

from dataclasses import replace
from typing import Any

import pytest

from signer.bls.encoding import Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import ETHEREUM_DST, sign
from signer.errors import EncodingError, GroupFileError, InputError, SchemaError, SignerError
from signer.messages.activation import Activation, activation_from_drill
from signer.messages.drill import DRILL_DST
from signer.messages.drill_certificate import Drill, DrillCertificate
from signer.messages.group_file import GroupFile, marked_fingerprint
from signer.strict import Fields, canonical
from tests.simulators.drills import DrillPool
from tests.simulators.holders import KEY, NOW, SimulatedPool, activation_of

MADE = SimulatedPool.new(2, 3, origin="dkg").group
WAITING = replace(MADE, activation=None)
LATER = SimulatedPool.new(2, 3, epoch=2).group
ONE_DESK = SimulatedPool.new(2, 3).group
G2_OUTSIDE_THE_GROUP = (  # bls12-381-tests, deserialization_fails_not_in_G2
    "8123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567"
    "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef"
)


def with_activation(group: GroupFile, activation: Any) -> bytes:
    return canonical(group.to_json() | {"activation": activation})


def signed(message: bytes, dst: bytes = DRILL_DST, key: bytes = KEY) -> str:
    with SecretScalar.from_big_endian(bytearray(key)) as scalar:
        return bytes(sign(scalar, message, dst)).hex()


@pytest.mark.parametrize("group", [MADE, WAITING, LATER, ONE_DESK])
def test_a_group_comes_out_as_it_went_in(group: GroupFile) -> None:
    again = GroupFile.parse(group.to_bytes())
    assert again == group
    assert again.digest == group.digest


def test_certified_groups_are_active_with_an_activation_only() -> None:
    assert ONE_DESK.active
    assert MADE.active
    assert LATER.active
    assert not WAITING.active
    assert WAITING.activated(activation_of(WAITING)) == MADE
    assert GroupFile.parse(MADE.to_bytes()).activation == MADE.activation


@pytest.mark.case("X620", "group file without the certificate that it must have")
@pytest.mark.parametrize("group", [WAITING, replace(LATER, activation=None), MADE])
def test_only_a_splits_first_epoch_has_no_certificate(group: GroupFile) -> None:
    with pytest.raises(GroupFileError, match="no certificate"):
        GroupFile.parse(replace(group, certified=None).to_bytes())


@pytest.mark.case("X620", "group file with an activation and no certificate")
def test_without_certificate_there_is_nothing_to_activate() -> None:
    raw = replace(ONE_DESK, activation=MADE.activation).to_bytes()
    with pytest.raises(GroupFileError, match="an activation and no certificate"):
        GroupFile.parse(raw)


@pytest.mark.case("X620", "group file whose certificate or rehearsal is malformed or missing")
@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": ...},
        {"certificate": "00" * 32},
        {"certificate": {"ceremony": "00" * 32}},
        {"certificate": {"ceremony": "00" * 32, "transcript": "AB" * 32}},
        {"certificate": {"ceremony": "00" * 32, "transcript": "00" * 32, "more": 1}},
        {"certificate": 0},
        {"certificate": ""},
        {"rehearsal": ...},
        {"rehearsal": None},
        {"rehearsal": 0},
        {"rehearsal": "no"},
        {"activation": ...},
        {"activation": False},
        {"activation": []},
        {"activation": {}},
        {"origin": "reshare"},
    ],
)
def test_malformed_fields_are_refused(changes: dict[str, Any]) -> None:
    value = MADE.to_json() | changes
    with pytest.raises(SchemaError):
        GroupFile.parse(canonical({name: v for name, v in value.items() if v is not ...}))


# Activations that are none


@pytest.mark.case("X621", "activation of another group, epoch, certificate, or of a random drill")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"group_id": bytes(32)}, "group or epoch"),
        ({"epoch": 2}, "group or epoch"),
        ({"nonce": bytes(32)}, "another certificate"),
    ],
)
def test_an_activation_is_of_this_group_and_certificate(changes: dict[str, Any], why: str) -> None:
    foreign = activation_of(WAITING, **changes)  # truly signed by the whole key
    with pytest.raises(GroupFileError, match=why):
        GroupFile.parse(with_activation(WAITING, foreign.to_json()))
    with pytest.raises(GroupFileError, match=why):
        WAITING.activated(foreign)


@pytest.mark.case("X621", "activation carried to a file with another certificate")
def test_an_activation_does_not_follow_another_certificate() -> None:
    raw = canonical(
        MADE.to_json() | {"certificate": {"ceremony": "07" * 32, "transcript": "00" * 32}}
    )
    with pytest.raises(GroupFileError, match="another certificate"):
        GroupFile.parse(raw)


def wrong_signatures() -> dict[str, str]:
    order = activation_of(WAITING).order
    pool = DrillPool(2, 3)
    return {
        "under Ethereum's tag": signed(order.message, ETHEREUM_DST),
        "of another message": signed(bytes(32)),
        "by another key": signed(order.message, key=bytes(31) + b"\5"),
        "one holder's partial": pool.partial(1, order).hex(),
    }


WRONG = wrong_signatures()


@pytest.mark.case("X621", "activation that is not the group's signature in the drill domain")
@pytest.mark.parametrize("name", WRONG)
def test_an_activation_is_the_groups_signature(name: str) -> None:
    value = activation_of(WAITING).to_json() | {"signature": WRONG[name]}
    with pytest.raises(GroupFileError, match="not a signature under the group public key"):
        GroupFile.parse(with_activation(WAITING, value))


@pytest.mark.case("X621", "activation whose signature is no point of the group, or infinity")
@pytest.mark.parametrize(
    "signature", ["c0" + "00" * 95, "00" * 96, "ff" * 96, G2_OUTSIDE_THE_GROUP]
)
def test_an_activations_signature_is_a_point_of_the_group(signature: str) -> None:
    value = activation_of(WAITING).to_json() | {"signature": signature}
    with pytest.raises(EncodingError):
        GroupFile.parse(with_activation(WAITING, value))


@pytest.mark.case("X621", "activation whose order was changed after it was signed")
def test_each_signed_field_of_the_order_counts() -> None:
    value = activation_of(WAITING).to_json()
    for name, other in (("moment", NOW - 3599), ("epoch", 2), ("nonce", "08" * 32)):
        changed = value | {"order": value["order"] | {name: other}}
        with pytest.raises(GroupFileError):
            GroupFile.parse(with_activation(WAITING, changed))


@pytest.mark.case("X621", "activation with a field missing, unknown or of another type")
def test_an_activation_has_its_fields_and_no_other() -> None:
    value = activation_of(WAITING).to_json()
    for broken in (
        {"order": value["order"]},
        {"signature": value["signature"]},
        value | {"more": 1},
        value | {"signature": None},
        value | {"signature": value["signature"][:-2]},
        value | {"order": value["order"] | {"version": 2}},
        value | {"order": value["order"] | {"root": "00" * 32}},
    ):
        with pytest.raises(SchemaError):
            Activation.take(Fields(broken, "activation"))


@pytest.mark.case("F15", "active group file with one bit changed")
def test_a_changed_bit_is_noticed_or_changes_the_fingerprint() -> None:
    raw = MADE.to_bytes()
    start = raw.index(b'"activation"')
    for place in range(start, raw.index(b'"amendments"'), 11):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            group = GroupFile.parse(changed)
        except SignerError:
            continue
        assert group.digest != MADE.digest


# Activations from drills

HOLDERS = DrillPool(3, 5, epoch=2)
HOLDERS.group = replace(HOLDERS.group, activation=None)
NAMED = HOLDERS.new_order(nonce=HOLDERS.group.certificate)


def certificate(*indices: int, nonce: bytes | None = None) -> DrillCertificate:
    order = NAMED if nonce is None else HOLDERS.new_order(nonce=nonce)
    reports = tuple(HOLDERS.report(index, order) for index in indices)
    return DrillCertificate.of(HOLDERS.group, [Drill(order, reports)])


@pytest.mark.parametrize("indices", [(1, 2, 3), (2, 4, 5), (1, 2, 3, 4, 5)])
def test_a_drill_of_t_holders_activates(indices: tuple[int, ...]) -> None:
    group = HOLDERS.group
    drilled = certificate(*indices)
    again = DrillCertificate.parse(drilled.to_bytes(), group, NOW + 3600, "certificate")
    active = group.activated(activation_from_drill(group, again))
    assert active.active
    assert GroupFile.parse(active.to_bytes()) == active
    with SecretScalar.from_big_endian(bytearray(KEY)) as key:
        assert active.activation == Activation(
            NAMED, Signature(sign(key, NAMED.message, DRILL_DST))
        )


def test_the_drill_may_be_one_among_others() -> None:
    group = HOLDERS.group
    other = HOLDERS.new_order(nonce=b"\1" * 32, moment=NOW + 9)
    drills = [
        Drill(other, (HOLDERS.report(5, other),)),
        Drill(NAMED, tuple(HOLDERS.report(index, NAMED) for index in (1, 2, 3))),
    ]
    found = DrillCertificate.of(group, drills)
    assert activation_from_drill(group, found).order == NAMED


@pytest.mark.case(
    "X622", "drill of t - 1 holders, or in no certificate's name, to activate a group"
)
@pytest.mark.parametrize(
    ("indices", "nonce", "had"), [((1, 2), None, 2), ((1, 2, 3, 4, 5), b"\7" * 32, 0)]
)
def test_a_drill_that_does_not_activate(
    indices: tuple[int, ...], nonce: bytes | None, had: int
) -> None:
    with pytest.raises(InputError, match=f"{had} of the 3 holders") as refused:
        activation_from_drill(HOLDERS.group, certificate(*indices, nonce=nonce))
    assert refused.value.code == "E_DRILL"
    assert "--activate" in refused.value.hint


@pytest.mark.case("X622", "drill of another epoch, to activate a group")
def test_a_drill_of_another_epoch_activates_nothing() -> None:
    later = replace(HOLDERS.group, epoch=3)
    with pytest.raises(InputError, match="another group or epoch"):
        activation_from_drill(later, certificate(1, 2, 3))


# What people are shown


def test_origin_and_rehearsal_in_words() -> None:
    assert ONE_DESK.origin_words == "split by a dealer, who has held the whole key"
    assert MADE.origin_words == "generated together; nobody has held the whole key"
    plain = ONE_DESK.marked(ONE_DESK.group_id)
    assert replace(ONE_DESK, rehearsal=True).marked(ONE_DESK.group_id) == f"REHEARSAL {plain}"
    assert marked_fingerprint(ONE_DESK.group_id, rehearsal=False) == plain

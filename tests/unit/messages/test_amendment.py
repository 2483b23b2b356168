"""Amendments of the policy: counted when every holder signed them, in order, and not otherwise."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signer.errors import InputError, PolicyError, SchemaError
from signer.messages.amendment import (
    MAX_AMENDMENTS,
    MAX_PAYLOAD_BYTES,
    PAYLOAD_TYPE,
    AmendmentBody,
)
from signer.messages.card import PAYLOAD_TYPE as CARD_TYPE
from signer.messages.dsse import JointlySignedFile, Signature, SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.group_id import holders_digest
from signer.policy.amending import adopt, propose, require_amendment
from signer.policy.policy import NEVER, Policy
from signer.strict import canonical
from tests.simulators.holders import ADDRESS, OTHER, SimulatedPool, signed_as

POOL = SimulatedPool.new(2, 3)
GROUP = POOL.group
SECOND = Policy(labels={ADDRESS: "treasury", OTHER: "cold"}, approval=NEVER)
THIRD = Policy(labels={OTHER: "cold"}, approval=NEVER)
FOREIGN = SimulatedPool.new(2, 3, seed=8).group


def signatures(body: AmendmentBody, group: GroupFile = GROUP) -> list[SignedFile]:
    """Every holder's signature."""
    return [signed_as(point, body.to_payload(), PAYLOAD_TYPE) for point in group.id_signs]


def amended(group: GroupFile, policy: Policy) -> GroupFile:
    body = propose(group, policy)
    return adopt(group, body, signatures(body))


ONCE = amended(GROUP, SECOND)
TWICE = amended(ONCE, THIRD)
FIRST, LAST = (amendment.to_json() for amendment in TWICE.amendments)


def parse(*amendments: Any, group: GroupFile = GROUP) -> GroupFile:
    return GroupFile.parse(canonical(group.to_json() | {"amendments": list(amendments)}))


def joint(body: AmendmentBody | bytes, signers: Any = GROUP.id_signs) -> dict[str, Any]:
    payload = body if isinstance(body, bytes) else body.to_payload()
    files = [signed_as(point, payload, PAYLOAD_TYPE) for point in signers]
    entries = tuple(Signature(file.key_id, file.signature) for file in files)
    return JointlySignedFile(PAYLOAD_TYPE, payload, entries).to_json()


def test_a_chain_comes_out_as_it_went_in() -> None:
    again = GroupFile.parse(TWICE.to_bytes())
    assert again == TWICE
    assert again.amendment_number == 2
    assert again.current_policy_digest == THIRD.digest
    assert again.policy_digest == GROUP.policy_digest == POOL.policy.digest
    assert again.digest != ONCE.digest != GROUP.digest
    assert ONCE.current_policy_digest == SECOND.digest
    assert GROUP.current_policy_digest == GROUP.policy_digest
    assert [a.body.number for a in again.amendments] == [1, 2]


def test_an_amendment_leaves_the_envelopes_as_they_are() -> None:
    for index in GROUP.indices:
        assert TWICE.binding(index) == GROUP.binding(index)


def test_the_binding_holds_threshold_and_holders() -> None:
    """A vector of the digest: canonical JSON of threshold and identity keys, in index order."""
    import hashlib

    text = '{"id_sign":[' + ",".join(f'"{p.hex()}"' for p in GROUP.id_signs) + '],"threshold":2}'
    assert GROUP.holders_digest == hashlib.sha256(text.encode()).digest()
    others = [holders_digest(3, GROUP.id_signs), holders_digest(2, GROUP.id_signs[::-1])]
    assert GROUP.holders_digest not in [*others, holders_digest(2, GROUP.id_signs[:2])]


def test_signatures_come_in_any_order() -> None:
    body = propose(GROUP, SECOND)
    assert adopt(GROUP, body, signatures(body)[::-1]).amendments[0].body == body


def without(count: int) -> dict[str, Any]:
    return FIRST | {"signatures": FIRST["signatures"][count:]}


def swapped() -> dict[str, Any]:
    one, two, three = FIRST["signatures"]
    return FIRST | {"signatures": [two, one, three]}


def altered(**changes: Any) -> dict[str, Any]:
    """The payload edited, the signatures kept."""
    payload = canonical(json.loads(base64.b64decode(FIRST["payload"])) | changes)
    return FIRST | {"payload": base64.b64encode(payload).decode()}


def doubled() -> dict[str, Any]:
    one, two, _ = FIRST["signatures"]
    return FIRST | {"signatures": [one, two, two]}


BODY = propose(GROUP, SECOND)
BROKEN: dict[str, Callable[[], list[Any]]] = {
    "unsigned": lambda: [without(3)],
    "partly signed": lambda: [without(1)],
    "signed by one key thrice": lambda: [joint(BODY, GROUP.id_signs[:1] * 3)],
    "one key twice": lambda: [doubled()],
    "out of index order": lambda: [swapped()],
    "one signature too many": lambda: [joint(BODY, (*GROUP.id_signs, GROUP.id_signs[0]))],
    "signed by other people": lambda: [joint(BODY, FOREIGN.id_signs)],
    "signed by one stranger": lambda: [joint(BODY, (*GROUP.id_signs[:2], FOREIGN.id_signs[2]))],
    "policy altered": lambda: [altered(policy=THIRD.to_json())],
    "number altered": lambda: [altered(number=2)],
    "reordered": lambda: [LAST, FIRST],
    "without its first": lambda: [LAST],
    "its first twice": lambda: [FIRST, FIRST],
    "another group's": lambda: [joint(replace(BODY, group=bytes(32)))],
    "another epoch's": lambda: [joint(replace(BODY, epoch=2))],
    "number 2 first": lambda: [joint(replace(BODY, number=2))],
    "from another policy on": lambda: [joint(replace(BODY, previous=THIRD.digest))],
    "not canonical": lambda: [joint(BODY.to_payload() + b" ")],
}


@pytest.mark.case("F13", "amendment with no signature, too few, one key twice, unknown keys")
@pytest.mark.case("F15", "amendment with its payload altered and its signatures kept")
@pytest.mark.case("X384", "amendments reordered, with a gap, of another group, epoch or policy")
@pytest.mark.parametrize("how", BROKEN)
def test_a_chain_that_not_everybody_signed_in_order_is_none(how: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(*BROKEN[how]())
    assert refused.value.code == "E_POLICY"


def test_the_helpers_of_these_tests_make_good_chains_too() -> None:
    assert parse(joint(BODY)).current_policy_digest == SECOND.digest
    assert parse(FIRST, LAST).current_policy_digest == THIRD.digest
    assert parse(FIRST).amendment_number == 1  # hiding the newest is not found out by the file


@pytest.mark.case("F14", "amendment's bytes under another payload type, and a card's as one")
def test_another_payload_type_is_refused() -> None:
    with pytest.raises(SchemaError):
        parse(FIRST | {"payloadType": CARD_TYPE})
    as_cards = [signed_as(point, BODY.to_payload(), CARD_TYPE) for point in GROUP.id_signs]
    entries = tuple(Signature(file.key_id, file.signature) for file in as_cards)
    with pytest.raises(PolicyError):
        parse(JointlySignedFile(PAYLOAD_TYPE, BODY.to_payload(), entries).to_json())


@pytest.mark.case("F16", "amendment with a signature of r = 0, of DER, of 63 bytes")
@pytest.mark.parametrize("bad", [bytes(64), b"\x30" * 70, bytes(63), b"\xff" * 64])
def test_signatures_that_are_none_are_refused(bad: bytes) -> None:
    entry = FIRST["signatures"][1] | {"sig": base64.b64encode(bad).decode()}
    with pytest.raises(InputError):
        parse(FIRST | {"signatures": [FIRST["signatures"][0], entry, FIRST["signatures"][2]]})


MALFORMED: list[dict[str, Any]] = [
    {"type": "signer-card"},
    {"version": 2},
    {"group": "00" * 31},
    {"epoch": 0},
    {"number": 0},
    {"number": MAX_AMENDMENTS + 1},
    {"number": True},
    {"previous": None},
    {"policy": []},
    {"policy": "{}"},
    {"note": "x"},
]


@pytest.mark.case("F7", "amendment with an unknown, missing, mistyped field")
@pytest.mark.parametrize("changes", MALFORMED, ids=str)
def test_malformed_amendments_are_refused(changes: dict[str, Any]) -> None:
    value = json.loads(BODY.to_payload())
    assert AmendmentBody.parse(canonical(value)) == BODY
    with pytest.raises(SchemaError):
        AmendmentBody.parse(canonical(value | changes))
    for name in value:
        with pytest.raises(SchemaError):
            AmendmentBody.parse(canonical({k: v for k, v in value.items() if k != name}))


@pytest.mark.case("F3", "amendment over its size")
def test_amendments_are_bounded() -> None:
    with pytest.raises(SchemaError):
        AmendmentBody.parse(BODY.to_payload() + b" " * MAX_PAYLOAD_BYTES)
    with pytest.raises(SchemaError):
        parse(*[FIRST] * (MAX_AMENDMENTS + 1))


# What a holder's desk and worker ask before a signature


@pytest.mark.case("X385", "amendment whose policy is malformed, or not in canonical form")
def test_a_policy_that_would_read_as_another_is_not_signed() -> None:
    assert require_amendment(GROUP, BODY) == SECOND
    loose = {"version": 2, "addresses": [{"address": str(OTHER), "label": "cold"}]}
    with pytest.raises(PolicyError, match="canonical"):
        require_amendment(GROUP, replace(BODY, policy=loose))
    with pytest.raises(SchemaError):
        require_amendment(GROUP, replace(BODY, policy=SECOND.to_json() | {"extra": 1}))
    with pytest.raises(SchemaError):
        require_amendment(GROUP, replace(BODY, policy={}))


def test_what_is_in_force_needs_no_amendment() -> None:
    with pytest.raises(PolicyError, match="in force already"):
        propose(GROUP, POOL.policy)
    with pytest.raises(PolicyError, match="in force already"):
        propose(ONCE, SECOND)
    assert propose(ONCE, POOL.policy).number == 2  # back to the first is a change like any


@pytest.mark.case(
    "X386", "signatures of an amendment that are another's, a stranger's, twice, too few"
)
def test_adopting_names_what_is_wrong() -> None:
    files = signatures(BODY)
    other = signatures(propose(GROUP, THIRD))
    with pytest.raises(PolicyError, match="signature 1 is of another"):
        adopt(GROUP, BODY, other)
    with pytest.raises(PolicyError, match="signature 2 is no holder's"):
        adopt(GROUP, BODY, [files[0], signatures(BODY, FOREIGN)[1], files[2]])
    with pytest.raises(PolicyError, match="holder 1 has signed twice"):
        adopt(GROUP, BODY, [files[0], files[1], files[0]])
    with pytest.raises(PolicyError, match="missing, of holder 2, holder 3"):
        adopt(GROUP, BODY, files[:1])
    with pytest.raises(PolicyError, match="is 1; 2 is next"):
        adopt(ONCE, BODY, files)
    forged = replace(files[0], signature=bytes(64))
    with pytest.raises(PolicyError, match="signature 1 is no holder's"):
        adopt(GROUP, BODY, [forged, *files[1:]])

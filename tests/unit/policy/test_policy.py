import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import AddressError, InputError, SchemaError
from signer.messages.address import ExecutionAddress
from signer.policy.policy import MAX_ADDRESSES, MAX_BYTES, Policy
from signer.strict_yaml import parse_yaml_object
from tests.simulators.holders import ADDRESS, OTHER

TWO = {
    "version": 1,
    "addresses": [
        {"address": str(ADDRESS), "label": "pool treasury"},
        {"address": OTHER.wire, "label": "cold"},
    ],
}


def from_yaml(text: str) -> Policy:
    return Policy.parse(parse_yaml_object(text.encode(), what="policy", max_bytes=MAX_BYTES))


def test_a_policy_comes_out_as_it_went_in() -> None:
    policy = Policy.parse(TWO)
    assert policy.allows(ADDRESS)
    assert policy.allows(OTHER)
    assert not policy.allows(ExecutionAddress(bytes(19) + b"\xee"))
    assert Policy.parse(policy.to_json()) == policy


def test_order_comments_and_spelling_do_not_change_the_digest() -> None:
    text = f"""
        # reviewed by all
        addresses:
          - {{label: cold, address: "{OTHER}"}}
          - {{address: "{ADDRESS.wire}", label: pool treasury}}
        version: 1
    """
    assert from_yaml(text).digest == Policy.parse(TWO).digest


def test_every_word_that_counts_changes_the_digest() -> None:
    text = json.dumps(TWO)
    for old, new in (
        ("pool treasury", "pool treasurx"),
        (OTHER.wire, "0x" + "12" * 20),
        (', {"address": "' + OTHER.wire + '", "label": "cold"}', ""),
    ):
        assert old in text
        assert Policy.parse(json.loads(text.replace(old, new))).digest != Policy.parse(TWO).digest


@pytest.mark.case("P11", "policy with no address, a wrong checksum, 0x0, a precompile, an ENS name")
@pytest.mark.parametrize(
    "address",
    [
        str(ADDRESS).replace("F", "f", 1),
        "0x" + "00" * 20,
        "0x" + "00" * 19 + "01",
        "0x" + "00" * 18 + "0100",
        "treasury.eth",
        "0x1234",
        12,
        None,
    ],
)
def test_addresses_that_nobody_can_mean_are_refused(address: Any) -> None:
    with pytest.raises(AddressError):
        Policy.parse({"version": 1, "addresses": [{"address": address, "label": "x"}]})


@pytest.mark.case("F7", "policy with an unknown, missing, mistyped, doubled field")
@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"addresses": []},
        {"addresses": {}},
        {"addresses": None},
        {"addresses": [ADDRESS.wire]},
        {"addresses": [{"address": ADDRESS.wire}]},
        {"addresses": [{"address": ADDRESS.wire, "label": "x", "limit": 1}]},
        {"addresses": [{"address": ADDRESS.wire, "label": ""}]},
        {"addresses": [{"address": ADDRESS.wire, "label": 7}]},
        {"addresses": [{"address": ADDRESS.wire, "label": "x"}] * 2},
        {"addresses": [{"address": a.wire, "label": "x"} for a in (ADDRESS, OTHER)]},
        {"default": "allow"},
    ],
)
def test_malformed_policies_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        Policy.parse(TWO | changes)


@pytest.mark.case("R10", "label with escapes, bidi marks, a newline, 65 letters")
@pytest.mark.parametrize("label", ["\x1b[2J", "a\u202eb", "a\nb", "x" * 65, " lead", "é"])
def test_labels_are_plain_words(label: str) -> None:
    with pytest.raises(SchemaError):
        Policy.parse({"version": 1, "addresses": [{"address": ADDRESS.wire, "label": label}]})


@pytest.mark.case("X202", "policy with 1,001 addresses")
def test_a_policy_holds_1000_addresses_and_no_more() -> None:
    entries = [
        {"address": "0x" + f"{n:040x}", "label": f"n{n}"}
        for n in range(0x1000, 0x1000 + MAX_ADDRESSES + 1)
    ]
    assert len(Policy.parse({"version": 1, "addresses": entries[:-1]}).labels) == MAX_ADDRESSES
    with pytest.raises(SchemaError):
        Policy.parse({"version": 1, "addresses": entries})


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        Policy.parse(parse_yaml_object(raw, what="policy", max_bytes=MAX_BYTES))

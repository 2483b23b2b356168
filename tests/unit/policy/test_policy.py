import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import AddressError, InputError, SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.amounts import gwei_text, parse_gwei
from signer.messages.items import KINDS, Change
from signer.policy.deposits import HIGHEST_GWEI, LOWEST_GWEI, DepositRule
from signer.policy.policy import ALWAYS, MAX_ADDRESSES, MAX_BYTES, NEVER, Approval, Policy
from signer.policy.quantities import parse_seconds, seconds_text
from signer.policy.ranges import in_ranges, parse_ranges, ranges_json
from signer.strict_yaml import parse_yaml_object
from tests.simulators.holders import ADDRESS, OTHER

CREDENTIALS = "0x01" + "00" * 11 + ADDRESS.hex()
BLS_CREDENTIALS = "0x00" + "ab" * 31
TWO: dict[str, Any] = {
    "version": 2,
    "addresses": [
        {"address": str(ADDRESS), "label": "pool treasury"},
        {"address": OTHER.wire, "label": "cold", "validators": [12, "100-199"]},
    ],
}
FULL: dict[str, Any] = TWO | {
    "exits": "allowed",
    "deposits": {
        "credentials": [{"credentials": CREDENTIALS, "label": "ours"}],
        "minimum_eth": 1,
        "maximum_eth": "2048",
    },
    "requesters": {"bls_to_execution_change": [1000, 7]},
    "expiry_window": "36h",
    "approval": {"above": 3},
    "drill": {"every": "90d"},
}


def from_yaml(text: str) -> Policy:
    return Policy.parse(parse_yaml_object(text.encode(), what="policy", max_bytes=MAX_BYTES))


def test_a_policy_comes_out_as_it_went_in() -> None:
    policy = Policy.parse(FULL)
    for read in (Policy.parse(TWO), policy):
        assert Policy.parse(read.to_json()) == read
        assert Policy.parse(json.loads(json.dumps(read.to_json()))).digest == read.digest
    assert policy.labels == {ADDRESS: "pool treasury", OTHER: "cold"}
    assert policy.requesters == {"bls_to_execution_change": frozenset({7, 1000})}
    assert (policy.expiry_window, policy.drill_every) == (36 * 3600, 90 * 86400)
    assert (policy.exits, policy.approval) == (True, Approval(3))


def test_what_is_left_out_is_denied_or_careful() -> None:
    policy = Policy.parse(TWO)
    assert (policy.exits, policy.deposits, policy.drill_every) == (False, None, None)
    assert policy.approval == ALWAYS
    assert policy.requesters is None
    assert policy.expiry_window == 14 * 86400


def test_validators_pay_where_the_policy_lets_them() -> None:
    policy = Policy.parse(TWO)
    allowed = {
        index: policy.allows(Change(index, OTHER)) for index in (11, 12, 13, 99, 100, 199, 200)
    }
    assert [index for index, may in allowed.items() if may] == [12, 100, 199]
    assert policy.allows(Change(5, ADDRESS))
    assert not policy.allows(Change(12, ExecutionAddress(bytes(19) + b"\xee")))


def test_the_first_vector_of_the_digest_is_fixed() -> None:
    """The digest is in envelopes: what it is over must not change by accident."""
    policy = Policy(labels={ADDRESS: "pool treasury"})
    assert policy.to_json() == {
        "version": 2,
        "addresses": [{"address": ADDRESS.wire, "label": "pool treasury", "validators": "any"}],
        "exits": "denied",
        "deposits": "denied",
        "requesters": "anyone",
        "expiry_window": "14d",
        "approval": "always",
        "drill": "never",
    }
    assert policy.digest.hex() == "931f8c6011b41a9080cd63b07488f0219c103f1198319b0ceb82083bca753a95"


SPELLINGS: list[tuple[str, str]] = [
    ("exits: denied", ""),
    ("approval: always", ""),
    ("requesters: anyone", ""),
    ("deposits: denied", ""),
    ("drill: never", ""),
    ("expiry_window: 14d", "expiry_window: 336h"),
    ("expiry_window: 1h", "expiry_window: 60m"),
    ("drill: {every: 2d}", "drill: {every: 48h}"),
    (
        f"deposits: {{credentials: [{{credentials: '{CREDENTIALS}', label: a}}]}}",
        f"deposits: {{maximum_eth: '32.000', minimum_eth: '1.0',"
        f" credentials: [{{label: a, credentials: {CREDENTIALS}}}]}}",
    ),
    ("requesters: {deposit: [1, 2]}", "requesters: {deposit: [2, 1]}"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_two_spellings_have_one_digest(one: str, other: str) -> None:
    base = f"version: 2\naddresses: [{{address: {ADDRESS.wire}, label: a}}]\n"
    assert from_yaml(base + one).digest == from_yaml(base + other).digest


def test_order_comments_and_case_do_not_change_the_digest() -> None:
    text = f"""
        # reviewed by all
        addresses:
          - {{label: cold, validators: ["101-199", 12, 100], address: "{OTHER}"}}
          - {{address: "{ADDRESS.wire}", label: pool treasury, validators: any}}
        version: 2
    """
    assert from_yaml(text).digest == Policy.parse(TWO).digest


WORDS_THAT_COUNT: list[dict[str, Any]] = [
    {"addresses": TWO["addresses"][:1]},
    {"addresses": [TWO["addresses"][0], TWO["addresses"][1] | {"label": "warm"}]},
    {"addresses": [TWO["addresses"][0], TWO["addresses"][1] | {"validators": [12, "100-198"]}]},
    {"addresses": [TWO["addresses"][0], TWO["addresses"][1] | {"validators": "any"}]},
    {"addresses": [TWO["addresses"][0] | {"address": "0x" + "12" * 20}, TWO["addresses"][1]]},
    {"addresses": "none"},
    {"exits": "denied"},
    {"deposits": "denied"},
    {"deposits": FULL["deposits"] | {"minimum_eth": "1.000000001"}},
    {"deposits": FULL["deposits"] | {"maximum_eth": "2047.999999999"}},
    {"deposits": FULL["deposits"]
     | {"credentials": [{"credentials": BLS_CREDENTIALS, "label": "ours"}]}},
    {"deposits": FULL["deposits"]
     | {"credentials": [{"credentials": CREDENTIALS, "label": "theirs"}]}},
    {"requesters": "anyone"},
    {"requesters": {}},
    {"requesters": {"bls_to_execution_change": [1000]}},
    {"requesters": {"bls_to_execution_change": [1000, 7], "deposit": []}},
    {"expiry_window": "37h"},
    {"approval": {"above": 4}},
    {"approval": "always"},
    {"approval": "never"},
    {"drill": "never"},
    {"drill": {"every": "91d"}},
]  # fmt: skip


def test_every_word_that_counts_changes_the_digest() -> None:
    digests = {Policy.parse(FULL | changes).digest for changes in WORDS_THAT_COUNT}
    assert len(digests | {Policy.parse(FULL).digest}) == len(WORDS_THAT_COUNT) + 1


@pytest.mark.case("P11", "policy with no address, a wrong checksum, 0x0, a precompile, an ENS name")
@pytest.mark.parametrize(
    "address",
    [
        str(ADDRESS).replace("F", "f", 1),
        "0x" + "00" * 20,
        "0x" + "00" * 19 + "01",
        "0x" + "00" * 19 + "11",
        "0x" + "00" * 18 + "0100",
        "treasury.eth",
        "0x1234",
        12,
        None,
    ],
)
def test_addresses_that_nobody_can_mean_are_refused(address: Any) -> None:
    with pytest.raises(AddressError):
        Policy.parse({"version": 2, "addresses": [{"address": address, "label": "x"}]})


def test_the_address_of_nobody_has_its_own_code() -> None:
    for value in ("0x" + "00" * 20, "0x" + "00" * 19 + "09", "0x" + "00" * 18 + "0100"):
        with pytest.raises(AddressError) as refused:
            Policy.parse({"version": 2, "addresses": [{"address": value, "label": "x"}]})
        assert refused.value.code == "E_TARGET"
        rule = {"credentials": [{"credentials": "0x02" + "00" * 11 + value[2:], "label": "x"}]}
        with pytest.raises(AddressError) as refused:
            Policy.parse({"version": 2, "deposits": rule})
        assert refused.value.code == "E_TARGET"


def one(**fields: Any) -> list[dict[str, Any]]:
    return [{"address": ADDRESS.wire, "label": "x"} | fields]


def rule(**fields: Any) -> dict[str, Any]:
    return {"credentials": [{"credentials": CREDENTIALS, "label": "x"}]} | fields


MALFORMED: list[dict[str, Any]] = [
    {"version": 1},
    {"version": 3},
    {"version": True},
    {"version": "2"},
    {"addresses": []},
    {"addresses": {}},
    {"addresses": None},
    {"addresses": "any"},
    {"addresses": [ADDRESS.wire]},
    {"addresses": [{"address": ADDRESS.wire}]},
    {"addresses": one(limit=1)},
    {"addresses": one(label="")},
    {"addresses": one(label=7)},
    {"addresses": one() * 2},
    {"addresses": [{"address": a.wire, "label": "x"} for a in (ADDRESS, OTHER)]},
    {"addresses": one(validators=[])},
    {"addresses": one(validators=None)},
    {"addresses": one(validators="12")},
    {"addresses": one(validators=12)},
    {"addresses": one(validators=[True])},
    {"addresses": one(validators=[-1])},
    {"addresses": one(validators=[2**40])},
    {"addresses": one(validators=["12"])},
    {"addresses": one(validators=["2-2"])},
    {"addresses": one(validators=["3-2"])},
    {"addresses": one(validators=["1 - 2"])},
    {"addresses": one(validators=["01-2"])},
    {"addresses": one(validators=["1-١"])},
    {"addresses": one(validators=[f"1-{2**40}"])},
    {"addresses": one(validators=[5, "1-9"])},
    {"addresses": one(validators=[5, 5])},
    {"addresses": one(validators=[2 * n for n in range(1001)])},
    {"default": "allow"},
    {"exits": True},
    {"exits": "yes"},
    {"exits": None},
    {"deposits": "allowed"},
    {"deposits": None},
    {"deposits": {}},
    {"deposits": rule(credentials=[])},
    {"deposits": rule(credentials=[{"credentials": CREDENTIALS}])},
    {"deposits": rule(credentials=[{"credentials": CREDENTIALS.upper(), "label": "x"}])},
    {"deposits": rule(credentials=[{"credentials": CREDENTIALS[:-2], "label": "x"}])},
    {"deposits": rule(credentials=[{"credentials": "0x03" + CREDENTIALS[4:], "label": "x"}])},
    {"deposits": rule(credentials=[{"credentials": "0x0101" + CREDENTIALS[6:], "label": "x"}])},
    {"deposits": rule(credentials=rule()["credentials"] * 2)},
    {"deposits": rule(credentials=[
        {"credentials": c, "label": "x"} for c in (CREDENTIALS, BLS_CREDENTIALS)])},
    {"deposits": rule(minimum_eth="0.999999999")},
    {"deposits": rule(maximum_eth="2048.000000001")},
    {"deposits": rule(maximum_eth=2049)},
    {"deposits": rule(minimum_eth=3, maximum_eth=2)},
    {"deposits": rule(minimum_eth=40)},
    {"deposits": rule(minimum_eth="1.0000000001")},
    {"deposits": rule(minimum_eth="1e1")},
    {"deposits": rule(minimum_eth=True)},
    {"deposits": rule(minimum_eth=None)},
    {"deposits": rule(limit=1)},
    {"requesters": "nobody"},
    {"requesters": None},
    {"requesters": [1000]},
    {"requesters": {"attestation": [1000]}},
    {"requesters": {"deposit": 1000}},
    {"requesters": {"deposit": [True]}},
    {"requesters": {"deposit": [-1]}},
    {"requesters": {"deposit": [2**32 - 1]}},
    {"requesters": {"deposit": ["root"]}},
    {"requesters": {"deposit": [1, 1]}},
    {"requesters": {"deposit": list(range(65))}},
    {"expiry_window": "91d"},
    {"expiry_window": "0d"},
    {"expiry_window": "60"},
    {"expiry_window": 60},
    {"expiry_window": "30s"},
    {"expiry_window": "١٤d"},
    {"expiry_window": None},
    {"approval": "sometimes"},
    {"approval": None},
    {"approval": False},
    {"approval": {"above": 0}},
    {"approval": {"above": 20_000}},  # which is never
    {"approval": {"above": True}},
    {"approval": {"above": 1, "below": 9}},
    {"approval": {}},
    {"drill": "90d"},
    {"drill": None},
    {"drill": {}},
    {"drill": {"every": "12h"}},
    {"drill": {"every": "1001d"}},
    {"drill": {"every": "90d", "by": "Ada"}},
]  # fmt: skip


@pytest.mark.case("F7", "policy with an unknown, missing, mistyped, doubled, unbounded field")
@pytest.mark.case("F8", "policy with true for 1, a text for a number")
@pytest.mark.case("F9", "policy with a number out of its range")
@pytest.mark.parametrize("changes", MALFORMED, ids=lambda changes: str(changes)[:60])
def test_malformed_policies_are_refused(changes: dict[str, Any]) -> None:
    Policy.parse(TWO)
    with pytest.raises(SchemaError):
        Policy.parse(TWO | changes)


@pytest.mark.case("F5", "policy that starts with a byte-order mark")
@pytest.mark.case("F6", "policy with a field twice")
@pytest.mark.case("F8", "policy with 1.5, 1e3, -0")
@pytest.mark.case("F9", "policy with 2^53, 2^64")
@pytest.mark.parametrize(
    "text",
    [
        "\ufeffversion: 2\nexits: allowed\n",
        "version: 2\nexits: denied\nexits: allowed\n",
        "version: 2\nexits: allowed\napproval: {above: 1, above: 2}\n",
        "version: 2.0\nexits: allowed\n",
        "version: 2\nexits: allowed\napproval: {above: 1.5}\n",
        "version: 2\nexits: allowed\napproval: {above: 1e3}\n",
        "version: 2\nexits: allowed\nrequesters: {deposit: [-0]}\n",
        f"version: 2\nexits: allowed\nrequesters: {{deposit: [{2**53}]}}\n",
        f"version: 2\nexits: allowed\nrequesters: {{deposit: [{2**64}]}}\n",
    ],
)
def test_what_yaml_would_let_through_is_refused(text: str) -> None:
    from_yaml("version: 2\nexits: allowed\n")
    with pytest.raises(SchemaError):
        from_yaml(text)


@pytest.mark.case("P11", "policy that lets nothing through")
def test_a_policy_that_allows_nothing_is_refused() -> None:
    for extra in ({}, {"addresses": "none"}, {"exits": "denied", "deposits": "denied"}):
        with pytest.raises(SchemaError, match="nothing"):
            Policy.parse({"version": 2, **extra})
    assert Policy.parse({"version": 2, "exits": "allowed"}).labels == {}
    assert Policy.parse({"version": 2, "deposits": rule()}).labels == {}


@pytest.mark.case("R10", "label with escapes, bidi marks, a newline, 65 letters")
@pytest.mark.parametrize("label", ["\x1b[2J", "a\u202eb", "a\nb", "x" * 65, " lead", "é", "a\n"])
def test_labels_are_plain_words(label: str) -> None:
    with pytest.raises(SchemaError):
        Policy.parse({"version": 2, "addresses": one(label=label)})
    deposits = rule(credentials=[{"credentials": CREDENTIALS, "label": label}])
    with pytest.raises(SchemaError):
        Policy.parse({"version": 2, "deposits": deposits})


@pytest.mark.case("X202", "policy with 1,001 addresses")
def test_a_policy_holds_1000_addresses_and_no_more() -> None:
    entries = [
        {"address": "0x" + f"{n:040x}", "label": f"n{n}"}
        for n in range(0x1000, 0x1000 + MAX_ADDRESSES + 1)
    ]
    assert len(Policy.parse({"version": 2, "addresses": entries[:-1]}).labels) == MAX_ADDRESSES
    with pytest.raises(SchemaError):
        Policy.parse({"version": 2, "addresses": entries})


def test_when_a_person_is_needed() -> None:
    cases = {
        ALWAYS: [False, True, True, True],
        NEVER: [False, False, False, False],
        Approval(2): [False, False, False, True],
    }
    for approval, expected in cases.items():
        assert [approval.needed(items) for items in range(4)] == expected


@given(st.sets(st.integers(0, 60), min_size=1), st.randoms())
def test_ranges_hold_what_they_list_and_no_more(indices: set[int], shuffled: Any) -> None:
    entries: list[int] = sorted(indices)
    shuffled.shuffle(entries)
    ranges = parse_ranges(entries, "x")
    assert {index for index in range(62) if in_ranges(index, ranges)} == indices
    assert parse_ranges(ranges_json(ranges), "x") == ranges
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


@given(st.integers(LOWEST_GWEI, HIGHEST_GWEI))
def test_amounts_of_ether_are_exact(gwei: int) -> None:
    text = gwei_text(gwei)
    assert parse_gwei(text, "x", low=LOWEST_GWEI, high=HIGHEST_GWEI) == gwei
    assert not text.endswith((".", "0")) or "." not in text
    policy = Policy(deposits=DepositRule(labels={bytes(32): "a"}, maximum_gwei=gwei))
    assert Policy.parse(policy.to_json()) == policy


@given(st.integers(1, 90 * 1440))
def test_lengths_of_time_are_exact(minutes: int) -> None:
    text = seconds_text(60 * minutes)
    if len(text) <= 6:
        assert parse_seconds(text, "x", low=60, high=90 * 86400) == 60 * minutes


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        Policy.parse(parse_yaml_object(raw, what="policy", max_bytes=MAX_BYTES))


def test_kinds_are_those_of_requests() -> None:
    policy = Policy.parse(TWO | {"requesters": {kind: [1] for kind in KINDS}})
    assert set(policy.requesters or ()) == set(KINDS)

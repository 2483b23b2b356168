import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.messages.address import ExecutionAddress
from signer.messages.amounts import GWEI
from signer.messages.items import KINDS
from signer.policy.deposits import DepositRule
from signer.policy.policy import ALWAYS, NEVER, Approval, Policy
from signer.policy.words import difference, policy_text, sentences, time_words
from tests.simulators.holders import ADDRESS, OTHER

PLAIN = Policy(labels={ADDRESS: "pool treasury"})
FULL = Policy(
    labels={ADDRESS: "pool treasury", OTHER: "cold"},
    validators={OTHER: ((12, 12), (100, 199))},
    exits=True,
    deposits=DepositRule(
        labels={b"\1" + bytes(11) + ADDRESS: "ours", b"\0" + b"\xab" * 31: "the key"},
        maximum_gwei=GWEI * 65 // 2,
    ),
    requesters={"bls_to_execution_change": frozenset({1001, 1000}), "deposit": frozenset({7})},
    expiry_window=36 * 3600,
    approval=Approval(1),
    drill_every=90 * 86400,
)


def test_a_plain_policy_is_read_aloud() -> None:
    assert policy_text(PLAIN).splitlines() == [
        "What is not allowed here is denied.",
        "",
        "Any validator may pay to pool treasury:",
        "    0x 8c1F f978 036F 2e9d 7CC3 82Ef f7B4 c8c5 3C22 ac15",
        "Exits are denied.",
        "Deposits are denied.",
        "Whoever a holder's agent listens to may ask.",
        "A request may end at most 14 days from when it is signed.",
        "Every request needs a person.",
        "Nobody needs to drill.",
    ]


def test_a_full_policy_is_read_aloud() -> None:
    assert policy_text(FULL).splitlines()[2:] == [
        "Only validators 12, 100-199 may pay to cold:",
        "    0x 5290 8400 0985 2788 6E0F 7030 0698 57D2 E416 9EE7",
        "Any validator may pay to pool treasury:",
        "    0x 8c1F f978 036F 2e9d 7CC3 82Ef f7B4 c8c5 3C22 ac15",
        "Exits may be signed.",
        "Deposits of 1 to 32.5 ETH may have the withdrawal credentials of the key:",
        "    0x00, the key with the hash abab abab abab abab abab abab abab abab abab abab abab "
        "abab abab abab abab ab",
        "Deposits of 1 to 32.5 ETH may have the withdrawal credentials of ours:",
        "    0x01, the address 0x 8c1F f978 036F 2e9d 7CC3 82Ef f7B4 c8c5 3C22 ac15",
        "Only users 1000, 1001 may ask for withdrawal changes.",
        "Nobody may ask for exits.",
        "Only user 7 may ask for deposits.",
        "A request may end at most 36 hours from when it is signed.",
        "A request for more than 1 item needs a person.",
        "A holder whose last drill is more than 90 days ago does not sign.",
    ]


def test_the_difference_says_what_goes_and_what_comes() -> None:
    loose = Policy(labels={ADDRESS: "pool treasury"}, approval=NEVER)
    assert difference(PLAIN, loose) == [
        "No longer:  Every request needs a person.",
        "New:        No request needs a person: what is allowed is signed at once.",
    ]
    assert difference(PLAIN, PLAIN) == []
    moved = difference(PLAIN, Policy(labels={OTHER: "pool treasury"}))
    assert len(moved) == 2
    assert "8c1F" in moved[0]
    assert "5290" in moved[1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (60, "1 minute"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (86400, "1 day"),
        (90000, "25 hours"),
    ],
)
def test_times_are_said_in_the_greatest_unit(seconds: int, words: str) -> None:
    assert time_words(seconds) == words


ADDRESSES = [ExecutionAddress(bytes([n]) * 20) for n in (1, 2, 3)]
LABELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._,()+-]{0,20}", fullmatch=True)
POLICIES = st.builds(
    Policy,
    labels=st.dictionaries(st.sampled_from(ADDRESSES), LABELS),
    validators=st.dictionaries(
        st.sampled_from(ADDRESSES), st.sampled_from([((1, 1),), ((1, 4), (6, 6))])
    ),
    exits=st.booleans(),
    deposits=st.none()
    | st.builds(
        DepositRule,
        labels=st.dictionaries(
            st.sampled_from([b"\0" * 32, b"\1" + bytes(31)]), LABELS, min_size=1
        ),
        minimum_gwei=st.sampled_from([GWEI, 2 * GWEI]),
    ),
    requesters=st.none()
    | st.dictionaries(st.sampled_from(KINDS), st.frozensets(st.integers(0, 3), max_size=2)),
    expiry_window=st.sampled_from([60, 3600, 86400]),
    approval=st.sampled_from([ALWAYS, NEVER, Approval(1), Approval(2)]),
    drill_every=st.none() | st.sampled_from([86400, 172800]),
)


@given(POLICIES, POLICIES)
def test_what_is_said_is_all_that_counts(one: Policy, other: Policy) -> None:
    """Policies that decide differently are never read aloud alike, and the words steer nothing."""
    for policy in (one, other):
        assert set("".join(sentences(policy))) <= {chr(c) for c in range(32, 127)} | {"\n"}
    if not difference(one, other):
        assert _deciding(one) == _deciding(other)


def _deciding(policy: Policy) -> object:
    """The policy without what decides nothing: validators of addresses that are not there, …"""
    value = policy.to_json()
    if isinstance(value["requesters"], dict):
        value["requesters"] = {kind: uids for kind, uids in value["requesters"].items() if uids}
    return value

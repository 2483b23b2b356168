from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import DeniedError
from signer.messages.address import ExecutionAddress
from signer.messages.networks import HOODI
from signer.messages.request import Item, SignRequest
from signer.policy.decision import ROLE_OF_KIND, check_items, check_request
from signer.policy.policy import Policy
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
HOODI_POOL = SimulatedPool.new(network=HOODI)
REQUEST = POOL.request(1, 2, 3)
THIRD = ExecutionAddress.parse("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def code_of(request: SignRequest, *, pool: SimulatedPool = POOL, now: int = NOW) -> str:
    with pytest.raises(DeniedError) as refused:
        check_request(request, pool.group, now)
    assert refused.value.exit_status == 3
    return refused.value.code


def test_a_request_for_this_group_in_time_passes() -> None:
    check_request(REQUEST, POOL.group, NOW)


@pytest.mark.case("R4", "request of another group, or with another group's public key")
@pytest.mark.parametrize(
    "changes", [{"group_id": bytes(32)}, {"from_bls_pubkey": bytes(48)}], ids=str
)
def test_another_groups_request_is_denied(changes: dict[str, Any]) -> None:
    assert code_of(replace(REQUEST, **changes)) == "E_GROUP"


@pytest.mark.case("S5", "request of another epoch of the shares")
@pytest.mark.parametrize("epoch", [2, 0, 2**32 - 1])
def test_another_epochs_request_is_denied(epoch: int) -> None:
    assert code_of(replace(REQUEST, epoch=epoch)) == "E_EPOCH"


@pytest.mark.case("R8", "withdrawal message asked of a validator's or an approval key")
@pytest.mark.parametrize("role", ["validator", "approval"])
def test_a_role_signs_its_own_kinds_only(role: str) -> None:
    pool = SimulatedPool.new(role=role)
    assert code_of(pool.request(1), pool=pool) == "E_ROLE"


def test_only_withdrawal_keys_sign_anything_yet() -> None:
    assert ROLE_OF_KIND == {"bls_to_execution_change": "withdrawal"}


@pytest.mark.case("P7", "request that names another network than the group's")
def test_another_networks_request_is_denied() -> None:
    assert code_of(replace(REQUEST, network="hoodi")) == "E_NETWORK"
    assert code_of(HOODI_POOL.request(1)) == "E_GROUP"  # the id covers the network


@pytest.mark.case("R11", "request that expires now, expired a second ago, in 1970")
@pytest.mark.parametrize("expires", [NOW, NOW - 1, 0])
def test_an_expired_request_is_denied(expires: int) -> None:
    assert code_of(replace(REQUEST, expires=expires)) == "E_EXPIRED"


def test_a_request_holds_until_its_last_second() -> None:
    check_request(replace(REQUEST, expires=NOW + 1), POOL.group, NOW)


@pytest.mark.case("X200", "request wrong in every way at once: the first check speaks")
def test_the_first_failure_wins() -> None:
    pool = SimulatedPool.new(role="approval")
    faults: list[tuple[str, dict[str, Any]]] = [
        ("E_GROUP", {"group_id": bytes(32)}),
        ("E_GROUP", {"from_bls_pubkey": bytes(48)}),
        ("E_EPOCH", {"epoch": 9}),
        ("E_ROLE", {}),
    ]
    for position, (code, _) in enumerate(faults):
        changes = {name: value for _, fault in faults[position:] for name, value in fault.items()}
        request = replace(pool.request(1), network="hoodi", expires=0, **changes)
        assert code_of(request, pool=pool) == code
    assert code_of(replace(REQUEST, network="hoodi", expires=0)) == "E_NETWORK"


# Items


def decide(items: list[Item], bound: dict[int, ExecutionAddress] | None = None) -> list[str]:
    verdicts = check_items(items, POOL.policy, (bound or {}).get)
    assert [v.validator_index for v in verdicts if v] == [
        item[0] for item, verdict in zip(items, verdicts, strict=True) if verdict
    ]
    return ["" if verdict is None else verdict.code for verdict in verdicts]


@pytest.mark.case("P11", "address that the policy does not list")
def test_what_is_not_listed_is_denied() -> None:
    assert decide([(1, ADDRESS), (2, OTHER), (3, ADDRESS)]) == ["", "E_TARGET", ""]


@pytest.mark.case("X201", "policy without an address: default deny")
def test_an_empty_policy_allows_nothing() -> None:
    verdicts = check_items([(1, ADDRESS)], Policy(labels={}), lambda _: None)
    assert [verdict and verdict.code for verdict in verdicts] == ["E_TARGET"]


@pytest.mark.case("R1", "a second address for a validator, allowed by the policy")
def test_a_bound_validator_is_denied_any_other_address() -> None:
    policy = Policy(labels={ADDRESS: "a", OTHER: "b"})
    bound = {1: ADDRESS, 2: OTHER}
    verdicts = check_items([(1, OTHER), (2, OTHER), (3, OTHER)], policy, bound.get)
    assert [verdict and verdict.code for verdict in verdicts] == ["E_EQUIVOCATION", None, None]


def test_the_address_is_judged_before_the_binding() -> None:
    assert decide([(1, OTHER)], {1: ADDRESS}) == ["E_TARGET"]
    assert decide([(1, OTHER)], {1: OTHER}) == ["E_TARGET"]


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([ADDRESS, OTHER, THIRD])), max_size=6
        ),
        max_size=12,
    )
)
def test_any_sequence_of_requests_leads_to_one_address_per_validator(
    requests: list[list[Item]],
) -> None:
    policy = Policy(labels={ADDRESS: "a", OTHER: "b"})
    bound: dict[int, ExecutionAddress] = {}
    signed: set[Item] = set()
    for wanted in requests:
        items = list(dict(wanted).items())  # a request names a validator once
        for item, verdict in zip(items, check_items(items, policy, bound.get), strict=True):
            if verdict is None:
                bound.setdefault(*item)
                signed.add(item)
    assert len(signed) == len({validator for validator, _ in signed})
    assert THIRD not in {address for _, address in signed}

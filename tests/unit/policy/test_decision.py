from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import DeniedError
from signer.messages.address import ExecutionAddress
from signer.messages.amounts import GWEI
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    Change,
    Deposit,
    Exit,
    Item,
)
from signer.messages.networks import HOODI
from signer.messages.request import SignRequest
from signer.policy.decision import (
    CLOCK_TOLERANCE,
    NOTHING_BOUND,
    check_drill,
    check_items,
    check_request,
    explain_items,
    explain_request,
    needs_person,
)
from signer.policy.deposits import DepositRule
from signer.policy.policy import ALWAYS, NEVER, Approval, Policy
from signer.policy.quantities import DAY
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
HOODI_POOL = SimulatedPool.new(network=HOODI)
REQUEST = POOL.request(1, 2, 3)


VALIDATOR_POOL = SimulatedPool.new(role="validator")
EXIT = SignRequest.new(
    VALIDATOR_POOL.group, [Exit(7, 300_000)], expires=NOW + 60, kind=KIND_VOLUNTARY_EXIT
)


def check(
    request: SignRequest,
    *,
    pool: SimulatedPool = POOL,
    policy: Policy | None = None,
    now: int = NOW,
    asker: int | None = 0,
    not_before: int = 0,
) -> None:
    check_request(
        request, pool.group, policy or pool.policy, now=now, asker=asker, not_before=not_before
    )


def code_of(request: SignRequest, **case: Any) -> str:
    with pytest.raises(DeniedError) as refused:
        check(request, **case)
    assert refused.value.exit_status == 3
    return refused.value.code


def test_a_request_for_this_group_in_time_passes() -> None:
    check(REQUEST)


@pytest.mark.case("X626", "request to a certified group without activation, wrong in all else too")
def test_a_group_that_is_not_active_signs_nothing() -> None:
    waiting = SimulatedPool.new(origin="dkg", active=False)
    wrong = replace(waiting.request(1), group_id=bytes(32), epoch=9, expires=0)
    policy = replace(waiting.policy, requesters={})
    for request in (waiting.request(1), wrong):
        with pytest.raises(DeniedError, match="not active yet") as refused:
            check(request, pool=waiting, policy=policy, asker=1)
        assert (refused.value.code, refused.value.exit_status) == ("E_NOT_ACTIVE", 3)
        assert "signer ceremony status" in refused.value.hint
    check(SimulatedPool.new(origin="dkg").request(1), pool=SimulatedPool.new(origin="dkg"))


@pytest.mark.case("R4", "request of another group, or with another group's public key")
@pytest.mark.parametrize(
    "changes", [{"group_id": bytes(32)}, {"group_public_key": bytes(48)}], ids=str
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


@pytest.mark.case("R8", "exit or deposit asked of a withdrawal key")
def test_a_withdrawal_key_signs_no_exit_and_no_deposit() -> None:
    deposit = SignRequest.new(
        POOL.group, [Deposit(bytes(32), 32 * GWEI)], expires=NOW + 60, kind=KIND_DEPOSIT
    )
    generous = replace(POOL.policy, exits=True, deposits=DepositRule(labels={bytes(32): "a"}))
    assert code_of(deposit, policy=generous) == "E_ROLE"
    ours = replace(EXIT, group_id=POOL.group.group_id)
    assert code_of(ours, policy=generous) == "E_ROLE"
    check(EXIT, pool=VALIDATOR_POOL)


@pytest.mark.case("P7", "request that names another network than the group's")
def test_another_networks_request_is_denied() -> None:
    assert code_of(replace(REQUEST, network="hoodi")) == "E_NETWORK"
    assert code_of(HOODI_POOL.request(1)) == "E_GROUP"  # the id covers the network


@pytest.mark.case("R11", "request that expires now, expired a second ago, in 1970")
@pytest.mark.parametrize("expires", [NOW, NOW - 1, 0])
def test_an_expired_request_is_denied(expires: int) -> None:
    assert code_of(replace(REQUEST, expires=expires)) == "E_EXPIRED"


def test_a_request_holds_until_its_last_second() -> None:
    check(replace(REQUEST, expires=NOW + 1))


@pytest.mark.case("R11", "request that ends after the policy's window, by a second and by years")
def test_a_request_that_lasts_too_long_is_denied() -> None:
    policy = replace(POOL.policy, expiry_window=2 * DAY)
    last = NOW + 2 * DAY + CLOCK_TOLERANCE
    check(replace(REQUEST, expires=last), policy=policy)
    for expires in (last + 1, 2**53 - 1):
        assert code_of(replace(REQUEST, expires=expires), policy=policy) == "E_EXPIRED"
    assert code_of(replace(REQUEST, expires=NOW + 15 * DAY)) == "E_EXPIRED"  # 14 days unless told


@pytest.mark.case("R11", "clock set back a day, by one second more than two clocks may differ")
@pytest.mark.parametrize("behind", [CLOCK_TOLERANCE + 1, DAY])
def test_a_clock_that_was_set_back_is_noticed(behind: int) -> None:
    assert code_of(REQUEST, not_before=NOW + behind) == "E_CLOCK"
    check(REQUEST, not_before=NOW + CLOCK_TOLERANCE)
    check(REQUEST, not_before=NOW - DAY)


@pytest.mark.case("R3", "request with a signing root that is not the one computed")
def test_a_claimed_root_is_compared() -> None:
    roots = tuple(REQUEST.signing_roots(POOL.group.network, POOL.group.public_key))
    check(replace(REQUEST, roots=roots))
    wrong = (*roots[:2], bytes(32))
    assert code_of(replace(REQUEST, roots=wrong)) == "E_ROOT"
    swapped = (roots[1], roots[0], roots[2])
    assert code_of(replace(REQUEST, roots=swapped)) == "E_ROOT"


@pytest.mark.case("X380", "user whom the policy does not list, a kind that it does not list")
def test_the_policy_says_who_may_ask_for_what() -> None:
    policy = replace(
        POOL.policy, requesters={KIND_BLS_TO_EXECUTION_CHANGE: frozenset({1000, 1001})}
    )
    check(REQUEST, policy=policy, asker=1000)
    check(REQUEST, policy=policy, asker=None)  # somebody at his desk
    for asker in (0, 999, 1002):
        assert code_of(REQUEST, policy=policy, asker=asker) == "E_PEER"
    for nobody in ({KIND_DEPOSIT: frozenset({1000})}, {}):
        assert code_of(REQUEST, policy=replace(policy, requesters=nobody), asker=1000) == "E_PEER"
    assert code_of(EXIT, pool=VALIDATOR_POOL, policy=policy, asker=1000) == "E_PEER"


def test_an_operator_without_a_policy_is_spared_what_only_the_policy_says() -> None:
    late = replace(REQUEST, expires=NOW + 1000 * DAY)
    check_request(late, POOL.group, None, now=NOW, asker=5)
    with pytest.raises(DeniedError):
        check_request(replace(REQUEST, epoch=2), POOL.group, None, now=NOW, asker=5)


@pytest.mark.case("X200", "request wrong in every way at once: the first check speaks")
def test_the_first_failure_wins() -> None:
    pool = SimulatedPool.new(role="approval")
    right = pool.request(1, 2, 3)
    policy = replace(POOL.policy, requesters={KIND_BLS_TO_EXECUTION_CHANGE: frozenset({0})})
    faults: list[tuple[str, dict[str, Any]]] = [
        ("E_GROUP", {"group_id": bytes(32)}),
        ("E_GROUP", {"group_public_key": bytes(48)}),
        ("E_EPOCH", {"epoch": 9}),
        ("E_ROLE", {}),
    ]
    for position, (code, _) in enumerate(faults):
        changes = {name: value for _, fault in faults[position:] for name, value in fault.items()}
        request = replace(right, network="hoodi", expires=0, roots=(bytes(32),) * 3, **changes)
        assert code_of(request, pool=pool, policy=policy, asker=1) == "E_PEER"
        assert code_of(request, pool=pool, policy=policy) == code
    late: list[tuple[str, dict[str, Any]]] = [
        ("E_NETWORK", {"network": "hoodi"}),
        ("E_ROOT", {"roots": (bytes(32),) * 3}),
        ("E_EXPIRED", {"expires": 0}),
        ("E_CLOCK", {}),
    ]
    for position, (code, _) in enumerate(late):
        changes = {name: value for _, fault in late[position:] for name, value in fault.items()}
        assert code_of(replace(REQUEST, **changes), not_before=NOW + DAY) == code


def test_what_explains_a_request_is_what_decides_it() -> None:
    found = list(explain_request(REQUEST, POOL.group, POOL.policy, now=NOW, asker=0))
    rules = "active,requesters,group,epoch,role,network,signing roots,expiry_window,clock"
    assert ",".join(explanation.rule for explanation in found) == rules
    assert all(explanation.allowed and explanation.code == "" for explanation in found)
    wrong = replace(REQUEST, epoch=4)
    found = list(explain_request(wrong, POOL.group, POOL.policy, now=NOW, asker=0))
    assert [explanation.allowed for explanation in found] == [True, True, True, False]
    assert found[-1].code == code_of(wrong) == "E_EPOCH"


# Items


@dataclass
class Bound:
    """What was signed before."""

    addresses: dict[int, ExecutionAddress] = field(default_factory=dict)
    credentials: bytes | None = None

    def address_of(self, validator_index: int) -> ExecutionAddress | None:
        return self.addresses.get(validator_index)

    def deposit_credentials(self) -> bytes | None:
        return self.credentials


NOBODYS = ExecutionAddress(b"\xee" * 20)
BOTH = Policy(labels={ADDRESS: "a", OTHER: "b"})


def decide(
    items: Sequence[Item], policy: Policy = POOL.policy, bound: Bound | None = None
) -> list[str]:
    """Return each item's code, or nothing; explanations say the same."""
    request = replace(REQUEST, items=tuple(items))
    verdicts = check_items(request, policy, bound or NOTHING_BOUND)
    explanations = explain_items(request, policy, bound or NOTHING_BOUND)
    for position, (verdict, found) in enumerate(zip(verdicts, explanations, strict=True)):
        assert found.position == position
        assert found.rule
        assert found.allowed == (verdict is None) == (found.code == "")
        if verdict is not None:
            assert (verdict.position, verdict.code) == (position, found.code)
            assert verdict.reason == found.why
    return ["" if verdict is None else verdict.code for verdict in verdicts]


def change(validator_index: int, address: ExecutionAddress = ADDRESS) -> Change:
    return Change(validator_index, address)


@pytest.mark.case("P11", "address that the policy does not list")
def test_what_is_not_listed_is_denied() -> None:
    assert decide([change(1), change(2, OTHER), change(3)]) == ["", "E_TARGET", ""]


@pytest.mark.case("P11", "address that the policy lists for other validators")
def test_an_address_may_be_for_some_validators_only() -> None:
    policy = Policy(labels={ADDRESS: "a", OTHER: "b"}, validators={OTHER: ((2, 2), (5, 9))})
    items = [change(index, OTHER) for index in (1, 2, 4, 5, 9, 10)]
    assert decide(items, policy) == ["E_TARGET", "", "E_TARGET", "", "", "E_TARGET"]
    assert decide([change(1), change(4)], policy) == ["", ""]


@pytest.mark.case("X201", "policy without an address: default deny")
def test_an_empty_policy_allows_nothing() -> None:
    items: list[Item] = [change(1), Exit(1, 5), Deposit(bytes(32), 32 * GWEI)]
    assert decide(items, Policy()) == ["E_TARGET", "E_KIND", "E_KIND"]


def test_exits_are_signed_where_the_policy_says_so() -> None:
    assert decide([Exit(1, 5)], Policy(exits=True)) == [""]
    assert decide([Exit(1, 5)], Policy(labels={ADDRESS: "a"})) == ["E_KIND"]


@pytest.mark.case("X381", "deposit with other credentials, a Gwei too small, a Gwei too large")
def test_deposits_have_agreed_credentials_and_amounts() -> None:
    ours, theirs = b"\1" + bytes(31), b"\2" + bytes(31)
    policy = Policy(
        deposits=DepositRule(labels={ours: "a"}, minimum_gwei=2 * GWEI, maximum_gwei=5 * GWEI)
    )
    amounts = [2 * GWEI - 1, 2 * GWEI, 5 * GWEI, 5 * GWEI + 1]
    codes = decide([Deposit(ours, amount) for amount in amounts], policy)
    assert codes == ["E_AMOUNT", "", "", "E_AMOUNT"]
    assert decide([Deposit(theirs, 3 * GWEI)], policy) == ["E_TARGET"]


@pytest.mark.case("X382", "deposits of one key to two sets of credentials, both in the policy")
def test_a_keys_deposits_have_one_set_of_credentials_for_ever() -> None:
    one, two = b"\1" + bytes(31), b"\2" + bytes(31)
    policy = Policy(deposits=DepositRule(labels={one: "a", two: "b"}))
    first, second = Deposit(one, GWEI), Deposit(two, GWEI)
    assert decide([first, second, first], policy) == ["", "E_EQUIVOCATION", ""]
    assert decide([second, first], policy) == ["", "E_EQUIVOCATION"]
    assert decide([first, second], policy, Bound(credentials=two)) == ["E_EQUIVOCATION", ""]
    refused = Deposit(two, 2000 * GWEI)  # binds nothing: it is not signed
    assert decide([refused, first], policy) == ["E_AMOUNT", ""]


@pytest.mark.case("R1", "a second address for a validator, allowed by the policy")
def test_a_bound_validator_is_denied_any_other_address() -> None:
    items = [change(1, OTHER), change(2, OTHER), change(3, OTHER)]
    codes = decide(items, BOTH, Bound({1: ADDRESS, 2: OTHER}))
    assert codes == ["E_EQUIVOCATION", "", ""]


def test_the_address_is_judged_before_the_binding() -> None:
    assert decide([change(1, OTHER)], bound=Bound({1: ADDRESS})) == ["E_TARGET"]
    assert decide([change(1, OTHER)], bound=Bound({1: OTHER})) == ["E_TARGET"]


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([ADDRESS, OTHER, NOBODYS])), max_size=6
        ),
        max_size=12,
    )
)
def test_any_sequence_of_requests_leads_to_one_address_per_validator(
    requests: list[list[tuple[int, ExecutionAddress]]],
) -> None:
    bound = Bound()
    signed: set[Change] = set()
    for wanted in requests:
        items = [Change(*item) for item in dict(wanted).items()]  # a validator once
        request = replace(REQUEST, items=tuple(items))
        for item, verdict in zip(items, check_items(request, BOTH, bound), strict=True):
            if verdict is None:
                bound.addresses.setdefault(*item)
                signed.add(item)
    assert len(signed) == len({item.validator_index for item in signed})
    assert NOBODYS not in {item.address for item in signed}


# What is asked at the end


def test_a_person_is_asked_as_the_policy_says() -> None:
    for approval, expected in ((ALWAYS, [0, 1, 1]), (NEVER, [0, 0, 0]), (Approval(1), [0, 0, 1])):
        policy = replace(POOL.policy, approval=approval)
        assert [needs_person(policy, items) for items in range(3)] == expected


@pytest.mark.case("X383", "holder whose last drill is a second longer ago than the policy allows")
def test_a_holder_who_does_not_drill_does_not_sign() -> None:
    policy = replace(POOL.policy, drill_every=90 * DAY)
    check_drill(policy, last_drill=NOW - 90 * DAY, now=NOW)
    check_drill(POOL.policy, last_drill=0, now=NOW)
    with pytest.raises(DeniedError) as refused:
        check_drill(policy, last_drill=NOW - 90 * DAY - 1, now=NOW)
    assert refused.value.code == "E_DRILL_OVERDUE"

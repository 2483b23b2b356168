"""Exits and deposits in a request; test_request.py has the changes and what all kinds share."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import AddressError, DeniedError, SchemaError
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    KINDS,
    LIST_OF_KIND,
    MAX_CHAIN_EPOCH,
    MAX_DEPOSIT_GWEI,
    MAX_DEPOSITS,
    MAX_VALIDATOR_INDEX,
    MIN_DEPOSIT_GWEI,
    ROLE_OF_KIND,
    Change,
    Deposit,
    Exit,
    Item,
    item_name,
    items_from_json,
)
from signer.messages.request import SignRequest
from signer.messages.witness import MAX_WITNESSES
from signer.strict import canonical
from tests.simulators.holders import ADDRESS, NOW, SimulatedPool

POOL = SimulatedPool.new(role="validator")
CREDENTIALS = b"\1" + bytes(11) + ADDRESS
EXIT = Exit(1234567, 300_000)
DEPOSIT = Deposit(CREDENTIALS, 32 * 10**9)

ITEMS_OF_KIND: dict[str, st.SearchStrategy[list[Item]]] = {
    KIND_VOLUNTARY_EXIT: st.builds(
        Exit, st.integers(0, MAX_VALIDATOR_INDEX), st.integers(0, MAX_CHAIN_EPOCH)
    ).map(lambda item: [item]),
    KIND_DEPOSIT: st.lists(
        st.builds(
            Deposit,
            st.sampled_from([CREDENTIALS, b"\2" + bytes(11) + ADDRESS])
            | st.binary(min_size=31, max_size=31).map(lambda rest: b"\0" + rest),
            st.integers(MIN_DEPOSIT_GWEI, MAX_DEPOSIT_GWEI),
        ),
        min_size=1,
        max_size=MAX_DEPOSITS,
    ),
    KIND_BLS_TO_EXECUTION_CHANGE: st.lists(
        st.builds(Change, st.integers(0, MAX_VALIDATOR_INDEX), st.just(ADDRESS)),
        min_size=1,
        max_size=20,
        unique_by=lambda item: item[0],
    ),
}


def request_of(kind: str, items: Sequence[Item]) -> SignRequest:
    return SignRequest.new(POOL.group, items, expires=NOW, kind=kind)


def bytes_with(request: SignRequest, **changes: Any) -> bytes:
    value = request.to_json() | changes
    return json.dumps({name: field for name, field in value.items() if field is not ...}).encode()


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_a_request_of_any_kind_comes_out_as_it_went_in(kind: str, data: st.DataObject) -> None:
    items = data.draw(ITEMS_OF_KIND[kind])
    request = request_of(kind, items)
    again = SignRequest.parse(request.to_bytes())
    assert again == request
    assert again.digest == request.digest
    assert [type(item) for item in again.items] == [type(item) for item in request.items]
    assert sorted(again.items) == sorted(items)


def test_each_kind_has_a_role_and_a_list_of_its_own() -> None:
    assert set(ROLE_OF_KIND) == set(LIST_OF_KIND) == set(KINDS)
    assert len(set(LIST_OF_KIND.values())) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_another_kind_are_refused_and_not_left_out(kind: str) -> None:
    every: dict[str, Item] = {
        KIND_BLS_TO_EXECUTION_CHANGE: Change(1, ADDRESS),
        KIND_VOLUNTARY_EXIT: EXIT,
        KIND_DEPOSIT: DEPOSIT,
    }
    mine = every.pop(kind)
    for other in every.values():
        with pytest.raises(SchemaError):
            request_of(kind, [other])
        if kind != KIND_VOLUNTARY_EXIT:
            with pytest.raises(SchemaError, match="another kind"):
                request_of(kind, [mine, other])


@pytest.mark.case("R5", "exit of a validator, or from an epoch, that no chain has")
@pytest.mark.parametrize(
    "change",
    [
        {"validator_index": -1},
        {"validator_index": 2**40},
        {"validator_index": 2**64 - 1},
        {"validator_index": "7"},
        {"validator_index": True},
        {"epoch": -1},
        {"epoch": 2**40},
        {"epoch": 2**64 - 1},
        {"epoch": 1.0},
        {"epoch": None},
    ],
)
def test_an_exit_is_of_a_validator_and_an_epoch(change: dict[str, Any]) -> None:
    request = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    exits = [{"validator_index": 7, "epoch": 5} | change]
    with pytest.raises(SchemaError):
        SignRequest.parse(bytes_with(request, exits=exits))
    entry = exits[0]
    if all(type(value) is int for value in entry.values()):
        with pytest.raises(SchemaError):
            request_of(KIND_VOLUNTARY_EXIT, [Exit(entry["validator_index"], entry["epoch"])])


@pytest.mark.case(
    "X360", "a deposit below 1 or above 2048 ETH, or to credentials nobody is paid by"
)
@pytest.mark.parametrize(
    "change",
    [
        {"amount_gwei": MIN_DEPOSIT_GWEI - 1},
        {"amount_gwei": MAX_DEPOSIT_GWEI + 1},
        {"amount_gwei": 2**53},
        {"amount_gwei": 1e9},
        {"amount_gwei": "32000000000"},
        {"withdrawal_credentials": "01" + "00" * 11 + "00" * 20},
        {"withdrawal_credentials": "01" + "00" * 10 + "01" + ADDRESS.hex()},
        {"withdrawal_credentials": "03" + "00" * 11 + ADDRESS.hex()},
        {"withdrawal_credentials": "01" + "00" * 11 + ADDRESS.hex() + "00"},
        {"withdrawal_credentials": "0x01" + "00" * 11 + ADDRESS.hex()},
        {"extra": 1},
    ],
)
def test_a_deposit_is_of_an_amount_and_credentials(change: dict[str, Any]) -> None:
    request = request_of(KIND_DEPOSIT, [DEPOSIT])
    good = {"withdrawal_credentials": CREDENTIALS.hex(), "amount_gwei": DEPOSIT.amount_gwei}
    assert SignRequest.parse(bytes_with(request, deposits=[good])).items == (DEPOSIT,)
    with pytest.raises((SchemaError, AddressError)):
        SignRequest.parse(bytes_with(request, deposits=[good | change]))


@pytest.mark.case("X361", "two exits, or 17 deposits, in one request")
def test_a_request_has_one_exit_and_sixteen_deposits_at_most() -> None:
    assert len(request_of(KIND_DEPOSIT, [DEPOSIT] * MAX_DEPOSITS).items) == MAX_DEPOSITS
    for kind, items in ((KIND_VOLUNTARY_EXIT, [EXIT, EXIT]), (KIND_DEPOSIT, [DEPOSIT] * 17)):
        with pytest.raises(SchemaError, match=f"{len(items)} items"):
            request_of(kind, items)
        with pytest.raises(SchemaError, match="0 items"):
            request_of(kind, [])
    one = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    entries = one.to_json()["exits"] * 2
    with pytest.raises(SchemaError, match="2 items"):
        SignRequest.parse(bytes_with(one, exits=entries))


@pytest.mark.case("F7", "request whose items stand under another kind's list, or under two")
def test_items_stand_under_the_list_of_their_kind() -> None:
    request = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    exits = request.to_json()["exits"]
    wrong: list[dict[str, Any]] = [
        {"exits": ..., "changes": exits},
        {"changes": []},
        {"kind": KIND_DEPOSIT},
    ]
    for changes in wrong:
        with pytest.raises(SchemaError):
            SignRequest.parse(bytes_with(request, **changes))


@pytest.mark.case("R3", "request that expects another signing root than its fields have")
@pytest.mark.parametrize("kind", KINDS)
def test_expected_roots_are_compared_and_never_used(kind: str) -> None:
    items: list[Item] = {
        KIND_BLS_TO_EXECUTION_CHANGE: [Change(1, ADDRESS), Change(2, ADDRESS)],
        KIND_VOLUNTARY_EXIT: [EXIT],
        KIND_DEPOSIT: [DEPOSIT, Deposit(CREDENTIALS, 10**9)],
    }[kind]  # type: ignore[assignment]
    group = POOL.group
    bare = request_of(kind, items)
    roots = bare.signing_roots(group.network, group.public_key)
    expected = [root.hex() for root in roots]
    right = SignRequest.parse(bytes_with(bare, signing_roots=expected))
    assert right.signing_roots(group.network, group.public_key) == roots
    assert right.digest == bare.digest
    wrong = SignRequest.parse(bytes_with(bare, signing_roots=[*expected[:-1], "11" * 32]))
    with pytest.raises(DeniedError) as caught:
        wrong.signing_roots(group.network, group.public_key)
    assert caught.value.code == "E_ROOT"
    for count in (len(items) - 1, len(items) + 1):
        with pytest.raises(SchemaError):
            SignRequest.parse(bytes_with(bare, signing_roots=["11" * 32] * count))


def test_witnesses_are_carried_and_do_not_change_the_digest() -> None:
    witness = POOL.witness(2)
    bare = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    carrying = SignRequest.new(
        POOL.group, [EXIT], expires=NOW, kind=KIND_VOLUNTARY_EXIT, witnesses=(witness,)
    )
    again = SignRequest.parse(carrying.to_bytes())
    assert (again.witnesses, again.digest) == ((witness,), bare.digest)


@pytest.mark.case(
    "X362", "request with 101 witnesses, or with a signed file of another type as one"
)
def test_witnesses_are_bounded_and_of_their_type() -> None:
    request = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    witness = POOL.witness(1).to_json()
    card = POOL.group.card_of(1).to_json()
    too_many: list[Any] = [witness] * (MAX_WITNESSES + 1)
    wrong: list[Any] = [too_many, [card], [witness | {"x": 1}], {}, None]
    for witnesses in wrong:
        with pytest.raises(SchemaError):
            SignRequest.parse(bytes_with(request, witnesses=witnesses))


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (KIND_VOLUNTARY_EXIT, {"validator_index": 2**40, "epoch": 0}),
        (KIND_VOLUNTARY_EXIT, {"validator_index": 0, "epoch": 2**40}),
        (KIND_DEPOSIT, {"withdrawal_credentials": "01" * 32, "amount_gwei": 10**9 - 1}),
        (KIND_DEPOSIT, {"withdrawal_credentials": "01" * 31, "amount_gwei": 10**9}),
    ],
)
def test_a_list_alone_is_read_by_the_same_limits(kind: str, entry: dict[str, Any]) -> None:
    """Journals read it without the request around it."""
    with pytest.raises(SchemaError):
        items_from_json(kind, [entry], "journal")


def test_people_call_an_item_by_its_validator_or_its_place() -> None:
    items: list[Item] = [Change(5, ADDRESS), Exit(6, 1), DEPOSIT]
    names = [item_name(place, item) for place, item in enumerate(items)]
    assert names == ["validator 5", "validator 6", "deposit 3"]


@pytest.mark.case("F8", "request with a float, an exponent, -0 or a bool where an integer belongs")
@pytest.mark.parametrize("number", ["32e9", "3.2e10", "-0", "true", "32000000000.0"])
def test_numbers_are_integers(number: str) -> None:
    raw = request_of(KIND_DEPOSIT, [DEPOSIT]).to_bytes()
    assert b":32000000000" in raw
    with pytest.raises(SchemaError):
        SignRequest.parse(raw.replace(b":32000000000", f":{number}".encode()))


@pytest.mark.case("F9", "request with an integer of 2^53 or 2^64")
@pytest.mark.parametrize("number", [2**53, 2**64])
def test_integers_are_bounded(number: int) -> None:
    request = request_of(KIND_VOLUNTARY_EXIT, [EXIT])
    for name in ("validator_index", "epoch"):
        exits = [{"validator_index": 1, "epoch": 1, name: number}]
        with pytest.raises(SchemaError):
            SignRequest.parse(canonical(request.to_json() | {"exits": exits}))

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import AddressError, SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.items import MAX_ITEMS, MAX_VALIDATOR_INDEX
from signer.messages.request import OperatorPartial, SignRequest
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
REQUEST = POOL.request(7, 3, 5)


def request_with(**changes: Any) -> bytes:
    value = REQUEST.to_json() | changes
    return canonical({name: field for name, field in value.items() if field is not ...})


def test_a_request_comes_out_as_it_went_in() -> None:
    assert SignRequest.parse(REQUEST.to_bytes()) == REQUEST
    assert REQUEST.items == ((3, ADDRESS), (5, ADDRESS), (7, ADDRESS))
    assert REQUEST.targets() == {ADDRESS: [3, 5, 7]}


@given(
    st.lists(
        st.tuples(st.integers(0, MAX_VALIDATOR_INDEX), st.sampled_from([ADDRESS, OTHER])),
        min_size=1,
        max_size=50,
        unique_by=lambda item: item[0],
    ),
    st.integers(0, 2**53 - 1),
)
def test_any_request_comes_out_as_it_went_in(
    items: list[tuple[int, ExecutionAddress]], expires: int
) -> None:
    request = SignRequest.new(POOL.group, items, expires=expires)
    again = SignRequest.parse(request.to_bytes())
    assert again == request
    assert again.digest == request.digest
    assert again.items == tuple(sorted(items))


def test_order_spelling_and_the_operators_partials_do_not_change_the_digest() -> None:
    value = json.loads(REQUEST.to_bytes())
    value["changes"] = [
        {"to_execution_address": str(ADDRESS), "validator_indices": [7]},
        {"to_execution_address": ADDRESS.wire, "validator_indices": [5, 3]},
    ]
    value["operator"] = {"index": 1, "partials": ["00" * 96] * 3}
    again = SignRequest.parse(json.dumps(value, indent=1).encode())
    assert again.digest == REQUEST.digest
    assert again.operator == OperatorPartial(ShareIndex(1), (bytes(96),) * 3)


@pytest.mark.parametrize("name", ["network", "group", "epoch", "group_public_key", "expires"])
def test_the_digest_covers_every_other_field(name: str) -> None:
    other: dict[str, Any] = {
        "network": "hoodi",
        "group": "11" * 32,
        "epoch": 2,
        "group_public_key": "22" * 48,
        "expires": 5,
    }
    assert SignRequest.parse(request_with(**{name: other[name]})).digest != REQUEST.digest


@pytest.mark.case("F7", "request with an unknown, missing, mistyped field")
@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"signing_root": "00" * 32},
        {"domain": "0a000000" + "00" * 28},
        {"type": "signer-reply"},
        {"version": 1},
        {"version": True},
        {"version": "1"},
        {"kind": "voluntary_exit"},
        {"kind": "attestation"},
        {"kind": ...},
        {"network": "Mainnet"},
        {"network": None},
        {"group": "00" * 31},
        {"group": "AA" * 32},
        {"group": "0x" + "00" * 31},
        {"epoch": 0},
        {"epoch": -1},
        {"epoch": True},
        {"group_public_key": "00" * 47},
        {"expires": -1},
        {"expires": "1800000000"},
        {"operator": {}},
        {"operator": {"index": 1, "partials": ["00" * 96] * 2}},
        {"operator": {"index": 0, "partials": ["00" * 96] * 3}},
        {"operator": {"index": 101, "partials": ["00" * 96] * 3}},
        {"operator": {"index": 1, "partials": ["00" * 95] * 3}},
        {"operator": ...},
        {"changes": []},
        {"changes": {}},
        {"changes": [{"to_execution_address": ADDRESS.wire, "validator_indices": []}]},
        {"changes": [{"to_execution_address": ADDRESS.wire, "validator_indices": [1], "x": 1}]},
        {"changes": [{"validator_indices": [1]}]},
    ],
)
def test_malformed_requests_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        SignRequest.parse(request_with(**changes))


@pytest.mark.case("R5", "validator index negative, beyond the registry, a float, text")
@pytest.mark.parametrize("index", [-1, 2**40, 2**64 - 1, 1.5, "1", True, None])
def test_indices_that_are_none_are_refused(index: Any) -> None:
    changes = [{"to_execution_address": ADDRESS.wire, "validator_indices": [index]}]
    raw = json.dumps(REQUEST.to_json() | {"changes": changes}).encode()
    with pytest.raises(SchemaError):
        SignRequest.parse(raw)


@pytest.mark.case("R1", "one request that names a validator twice")
@pytest.mark.parametrize("second", [ADDRESS, OTHER])
def test_a_validator_stands_once_in_a_request(second: ExecutionAddress) -> None:
    with pytest.raises(SchemaError, match="validator 5 stands twice"):
        SignRequest.new(POOL.group, [(5, ADDRESS), (5, second)], expires=NOW)
    changes = [
        {"to_execution_address": ADDRESS.wire, "validator_indices": [5]},
        {"to_execution_address": second.wire, "validator_indices": [5]},
    ]
    with pytest.raises(SchemaError, match="validator 5 stands twice"):
        SignRequest.parse(request_with(changes=changes))


@pytest.mark.case("X2", "a request for 20,001 validators")
def test_a_request_holds_20000_validators_and_no_more() -> None:
    full = POOL.request(*range(MAX_ITEMS))
    assert len(SignRequest.parse(full.to_bytes()).items) == MAX_ITEMS
    with pytest.raises(SchemaError, match="20001 validators"):
        POOL.request(*range(MAX_ITEMS + 1))
    halves = [
        {"to_execution_address": ADDRESS.wire, "validator_indices": list(range(10_001))},
        {"to_execution_address": OTHER.wire, "validator_indices": list(range(20_000, 30_000))},
    ]
    with pytest.raises(SchemaError, match="more than 20000"):
        SignRequest.parse(request_with(changes=halves))


@pytest.mark.case("P11", "request with a wrong checksum, or to nobody's address")
@pytest.mark.parametrize("text", [str(ADDRESS).replace("F", "f", 1), "0x" + "00" * 20])
def test_addresses_are_checked(text: str) -> None:
    changes = [{"to_execution_address": text, "validator_indices": [1]}]
    with pytest.raises(AddressError):
        SignRequest.parse(request_with(changes=changes))


@pytest.mark.case("F2", "request cut off at every eighth")
def test_a_request_cut_off_anywhere_is_refused() -> None:
    raw = REQUEST.to_bytes()
    for eighth in range(8):
        with pytest.raises(SchemaError):
            SignRequest.parse(raw[: len(raw) * eighth // 8])


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(SchemaError):
        SignRequest.parse(raw)

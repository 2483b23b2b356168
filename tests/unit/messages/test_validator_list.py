"""ethdo's offline-preparation.json is of the whole chain: many validators, few of them ours."""

import json

import pytest

from signer.errors import InputError
from signer.messages.validator_list import parse_validator_list
from tests.simulators.holders import SimulatedPool

GROUP = SimulatedPool.new().group


def preparation(others: int, mine: tuple[int, ...]) -> bytes:
    def entry(index: int, credentials: str) -> dict[str, str]:
        return {"index": str(index), "withdrawal_credentials": credentials}

    validators = [entry(10**6 + number, "0x00") for number in range(others)]
    validators += [entry(index, "0x" + GROUP.withdrawal_credentials.hex()) for index in mine]
    return json.dumps(
        {
            "version": "3",
            "genesis_validators_root": "0x" + GROUP.network.genesis_validators_root.hex(),
            "genesis_fork_version": "0x" + GROUP.network.genesis_fork_version.hex(),
            "bls_to_execution_change_domain_type": "0x0a000000",
            "validators": validators,
        }
    ).encode()


def test_a_chain_of_many_validators_is_read() -> None:
    assert parse_validator_list(preparation(260_000, (7, 5)), GROUP, "p") == [7, 5]


@pytest.mark.case("R6", "preparation of a chain on which no validator carries the credentials")
def test_nobody_of_ours() -> None:
    with pytest.raises(InputError, match="none of its 3 validators"):
        parse_validator_list(preparation(3, ()), GROUP, "p")

"""What keeps kinds, chains and messages apart. The numbers of others are in tests/vectors."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.messages.address import ExecutionAddress
from signer.messages.networks import BUILT_IN, MAINNET, Network
from signer.messages.signing_root import (
    BLSToExecutionChange,
    DepositMessage,
    VoluntaryExit,
    bls_to_execution_change_domain,
    deposit_domain,
    signing_root,
    voluntary_exit_domain,
)
from signer.threshold.params import ShareIndex
from tests.simulators.holders import ADDRESS, OTHER, SimulatedPool

KEY = SimulatedPool.new().group.public_key
OTHER_KEY = SimulatedPool.new().group.vector.public_share(ShareIndex(1))
VERSIONS = st.binary(min_size=4, max_size=4)


@given(VERSIONS, VERSIONS, st.binary(min_size=32, max_size=32))
def test_no_two_kinds_share_a_domain_on_any_network(
    genesis: bytes, capella: bytes, root: bytes
) -> None:
    network = replace(
        MAINNET,
        genesis_fork_version=genesis,
        capella_fork_version=capella,
        genesis_validators_root=root,
    )
    domains = {
        bls_to_execution_change_domain(network),
        voluntary_exit_domain(network),
        deposit_domain(network),
    }
    assert len(domains) == 3
    assert all(len(domain) == 32 for domain in domains)


def test_no_two_built_in_networks_share_a_domain() -> None:
    for domain_of in (bls_to_execution_change_domain, voluntary_exit_domain, deposit_domain):
        domains = {domain_of(network) for network in BUILT_IN.values()}
        assert len(domains) == len(BUILT_IN)


def test_an_exit_is_of_capella_and_the_others_of_genesis() -> None:
    later = replace(MAINNET, capella_fork_version=b"\x04\0\0\0")
    earlier = replace(MAINNET, genesis_fork_version=b"\x01\0\0\0")
    elsewhere = replace(MAINNET, genesis_validators_root=b"\1" * 32)

    def moved(network: Network) -> list[bool]:
        return [
            domain_of(network) != domain_of(MAINNET)
            for domain_of in (bls_to_execution_change_domain, voluntary_exit_domain, deposit_domain)
        ]

    assert moved(later) == [False, True, False]
    assert moved(earlier) == [True, False, True]
    assert moved(elsewhere) == [True, True, False]  # a deposit is valid before its chain begins


@pytest.mark.parametrize(
    "messages",
    [
        [
            BLSToExecutionChange(1, KEY, ADDRESS),
            BLSToExecutionChange(256, KEY, ADDRESS),
            BLSToExecutionChange(1, OTHER_KEY, ADDRESS),
            BLSToExecutionChange(1, KEY, OTHER),
        ],
        [VoluntaryExit(1, 2), VoluntaryExit(2, 1), VoluntaryExit(1, 258), VoluntaryExit(257, 2)],
        [
            DepositMessage(KEY, b"\1" * 32, 1),
            DepositMessage(KEY, b"\1" * 32, 257),
            DepositMessage(KEY, b"\1" * 31 + b"\2", 1),
            DepositMessage(OTHER_KEY, b"\1" * 32, 1),
        ],
    ],
    ids=["change", "exit", "deposit"],
)
def test_every_field_changes_the_root(
    messages: list[BLSToExecutionChange | VoluntaryExit | DepositMessage],
) -> None:
    for one, other in combinations(messages, 2):
        assert signing_root(one, MAINNET) != signing_root(other, MAINNET)


@given(
    st.integers(0, 2**40 - 1),
    st.integers(0, 2**40 - 1),
    st.binary(min_size=20, max_size=20),
    st.integers(10**9, 2048 * 10**9),
)
def test_no_two_kinds_share_a_root(index: int, epoch: int, raw: bytes, amount: int) -> None:
    roots = {
        signing_root(message, network)
        for network in BUILT_IN.values()
        for message in (
            BLSToExecutionChange(index, KEY, ExecutionAddress(raw)),
            VoluntaryExit(epoch, index),
            DepositMessage(KEY, b"\1" + bytes(11) + raw, amount),
        )
    }
    assert len(roots) == 3 * len(BUILT_IN)

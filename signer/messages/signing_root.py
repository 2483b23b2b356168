"""From a typed message to the 32 bytes that are signed. The only place where roots are made.

SSZ: consensus-specs, ssz/simple-serialize.md. Domains: phase0/beacon-chain.md `compute_domain`,
`compute_signing_root`, `process_deposit`; capella/beacon-chain.md
`process_bls_to_execution_change`; deneb/beacon-chain.md `process_voluntary_exit` (EIP-7044).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from signer.bls.encoding import PublicKey
from signer.messages.address import ExecutionAddress
from signer.messages.networks import Network

DOMAIN_DEPOSIT = bytes.fromhex("03000000")
DOMAIN_VOLUNTARY_EXIT = bytes.fromhex("04000000")
DOMAIN_BLS_TO_EXECUTION_CHANGE = bytes.fromhex("0a000000")

_ZERO_CHUNK = bytes(32)


@dataclass(frozen=True, slots=True)
class BLSToExecutionChange:
    """Sets a validator's withdrawal address, once and for ever (capella/beacon-chain.md)."""

    validator_index: int
    from_bls_pubkey: PublicKey
    to_execution_address: ExecutionAddress


@dataclass(frozen=True, slots=True)
class VoluntaryExit:
    """Ends a validator's duties (phase0/beacon-chain.md)."""

    epoch: int
    validator_index: int


@dataclass(frozen=True, slots=True)
class DepositMessage:
    """Makes or funds a validator (phase0/beacon-chain.md)."""

    pubkey: PublicKey
    withdrawal_credentials: bytes  # 32 bytes
    amount: int  # Gwei


def compute_domain(domain_type: bytes, fork_version: bytes, genesis_root: bytes) -> bytes:
    """Return the 32-byte domain of `domain_type` under a fork (phase0 `compute_domain`)."""
    fork_data_root = _hash(_chunk(fork_version), genesis_root)
    return domain_type + fork_data_root[:28]


def bls_to_execution_change_domain(network: Network) -> bytes:
    """Return the domain of every change on `network`: the *genesis* fork version, at any time."""
    return compute_domain(
        DOMAIN_BLS_TO_EXECUTION_CHANGE,
        network.genesis_fork_version,
        network.genesis_validators_root,
    )


def bls_to_execution_change_roots(
    network: Network, from_bls_pubkey: PublicKey, items: Sequence[tuple[int, ExecutionAddress]]
) -> list[bytes]:
    """Return the signing roots of many changes from one key, in the order of `items`.

    Args:
        network: whose genesis constants make the domain.
        from_bls_pubkey: the group public key.
        items: (validator index below 2**64, address) pairs.
    """
    domain = bls_to_execution_change_domain(network)
    key_root = _hash(from_bls_pubkey[:32], _chunk(from_bls_pubkey[32:]))
    right_halves: dict[ExecutionAddress, bytes] = {}
    roots = []
    for validator_index, address in items:
        right = right_halves.get(address)
        if right is None:
            right = right_halves[address] = _hash(_chunk(address), _ZERO_CHUNK)
        left = _hash(_chunk(validator_index.to_bytes(8, "little")), key_root)
        roots.append(_hash(_hash(left, right), domain))
    return roots


def voluntary_exit_domain(network: Network) -> bytes:
    """Return the domain of every exit on `network`: the *Capella* fork version, for ever."""
    return compute_domain(
        DOMAIN_VOLUNTARY_EXIT, network.capella_fork_version, network.genesis_validators_root
    )


def deposit_domain(network: Network) -> bytes:
    """Return the domain of every deposit: the genesis fork version and a *zero* root.

    A deposit is valid before its chain has a genesis validators root.
    """
    return compute_domain(DOMAIN_DEPOSIT, network.genesis_fork_version, bytes(32))


def deposit_message_root(deposit: DepositMessage) -> bytes:
    """Return the hash tree root of a deposit message."""
    left = _hash(
        _hash(deposit.pubkey[:32], _chunk(deposit.pubkey[32:])), deposit.withdrawal_credentials
    )
    return _hash(left, _hash(_chunk(deposit.amount.to_bytes(8, "little")), _ZERO_CHUNK))


def deposit_data_root(deposit: DepositMessage, signature: bytes) -> bytes:
    """Return the hash tree root of the deposit with its 96-byte signature (`DepositData`)."""
    left = _hash(
        _hash(deposit.pubkey[:32], _chunk(deposit.pubkey[32:])), deposit.withdrawal_credentials
    )
    signed = _hash(_hash(signature[:32], signature[32:64]), _hash(signature[64:], _ZERO_CHUNK))
    return _hash(left, _hash(_chunk(deposit.amount.to_bytes(8, "little")), signed))


def signing_root(
    message: BLSToExecutionChange | VoluntaryExit | DepositMessage, network: Network
) -> bytes:
    """Return the signing root of one message."""
    if isinstance(message, VoluntaryExit):
        epoch = _chunk(message.epoch.to_bytes(8, "little"))
        index = _chunk(message.validator_index.to_bytes(8, "little"))
        return _hash(_hash(epoch, index), voluntary_exit_domain(network))
    if isinstance(message, DepositMessage):
        return _hash(deposit_message_root(message), deposit_domain(network))
    item = (message.validator_index, message.to_execution_address)
    return bls_to_execution_change_roots(network, message.from_bls_pubkey, [item])[0]


def _chunk(data: bytes) -> bytes:
    return data.ljust(32, b"\0")


def _hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()

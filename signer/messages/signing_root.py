"""From a typed message to the 32 bytes that are signed. The only place where roots are made.

SSZ: consensus-specs, ssz/simple-serialize.md. Domains: phase0/beacon-chain.md `compute_domain`,
`compute_signing_root`; capella/beacon-chain.md `process_bls_to_execution_change`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from signer.bls.encoding import PublicKey
from signer.messages.address import ExecutionAddress
from signer.messages.networks import Network

DOMAIN_BLS_TO_EXECUTION_CHANGE = bytes.fromhex("0a000000")

_ZERO_CHUNK = bytes(32)


@dataclass(frozen=True, slots=True)
class BLSToExecutionChange:
    """Sets a validator's withdrawal address, once and for ever (capella/beacon-chain.md)."""

    validator_index: int
    from_bls_pubkey: PublicKey
    to_execution_address: ExecutionAddress


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


def signing_root(change: BLSToExecutionChange, network: Network) -> bytes:
    """Return the signing root of one change."""
    item = (change.validator_index, change.to_execution_address)
    return bls_to_execution_change_roots(network, change.from_bls_pubkey, [item])[0]


def _chunk(data: bytes) -> bytes:
    return data.ljust(32, b"\0")


def _hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()

"""Verify the result with py_ecc alone: nothing of this project computes roots or pairings."""

import hashlib
import json
from pathlib import Path

from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.ciphersuites import G2ProofOfPossession

_MAINNET_GENESIS_FORK_VERSION = bytes(4)
_DOMAIN_BLS_TO_EXECUTION_CHANGE = bytes.fromhex("0a000000")


def verify_file(path: Path) -> int:
    """Verify every signature of a mainnet file; return how many there are.

    Raises:
        AssertionError: one does not verify.
    """
    entries = json.loads(path.read_text())
    for entry in entries:
        message = entry["message"]
        key = bytes.fromhex(message["from_bls_pubkey"][2:])
        root = bytes.fromhex(entry["metadata"]["genesis_validators_root"][2:])
        signature = bytes.fromhex(entry["signature"][2:])
        signed = _signing_root(message, key, root)
        if not G2ProofOfPossession.Verify(BLSPubkey(key), signed, BLSSignature(signature)):
            raise AssertionError(f"validator {message['validator_index']}: does not verify")
    return len(entries)


def _signing_root(message: dict[str, str], key: bytes, genesis_root: bytes) -> bytes:
    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(part.ljust(32, b"\0") for part in parts)).digest()

    index = int(message["validator_index"]).to_bytes(8, "little")
    address = bytes.fromhex(message["to_execution_address"][2:])
    change = sha(sha(index, sha(key[:32], key[32:])), sha(address, b""))
    fork_data = sha(_MAINNET_GENESIS_FORK_VERSION, genesis_root)
    return sha(change, _DOMAIN_BLS_TO_EXECUTION_CHANGE + fork_data[:28])

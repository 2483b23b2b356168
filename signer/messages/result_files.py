"""The results: signed messages, in the form that beacon nodes, launchpads and explorers take.

Byte for byte what ethstaker-deposit-cli writes; only `deposit_cli_version` names us. Changes and
exits are also what the beacon API takes: the array at `POST /eth/v1/beacon/pool/
bls_to_execution_changes`, the object at `POST /eth/v1/beacon/pool/voluntary_exits`.
"""

import json
from collections.abc import Iterable
from typing import Any

from signer import __version__
from signer.bls.encoding import Signature
from signer.messages.networks import Network
from signer.messages.signing_root import (
    BLSToExecutionChange,
    DepositMessage,
    VoluntaryExit,
    deposit_data_root,
    deposit_message_root,
)

_SOFTWARE = f"threshold-signer {__version__}"


def signed_changes_file(
    network: Network,
    signed: Iterable[tuple[BLSToExecutionChange, Signature]],
    *,
    metadata: bool = True,
) -> bytes:
    """Return the bytes of `bls_to_execution_change-<time>.json` for `signed`, in that order.

    Args:
        network: named in each entry's metadata.
        signed: changes, each with its verified group signature.
        metadata: nodes ignore it, explorers' own checks want it.
    """
    note = {
        "network_name": network.name,
        "genesis_validators_root": "0x" + network.genesis_validators_root.hex(),
        "deposit_cli_version": _SOFTWARE,
    }
    entries = []
    for change, signature in signed:
        entry: dict[str, Any] = {
            "message": {
                "validator_index": str(change.validator_index),
                "from_bls_pubkey": "0x" + bytes(change.from_bls_pubkey).hex(),
                "to_execution_address": change.to_execution_address.wire,
            },
            "signature": "0x" + bytes(signature).hex(),
        }
        if metadata:
            entry["metadata"] = note
        entries.append(entry)
    return json.dumps(entries).encode()


def signed_exit_file(message: VoluntaryExit, signature: Signature) -> bytes:
    """Return the bytes of `signed_exit_transaction-<validator>-<time>.json`."""
    entry = {
        "message": {"epoch": str(message.epoch), "validator_index": str(message.validator_index)},
        "signature": "0x" + bytes(signature).hex(),
    }
    return json.dumps(entry).encode()


def deposit_data_file(
    network: Network, signed: Iterable[tuple[DepositMessage, Signature]]
) -> bytes:
    """Return the bytes of `deposit_data-<time>.json` for `signed`, in that order."""
    entries = [
        {
            "pubkey": bytes(deposit.pubkey).hex(),
            "withdrawal_credentials": deposit.withdrawal_credentials.hex(),
            "amount": deposit.amount,
            "signature": bytes(signature).hex(),
            "deposit_message_root": deposit_message_root(deposit).hex(),
            "deposit_data_root": deposit_data_root(deposit, signature).hex(),
            "fork_version": network.genesis_fork_version.hex(),
            "network_name": network.name,
            "deposit_cli_version": _SOFTWARE,
        }
        for deposit, signature in signed
    ]
    return json.dumps(entries).encode()

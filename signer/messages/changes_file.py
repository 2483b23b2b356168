"""The result: signed changes, in the form that beacon nodes and explorers take.

Byte for byte what ethstaker-deposit-cli writes (`bls_to_execution_change-<time>.json`), and with it
`POST /eth/v1/beacon/pool/bls_to_execution_changes`. Only `metadata.deposit_cli_version` names us.
"""

import json
from collections.abc import Iterable
from typing import Any

from signer import __version__
from signer.bls.encoding import Signature
from signer.messages.networks import Network
from signer.messages.signing_root import BLSToExecutionChange


def signed_changes_file(
    network: Network,
    signed: Iterable[tuple[BLSToExecutionChange, Signature]],
    *,
    metadata: bool = True,
) -> bytes:
    """Return the file's bytes for `signed`, in the order given.

    Args:
        network: named in each entry's metadata.
        signed: changes, each with its verified group signature.
        metadata: nodes ignore it, explorers' own checks want it.
    """
    note = {
        "network_name": network.name,
        "genesis_validators_root": "0x" + network.genesis_validators_root.hex(),
        "deposit_cli_version": f"threshold-signer {__version__}",
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

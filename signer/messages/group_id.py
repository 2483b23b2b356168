"""What a group is, in one digest: its network, its role and its public key."""

import hashlib

from signer.messages.networks import Network
from signer.strict import canonical

ROLES = ("withdrawal", "validator", "approval")  # what a key may sign; one key, one role
MAX_EPOCH = 2**32 - 1


def group_id_of(network: Network, role: str, public_key: bytes) -> bytes:
    """Return the group id that these constants have."""
    constants = {
        "type": "signer-group-id",
        "version": 1,
        "network": network.to_json(),
        "role": role,
        "group_public_key": bytes(public_key).hex(),
    }
    return hashlib.sha256(canonical(constants)).digest()

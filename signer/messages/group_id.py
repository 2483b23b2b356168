"""What a group is, in one digest: its network, its role and its public key. And who holds it."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from signer.messages.networks import Network
from signer.strict import canonical

ROLES = ("withdrawal", "validator", "approval")  # what a key may sign; one key, one role
MAX_EPOCH = 2**32 - 1


class Certified(NamedTuple):
    """What a ceremony's certificate is known by."""

    ceremony: bytes  # 32 bytes: its roster's digest
    transcript: bytes  # 32 bytes: what everybody agreed to

    def digest(self, origin: str, *, rehearsal: bool) -> bytes:
        """Return the certificate's digest, which no signature and no order of files changes.

        How the key came to be and whether it was a rehearsal are in it: a group file that says
        something else names another certificate.
        """
        value = {
            "type": "signer-certificate-digest",
            "version": 1,
            "ceremony": self.ceremony.hex(),
            "transcript": self.transcript.hex(),
            "origin": origin,
            "rehearsal": rehearsal,
        }
        return hashlib.sha256(canonical(value)).digest()


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


def holders_digest(threshold: int, id_signs: Iterable[bytes]) -> bytes:
    """Return the digest over t and every holder's identity key (65-byte points), in index order."""
    holders = {"threshold": threshold, "id_sign": [point.hex() for point in id_signs]}
    return hashlib.sha256(canonical(holders)).digest()

"""The job of splitting an existing key among cards."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.key_source import KeySource
from signer.messages.group_id import ROLES
from signer.messages.networks import Network
from signer.strict import Fields

_MAX_CARD_TEXT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitKey:
    """Split an existing key: from a mnemonic at an index, or from a keystore."""

    kind: ClassVar[str] = "split_key"
    key: KeySource
    threshold: int
    cards: tuple[str, ...]  # the texts of the holders' cards, in index order
    network: Network
    role: str
    policy_digest: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "key": self.key.to_json(),
            "threshold": self.threshold,
            "cards": list(self.cards),
            "network": self.network.to_json(),
            "role": self.role,
            "policy_digest": self.policy_digest.hex(),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            key=KeySource.take(fields.nested("key")),
            threshold=fields.integer("threshold", low=-(2**31), high=2**31),
            cards=tuple(_texts(fields, "cards")),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            policy_digest=fields.hex_bytes("policy_digest", 32),
        )
        fields.done()
        return job


def _texts(fields: Fields, name: str) -> list[str]:
    entries = fields.array(name, low=0, high=2**16)
    if not all(isinstance(entry, str) and len(entry) <= _MAX_CARD_TEXT for entry in entries):
        fields.fail(name, "must be a list of texts")
    return entries

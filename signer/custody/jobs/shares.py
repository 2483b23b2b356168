"""Jobs that open an envelope: prove a share, sign a batch."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.messages.group_id import MAX_EPOCH, ROLES
from signer.messages.networks import Network
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS

MAX_POSITIONS = 20_000  # items of a request
_MAX_TEXT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyShare:
    """Unseal a share and prove it against the group file."""

    kind: ClassVar[str] = "verify_share"
    token: TokenChoice
    pin: SecretSource
    group: str  # the group file's text
    envelope: str  # the envelope's text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "group": self.group,
            "envelope": self.envelope,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            group=_text(fields, "group"),
            envelope=_text(fields, "envelope"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class SignBatch:
    """Sign the items of a request that the custodian's policy and journal let through.

    Network, role, group public key, epoch, index, public share and policy are what the envelope's
    associated data binds: with any of them changed the envelope does not open.
    """

    kind: ClassVar[str] = "sign_batch"
    token: TokenChoice
    pin: SecretSource
    network: Network
    role: str
    group_public_key: bytes
    epoch: int
    index: int
    public_share: bytes
    policy: dict[str, Any]
    envelope: str
    request: str
    skip: frozenset[int]  # positions in the request that are not to be signed
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "network": self.network.to_json(),
            "role": self.role,
            "group_public_key": self.group_public_key.hex(),
            "epoch": self.epoch,
            "index": self.index,
            "public_share": self.public_share.hex(),
            "policy": self.policy,
            "envelope": self.envelope,
            "request": self.request,
            "skip": sorted(self.skip),
            "threads": self.threads,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            group_public_key=fields.hex_bytes("group_public_key", 48),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            public_share=fields.hex_bytes("public_share", 48),
            policy=_object(fields, "policy"),
            envelope=_text(fields, "envelope"),
            request=_text(fields, "request"),
            skip=frozenset(_positions(fields, "skip")),
            threads=fields.integer("threads", low=1, high=64),
        )
        fields.done()
        return job


def _text(fields: Fields, name: str) -> str:
    value = fields.take(name)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        fields.fail(name, "must be a text")
    return value


def _object(fields: Fields, name: str) -> dict[str, Any]:
    value = fields.take(name)
    if not isinstance(value, dict):
        fields.fail(name, "must be an object")
    return value


def _positions(fields: Fields, name: str) -> list[int]:
    entries = fields.array(name, low=0, high=MAX_POSITIONS)
    if not all(type(entry) is int and 0 <= entry < MAX_POSITIONS for entry in entries):
        fields.fail(name, "must be a list of positions")
    return entries

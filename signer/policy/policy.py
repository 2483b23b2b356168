"""The policy a pool agreed on: which addresses its validators may pay to.

Its digest stands in the group file and in every envelope, so nobody changes it alone: an envelope
does not open under another policy.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.address import ExecutionAddress
from signer.strict import Fields, canonical

MAX_BYTES = 256 * 1024
MAX_ADDRESSES = 1000
LABEL_PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._,()+-]{0,63}"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Default deny: an address that is not here is not paid."""

    labels: Mapping[ExecutionAddress, str]

    def to_json(self) -> dict[str, Any]:
        """Return the policy as a JSON object, addresses in ascending order."""
        return {
            "version": 1,
            "addresses": [
                {"address": address.wire, "label": label}
                for address, label in sorted(self.labels.items())
            ],
        }

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: comments and order in the YAML file do not count."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    def allows(self, address: ExecutionAddress) -> bool:
        """Tell whether validators may pay to `address`."""
        return address in self.labels

    @classmethod
    def parse(cls, value: Mapping[str, Any], what: str = "policy") -> Self:
        """Read a policy from its YAML or JSON object.

        Raises:
            SchemaError: not this format, no address, or an address or label twice.
            AddressError: an address malformed, with a wrong checksum, or nobody's.
        """
        fields = Fields(dict(value), what)
        fields.constant("version", 1)
        entries = fields.array("addresses", low=1, high=MAX_ADDRESSES)
        fields.done()
        labels: dict[ExecutionAddress, str] = {}
        for entry in entries:
            entry_fields = Fields(entry, f"{what}: address")
            address = ExecutionAddress.parse(entry_fields.take("address"), what)
            label = entry_fields.string("label", pattern=LABEL_PATTERN, max_length=64)
            entry_fields.done()
            if address in labels:
                raise SchemaError(f"{what}: {address} stands twice")
            if label in labels.values():
                raise SchemaError(f"{what}: label {label!r} stands twice")
            labels[address] = label
        return cls(labels=labels)

"""What a policy says of deposits: to which withdrawal credentials, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.amounts import GWEI, gwei_text, parse_gwei
from signer.messages.credentials import parse_credentials
from signer.strict import Fields

MAX_CREDENTIALS = 100
LABEL_PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._,()+-]{0,63}"
LOWEST_GWEI, HIGHEST_GWEI = 1 * GWEI, 2048 * GWEI  # MIN_DEPOSIT_AMOUNT, MAX_EFFECTIVE_BALANCE
_DEFAULT_HIGHEST_GWEI = 32 * GWEI


@dataclass(frozen=True, kw_only=True)
class DepositRule:
    """Default deny: credentials that are not here get no deposit."""

    labels: Mapping[bytes, str]  # 32-byte withdrawal credentials and what the pool calls them
    minimum_gwei: int = LOWEST_GWEI
    maximum_gwei: int = _DEFAULT_HIGHEST_GWEI

    def to_json(self) -> dict[str, Any]:
        """Return the canonical form."""
        return {
            "credentials": [
                {"credentials": "0x" + credentials.hex(), "label": label}
                for credentials, label in sorted(self.labels.items())
            ],
            "minimum_eth": gwei_text(self.minimum_gwei),
            "maximum_eth": gwei_text(self.maximum_gwei),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the rule from `fields`."""
        entries = fields.array("credentials", low=1, high=MAX_CREDENTIALS)
        minimum = _amount(fields, "minimum_eth", LOWEST_GWEI)
        maximum = _amount(fields, "maximum_eth", _DEFAULT_HIGHEST_GWEI)
        fields.done()
        if minimum > maximum:
            raise SchemaError(f"{fields.what}: minimum_eth is above maximum_eth")
        labels: dict[bytes, str] = {}
        for entry in entries:
            source = Fields(entry, f"{fields.what}: credentials")
            credentials = parse_credentials(source.take("credentials"), source.what)
            label = source.string("label", pattern=LABEL_PATTERN, max_length=64)
            source.done()
            if credentials in labels or label in labels.values():
                raise SchemaError(f"{source.what}: credentials or label {label!r} stand twice")
            labels[credentials] = label
        return cls(labels=labels, minimum_gwei=minimum, maximum_gwei=maximum)


def _amount(fields: Fields, name: str, default: int) -> int:
    if not fields.has(name):
        return default
    what = f"{fields.what}: field {name!r}"
    return parse_gwei(fields.take(name), what, low=LOWEST_GWEI, high=HIGHEST_GWEI)

"""Where a whole key is read, to be split: a mnemonic at an index, or a keystore."""

from dataclasses import dataclass
from typing import Any, Self

from signer.custody.jobs.sources import (
    SecretSource,
    optional_path,
    optional_source,
    source_json,
)
from signer.strict import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Paths and descriptors; never a secret itself."""

    mnemonic: SecretSource | None = None
    passphrase: SecretSource | None = None  # of the mnemonic (BIP-39), if it has one
    key_index: int = 0  # i of m/12381/3600/i/0
    keystore: str | None = None  # absolute path; a keystore is no secret by itself
    password: SecretSource | None = None  # of the keystore

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "mnemonic": source_json(self.mnemonic),
            "passphrase": source_json(self.passphrase),
            "key_index": self.key_index,
            "keystore": self.keystore,
            "password": source_json(self.password),
        }

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the source apart."""
        source = cls(
            mnemonic=optional_source(fields, "mnemonic"),
            passphrase=optional_source(fields, "passphrase"),
            key_index=fields.integer("key_index", low=0, high=2**31 - 1),
            keystore=optional_path(fields, "keystore"),
            password=optional_source(fields, "password"),
        )
        fields.done()
        return source

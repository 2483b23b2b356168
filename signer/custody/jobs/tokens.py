"""Jobs about a token: list, set up, make a card."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import TokenChoice
from signer.custody.jobs.token_job import TokenJob, take_head
from signer.messages.card import MAX_BYTES, NAME_PATTERN, Attestation
from signer.strict import Fields

FINGERPRINT_PATTERN = r"[0-9a-f]{16}"  # `sealing.envelope.key_fingerprint` without its spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTokens:
    """List the tokens that a module shows. Needs no PIN."""

    kind: ClassVar[str] = "list_tokens"
    token: TokenChoice

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"token": self.token.to_json()}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(token=TokenChoice.parse(fields.nested("token")))
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUpToken(TokenJob):
    """Make the two keys of a holder on his token, where they are absent."""

    kind: ClassVar[str] = "set_up_token"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return self.head()

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCard(TokenJob):
    """Write the holder's card and sign it on the token."""

    kind: ClassVar[str] = "make_card"
    name: str
    created: int
    fresh_key: bool = False  # make another receiving key for it
    kex: str | None = None  # else the fingerprint of the receiving key that is meant
    spare: str | None = None  # the text of his spare token's card
    attestation: Attestation | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "name": self.name,
            "created": self.created,
            "fresh_key": self.fresh_key,
            "kex": self.kex,
            "spare": self.spare,
            "attestation": None if self.attestation is None else self.attestation.to_json(),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            name=fields.string("name", pattern=NAME_PATTERN, max_length=64),
            created=fields.integer("created", low=0, high=2**53 - 1),
            fresh_key=fields.boolean("fresh_key"),
            kex=_fingerprint(fields),
            spare=_spare(fields),
            attestation=_attestation(fields),
        )
        fields.done()
        return job


def _fingerprint(fields: Fields) -> str | None:
    value = fields.take("kex")
    if value is None:
        return None
    if not isinstance(value, str) or re.fullmatch(FINGERPRINT_PATTERN, value) is None:
        fields.fail("kex", "must be a key's fingerprint, 16 hex digits")
    return value


def _spare(fields: Fields) -> str | None:
    value = fields.take("spare")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_BYTES):
        fields.fail("spare", "must be the text of a card")
    return value


def _attestation(fields: Fields) -> Attestation | None:
    value = fields.take("attestation")
    return None if value is None else Attestation.parse(value, f"{fields.what}: attestation")

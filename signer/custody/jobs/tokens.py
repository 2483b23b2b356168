"""Jobs about a token: list, set up, make a card."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import TokenChoice
from signer.custody.jobs.token_job import TokenJob, take_head
from signer.messages.card import NAME_PATTERN
from signer.strict import Fields


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

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "name": self.name,
            "created": self.created,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            name=fields.string("name", pattern=NAME_PATTERN, max_length=64),
            created=fields.integer("created", low=0, high=2**53 - 1),
        )
        fields.done()
        return job

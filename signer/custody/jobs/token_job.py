"""What most jobs have in common: one token, its PIN, and texts of files."""

from dataclasses import dataclass
from typing import Any

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.strict import Fields

MAX_TEXT = 16 * 1024 * 1024  # characters of a file's text in an order


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenJob:
    """A job on one token, logged in with one PIN."""

    token: TokenChoice
    pin: SecretSource

    def head(self) -> dict[str, Any]:
        """Return the JSON of these two fields."""
        return {"token": self.token.to_json(), "pin": self.pin.to_json()}


def take_head(fields: Fields) -> dict[str, Any]:
    """Take what `TokenJob.head` gave, as arguments for the job's class."""
    return {
        "token": TokenChoice.parse(fields.nested("token")),
        "pin": SecretSource.parse(fields.nested("pin")),
    }


def take_text(fields: Fields, name: str, most: int = MAX_TEXT) -> str:
    """Take a text of at most so many characters."""
    value = fields.take(name)
    if not isinstance(value, str) or len(value) > most:
        fields.fail(name, "must be a text")
    return value


def take_object(fields: Fields, name: str) -> dict[str, Any]:
    """Take an object, not looking into it."""
    return as_object(fields.take(name), fields, name)


def as_object(value: Any, fields: Fields, name: str) -> dict[str, Any]:
    """Return `value` if it is an object; it is, or is in, the field `name`."""
    if not isinstance(value, dict):
        fields.fail(name, "must be an object, or a list of some")
    return value

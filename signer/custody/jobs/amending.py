"""The job of signing a new version of the policy."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.strict import Fields

_MAX_TEXT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SignAmendment:
    """Sign an amendment with the token's identity key.

    The worker takes it apart and builds the signed bytes itself: it never signs what it is handed.
    """

    kind: ClassVar[str] = "sign_amendment"
    token: TokenChoice
    pin: SecretSource
    group: str  # the group file's text, before the amendment
    amendment: str  # the proposed amendment's text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "group": self.group,
            "amendment": self.amendment,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            group=_text(fields, "group"),
            amendment=_text(fields, "amendment"),
        )
        fields.done()
        return job


def _text(fields: Fields, name: str) -> str:
    value = fields.take(name)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        fields.fail(name, "must be a text")
    return value

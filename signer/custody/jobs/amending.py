"""The job of signing a new version of the policy."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.token_job import TokenJob, take_head, take_text
from signer.strict import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SignAmendment(TokenJob):
    """Sign an amendment with the token's identity key.

    The worker takes it apart and builds the signed bytes itself: it never signs what it is handed.
    """

    kind: ClassVar[str] = "sign_amendment"
    group: str  # the group file's text, before the amendment
    amendment: str  # the proposed amendment's text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "group": self.group,
            "amendment": self.amendment,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=take_text(fields, "group"),
            amendment=take_text(fields, "amendment"),
        )
        fields.done()
        return job

"""The job that does nothing: its worker only says how well it could harden itself."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.strict import Fields


@dataclass(frozen=True, slots=True)
class Hygiene:
    """Loads no module, reads no secret."""

    kind: ClassVar[str] = "hygiene"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        fields.done()
        return cls()

"""The job that only asks: a PIN from a person, into a pipe that another worker will read."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.sources import SecretSource
from signer.strict import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPin:
    """Take the PIN of `token` from `pin` and write it into the pipe `into`. No token is touched."""

    kind: ClassVar[str] = "ask_pin"
    pin: SecretSource
    token: str  # its name, for the prompt
    into: int  # descriptor of the pipe's write end

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"pin": self.pin.to_json(), "token": self.token, "into": self.into}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            pin=SecretSource.parse(fields.nested("pin")),
            token=fields.string("token", pattern=r"[ -~]{1,64}"),
            into=fields.integer("into", low=3, high=2**20),
        )
        fields.done()
        return job

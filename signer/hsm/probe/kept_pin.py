"""A PIN that is read once from its source and given several times, until it is wiped."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from signer.hsm.pin import PinSource
from signer.secret import SecretBytes


@dataclass(slots=True)
class KeptPin:
    """A PIN source in front of another. Use it in a `with` block."""

    source: PinSource
    given: float = 0.0  # when it was given last, by time.perf_counter
    pin: SecretBytes | None = field(default=None, repr=False)

    def read(self, token: str) -> SecretBytes:
        """Return a copy of the PIN of `token`; the source is asked the first time only."""
        if self.pin is None:
            self.pin = self.source.read(token)
        copy = SecretBytes(self.pin.expose())
        self.given = time.perf_counter()
        return copy

    def forget(self) -> None:
        """Wipe the PIN. It is not given any more."""
        if self.pin is not None:
            self.pin.wipe()
            self.pin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()

"""A custodian whose holder is asked: every request needs him, and he brings the PIN."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from signer.errors import DeniedError, SignerError
from signer.messages.drill import DrillOrder
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.policy.decision import check_items, check_request
from tests.simulators.desk import SimulatedDesk


@dataclass
class AttendedCustodian:
    """Has what an intake asks of a custodian; signs through the desk's own, which needs nobody."""

    simulated: SimulatedDesk
    pin: Any = None  # no source of its own
    attended: bool = True
    busy: bool = False
    asks_person: bool = True
    fault: SignerError | None = None
    before: threading.Event | None = None  # signs no sooner than this is set
    pins: list[bytes] = field(default_factory=list)  # what the worker read from pipes
    final_tries: list[bool] = field(default_factory=list)
    signed: list[bytes] = field(default_factory=list)  # digests
    released: int = 0

    def __post_init__(self) -> None:
        """Stand where the desk's custodian stands."""
        self.desk = self.simulated.desk
        self.token = self.simulated.custodian.token
        self.guard = SimpleNamespace(release=self._release)

    @property
    def journal(self) -> Any:
        """The desk's journal, also when it was opened anew."""
        return self.simulated.journal

    def clock(self) -> float:
        """The desk's time."""
        return self.simulated.now

    def _release(self) -> None:
        self.released += 1

    def review(self, request: SignRequest, asker: int) -> Any:
        """Decide, with no side effect."""
        policy = self.desk.policy
        check_request(request, self.desk.group, policy, now=int(self.clock()), asker=asker)
        if self.journal.was_denied(request.digest) is not None:
            raise DeniedError("the holder said no", code="E_DENIED")
        verdicts: list[Denial | None] = check_items(request, policy, self.journal)
        approved = [
            item for item, verdict in zip(request.items, verdicts, strict=True) if verdict is None
        ]
        return SimpleNamespace(verdicts=verdicts, approved=approved, needs_person=self.asks_person)

    def sign(
        self,
        request: SignRequest,
        asker: int,
        *,
        approved: bool = False,
        pin: Any = None,
        descriptors: Sequence[int] = (),
    ) -> SignReply:
        """Sign if a person said yes; the pipe is read here as a worker would."""
        if self.review(request, asker).approved and self.asks_person and not approved:
            raise DeniedError("a person is needed", code="E_APPROVAL")
        for descriptor in descriptors:
            assert pin.pipe == descriptor
            self.final_tries.append(pin.final_try)
            self.pins.append(os.read(descriptor, 300))
        if self.before is not None:
            self.before.wait(20)
        if self.fault is not None:
            raise self.fault
        self.signed.append(request.digest)
        return self.simulated.custodian.sign(request, asker)

    def record_denial(self, request: SignRequest, asker: int, code: str) -> None:
        """Write the holder's no into the journal."""
        self.journal.denied(request.digest, asker, code)

    def drill(
        self, order: DrillOrder, asker: int, *, pin: Any = None, descriptors: Sequence[int] = ()
    ) -> Any:
        """Drill with the PIN that a person brought."""
        self.pins += [os.read(descriptor, 300) for descriptor in descriptors]
        return SimpleNamespace(signed=SimpleNamespace(to_json=lambda: {"order": order.nonce.hex()}))

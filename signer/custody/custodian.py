"""One request at one holder's desk, in an order that is the security argument.

Decide → journal INTENT, durable → worker: unseal, sign, check itself, gone → journal RELEASED,
durable → reply.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from signer.custody.desk import Desk
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.worker_process import BASE_SECONDS, SECONDS_PER_ITEM, run_worker
from signer.errors import JournalError, PinError, SchemaError, SignerError, WorkerError
from signer.messages.reply import PARTIAL_BYTES, Denial, SignReply
from signer.messages.request import SignRequest
from signer.policy.decision import check_items, check_request
from signer.strict import Fields, parse_hex

_MAX_MODULE_VARIABLE = 4096


@dataclass(slots=True, kw_only=True)
class Custodian:
    """Orders signatures for one share. Sees neither PIN nor share."""

    desk: Desk
    journal: Journal
    token: TokenChoice
    pin: SecretSource
    environment: Mapping[str, str]
    threads: int = 1
    clock: Callable[[], float] = time.time
    worker: Callable[..., Fields] = run_worker
    on_work: Callable[[Fields], None] = lambda result: None
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    _refused_pin: tuple[int, ...] | None = None  # which PIN file the token refused

    def sign(self, request: SignRequest, peer_uid: int) -> SignReply:
        """Answer `request`, which user `peer_uid` may make: a partial or a denial for each item.

        Raises:
            DeniedError: policy refuses the request as a whole. Nothing was recorded.
            JournalError: the record could not be made durable. Nothing was unsealed, or nothing
                of what was signed leaves.
            PinError: the token has refused this PIN file before, and nobody changed it since. It is
                not tried again: whoever may ask could lock the token so.
            SignerError: the worker's trouble. Nothing leaves; the bindings stay.
        """
        with self._one_at_a_time:
            check_request(request, self.desk.group, int(self.clock()))
            verdicts = check_items(request.items, self.desk.policy, self.journal.bound_to)
            denied = {p: verdict for p, verdict in enumerate(verdicts) if verdict is not None}
            approved = [item for p, item in enumerate(request.items) if p not in denied]
            if not approved:
                return self._reply(request, {}, denied)
            self._require_untried_pin()
            intent = self.journal.intent(request.digest, approved, peer_uid)
            try:
                partials = self._have_signed(request, frozenset(denied))
            except SignerError as error:
                if error.code == "E_PIN_REFUSED":
                    self._refused_pin = self._pin_file_state()
                with contextlib.suppress(JournalError):
                    self.journal.failed(intent, error.code)
                raise
            self.journal.released(intent, list(partials.values()))
            return self._reply(request, partials, denied)

    def _require_untried_pin(self) -> None:
        if self._refused_pin is not None and self._refused_pin == self._pin_file_state():
            raise PinError(
                "the token refused this agent's PIN before; it is not tried again",
                hint="correct the PIN file",
                code="E_PIN_REFUSED",
            )

    def _pin_file_state(self) -> tuple[int, ...]:
        """Return what changes when a person writes the PIN file anew; its content is not read."""
        try:
            status = Path(self.pin.file or "").stat()
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _have_signed(self, request: SignRequest, skip: frozenset[int]) -> dict[int, bytes]:
        """Hire a worker for the items not in `skip`; return their partials by position."""
        group = self.desk.group
        job = SignBatch(
            token=self.token,
            pin=self.pin,
            network=group.network,
            role=group.role,
            group_public_key=bytes(group.public_key),
            epoch=group.epoch,
            index=int(self.desk.index),
            public_share=bytes(self.desk.public_share),
            policy=self.desk.policy.to_json(),
            envelope=self.desk.envelope_text,
            request=request.to_bytes().decode(),
            skip=skip,
            threads=self.threads,
        )
        seconds = BASE_SECONDS + SECONDS_PER_ITEM * len(request.items)
        result = self.worker(job, environment=self.environment, seconds=seconds)
        positions = [p for p in range(len(request.items)) if p not in skip]
        try:
            entries = result.array("partials", low=len(positions), high=len(positions))
            partials = [parse_hex(entry, PARTIAL_BYTES, "worker's partial") for entry in entries]
            self.on_work(result)
        except SchemaError as error:
            raise WorkerError(error.message) from None
        return dict(zip(positions, partials, strict=True))

    def _reply(
        self, request: SignRequest, partials: Mapping[int, bytes], denied: Mapping[int, Denial]
    ) -> SignReply:
        return SignReply(
            request_digest=request.digest,
            group_id=request.group_id,
            epoch=request.epoch,
            index=self.desk.index,
            partials=tuple(partials.get(p) for p in range(len(request.items))),
            denied=tuple(denied[p] for p in sorted(denied)),
        )


def module_environment(names: tuple[str, ...]) -> dict[str, str]:
    """Return those of this process's variables that a token's module needs, and no other."""
    return {
        name: value
        for name in names
        if (value := os.environ.get(name)) is not None and len(value) <= _MAX_MODULE_VARIABLE
    }

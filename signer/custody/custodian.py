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
from typing import NamedTuple

from signer.custody.desk import Desk
from signer.custody.drill import drill_job, report_of
from signer.custody.jobs.journal import CheckAnchor
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.worker_process import BASE_SECONDS, SECONDS_PER_ITEM, run_worker
from signer.errors import JournalError, PinError, SchemaError, SignerError, WorkerError
from signer.messages.drill import DrillOrder, require_open
from signer.messages.drill_report import DrillReport
from signer.messages.dsse import SignedFile
from signer.messages.reply import PARTIAL_BYTES, Denial, SignReply, take_witness
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
    require_token: Callable[[], None] = lambda: None  # raises while the token cannot be used
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
            TokenError: the token is known to be absent, locked or not ours. Nothing was recorded.
            SignerError: the worker's trouble. Nothing leaves; the bindings stay.
        """
        with self._one_at_a_time:
            policy, now = self.desk.policy, int(self.clock())
            check_request(request, self.desk.group, policy, now=now, asker=peer_uid)
            verdicts = check_items(request, policy, self.journal)
            denied = {p: verdict for p, verdict in enumerate(verdicts) if verdict is not None}
            approved = [item for p, item in enumerate(request.items) if p not in denied]
            if not approved:
                return self._reply(request, {}, denied)
            self._require_untried_pin()
            self.require_token()
            self.journal.require_not_behind(request.witnesses)
            intent = self.journal.intent(request.digest, approved, peer_uid)
            try:
                work = self._have_signed(request, frozenset(denied))
            except SignerError as error:
                if error.code == "E_PIN_REFUSED":
                    self._refused_pin = self._pin_file_state()
                with contextlib.suppress(JournalError):
                    self.journal.failed(intent, error.code)
                raise
            self.journal.released(
                intent, list(work.partials.values()), anchored_on=work.anchored_on
            )
            self.journal.verified |= work.anchored_on is not None
            return self._reply(request, work.partials, denied, work.witness)

    def check_anchor(self) -> None:
        """Hold the journal against the token's anchor, as every signature does. Unseals nothing.

        Raises:
            JournalError: E_ROLLBACK, an older journal than the token knows of.
            AnchorError: E_ANCHOR, the token's anchor is gone or garbage.
            SignerError: the worker's trouble; nothing is known.
        """
        with self._one_at_a_time:
            self._require_untried_pin()
            job = CheckAnchor(
                token=self.token,
                pin=self.pin,
                group=self.desk.group.group_id,
                index=int(self.desk.index),
                journal=str(self.journal.path.absolute()),
                anchored_serials=self.journal.anchored_serials,
            )
            try:
                self.worker(job, environment=self.environment, seconds=BASE_SECONDS)
            except SignerError as error:
                if error.code == "E_PIN_REFUSED":
                    self._refused_pin = self._pin_file_state()
                raise
            self.journal.verified = True

    def drill(self, order: DrillOrder, asker: int | None) -> DrillReport:
        """Have the device show that it opens the share; record it and return the report.

        `asker` is the user who asked, already let in; None is somebody at the desk.

        Raises:
            DeniedError: the order is not for this group, or not now.
            PinError, TokenError: as for `sign`.
            JournalError: it could not be recorded. The report does not leave.
            SignerError: the worker's trouble; E_SHARE is a share that is of no use.
        """
        with self._one_at_a_time:
            now = int(self.clock())
            require_open(order, self.desk.group, now)
            self._require_untried_pin()
            self.require_token()
            job = drill_job(self.desk, self.token, self.pin, order, now)
            try:
                result = self.worker(job, environment=self.environment, seconds=BASE_SECONDS)
            except PinError as error:
                if error.code == "E_PIN_REFUSED":
                    self._refused_pin = self._pin_file_state()
                raise
            report = report_of(result, order, self.desk.group, now)
            self.journal.drilled(now, report.body.devices[0].serial_sha256)
            self.on_work(result)
            return report

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

    def _have_signed(self, request: SignRequest, skip: frozenset[int]) -> "_Work":
        """Hire a worker for the items not in `skip`."""
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
            first_policy_digest=group.policy_digest,
            threshold=group.threshold.t,
            holders=group.id_signs,
            amendments=tuple(amendment.to_json() for amendment in group.amendments),
            policy=self.desk.policy.to_json(),
            envelope=self.desk.envelope_text,
            request=request.to_bytes().decode(),
            skip=skip,
            journal=str(self.journal.path.absolute()),
            anchor=self.token.profile.journal_anchor,
            anchored_serials=self.journal.anchored_serials,
            threads=self.threads,
        )
        seconds = BASE_SECONDS + SECONDS_PER_ITEM * len(request.items)
        result = self.worker(job, environment=self.environment, seconds=seconds)
        positions = [p for p in range(len(request.items)) if p not in skip]
        try:
            entries = result.array("partials", low=len(positions), high=len(positions))
            partials = [parse_hex(entry, PARTIAL_BYTES, "worker's partial") for entry in entries]
            witness = take_witness(result, "worker's result")
            anchored_on = _anchored_on(result)
            self.on_work(result)
        except SchemaError as error:
            raise WorkerError(error.message) from None
        return _Work(dict(zip(positions, partials, strict=True)), witness, anchored_on)

    def _reply(
        self,
        request: SignRequest,
        partials: Mapping[int, bytes],
        denied: Mapping[int, Denial],
        witness: SignedFile | None = None,
    ) -> SignReply:
        return SignReply(
            request_digest=request.digest,
            group_id=request.group_id,
            epoch=request.epoch,
            index=self.desk.index,
            partials=tuple(partials.get(p) for p in range(len(request.items))),
            denied=tuple(denied[p] for p in sorted(denied)),
            witness=witness,
        )


class _Work(NamedTuple):
    """What a worker made of a request."""

    partials: dict[int, bytes]  # by position
    witness: SignedFile | None
    anchored_on: bytes | None  # SHA-256 of the serial of the token that holds the journal's anchor


def _anchored_on(result: Fields) -> bytes | None:
    value = result.take("anchored_on")
    return None if value is None else parse_hex(value, 32, "worker's token")


def module_environment(names: tuple[str, ...]) -> dict[str, str]:
    """Return those of this process's variables that a token's module needs, and no other."""
    return {
        name: value
        for name in names
        if (value := os.environ.get(name)) is not None and len(value) <= _MAX_MODULE_VARIABLE
    }

"""One request at one holder's desk, in an order that is the security argument.

Decide → a person says yes, where the policy wants one → journal INTENT, durable → worker: journal
held against the token's anchor, unseal, sign, check itself, gone → journal RELEASED, durable →
reply.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from signer.custody.batch import BatchWork, Exposure, batch_job, exposure_of, work_of
from signer.custody.desk import Desk
from signer.custody.drill import drill_job, report_of
from signer.custody.jobs import Job
from signer.custody.jobs.journal import CheckAnchor
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.pin_guard import PinGuard
from signer.custody.worker_process import BASE_SECONDS, SECONDS_PER_ITEM, run_worker
from signer.errors import (
    DeniedError,
    JournalError,
    PinError,
    PinFinalTryError,
    SignerError,
)
from signer.messages.drill import DrillOrder, require_open
from signer.messages.drill_report import DrillReport
from signer.messages.dsse import SignedFile
from signer.messages.items import Item
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.policy.decision import check_drill, check_items, check_request, needs_person
from signer.strict import Fields

_MAX_MODULE_VARIABLE = 4096
_PERSON_SECONDS = 300.0  # a person types a PIN meanwhile


@dataclass(frozen=True, slots=True)
class Review:
    """What would come of a request, before anything is done about it."""

    verdicts: list[Denial | None]  # one for each item; None may be signed
    approved: list[Item]  # what may be signed
    needs_person: bool  # by the policy, or because only a person has the PIN

    @property
    def denied(self) -> dict[int, Denial]:
        """The denials by position."""
        return {p: verdict for p, verdict in enumerate(self.verdicts) if verdict is not None}


@dataclass(slots=True, kw_only=True)
class Custodian:
    """Orders signatures for one share. Sees neither PIN nor share."""

    desk: Desk
    journal: Journal
    token: TokenChoice
    pin: SecretSource | None  # None: PINs come with a person's approval
    environment: Mapping[str, str]
    guard: PinGuard = field(default_factory=PinGuard)
    threads: int = 1
    clock: Callable[[], float] = time.time
    worker: Callable[..., Fields] = run_worker
    on_work: Callable[[Exposure], None] = lambda exposure: None
    require_token: Callable[[], None] = lambda: None  # raises while the token cannot be used
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def attended(self) -> bool:
        """Whether only a person can give the PIN."""
        return self.pin is None

    @property
    def busy(self) -> bool:
        """Whether something is being done now."""
        return self._one_at_a_time.locked()

    def review(self, request: SignRequest, asker: int | None) -> Review:
        """Say what would come of `request` now. Nothing is done about it.

        Raises:
            DeniedError: it is refused as a whole.
            JournalError: a later journal is known, or this one lacks its history.
        """
        policy, now = self.desk.policy, int(self.clock())
        check_request(
            request,
            self.desk.group,
            policy,
            now=now,
            asker=asker,
            not_before=self.journal.last_intent or 0,
        )
        if self.journal.was_denied(request.digest) is not None:
            raise DeniedError("the holder said no to this request", code="E_DENIED")
        self.journal.require_not_behind(request.witnesses)
        self.journal.require_history()
        check_drill(policy, last_drill=self.journal.last_drill or self.journal.opened, now=now)
        verdicts = check_items(request, policy, self.journal)
        approved = [item for item, no in zip(request.items, verdicts, strict=True) if no is None]
        person = bool(approved) and (self.attended or needs_person(policy, len(approved)))
        return Review(verdicts, approved, person)

    def sign(
        self,
        request: SignRequest,
        asker: int | None,
        *,
        approved: bool = False,
        pin: SecretSource | None = None,
        descriptors: Sequence[int] = (),
    ) -> SignReply:
        """Answer `request`, which user `asker` may make: a partial or a denial for each item.

        Args:
            request: what is asked.
            asker: the user who asks; None is somebody at the desk.
            approved: whether a person has said yes to exactly this request.
            pin: where the worker reads the PIN; else where the configuration says.
            descriptors: those that `pin` names.

        Raises:
            DeniedError: policy refuses the request as a whole, or a person has to say yes first
                (E_APPROVAL). Nothing was recorded.
            JournalError: the record could not be made durable, or a later journal is known.
                Nothing was unsealed, or nothing of what was signed leaves.
            PinError: the token has refused this PIN before, and nobody changed it since. It is
                not tried again: whoever may ask could lock the token so.
            TokenError: the token is known to be absent, locked or not ours. Nothing was recorded.
            SignerError: the worker's trouble. Nothing leaves; the bindings stay.
        """
        with self._one_at_a_time:
            review = self.review(request, asker)
            if not review.approved:
                return self._reply(request, {}, review.denied)
            if review.needs_person and not approved:
                raise DeniedError(
                    "a person has to approve this",
                    code="E_APPROVAL",
                    hint="the agent's configuration names no control socket to do it on",
                )
            source = self._pin(pin)
            self._require_token(source)
            intent = self.journal.intent(request.digest, review.approved, asker, approved=approved)
            try:
                work = self._have_signed(request, frozenset(review.denied), source, descriptors)
            except SignerError as error:
                with contextlib.suppress(JournalError):
                    self.journal.failed(intent, error.code)
                raise
            self.journal.released(
                intent,
                list(work.partials.values()),
                anchored_on=work.anchored_on,
                unsealed_milliseconds=work.exposure.milliseconds,
            )
            self.journal.verified |= work.anchored_on is not None
            return self._reply(request, work.partials, review.denied, work.witness)

    def record_denial(self, request: SignRequest, asker: int | None, code: str) -> None:
        """Remember for ever that a person said no to `request`.

        Raises:
            JournalError: it could not be recorded; E_ROLLBACK, a later journal is known.
        """
        with self._one_at_a_time:
            self.journal.denied(request.digest, asker, code)

    def check_anchor(self) -> None:
        """Hold the journal against the token's anchor, as every signature does. Unseals nothing.

        Raises:
            JournalError: E_ROLLBACK, an older journal than the token knows of.
            AnchorError: E_ANCHOR, the token's anchor is gone or garbage.
            SignerError: the worker's trouble; nothing is known.
        """
        with self._one_at_a_time:
            source = self._pin(None)
            job = CheckAnchor(
                token=self.token,
                pin=source,
                group=self.desk.group.group_id,
                index=int(self.desk.index),
                journal=str(self.journal.path.absolute()),
                anchored_serials=self.journal.anchored_serials,
            )
            self._hire(job, source, (), BASE_SECONDS)
            self.journal.verified = True

    def drill(
        self,
        order: DrillOrder,
        asker: int | None,
        *,
        pin: SecretSource | None = None,
        descriptors: Sequence[int] = (),
    ) -> DrillReport:
        """Have the device show that it opens the share; record it and return the report.

        `asker` is the user who asked, already let in; None is somebody at the desk.

        Raises:
            DeniedError: the order is not for this group, or not now.
            PinError, TokenError: as for `sign`.
            JournalError: E_ROLLBACK, a later journal is known: nothing was unsealed; or it could
                not be recorded. The report does not leave.
            SignerError: the worker's trouble; E_SHARE is a share that is of no use.
        """
        with self._one_at_a_time:
            now = int(self.clock())
            require_open(order, self.desk.group, now)
            self.journal.require_newest()
            source = self._pin(pin)
            self._require_token(source)
            job = drill_job(self.desk, self.journal, self.token, source, order, now)
            result = self._hire(job, source, descriptors, BASE_SECONDS)
            report = report_of(result, order, self.desk.group, now)
            self.journal.drilled(now, report.body.devices[0].serial_sha256)
            self.on_work(exposure_of(result))
            return report

    def _pin(self, given: SecretSource | None) -> SecretSource:
        """Return where the worker reads the PIN, if that may be used now.

        Raises:
            PinError: nobody gave one, or the token refused this one before.
        """
        source = given if given is not None else self.pin
        if source is None:
            raise PinError(
                "this agent has no PIN of its own", hint="the holder approves: signer agent pending"
            )
        return self.guard.ready(source)

    def _require_token(self, source: SecretSource) -> None:
        """Refuse while the token cannot be used; its last try is for a person to spend."""
        try:
            self.require_token()
        except PinFinalTryError:
            if not source.final_try:
                raise

    def _hire(
        self, job: Job, source: SecretSource, descriptors: Sequence[int], seconds: float
    ) -> Fields:
        """Have a worker do `job`, and remember what the token said of the PIN."""
        inherited = tuple(dict.fromkeys((*source.descriptors, *descriptors)))
        if not source.unattended:
            seconds += _PERSON_SECONDS
        options = {"terminals": inherited} if inherited else {}
        try:
            result = self.worker(job, environment=self.environment, seconds=seconds, **options)
        except PinError as error:
            if error.code == "E_PIN_REFUSED":
                self.guard.refused(source)
            raise
        except JournalError as error:
            if error.code == "E_ROLLBACK":
                self.journal.found_behind(error)
            raise
        if result.has("serial"):
            self.guard.accepted(source, str(result.take("serial")))
        return result

    def _have_signed(
        self,
        request: SignRequest,
        skip: frozenset[int],
        source: SecretSource,
        descriptors: Sequence[int],
    ) -> BatchWork:
        """Hire a worker for the items not in `skip`."""
        job = batch_job(
            self.desk, self.journal, self.token, source, request, skip=skip, threads=self.threads
        )
        seconds = BASE_SECONDS + SECONDS_PER_ITEM * len(request.items)
        result = self._hire(job, source, descriptors, seconds)
        work = work_of(result, [p for p in range(len(request.items)) if p not in skip])
        self.on_work(work.exposure)
        return work

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


def module_environment(names: tuple[str, ...]) -> dict[str, str]:
    """Return those of this process's variables that a token's module needs, and no other."""
    return {
        name: value
        for name in names
        if (value := os.environ.get(name)) is not None and len(value) <= _MAX_MODULE_VARIABLE
    }

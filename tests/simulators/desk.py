"""One holder's desk in memory: real papers, a real journal on disk, a worker that is a function."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signer.custody.custodian import Custodian
from signer.custody.desk import Desk
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.errors import SignerError
from signer.hsm.profile import load_profile
from signer.messages.request import SignRequest
from signer.messages.witness import digest_of_partials
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from tests.simulators.holders import NOW, SimulatedPool, seeded


def desk_of(pool: SimulatedPool, index: int = 1) -> Desk:
    """Return the desk of holder `index`, with his true envelope."""
    group = pool.group
    with SecretBytes(pool.shares[index]) as share:
        recipient = group.card_of(index).body.kex
        binding = group.binding(ShareIndex(index))
        envelope = seal_share(share, binding, [recipient], seeded(3))
    return Desk(
        group=group,
        policy=pool.policy,
        envelope=envelope,
        envelope_text=envelope.to_bytes().decode(),
        index=ShareIndex(index),
        public_share=group.vector.public_share(ShareIndex(index)),
    )


@dataclass
class SimulatedWorker:
    """Signs in memory what it is told to. Set a fault and it has it."""

    pool: SimulatedPool
    index: int = 1
    fault: Exception | None = None
    tamper: Callable[[dict[str, Any]], dict[str, Any]] = lambda result: result
    before: Callable[[SignBatch], None] = lambda job: None
    hold: threading.Event | None = None  # signs no sooner than this is set
    jobs: list[SignBatch] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __call__(self, job: SignBatch, *, environment: Mapping[str, str], seconds: float) -> Fields:
        """Carry out `job`."""
        self.jobs.append(job)
        self.seconds.append(seconds)
        self.before(job)
        if self.hold is not None:
            self.hold.wait(20)
        if self.fault is not None:
            raise self.fault
        request = SignRequest.parse(job.request.encode())
        everything = self.pool.partials(self.index, request)
        partials = [p for i, p in enumerate(everything) if i not in job.skip]
        last = last_record(Path(job.journal or ""))
        witness = self.pool.witness(
            self.index,
            sequence=last["seq"],
            head=bytes.fromhex(last["head"]),
            request_digest=request.digest,
            partials_sha256=digest_of_partials(
                None if i in job.skip else p for i, p in enumerate(everything)
            ),
        )
        result = {
            "partials": [p.hex() for p in partials],
            "witness": witness.to_json(),
            "anchored_on": bytes(32).hex() if job.anchor == "token" else None,
            "unsealed_milliseconds": 1,
            "weaknesses": [],
        }
        return Fields(self.tamper(result), "worker's result")


def last_record(journal: Path) -> dict[str, Any]:
    """Return the last record of a journal as the object it is."""
    value: dict[str, Any] = json.loads(journal.read_bytes().splitlines()[-1])
    return value


@dataclass
class SimulatedDesk:
    """A custodian with all that is around him. `now` is his clock."""

    pool: SimulatedPool
    folder: Path
    index: int = 1
    now: float = NOW

    def __post_init__(self) -> None:
        """Open the journal and hire nobody yet."""
        self.worker = SimulatedWorker(self.pool, self.index)
        self.desk = desk_of(self.pool, self.index)
        self.path = self.folder / "journal.jsonl"
        self._start()

    def reopen(self) -> None:
        """Start again, as a restarted agent does."""
        self.journal.close()
        self._start()

    def _start(self) -> None:
        self.journal = Journal.open(self.path, self.pool.group, self.index, clock=lambda: self.now)
        self.custodian = Custodian(
            desk=self.desk,
            journal=self.journal,
            token=TokenChoice(profile=load_profile("softhsm2"), label="desk"),
            pin=SecretSource(file="/nowhere/pin"),
            environment={},
            clock=lambda: self.now,
            worker=self.worker,
        )

    def records(self) -> list[str]:
        """Return the types of the journal's records, as they stand on the disk."""
        lines = self.path.read_text().splitlines()
        return [line.split('"type":"')[1].split('"')[0] for line in lines]

    def code_of(self, request: SignRequest) -> str:
        """Ask for `request`, which must be refused as a whole; return the code."""
        try:
            self.custodian.sign(request, 0)
        except SignerError as error:
            return error.code
        raise AssertionError("it was signed")

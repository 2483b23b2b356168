"""A holder's state folder put back to every earlier moment, while his token stays what it is.

`rollback_trials(count, folder)` is what `make faults` calls; a short form runs in `make test`.
"""

import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from signer.custody.anchor import share_name
from signer.custody.custodian import Custodian
from signer.custody.desk import Desk
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.worker_process import run_worker
from signer.errors import SignerError
from signer.hsm.profile import load_profile
from signer.messages.address import ExecutionAddress
from signer.messages.items import Change
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.strict import Fields
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from tests.simulators.holders import NOW

ADDRESS = ExecutionAddress.parse(TEST_ADDRESS)


@dataclass
class RealDesk:
    """A custodian with a journal on disk, real workers and a real token. `state` is its folder."""

    pool: Pool
    state: Path
    number: int = 0  # of the holder
    anchor: str = "token"
    validator: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Make the folder."""
        self.state.mkdir(mode=0o700, exist_ok=True)

    @property
    def holder(self) -> Holder:
        """Whose desk it is."""
        return self.pool.holders[self.number]

    @property
    def path(self) -> Path:
        """The journal."""
        return self.state / "journal.jsonl"

    def papers(self) -> Desk:
        """Return the papers of the desk."""
        return Desk.lay(self.pool.group, self.pool.policy, self.holder.envelope)

    @property
    def name(self) -> str:
        """Under which name the token keeps the anchor."""
        desk = self.papers()
        return share_name(desk.group.group_id, int(desk.index))

    def serial_digest(self) -> bytes:
        """SHA-256 of the token's serial, as the holder's card has it."""
        desk = self.papers()
        return desk.group.card_of(desk.index).body.serial_sha256

    def open(self) -> Journal:
        """Open the journal, as an agent that starts does."""
        desk = self.papers()
        return Journal.open(self.path, desk.group, desk.index, clock=lambda: NOW)

    def start(self) -> None:
        """Begin the journal and do nothing else."""
        self.open().close()

    def sign(self) -> SignReply:
        """Start, have one request for a new validator signed, end.

        Raises:
            SignerError: it was not signed.
        """
        with self.open() as journal:
            return self._custodian(journal).sign(self._request(), 0)

    def code_of_order(self, **changes: Any) -> str:
        """Give the worker an order of its own, altered; return the code of its refusal."""
        with self.open() as journal:
            custodian = self._custodian(journal)

        def altered(job: SignBatch, **options: Any) -> Fields:
            return run_worker(replace(job, **changes), **options)

        custodian.worker = altered
        try:
            custodian._have_signed(self._request(), frozenset(), custodian._pin(None), ())
        except SignerError as error:
            return error.code
        return ""

    def _request(self) -> SignRequest:
        self.validator += 1
        group = self.papers().group
        return SignRequest.new(group, [Change(self.validator, ADDRESS)], expires=NOW + 60)

    def _custodian(self, journal: Journal) -> Custodian:
        profile = replace(load_profile("softhsm2"), journal_anchor=self.anchor)
        return Custodian(
            desk=self.papers(),
            journal=journal,
            token=TokenChoice(profile=profile, label=self.holder.token.label),
            pin=SecretSource(file=str(self.holder.token.pin_file)),
            environment={"SOFTHSM2_CONF": str(self.holder.token.config)},
            clock=lambda: NOW,
        )

    def code(self) -> str:
        """Ask for a signature; return the code of the refusal, or nothing."""
        try:
            self.sign()
        except SignerError as error:
            return error.code
        return ""

    def copy_to(self, folder: Path) -> Path:
        """Copy the state folder, as a backup or a snapshot of the machine does."""
        return Path(shutil.copytree(self.state, folder))

    def put_back(self, copy: Path) -> None:
        """Put an earlier state folder in the place of this one."""
        shutil.rmtree(self.state)
        shutil.copytree(copy, self.state)


def rollback_trials(count: int, folder: Path, pool: Pool | None = None) -> tuple[int, int]:
    """Put back `count` earlier copies that lack an INTENT; return (trials, how many were found).

    Args:
        count: how many trials.
        folder: an empty folder to work in.
        pool: a provisioned pool to do it with; it is changed. Made here if there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if pool is None:
        pool = Pool.with_tokens(folder / "pool", ["Ada", "Ben"])
        pool.write_policy([TEST_ADDRESS])
        pool.split(2)
    desk = RealDesk(pool, folder / "state")
    desk.sign()
    choose = random.Random(20)
    copies = [desk.copy_to(folder / "copy-0")]
    detected = 0
    for trial in range(1, count + 1):
        desk.sign()  # every copy so far lacks this INTENT
        newest = desk.copy_to(folder / f"copy-{trial}")
        desk.put_back(choose.choice(copies))
        attempts = choose.choice((1, 1, 2))  # a stubborn requester makes the old journal grow
        codes = {desk.code() for _ in range(attempts)}
        detected += codes == {"E_ROLLBACK"}
        desk.put_back(newest)
        copies.append(newest)
    return count, detected

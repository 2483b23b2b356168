"""The wiring of `signer sign`: files and sockets in, one file and one account out."""

import asyncio
import secrets
import time
from pathlib import Path

from signer.aggregator.gather import Asking, Gathering
from signer.aggregator.outcome import Outcome, outcome_of, result_file
from signer.aggregator.tally import Tally
from signer.aggregator.work_folder import WorkFolder
from signer.cli.printer import Printer, Progress, printable
from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import OutputError, UsageError
from signer.files import make_folder, read_file, write_new
from signer.messages.group_file import GroupFile
from signer.messages.reply import SignReply
from signer.messages.request import MAX_BYTES as MAX_REQUEST_BYTES
from signer.messages.request import SignRequest
from signer.policy.decision import check_request

_AGENT_SECONDS = 20.0  # above an agent's own limit, so that its reason arrives
_AGENT_SECONDS_PER_ITEM = 0.004


def sign_request(
    printer: Printer,
    *,
    request: Path,
    group: Path,
    agents: tuple[Path, ...],
    out: Path,
    work: Path | None,
    metadata: bool,
    timeout: float | None,
    patience: float,
    spares: int,
) -> int:
    """Do what `signer sign` is asked and return its exit status, 0 or 6.

    Raises:
        DeniedError, TooFewPartialsError, BadPartialsError: nothing could be signed.
        SignerError: the files are not in order, or the result could not be written.
    """
    asked = _read_request(request)
    pool = read_group(group)
    # With kept replies an expired request may still be finished; agents look at the time as well.
    check_request(asked, pool, 0 if work is not None else int(time.time()))
    if len(set(agents)) != len(agents):
        raise UsageError("an --agent is given twice")
    make_folder(out)
    started = time.monotonic()
    tally = Tally(asked, pool, secrets.token_bytes)
    folder = WorkFolder(work, asked) if work is not None else None
    _resume(tally, folder)
    gathering = _gathering(printer, tally, folder, agents, timeout, patience, spares)
    asyncio.run(gathering.run())
    outcome = outcome_of(tally, gathering.failures)
    _tell(printer, outcome, pool)
    if not outcome.signed:
        printer.account = outcome.to_json()
        raise outcome.error()
    path = _free_path(out)
    write_new(path, result_file(tally, metadata=metadata), mode=0o400)
    summary = outcome.to_json()
    summary |= {"file": str(path), "seconds": round(time.monotonic() - started, 3)}
    printer.result(summary, _words(outcome, path))
    return outcome.exit_status


def _free_path(folder: Path) -> Path:
    """Return the deposit CLI's name for now, or for the next second that has no file yet."""
    moment = int(time.time())
    while (path := folder / f"bls_to_execution_change-{moment}.json").exists():
        moment += 1
    return path


def _resume(tally: Tally, folder: WorkFolder | None) -> None:
    """Count what is at hand before anybody is asked: the operator's own partials, kept replies."""
    operator = tally.request.operator
    if operator is not None:
        tally.add("request", SignReply.of_operator(tally.request, operator))
    if folder is not None:
        for source, reply in folder.replies():
            tally.add(source, reply, kept=True)


def _gathering(
    printer: Printer,
    tally: Tally,
    folder: WorkFolder | None,
    agents: tuple[Path, ...],
    timeout: float | None,
    patience: float,
    spares: int,
) -> Gathering:
    progress = Progress(printer)
    count = len(tally.request.items)

    def draw() -> None:
        progress.show(len(tally.answers), tally.need, f"holders answered, {count} validators")

    def keep(source: str, reply: SignReply) -> None:
        if folder is None:
            return
        try:
            folder.keep(reply, source)
        except OutputError as error:  # the signing goes on; only resuming suffers
            printer.note(f"not kept: {error.line()}")

    draw()
    return Gathering(
        tally,
        [AgentClient(path) for path in agents],
        Asking(
            seconds=timeout or _AGENT_SECONDS + _AGENT_SECONDS_PER_ITEM * count,
            patience=patience + _AGENT_SECONDS_PER_ITEM * count,
            spares=spares,
        ),
        on_reply=keep,
        on_change=draw,
    )


def _tell(printer: Printer, outcome: Outcome, group: GroupFile) -> None:
    """Name on stderr whoever did not do his part, before the result."""
    Progress(printer).end()
    for culprit in outcome.culprits:
        named = culprit.index <= len(group.cards)
        holder = f" ({group.card_of(culprit.index).body.name}'s)" if named else ""
        printer.note(
            f"bad partial: {culprit.code}, answered for share {culprit.index}{holder} "
            f"by {culprit.source}"
        )
        if culprit.index in outcome.signers:
            printer.note(f"  another answer for share {culprit.index} was good: it is not his lie")
    for failure in outcome.failures:
        printer.note(
            f"{'denied' if failure.denied else 'no reply'}: {failure.code}: {failure.message}"
        )
    for item in outcome.unsigned[:20]:
        reasons = ", ".join(f"holder {index} {code}" for index, code in item.denials)
        printer.note(
            f"not signed: validator {item.validator_index}: {reasons or 'too few partials'}"
        )
    if len(outcome.unsigned) > 20:
        printer.note(f"not signed: {len(outcome.unsigned) - 20} more validators; see --json")


def _words(outcome: Outcome, path: Path) -> str:
    signers = ", ".join(str(index) for index in outcome.signers)
    return (
        f"signed {outcome.signed} of {outcome.signed + len(outcome.unsigned)} changes "
        f"by holders {signers}\n{printable(str(path))}"
    )


def _read_request(path: Path) -> SignRequest:
    raw = read_file(path, what="request", max_bytes=MAX_REQUEST_BYTES)
    return SignRequest.parse(raw, f"request {str(path)!r}")

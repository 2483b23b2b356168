"""The wiring of `signer sign`: files and sockets in, one file and one account out."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from signer.aggregator.gather import Asking, Gathering
from signer.aggregator.outcome import Outcome, outcome_of, result_file, result_stem
from signer.aggregator.tally import Tally
from signer.aggregator.work_folder import WorkFolder
from signer.cli.printer import Printer, Progress, printable
from signer.cli.wiring import seconds
from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import OutputError, UsageError
from signer.files import make_folder, read_file, require_place, write_new
from signer.messages.group_file import GroupFile
from signer.messages.reply import SignReply
from signer.messages.request import MAX_BYTES as MAX_REQUEST_BYTES
from signer.messages.request import SignRequest
from signer.messages.witness import witnesses_to_bytes
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
    wait: str | None,
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
    now = 0 if work is not None else int(time.time())
    check_request(asked, pool, None, now=now, asker=None)
    if len(set(agents)) != len(agents):
        raise UsageError("an --agent is given twice")
    require_place(out)
    make_folder(out)
    started = time.monotonic()
    tally = Tally(asked, pool, secrets.token_bytes)
    folder = WorkFolder(work, asked) if work is not None else None
    _resume(tally, folder)
    asking = _asking(len(asked.items), timeout, wait, patience, spares)
    gathering = _gathering(printer, tally, folder, agents, asking)
    asyncio.run(gathering.run())
    outcome = outcome_of(tally, gathering.failures)
    _tell(printer, outcome, pool)
    if not outcome.signed:
        printer.account = outcome.to_json()
        raise outcome.error()
    path = _free_path(out, result_stem(asked))
    write_new(path, result_file(tally, metadata=metadata), mode=0o400)
    witnesses = _write_witnesses(tally, path)
    summary = outcome.to_json()
    summary |= {
        "file": str(path),
        "witnesses": str(witnesses) if witnesses else None,
        "seconds": round(time.monotonic() - started, 3),
    }
    printer.result(summary, _words(outcome, path))
    return outcome.exit_status


def _free_path(folder: Path, stem: str) -> Path:
    """Return the deposit CLI's name for now, or for the next second that has no file yet."""
    moment = int(time.time())
    while (path := folder / f"{stem}-{moment}.json").exists():
        moment += 1
    return path


def _write_witnesses(tally: Tally, result: Path) -> Path | None:
    """Keep what the signers' tokens said of their journals, beside the result."""
    said = [
        answer.reply.witness
        for index, answer in sorted(tally.answers.items())
        if index in tally.signers and answer.reply.witness is not None
    ]
    if not said:
        return None
    path = result.with_name(f"witnesses-{result.stem.rpartition('-')[2]}.json")
    write_new(path, witnesses_to_bytes(said), mode=0o400)
    return path


def _resume(tally: Tally, folder: WorkFolder | None) -> None:
    """Count what is at hand before anybody is asked: the operator's own partials, kept replies."""
    operator = tally.request.operator
    if operator is not None:
        tally.add("request", SignReply.of_operator(tally.request, operator), operator=True)
    if folder is not None:
        for source, reply in folder.replies():
            tally.add(source, reply, kept=True)


def _gathering(
    printer: Printer,
    tally: Tally,
    folder: WorkFolder | None,
    agents: tuple[Path, ...],
    asking: Asking,
) -> Gathering:
    progress = Progress(printer)
    count = len(tally.request.items)

    def draw() -> None:
        words = f"holders answered, {count} item{'s' if count > 1 else ''}"
        if waiting := sorted(index for index, _ in gathering.waiting.values()):
            words += f"; {_waiting_words(waiting, tally.group)}"
        progress.show(len(tally.answers), tally.need, words)

    def keep(source: str, reply: SignReply) -> None:
        if folder is None:
            return
        try:
            folder.keep(reply, source)
        except OutputError as error:  # the signing goes on; only resuming suffers
            printer.note(f"not kept: {error.line()}")

    clients = [AgentClient(path) for path in agents]
    gathering = Gathering(tally, clients, asking, on_reply=keep, on_change=draw)
    draw()
    return gathering


def _asking(
    count: int, timeout: float | None, wait: str | None, patience: float, spares: int
) -> Asking:
    answer_seconds = timeout or _AGENT_SECONDS + _AGENT_SECONDS_PER_ITEM * count
    return Asking(
        seconds=answer_seconds,
        wait=answer_seconds if wait is None else seconds(wait),
        patience=patience + _AGENT_SECONDS_PER_ITEM * count,
        spares=spares,
    )


def _waiting_words(indices: Sequence[int], group: GroupFile) -> str:
    names = [f"{index} ({group.card_of(index).body.name})" for index in indices]
    return f"waiting for holder{'s' if len(names) > 1 else ''} {', '.join(names)}"


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
        if culprit.evidence is not None:
            printer.note(f"  his own token signed that: evidence against holder {culprit.index}")
        if culprit.index in outcome.signers:
            printer.note(f"  another answer for share {culprit.index} was good: it is not his lie")
    for index, source in outcome.rolled_back:
        printer.note(
            f"holder {index} answered (by {source}) from an older journal than the request knows "
            "of: he may have restored an old disk, or somebody gave an old answer once more"
        )
    for failure in outcome.failures:
        what = {"denied": "denied", "waiting": "still waits"}.get(failure.result, "no reply")
        printer.note(f"{what}: {failure.code}: {failure.message}")
    for item in outcome.unsigned[:20]:
        reasons = ", ".join(f"holder {index} {code}" for index, code in item.denials)
        printer.note(f"not signed: {item.name}: {reasons or 'too few partials'}")
    if len(outcome.unsigned) > 20:
        printer.note(f"not signed: {len(outcome.unsigned) - 20} more items; see --json")


def _words(outcome: Outcome, path: Path) -> str:
    signers = ", ".join(str(index) for index in outcome.signers)
    count = outcome.signed + len(outcome.unsigned)
    return (
        f"signed {outcome.signed} of {count} item{'s' if count > 1 else ''} "
        f"by holders {signers}\n{printable(str(path))}"
    )


def _read_request(path: Path) -> SignRequest:
    raw = read_file(path, what="request", max_bytes=MAX_REQUEST_BYTES)
    return SignRequest.parse(raw, f"request {str(path)!r}")

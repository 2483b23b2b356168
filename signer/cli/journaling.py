"""The wiring of `signer journal`."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from signer.cli.printer import Printer, printable, table
from signer.custody.desk import read_group
from signer.custody.host_anchor import HostAnchor, host_anchor_path
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.journal_backup import export_journal, import_journal, verify_journal
from signer.custody.journal_state import JournalState, owner_of
from signer.custody.mark import mark_journal, require_marked_journal
from signer.custody.orders import state_bindings
from signer.custody.record import Record
from signer.custody.vouching import require_whole_journal
from signer.errors import CeremonyError, JournalError, UsageError
from signer.files import make_folder, read_file, write_new
from signer.messages.address import ExecutionAddress
from signer.messages.bindings import MAX_BYTES, Bindings, unite
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.witness import MAX_FILE_BYTES, parse_witnesses
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES
from signer.sealing.envelope import Envelope
from signer.strict import canonical, parse_object
from signer.threshold.params import ShareIndex

_FILE = "journal.jsonl"
_LACKS_OWN = (
    "\nthis share was recovered: it signs only when its own journal is put back, or the other "
    "holders'\nbindings are taken over as well (signer journal import --bindings FILE…)"
)
_UNFINISHED = "an unfinished last line is left out: an agent is writing it, or one was killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a journal is, and whose it should be as far as that is known."""

    path: Path
    group: GroupFile | None = None
    envelope: Path | None = None
    index: int | None = None
    recovered: bool = False  # whether the envelope is of a share that was lost and made again
    host_anchor: bool = False  # whether the host keeps the journal's anchor

    @classmethod
    def find(cls, state: Path | None, config: Path | None, group: Path | None = None) -> Self:
        """Return the place that the options name.

        Raises:
            UsageError: neither or both of STATE and --config.
        """
        if (state is None) == (config is None):
            raise UsageError("name the state folder or --config agent.yaml, one of the two")
        papers = None if group is None else read_group(group)
        if state is not None:
            return cls(path=state / _FILE if state.is_dir() else state, group=papers)
        from signer.agent.config import AgentConfig

        if config is None:
            raise UsageError("--config is needed")
        settings = AgentConfig.load(config)
        raw = read_file(settings.envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES)
        binding = Envelope.parse(raw).binding
        return cls(
            path=settings.state / _FILE,
            group=papers or read_group(settings.group),
            envelope=settings.envelope,
            index=binding.index,
            recovered=binding.recovered,
            host_anchor=settings.token.profile.journal_anchor == "host",
        )

    def owner(self) -> dict[str, Any] | None:
        """Return what the journal's first record must say, if it is known."""
        if self.group is None or self.index is None:
            return None
        return owner_of(self.group, self.index)

    def anchor(self) -> HostAnchor | None:
        """Return the journal's anchor on the host, where the configuration says there is one."""
        if not self.host_anchor or self.envelope is None:
            return None
        if self.group is None or self.index is None:
            return None
        return HostAnchor(host_anchor_path(self.envelope), self.group.group_id, self.index)


def show_journal(printer: Printer, place: Place) -> None:
    """Do `signer journal show`."""
    rows: list[dict[str, Any]] = []
    state = verify_journal(
        place.path, place.owner(), lambda record, line: rows.append(_row(record, line))
    )
    printer.result(
        {"records": rows, **_end(state)},
        table(
            ("RECORD", "TIME (UTC)", "TYPE", "WHAT", "WHO"),
            [(r["sequence"], _time(r["moment"]), r["type"], _what(r), _who(r)) for r in rows],
        ),
    )


def verify_place(printer: Printer, place: Place, witnesses: Sequence[Path]) -> None:
    """Do `signer journal verify`."""
    state = verify_journal(place.path, place.owner())
    ignored = 0
    said = read_witnesses(witnesses)
    if said:
        if place.group is None or state.owner is None:
            raise UsageError("--witness needs --config or --group: witnesses are signed")
        if state.owner["group"] != place.group.group_id.hex():
            raise JournalError("the journal is of another group")
        card = place.group.card_of(ShareIndex(state.owner["index"]))
        ignored = state.require_witnessed(said, card.body.id_sign)
    value = {"verified": True, "witnesses": len(said) - ignored, "ignored": ignored, **_end(state)}
    words = f"{state.sequence} records, every one verified; the last head is\n{state.head.hex()}"
    if _is_unfinished(place.path):
        words += f"\n{_UNFINISHED}"
    if said:
        words += (
            f"\nheld against {len(said) - ignored} witnesses; {ignored} are not of this share, or "
            "of a journal that it lost"
        )
    printer.result(value, words)


def export_backup(printer: Printer, place: Place, out: Path) -> None:
    """Do `signer journal export`."""
    state = export_journal(place.path, out)
    if _is_unfinished(place.path):
        printer.note(_UNFINISHED)
    printer.result(
        {"file": str(out), **_end(state)},
        f"{state.sequence} records copied, every one verified: {printable(str(out))}",
    )


def export_bindings(
    printer: Printer, place: Place, token: TokenChoice, pin: SecretSource | None, out: Path
) -> None:
    """Do `signer journal export --bindings`."""
    state = verify_journal(place.path, place.owner())
    owner = state.owner or {}
    require_whole_journal(
        place.envelope,
        place.path,
        bytes.fromhex(owner["group"]),
        owner["index"],
        anchored=token.profile.journal_anchor == "host",
    )
    statement = state_bindings(token, pin, place.path)
    if place.group is not None:  # nobody would take one that another token has signed
        Bindings.open_file(canonical(statement), place.group, "the statement")
    write_new(out, canonical(statement) + b"\n", mode=0o644)
    printer.result({"file": str(out)}, f"all bindings, signed by the token: {printable(str(out))}")


def import_backup(printer: Printer, place: Place, files: Sequence[Path]) -> None:
    """Do `signer journal import BACKUP`."""
    if len(files) != 1:
        raise UsageError("one backup is put back; other holders' statements need --bindings")
    make_folder(place.path.parent, mode=0o700)
    state = import_journal(files[0], place.path, place.owner(), place.anchor())
    _mark(printer, place)
    printer.result(
        {"journal": str(place.path), **_end(state)},
        f"{state.sequence} records put back: {printable(str(place.path))}",
    )


def import_bindings(printer: Printer, place: Place, files: Sequence[Path]) -> None:
    """Do `signer journal import --bindings`."""
    if place.group is None:
        raise UsageError("--bindings needs --config or --group: statements are signed")
    group = place.group
    index = place.index if place.index is not None else _index_in(place)
    statements = [
        Bindings.open_file(
            read_file(file, what="statement", max_bytes=MAX_BYTES),
            group,
            f"statement {str(file)!r}",
        )
        for file in files
    ]
    union = unite(statements, group, index, int(time.time()))
    make_folder(place.path.parent, mode=0o700)
    with Journal.open(place.path, group, index, recovered=True) as journal:
        journal.imported(union.changes, union.deposit_credentials, dict(union.statements))
        end = _end(journal)
    _mark(printer, place)
    printer.result(
        {"journal": str(place.path), "bindings": len(union.changes), **end},
        f"{len(union.changes)} bindings of {len(statements)} other holders taken over",
    )


def import_ceremony(printer: Printer, place: Place, folder: Path) -> None:
    """Do `signer journal import --ceremony`.

    Raises:
        CeremonyError: it has no certificate, or is not the one that the group file names.
        JournalError: this share has a journal already, which is missing, or elsewhere.
    """
    from signer.ceremony.certificate import certificate_digest
    from signer.ceremony.union import union_of
    from signer.custody.ceremony_folder import CeremonyFolder

    group, index, envelope = place.group, place.index, place.envelope
    if group is None or index is None or envelope is None:
        raise UsageError(
            "--ceremony needs --config",
            hint="only the envelope tells whether the share was recovered: then a ceremony does "
            "not know what it has signed since",
        )
    there = CeremonyFolder(folder)
    setting = there.setting()
    board = there.board(setting, int(time.time()))
    outcome = board.outcome
    if outcome is None or not board.certified or setting.previous is None:
        raise CeremonyError("the folder is not of a reshare that has succeeded")
    if certificate_digest(outcome) != group.certificate:
        raise CeremonyError("the folder is of another ceremony than the group file's")
    statements = [board.bindings[dealer] for dealer in setting.roster.dealers]
    union = union_of(setting, outcome.deals, statements)
    digests = {
        dealer: hashlib.sha256(signed.payload).digest()
        for dealer, signed in zip(setting.roster.dealers, statements, strict=True)
    }
    require_marked_journal(envelope, place.path)
    make_folder(place.path.parent, mode=0o700)
    anchor = place.anchor()
    with Journal.open(
        place.path,
        group,
        index,
        recovered=place.recovered,
        host_anchor=None if anchor is None else anchor.path,
    ) as journal:
        journal.imported(
            union.changes, union.deposit_credentials, digests, certificate=group.certificate
        )
        lacking = journal.generation.lacks_own
        end = _end(journal)
    _mark(printer, place)
    printer.result(
        {"journal": str(place.path), "bindings": len(union.changes), **end},
        f"{len(union.changes)} bindings of the old epoch taken over"
        + (_LACKS_OWN if lacking else ""),
    )


def read_witnesses(files: Sequence[Path]) -> list[SignedFile]:
    """Return all witnesses that the files hold, unverified."""
    return [
        signed
        for file in files
        for signed in parse_witnesses(
            read_file(file, what="witness file", max_bytes=MAX_FILE_BYTES),
            f"witness file {str(file)!r}",
        )
    ]


def _is_unfinished(path: Path) -> bool:
    return not path.read_bytes().endswith(b"\n")


def _index_in(place: Place) -> int:
    """Return whose journal is there already."""
    if not place.path.exists():
        raise UsageError("--bindings into a new journal needs --config: it says whose it is")
    state = verify_journal(place.path)
    return int((state.owner or {})["index"])


def _mark(printer: Printer, place: Place) -> None:
    if place.envelope is not None and not mark_journal(place.envelope, place.path):
        printer.note(f"the journal's place could not be noted beside {place.envelope}")


def _end(state: JournalState) -> dict[str, Any]:
    return {"sequence": state.sequence - 1, "head": state.head.hex()}


def _row(record: Record, line: bytes) -> dict[str, Any]:
    body = parse_object(line, what="record", max_bytes=len(line))["body"]
    return {
        "sequence": record.sequence,
        "moment": record.moment,
        "type": record.kind,
        "body": body,
    }


def _what(row: dict[str, Any]) -> str:
    """Say in a line what a record is about."""
    body: dict[str, Any] = row["body"]
    match row["type"]:
        case "OPENED":
            return f"share {body['index']} of group {body['group'][:8]}, {body['network']}"
        case "EPOCH":
            certificate = body["certificate"] or "none"
            return f"shares of epoch {body['epoch']}, certificate {certificate[:16]}"
        case "POLICY":
            return f"amendment {body['number']}, digest {body['digest'][:16]}"
        case "INTENT":
            return f"{body['kind']}, {body['count']} items: {_items(body)}"
        case "RELEASED":
            return f"{body['count']} partials of {body['intent']}"
        case "FAILED":
            return f"{body['intent']}: {body['code']}"
        case "DENIED":
            return f"request {body['request'][:16]}: {body['code']}"
        case "DRILLED":
            return f"device {body['device'][:16]}"
        case _:
            holders = ", ".join(str(entry["index"]) for entry in body["statements"])
            of = body["certificate"]
            ceremony = "" if of is None else f" in ceremony {of[:16]}"
            return f"bindings of holders {holders}{ceremony}: {_items(body)}"


def _items(body: dict[str, Any]) -> str:
    """Name what was new in a record, shortly."""
    words = [
        f"{_list(change['validator_indices'])} to "
        f"{ExecutionAddress.parse(change['to_execution_address'])}"
        for change in body.get("changes", ())
    ]
    words += [
        f"exit of {e['validator_index']} at epoch {e['epoch']}" for e in body.get("exits", ())
    ]
    words += [
        f"{d['amount_gwei']} Gwei to credentials {d['withdrawal_credentials']}"
        for d in body.get("deposits", ())
    ]
    return "; ".join(words) or "all bound before"


def _list(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:8])
    return shown if len(indices) <= 8 else f"{shown} and {len(indices) - 8} more"


def _who(row: dict[str, Any]) -> str:
    body: dict[str, Any] = row["body"]
    if "uid" not in body:
        return ""
    who = "at the desk" if body["uid"] is None else f"uid {body['uid']}"
    return f"{who}, approved" if body.get("approved") else who


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"

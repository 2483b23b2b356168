"""The wiring of `signer ceremony` where the ceremony is the repair of a lost share."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signer.ceremony.board import Problem
from signer.ceremony.repair_board import RepairBoard, repair_abort_words
from signer.ceremony.repair_entries import repair_entries
from signer.ceremony.repair_minutes import repair_minutes
from signer.ceremony.repair_proof import repair_digest
from signer.ceremony.repair_reading import read_repair
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.steps import Me, Step
from signer.ceremony.terms import NONCE_BYTES
from signer.cli import wiring
from signer.cli.person import ask, say
from signer.cli.printer import Printer, printable, table
from signer.custody.ceremony_folder import PREVIOUS, REPAIRED, ROSTER, CeremonyFolder
from signer.custody.ceremony_state import CeremonyState
from signer.custody.desk import read_group
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import terminal
from signer.custody.repair_results import repaired_files
from signer.custody.repair_runner import RepairRunner
from signer.errors import CeremonyError
from signer.files import make_folder, read_file, require_new, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Card
from signer.messages.group_file import marked_fingerprint

_CLOCK_SECONDS = 3600  # that another machine's clock may be behind
_YES, _NO = "yes", "-"


def new_repair(
    *, previous: Path, lost: int, helpers: Sequence[int], card: Path, valid_for: str, out: Path
) -> RepairRoster:
    """Propose to repair a lost share; write the folder `out`.

    Raises:
        UsageError: a share that the group does not have, or the same helper twice.
        CeremonyError: E_ROSTER: the group, the helpers or the card do not allow it.
        OutputError: `out` is there already, or its parent is not.
    """
    group = read_group(previous)
    now = int(time.time())
    (back,) = wiring.shares("--lost", [lost], group.threshold.n)
    roster = RepairRoster(
        group=group.group_id,
        epoch=group.epoch,
        previous=group.digest,
        lost=back,
        helpers=wiring.shares("--helper", helpers, group.threshold.n),
        card=_card(card),
        not_before=now - _CLOCK_SECONDS,
        expires=now + wiring.seconds(valid_for),
        nonce=os.urandom(NONCE_BYTES),
        rehearsal=group.rehearsal,
    )
    RepairSetting.of(roster, group)
    checked = RepairRoster.parse(roster.to_bytes())  # as its readers will
    require_new(out)
    make_folder(out)
    write_new(out / PREVIOUS, group.to_bytes())
    write_new(out / ROSTER, checked.to_bytes())
    return checked


def join_repair(
    printer: Printer, setting: RepairSetting, *, state: Path, card: Path, compare: Any
) -> None:
    """Join a repair. `compare(id, text)` has a person compare the fingerprint, or raises."""
    roster, now = setting.roster, int(time.time())
    roster.require_open(now)
    me = _who(setting, card)
    compare(roster.id, roster_text(setting, me))
    CeremonyState.of(state, roster).join(me, now)
    printer.result(
        {
            "ceremony": roster.id.hex(),
            "lost": None if me.member is None else int(me.member),
            "helper": me.dealer,
        },
        f"joined {roster.fingerprint} as {_role(me)}\nnow: signer ceremony next",
    )


def repair_runner(
    setting: RepairSetting,
    folder: Path,
    state: Path,
    token: TokenChoice | None = None,
    pin: SecretSource | None = None,
    envelope: bytes | None = None,
) -> RepairRunner:
    """Return what takes the steps of one who takes part."""
    return RepairRunner(
        folder=CeremonyFolder(folder),
        setting=setting,
        state=state,
        token=token,
        pin=pin,
        envelope=envelope,
        clock=lambda: int(time.time()),
    )


def first_failed(yes: bool, ceremony: str, *, rehearsal: bool = False) -> bool:
    """Ask whether the repair that the holder signed another card for has come to nothing.

    Args:
        yes: whether he has said so already.
        ceremony: that repair's id, in hex.
        rehearsal: whether the group is a rehearsal's.
    """
    if yes:
        return True
    with terminal("a confirmation", "--yes-first-failed") as tty:
        say(tty, "You have signed the card of another repair of this group, with the same number:")
        shown = marked_fingerprint(bytes.fromhex(ceremony), rehearsal=rehearsal)
        say(tty, f"ceremony {shown}")
        say(tty, "If anybody can still finish that one, two group files come about that cannot be "
                 "joined. Say that it failed only if its returning holder cannot prove his share, "
                 "or another helper has not signed his card and never will. Where you cannot know "
                 "that, deal the shares anew instead: a reshare ends both.")  # fmt: skip
        return ask(tty, "Type failed: ") == "failed"


def repair_status(
    printer: Printer, setting: RepairSetting, *, folder: Path, state: Path | None
) -> None:
    """Show how far a repair is."""
    board = _board(CeremonyFolder(folder), setting)
    mine = None if state is None else repair_runner(setting, folder, state).look()
    printer.result(board_json(board, mine), status_text(board, mine))


def verify_repair(printer: Printer, setting: RepairSetting, *, folder: Path) -> None:
    """Check everything again and print the minutes.

    Raises:
        CeremonyError: it did not succeed, or a file does not hold.
    """
    there = CeremonyFolder(folder)
    board = _board(there, setting)
    good, strange = repaired_files(there, board)
    done = board.repaired
    if strange and not good:
        raise CeremonyError(
            f"{strange[0]} is not what the other files come to", code="E_TRANSCRIPT"
        )
    for name in strange:
        board.problems.append(Problem(name, "E_TRANSCRIPT", "it is not of this repair"))
    entries = repair_entries(board, there.files())
    text, value = repair_minutes(board, entries), board_json(board, None)
    value["entries"] = [entry.to_json() for entry in entries]
    if board.aborted:
        printer.failed_result({**value, "verified": False}, text)
        raise CeremonyError(repair_abort_words(board), code="E_ABORTED")
    if board.problems and done is None:
        printer.failed_result({**value, "verified": False}, text)
        first = board.problems[0]
        raise CeremonyError(f"{first.file}: {first.words}", code=first.code)
    show = printer.result if done is not None else printer.failed_result
    show({**value, "verified": done is not None}, text)
    if done is None:
        late = ", and the repair's time is over" if board.late else ""
        raise CeremonyError(
            f"the share is not repaired yet: {_stage(board)}{late}", code="E_CEREMONY"
        )


def roster_text(setting: RepairSetting, me: Me) -> str:
    """Return a repair's roster in words, for somebody who is about to join."""
    roster, group = setting.roster, setting.group
    before = group.card_of(roster.lost)
    t, n = group.threshold.t, group.threshold.n

    def mark(digest: bytes) -> str:
        return marked_fingerprint(digest, rehearsal=roster.rehearsal)

    rows: list[tuple[Any, ...]] = [
        (int(h), group.card_of(h).body.name, "helps", mark(group.card_of(h).digest),
         "you" if me.dealer == h else "")
        for h in roster.helpers
    ]  # fmt: skip
    rows.append((int(roster.lost), roster.card.body.name, "gets it back", mark(roster.card.digest),
                 "you" if me.member is not None else ""))  # fmt: skip
    lines = [
        f"ceremony     {roster.fingerprint}",
        f"to           repair share {int(roster.lost)}; every other share stays as it is",
        f"group        {mark(group.group_id)}   epoch {group.epoch}, {t} of {n}",
        f"public key   0x{bytes(group.public_key).hex()}",
        f"origin       {group.origin}: {group.origin_words}",
        f"group file   {mark(group.digest)}",
        f"lost         the token of {before.body.name}, card {mark(before.digest)}",
        f"until        {_time(roster.expires)}",
        "             Only for a token that is destroyed. If somebody may have it: reshare.",
        "             Whoever has the new card's token will have the share: meet its holder.",
        "",
        table(("SHARE", "HOLDER", "PART", "CARD", "YOU"), rows),
    ]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def status_text(board: RepairBoard, mine: Step | None) -> str:
    """Return how far a repair is: a table, one row for each who takes part."""
    setting = board.setting
    roster = setting.roster
    rows: list[tuple[Any, ...]] = []
    for helper in map(int, roster.helpers):
        fault = board.faults.get(helper)
        helped = fault.code if fault is not None else _mark(helper in board.deltas)
        name = setting.card_of(helper).body.name
        added_up, signed = _mark(helper in board.sigmas), _mark(helper in board.replacements)
        rows.append((helper, name, helped, added_up, "", signed))
    name = roster.card.body.name
    rows.append((int(roster.lost), name, "", "", _mark(board.proof is not None), ""))
    lines = [
        f"ceremony  {roster.fingerprint}   repair of share {int(roster.lost)}, "
        f"until {_time(roster.expires)}",
        f"origin    {setting.group.origin}: {setting.group.origin_words}",
        "",
        table(("SHARE", "HOLDER", "HELPED", "ADDED UP", "PROVED", "SIGNED CARD"), rows),
        "",
        _stage(board),
    ]
    lines += [problem.line for problem in board.problems]
    if mine is not None:
        lines += ["", f"you: {mine.words}"]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def board_json(board: RepairBoard, mine: Step | None) -> dict[str, Any]:
    """Return the same for programs."""
    roster, transcript, done = board.setting.roster, board.transcript, board.repaired
    digest = None if transcript is None else repair_digest(board.setting, transcript).hex()
    return {
        "ceremony": roster.id.hex(),
        "kind": "repair",
        "origin": board.setting.group.origin,
        "rehearsal": roster.rehearsal,
        "group": roster.group.hex(),
        "epoch": roster.epoch,
        "lost": int(roster.lost),
        "helpers": [int(helper) for helper in roster.helpers],
        "helped": sorted(board.deltas),
        "added_up": sorted(board.sigmas),
        "proved": board.proof is not None,
        "signed_card": sorted(board.replacements),
        "transcript": None if transcript is None else transcript.hex(),
        "repair": digest,
        "repaired": None if done is None else done.digest.hex(),
        "aborted": board.aborted,
        "verdicts": [verdict._asdict() for verdict in board.verdicts],
        "faults": [
            {"helper": helper, "code": error.code} for helper, error in sorted(board.faults.items())
        ],
        "problems": [problem._asdict() for problem in board.problems],
        "next": None if mine is None else mine.name,
    }


def _stage(board: RepairBoard) -> str:
    if board.aborted:
        return repair_abort_words(board)
    if board.missing_deltas:
        return f"the deltas of {_names(board, board.missing_deltas)} are waited for"
    if board.missing_sigmas:
        return f"the sums of {_names(board, board.missing_sigmas)} are waited for"
    if board.proof is None:
        return f"{board.setting.name_of(board.setting.roster.lost)} can put his share together"
    if board.missing_replacements:
        names = _names(board, board.missing_replacements)
        return f"the new card's signatures of {names} are waited for"
    return f"repaired; everybody uses {REPAIRED} from now on"


def _names(board: RepairBoard, helpers: Sequence[int]) -> str:
    return ", ".join(board.setting.name_of(helper) for helper in helpers)


def _board(there: CeremonyFolder, setting: RepairSetting) -> RepairBoard:
    late = int(time.time()) >= setting.roster.expires
    return read_repair(setting, there.files(), late=late)


def _who(setting: RepairSetting, path: Path) -> Me:
    card, roster = _card(path), setting.roster
    if card.digest == roster.card.digest:
        return Me(roster.lost, None)
    helper = setting.helper_of(card.body.id_sign)
    lost = setting.group.card_of(roster.lost).body
    if helper is None and card.body.id_sign == lost.id_sign:
        raise CeremonyError(
            f"this repair gives share {int(roster.lost)}, which is {lost.name}'s, to another card "
            f"than this one: {roster.card.body.name}'s, {setting.group.marked(roster.card.digest)}",
            hint="if you return, give the new card; if your token is not destroyed, tell the "
            "helpers to stop: whoever has that card's token would have your share",
            code="E_ROSTER",
        )
    if helper is None:
        raise CeremonyError(
            f"{card.body.name} takes no part in this repair: his card is not in it",
            hint="a helper gives his card of the group file; who returns, the new one",
            code="E_ROSTER",
        )
    return Me(None, int(helper))


def _role(me: Me) -> str:
    return f"helper {me.dealer}" if me.member is None else f"the holder of share {int(me.member)}"


def _card(path: Path) -> Card:
    raw = read_file(path, what="card", max_bytes=MAX_CARD_BYTES)
    return Card.parse_file(raw, f"card {str(path)!r}")


def _mark(there: bool) -> str:
    return _YES if there else _NO


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"

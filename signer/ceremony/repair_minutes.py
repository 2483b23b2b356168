"""The minutes of a repair: who did what when, with every digest. From files checked before."""

from collections.abc import Sequence

from signer.ceremony.entries import Entry, time_text
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_proof import repair_digest
from signer.messages.group_file import marked_fingerprint, marked_text


def repair_minutes(board: RepairBoard, entries: Sequence[Entry]) -> str:
    """Return the minutes, to be read and filed; `entries` as of `repair_entries`."""
    setting = board.setting
    roster, group = setting.roster, setting.group
    before = group.card_of(roster.lost)

    def mark(digest: bytes) -> str:
        return marked_fingerprint(digest, rehearsal=roster.rehearsal)

    def full(digest: bytes) -> str:
        return marked_text(digest.hex(), rehearsal=roster.rehearsal)

    lines = [
        f"Share {int(roster.lost)} repaired",
        "",
        f"ceremony     {mark(roster.id)}",
        f"digest       {full(roster.id)}",
        f"group        {mark(group.group_id)}   epoch {group.epoch}",
        f"public key   0x{bytes(group.public_key).hex()}",
        f"origin       {group.origin}: {group.origin_words}",
        f"group file   {full(roster.previous)}",
        f"open         {time_text(roster.not_before)} to {time_text(roster.expires)}",
        f"lost         {int(roster.lost)}  {before.body.name}   card {mark(before.digest)}",
        f"new card     {int(roster.lost)}  {roster.card.body.name}   "
        f"card {mark(roster.card.digest)}",
        "helpers      "
        + ", ".join(f"{int(h)} {group.card_of(h).body.name}" for h in roster.helpers),
        "",
        "What was done (times by each participant's own clock)",
    ]
    for entry in entries:
        lines += entry.lines(rehearsal=roster.rehearsal)
    lines.append("")
    if board.aborted:
        lines.append("The share was not repaired.")
        lines += [verdict.line for verdict in board.verdicts]
        if board.stop is not None:
            lines.append(f"because: {board.stop.message} ({board.stop.code})")
        return "\n".join(lines)
    if board.transcript is not None:
        lines.append(f"transcript   {full(board.transcript)}")
        lines.append(f"repair       {full(repair_digest(setting, board.transcript))}")
    if board.repaired is None:
        lines.append("Not repaired yet.")
    else:
        lines.append(f"group file   {full(board.repaired.digest)}   with the new card")
        lines.append("The returning holder has opened his share and signed with it.")
        lines.append("After that every helper has signed the new card.")
    lines += [problem.line for problem in board.problems]
    return "\n".join(lines)

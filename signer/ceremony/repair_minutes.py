"""The minutes of a repair: who did what when, with every digest. From files checked before."""

from datetime import UTC, datetime

from signer.ceremony.minutes import Entry
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_proof import repair_digest
from signer.messages.group_file import marked_fingerprint


def repair_entries(board: RepairBoard) -> list[Entry]:
    """Return everything that was done, in the order of the participants' own clocks."""
    name_of = board.setting.name_of
    found = [Entry(d.moment, name_of(h), "helped", d.digest) for h, d in board.deltas.items()]
    found += [
        Entry(body.moment, name_of(helper), "added up", file.digest)
        for helper, (file, body) in board.sigmas.items()
    ]
    if board.proof is not None:
        said = board.proof[1]
        who = name_of(board.setting.roster.lost)
        found.append(Entry(said.moment, who, "proved his share", said.envelope_sha256))
    return sorted(found, key=lambda entry: entry.moment)


def repair_minutes(board: RepairBoard) -> str:
    """Return the minutes, to be read and filed."""
    setting = board.setting
    roster, group = setting.roster, setting.group
    before = group.card_of(roster.lost)

    def mark(digest: bytes) -> str:
        return marked_fingerprint(digest, rehearsal=roster.rehearsal)

    lines = [
        f"Share {int(roster.lost)} repaired",
        "",
        f"ceremony     {mark(roster.id)}",
        f"digest       {roster.id.hex()}",
        f"group        {mark(group.group_id)}   epoch {group.epoch}",
        f"group file   {roster.previous.hex()}",
        f"open         {_time(roster.not_before)} to {_time(roster.expires)}",
        f"lost         {int(roster.lost)}  {before.body.name}   card {mark(before.digest)}",
        f"new card     {int(roster.lost)}  {roster.card.body.name}   "
        f"card {mark(roster.card.digest)}",
        "helpers      "
        + ", ".join(f"{int(h)} {group.card_of(h).body.name}" for h in roster.helpers),
        "",
        "What was done (times by each participant's own clock)",
    ]
    for entry in repair_entries(board):
        lines.append(f"  {_time(entry.moment)}  {entry.who} {entry.did}")
        lines.append(f"                       {entry.digest.hex()}")
    lines.append("")
    if board.aborted:
        lines.append("The share was not repaired.")
        lines += [verdict.line for verdict in board.verdicts]
        if board.stop is not None:
            lines.append(f"because: {board.stop.message} ({board.stop.code})")
        return "\n".join(lines)
    if board.transcript is not None:
        lines.append(f"transcript   {board.transcript.hex()}")
        lines.append(f"repair       {repair_digest(setting, board.transcript).hex()}")
    if board.repaired is None:
        lines.append("Not repaired yet.")
    else:
        lines.append(f"group file   {board.repaired.digest.hex()}   with the new card")
        lines.append("The returning holder has opened his share and signed with it.")
        lines.append("After that every helper has signed the new card.")
    lines += [problem.line for problem in board.problems]
    return "\n".join(lines)


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"

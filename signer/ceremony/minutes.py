"""The minutes: who did what when, with every digest. From public files that were checked before."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from signer.ceremony.agreement import agreeing, open_agreement
from signer.ceremony.board import Board
from signer.ceremony.certificate import certificate_digest, group_of
from signer.ceremony.roster import ReshareTerms, SplitTerms
from signer.ceremony.steps import name_of
from signer.messages.group_file import GroupFile, marked_fingerprint
from signer.messages.networks import Network


class Entry(NamedTuple):
    """One thing that somebody did."""

    moment: int  # Unix seconds, by the clock of who did it
    who: str
    did: str
    digest: bytes


def entries_of(board: Board) -> list[Entry]:
    """Return everything that was done, in the order of the participants' own clocks."""
    found = list(_dealt(board)) + list(_agreed(board)) + list(_acknowledged(board))
    return sorted(found, key=lambda entry: entry.moment)


def minutes_text(board: Board, group: GroupFile | None) -> str:
    """Return the minutes, to be read and filed.

    Args:
        board: the ceremony's folder.
        group: the active group file that came of it, if there is one.
    """
    roster, mark = board.setting.roster, _marker(board)
    lines = [
        f"{_KIND_WORDS[roster.kind]} of {roster.group_name!r}",
        "",
        f"ceremony     {mark(roster.id)}",
        f"digest       {roster.id.hex()}",
        f"network      {_network(roster.network)}",
        f"role         {roster.role}",
        f"threshold    {roster.threshold.t} of {roster.threshold.n}",
        f"policy       {roster.policy_digest.hex()}",
        f"open         {_time(roster.not_before)} to {_time(roster.expires)}",
    ]
    if isinstance(roster.terms, SplitTerms):
        lines += [f"dealer       {roster.terms.dealer.body.name}, who has held the whole key"]
    if isinstance(roster.terms, ReshareTerms):
        lines += [
            f"follows      epoch {roster.terms.epoch - 1}, group file "
            f"{roster.terms.previous.hex()}",
            f"reason       {roster.terms.reason}",
        ]
    lines += ["", "Members"]
    for index, card in enumerate(roster.members, start=1):
        lines.append(f"  {index:>3}  {card.body.name}   card {mark(card.digest)}")
    lines += ["", "What was done (times by each participant's own clock)"]
    for entry in entries_of(board):
        lines.append(f"  {_time(entry.moment)}  {entry.who} {entry.did}")
        lines.append(f"                       {entry.digest.hex()}")
    lines += ["", *_result(board, group)]
    return "\n".join(lines)


def _result(board: Board, group: GroupFile | None) -> Iterator[str]:
    outcome, mark = board.outcome, _marker(board)
    if board.aborted or outcome is None:
        yield "No certificate came of it."
        for verdict in board.verdicts:
            yield verdict.line
        if board.stop is not None:
            yield f"because: {board.stop.message} ({board.stop.code})"
        return
    yield f"transcript   {outcome.transcript.hex()}"
    yield f"public key   0x{bytes(outcome.vector.group_public_key).hex()}"
    for index, share in outcome.public_shares.items():
        yield f"  share {int(index):>3}  0x{bytes(share).hex()}"
    if outcome.bindings is not None:
        yield f"bindings     {outcome.bindings.hex()}   what the old journals bind, together"
    if not board.certified:
        yield f"Not certified yet: {len(board.missing_agreements)} have not agreed."
        return
    yield f"certificate  {mark(certificate_digest(outcome))}"
    yield f"digest       {certificate_digest(outcome).hex()}"
    made = group_of(outcome)
    yield f"group        {mark(made.group_id)}   epoch {made.epoch}"
    yield f"origin       {made.origin}: {made.origin_words}"
    if missing := board.missing_acknowledgements:
        yield f"Not acknowledged yet: {', '.join(map(str, missing))}."
    elif group is None:
        yield "All members have acknowledged. NOT ACTIVE: the members have not signed together yet."
    else:
        yield "All members have acknowledged, and t of them have signed together: ACTIVE."


def _dealt(board: Board) -> Iterator[Entry]:
    for dealer, deal in board.checked.items():
        yield Entry(deal.moment, board.setting.name_of(dealer), "dealt", deal.digest)


def _agreed(board: Board) -> Iterator[Entry]:
    for role, index in agreeing(board.setting):
        signed = board.agreements.get((role, index))
        if signed is not None:
            said = open_agreement(signed, board.setting, role, index)
            yield Entry(said.moment, name_of(board, role, index), "agreed", said.transcript)


def _acknowledged(board: Board) -> Iterator[Entry]:
    from signer.ceremony.acknowledgement import KIND, AcknowledgementBody
    from signer.ceremony.statement import open_statement

    for index, file in board.acknowledgements.items():
        point = board.setting.roster.members[index - 1].body.id_sign
        body = open_statement(file.signed, KIND, point, AcknowledgementBody.take, "ack")
        who = name_of(board, "member", index)
        yield Entry(body.moment, who, "acknowledged", body.envelope_sha256)


def _marker(board: Board) -> Callable[[bytes], str]:
    rehearsal = board.setting.roster.rehearsal
    return lambda digest: marked_fingerprint(digest, rehearsal=rehearsal)


def _network(network: Network) -> str:
    return network.name if network.built_in else f"{network.name}, custom, {network.digest.hex()}"


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


_KIND_WORDS = {
    "dkg": "Key generated together",
    "split": "Key split by a dealer",
    "reshare": "Shares dealt anew",
}

"""How a roster and the state of a ceremony are shown to people, and to programs."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from signer.ceremony.agreement import DEALER, MEMBER
from signer.ceremony.board import Board
from signer.ceremony.certificate import certificate_digest
from signer.ceremony.destruction import deletion_words
from signer.ceremony.roster import ReshareTerms, SplitTerms
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me, Step, abort_words
from signer.cli.printer import printable, table
from signer.messages.group_file import GroupFile, marked_fingerprint

_KINDS = {
    "dkg": "generate a key together; nobody will ever hold the whole of it",
    "split": "split a key that one dealer has; he has held the whole of it",
    "reshare": "deal the shares of a group anew; the group's key stays",
}
_YES, _NO = "yes", "-"


def roster_text(setting: Setting, me: Me) -> str:
    """Return a roster in words, for somebody who is about to join."""
    roster = setting.roster
    t, n = roster.threshold.t, roster.threshold.n

    def mark(digest: bytes) -> str:
        return marked_fingerprint(digest, rehearsal=roster.rehearsal)

    lines = [
        f"ceremony     {roster.fingerprint}",
        f"to           {_KINDS[roster.kind]}",
        f"name         {roster.group_name}",
        f"network      {roster.network.name}{'' if roster.network.built_in else '   CUSTOM'}",
        f"role         {roster.role}",
        f"threshold    {t} of {n}: any {t} can sign; losing {n - t + 1} loses the key",
        f"policy       {mark(roster.policy_digest)}",
        f"until        {_time(roster.expires)}",
    ]
    if 2 * t <= n:
        lines.append("             CAREFUL: two sets of holders that do not meet could each sign")
    if isinstance(roster.terms, SplitTerms):
        lines += [
            f"dealer       {roster.terms.dealer.body.name}   {mark(roster.terms.dealer.digest)}",
            f"public key   0x{bytes(roster.terms.group_public_key).hex()}",
        ]
    if isinstance(roster.terms, ReshareTerms):
        lines += ["", *_difference(setting, roster.terms)]
    lines += [
        "",
        table(
            ("SHARE", "HOLDER", "PROFILE", "CARD", "YOU"),
            [
                (
                    index,
                    card.body.name,
                    card.body.profile_words,
                    mark(card.digest),
                    "you" if me.member == index else "",
                )
                for index, card in enumerate(roster.members, start=1)
            ],
        ),
    ]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def status_text(
    board: Board, active: GroupFile | None, gone: Collection[int], mine: Step | None
) -> str:
    """Return how far a ceremony is: a table, one row a holder, and what is wrong."""
    roster = board.setting.roster
    lines = [
        f"ceremony  {roster.fingerprint}   {roster.kind}, {roster.threshold.t} of "
        f"{roster.threshold.n}, until {_time(roster.expires)}",
        *_origin(board.setting),
        "",
        table(("SHARE", "HOLDER", "DEALT", "AGREED", "ACKNOWLEDGED"), _rows(board)),
        "",
        _stage(board, active),
    ]
    if board.setting.previous is not None:
        lines.append(deletion_words(board.setting.previous, gone))
    lines += problem_lines(board)
    if mine is not None:
        lines += ["", f"you: {mine.words}"]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def problem_lines(board: Board) -> list[str]:
    """Return what in the folder is as good as absent, and why; each file is named once."""
    return [problem.line for problem in board.problems]


def board_json(
    board: Board, active: GroupFile | None, gone: Collection[int], mine: Step | None
) -> dict[str, Any]:
    """Return the same for programs."""
    roster, outcome = board.setting.roster, board.outcome
    return {
        "ceremony": roster.id.hex(),
        "kind": roster.kind,
        "origin": roster.kind if board.setting.previous is None else board.setting.previous.origin,
        "rehearsal": roster.rehearsal,
        "threshold": roster.threshold.t,
        "members": [card.body.name for card in roster.members],
        "dealt": sorted(board.checked),
        "agreed": [{"role": role, "index": index} for role, index in sorted(board.agreements)],
        "acknowledged": sorted(board.acknowledgements),
        "certified": board.certified,
        "certificate": certificate_digest(outcome).hex() if outcome and board.certified else None,
        "transcript": outcome.transcript.hex() if outcome else None,
        "group_public_key": "0x" + bytes(outcome.vector.group_public_key).hex()
        if outcome
        else None,
        "active": active is not None,
        "aborted": board.aborted,
        "verdicts": [verdict._asdict() for verdict in board.verdicts],
        "problems": [problem._asdict() for problem in board.problems],
        "destroyed": sorted(gone),
        "next": None if mine is None else mine.name,
    }


def _rows(board: Board) -> list[tuple[Any, ...]]:
    roster = board.setting.roster
    rows: list[tuple[Any, ...]] = []
    dealers = set(roster.dealers)
    by_dealer = board.setting.previous is not None or roster.kind == "split"
    if by_dealer:
        for dealer in roster.dealers:
            card = board.setting.card_of_dealer(dealer)
            agreed = _mark((DEALER, dealer) in board.agreements) if dealer else ""
            rows.append(
                (
                    f"dealer {dealer or ''}".strip(),
                    card.body.name,
                    _dealt(board, dealer),
                    agreed,
                    "",
                )
            )
    for index, card in enumerate(roster.members, start=1):
        dealt = "" if by_dealer or index not in dealers else _dealt(board, index)
        rows.append(
            (
                index,
                card.body.name,
                dealt,
                _mark((MEMBER, index) in board.agreements),
                _mark(index in board.acknowledgements),
            )
        )
    return rows


def _dealt(board: Board, dealer: int) -> str:
    if dealer in board.faults:
        return board.faults[dealer].code
    return _mark(dealer in board.checked)


def _mark(there: bool) -> str:
    return _YES if there else _NO


def _stage(board: Board, active: GroupFile | None) -> str:
    if board.outcome is None and not board.aborted:
        return f"deals are waited for: {len(board.missing_deals)}"
    if board.aborted:
        return abort_words(board)
    if not board.certified:
        return f"agreements are waited for: {len(board.missing_agreements)}"
    if board.missing_acknowledgements:
        return f"certified; acknowledgements are waited for: {len(board.missing_acknowledgements)}"
    if active is None:
        return "all have acknowledged; NOT ACTIVE before they have signed together once"
    return "active"


def _origin(setting: Setting) -> list[str]:
    """Return how the key came to be shared, where the ceremony does not say that itself."""
    old = setting.previous
    return [] if old is None else [f"origin    {old.origin}: {old.origin_words}"]


def _difference(setting: Setting, terms: ReshareTerms) -> list[str]:
    """Return what a reshare changes: who is in, who is out, t, n."""
    old, roster = setting.old, setting.roster
    before = {card.body.id_sign: card.body.name for card in old.current_cards}
    after = {card.body.id_sign: card.body.name for card in roster.members}
    went = [name for key, name in before.items() if key not in after]
    came = [name for key, name in after.items() if key not in before]
    return [
        f"group        {old.marked(old.group_id)}   epoch {old.epoch} becomes {roster.epoch}",
        f"public key   0x{bytes(old.public_key).hex()}",
        f"origin       {old.origin}: {old.origin_words}",
        f"follows      epoch {old.epoch}, {old.marked(old.digest)}, because: {terms.reason}",
        f"threshold    was {old.threshold.t} of {old.threshold.n}, "
        f"becomes {roster.threshold.t} of {roster.threshold.n}",
        f"come in      {', '.join(came) or 'nobody'}",
        f"go out       {', '.join(went) or 'nobody'}",
        "dealers      "
        + ", ".join(f"{int(index)} ({old.card_of(index).body.name})" for index in terms.dealers),
        "             Whoever deals gives the new holders the power to sign.",
    ]


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"

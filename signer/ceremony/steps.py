"""What a participant has to do now. Decided from the folder and what his own desk remembers.

::

    deal ─▶ agree ─▶ acknowledge ─▶ activate ─▶ done            members of a DKG
            agree ─▶ acknowledge ─▶ activate ─▶ done            members of a split or reshare
    deal ─────────────────────────────────────▶ done            the dealer of a split
    deal ─▶ agree ────────────────────────────▶ destroy ─▶ done old holders of a reshare

Between two of them stands waiting, for whoever is named. A fault leads to `aborted` from anywhere;
whoever is complained of first has to answer.
"""

from dataclasses import dataclass
from typing import NamedTuple

from signer.ceremony.agreement import DEALER, MEMBER
from signer.ceremony.board import Board
from signer.ceremony.checking import Outcome
from signer.ceremony.complaint import HIDDEN
from signer.errors import CeremonyError
from signer.messages.group_file import GroupFile
from signer.threshold.params import ShareIndex

DEAL, AGREE, ACKNOWLEDGE, ACTIVATE, DESTROY = "deal", "agree", "acknowledge", "activate", "destroy"
ANSWER, WAIT, DONE, ABORTED = "answer", "wait", "done", "aborted"
OWN = (DEAL, AGREE, ACKNOWLEDGE, DESTROY, ANSWER)  # what a participant's own `next` does


class Me(NamedTuple):
    """Who a participant is in this ceremony."""

    member: ShareIndex | None  # his new share
    dealer: int | None  # 0 for the dealer of a split
    old: int | None = None  # the share that he had before a reshare


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a participant's own desk knows that he has done."""

    deal: bytes | None = None  # digest of what he dealt
    transcript: bytes | None = None  # what he agreed to
    complained: bool = False
    acknowledged: bool = False
    destroyed: bool = False


class Step(NamedTuple):
    """The one thing to do now."""

    name: str
    words: str
    waits_for: tuple[str, ...] = ()  # people, when `name` is WAIT
    recipient: int = 0  # of an ANSWER


def next_step(board: Board, me: Me, memory: Memory, active: GroupFile | None) -> Step:
    """Return what the participant has to do now.

    Args:
        board: the folder.
        me: who he is.
        memory: what he has done before, by his own desk.
        active: the group file that came of it, once it is active.

    Raises:
        CeremonyError: E_CEREMONY_STATE: the folder shows what his desk knows nothing of.
    """
    if me.dealer is not None:
        _require_own_deal(board, me.dealer, memory)
    if board.aborted:
        return _answer(board, me) or Step(ABORTED, abort_words(board))
    if me.dealer is not None and memory.deal is None:
        if board.late:
            return Step(ABORTED, "the ceremony's time is over; nothing was dealt by you")
        return Step(DEAL, "deal: make your polynomial and seal a share to every member")
    if dealers := board.missing_deals or board.missing_bindings:
        names = tuple(board.setting.name_of(dealer) for dealer in dealers)
        return _wait(board, "deals", names)
    outcome = board.outcome
    if board.no_key is not None:
        return _find_culprit(board, me, memory)
    if outcome is None:
        return _answer(board, me) or Step(ABORTED, abort_words(board))
    return _after_deals(board, outcome, me, memory, active)


def _after_deals(
    board: Board, outcome: Outcome, me: Me, memory: Memory, active: GroupFile | None
) -> Step:
    reshare = board.setting.previous is not None
    agrees = me.member is not None or (me.dealer is not None and reshare)
    if memory.complained:
        return Step(WAIT, "you have complained of a deal; your complaint is not in the folder yet")
    if agrees and memory.transcript is None:
        return Step(AGREE, "check every deal and your share of each, and agree")
    if agrees and memory.transcript != outcome.transcript:
        raise CeremonyError(
            "you agreed to other deals than those that lie here now",
            hint="put the files you saw back, and ask who exchanged them; never agree twice",
            code="E_TRANSCRIPT",
        )
    if board.missing_agreements:
        return _wait(
            board, "agreements", tuple(name_of(board, *who) for who in board.missing_agreements)
        )
    if me.member is not None and not memory.acknowledged:
        return Step(ACKNOWLEDGE, "seal your share to your token, open it again, and prove it")
    if board.missing_acknowledgements:
        missing = tuple(name_of(board, MEMBER, index) for index in board.missing_acknowledgements)
        step = _wait(board, "acknowledgements", missing)
        return step._replace(words=step.words + _false_acknowledgements(board))
    if active is None:
        return Step(
            ACTIVATE,
            "all have acknowledged. Start the agents with the new group file and let them sign "
            "once, together: `signer drill run --activate --out` this folder; then run `next`",
        )
    if me.old is not None and not memory.destroyed:
        return Step(DESTROY, "destroy the key that opens your old share")
    return Step(DONE, "nothing is left to do here")


def _false_acknowledgements(board: Board) -> str:
    """Return in words which of the files that are waited for are there, and do not hold."""
    names = {f"ack-{index:02}" for index in board.missing_acknowledgements}
    wrong = [
        f"; {problem.file} is there and does not hold ({problem.code})"
        for problem in board.problems
        if "-".join(problem.file.removesuffix(".json").split("-")[:2]) in names
    ]
    return "".join(wrong)


def _find_culprit(board: Board, me: Me, memory: Memory) -> Step:
    """Who made the deals add up to no key cannot have dealt shares that fit: look for him."""
    if board.late:
        return Step(ABORTED, f"the ceremony's time is over: {board.no_key}")
    if me.member is None or memory.complained:
        return Step(WAIT, f"{board.no_key}: wait for the members to find out who is to blame")
    return Step(AGREE, "the deals add up to no key: check your share of each, and complain")


def abort_words(board: Board) -> str:
    """Return why the ceremony is over, and whose fault it is."""
    guilty_first = sorted(board.verdicts, key=lambda verdict: not verdict.dealer_is_guilty)
    reasons = [f"{verdict.reason} ({verdict.code})" for verdict in guilty_first]
    if board.stop is not None:
        reasons.append(f"{board.stop.message} ({board.stop.code})")
    if not reasons:
        reasons = [
            f"{board.setting.name_of_member(member)} complains of {board.setting.name_of(dealer)} "
            f"({complaint.code}); his answer is waited for"
            for (member, dealer), complaint in sorted(board.complaints.items())
        ]
    return "this ceremony is over: " + "; ".join(reasons)


def name_of(board: Board, role: str, index: int) -> str:
    """Return what people call a participant."""
    if role == DEALER:
        return board.setting.name_of(index)
    return board.setting.name_of_member(index)


def _wait(board: Board, what: str, names: tuple[str, ...]) -> Step:
    if board.late and what != "acknowledgements":
        return Step(
            ABORTED,
            f"the ceremony's time is over, and the {what} of {', '.join(names)} never came",
        )
    return Step(WAIT, f"wait for the {what} of {', '.join(names)}", names)


def _answer(board: Board, me: Me) -> Step | None:
    """Return the complaint that this dealer has to answer, if there is one."""
    if me.dealer is None or me.dealer not in board.checked or not board.setting.opens:
        return None
    for (member, dealer), complaint in sorted(board.complaints.items()):
        if dealer != me.dealer or (dealer, member) in board.openings:
            continue
        if complaint.code in HIDDEN and complaint.deal == board.checked[dealer].digest:
            who = board.setting.name_of_member(member)
            return Step(
                ANSWER,
                f"{who} says that what you sealed to him is wrong: show the key of that one "
                "ciphertext. The ceremony is over either way",
                recipient=member,
            )
    return None


def _require_own_deal(board: Board, dealer: int, memory: Memory) -> None:
    shown = board.deals.get(dealer) or board.slim.get(dealer)
    fault = board.faults.get(dealer)
    if fault is not None and fault.code == "E_DEAL_EQUIVOCATION":
        raise CeremonyError(
            "two different deals of yours are there, both signed by your token: everybody sees "
            "you guilty, and this ceremony is over",
            hint="if this state folder was lost, or restored from a copy, after the first deal had "
            "left: say so, and begin anew with a new folder. If not, somebody uses your token: "
            "tell the pool",
            code="E_DEAL_CHANGED",
        )
    if shown is None or shown.digest == memory.deal:
        return
    if memory.deal is None:
        raise CeremonyError(
            "a deal of yours lies in the folder, and this state folder knows nothing of it",
            hint="use the --state folder that it was made with; never deal twice in one ceremony",
            code="E_CEREMONY_STATE",
        )
    raise CeremonyError(
        "another deal than the one you made lies in the folder, signed by your token",
        hint="if this state folder was restored from a copy, or lost and made anew: say so, and "
        "begin anew. If not, somebody uses your token: tell the pool",
        code="E_DEAL_CHANGED",
    )

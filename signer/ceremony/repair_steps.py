"""What somebody has to do now in a repair. Decided from the folder and what his desk remembers.

::

    delta ─▶ sigma ─▶ replace ─▶ done      helpers
    finish ─▶ done                         the returning holder

Between two of them stands waiting, for whoever is named. A fault leads to `aborted` from anywhere
before the holder's proof; whoever is complained of first has to answer. After the proof nothing
ends the repair any more, and only then the helpers sign the new card.
"""

from dataclasses import dataclass

from signer.ceremony.repair_board import RepairBoard, repair_abort_words
from signer.ceremony.repair_replacement import statement_of
from signer.ceremony.steps import ABORTED, ANSWER, DONE, WAIT, Me, Step
from signer.errors import CeremonyError

DELTA, SIGMA, FINISH, REPLACE = "delta", "sigma", "finish", "replace"
OWN = (DELTA, SIGMA, FINISH, REPLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairMemory:
    """What somebody's own desk knows that he has done."""

    delta: bytes | None = None  # digest of the deltas he made
    transcript: bytes | None = None  # what he added up
    replaced: bool = False  # whether he has signed the new card
    finished: bool = False
    complained: bool = False


def next_repair_step(board: RepairBoard, me: Me, memory: RepairMemory) -> Step:
    """Return what has to be done now.

    Args:
        board: the folder.
        me: who it is: `dealer` is a helper's share, `member` the lost one's.
        memory: what he has done before, by his own desk.

    Raises:
        CeremonyError: E_CEREMONY_STATE, E_REPAIR_CHANGED or E_TRANSCRIPT: the folder shows what his
            desk knows nothing of, or nothing of what it knows.
    """
    if me.dealer is not None:
        _require_own(board, me.dealer, memory)
    if board.aborted:
        if me.dealer is not None and _may_check(board, memory):
            return Step(
                SIGMA,
                "the deltas for one helper add up to zero: check what you were sent, so that it is "
                "known who brought that about. The repair is over either way",
            )
        return _answer(board, me) or Step(ABORTED, repair_abort_words(board))
    if memory.complained and not board.settled:
        return Step(WAIT, "you have complained of a file; your complaint is not in the folder yet")
    if me.dealer is not None and memory.delta is None:
        if board.late:
            return Step(ABORTED, "the repair's time is over; nothing was given away by you")
        return Step(DELTA, "help: break your term of the lost share, seal a part to each helper")
    if board.missing_deltas:
        return _wait(board, "deltas", board.missing_deltas)
    if me.dealer is not None:
        if memory.transcript is None:
            return Step(
                SIGMA,
                "help: add up what the helpers sent you, and seal it to the returning holder",
            )
        if memory.transcript != board.transcript:
            raise CeremonyError(
                "you added up other deltas than those that lie here now",
                hint="put the files you saw back, and ask who exchanged them; never add up twice",
                code="E_TRANSCRIPT",
            )
    if board.missing_sigmas:
        return _wait(board, "sums", board.missing_sigmas)
    if me.member is not None and not memory.finished:
        return Step(FINISH, "put your share together, seal it to your token, open it, and prove it")
    if board.proof is None:
        holder = board.setting.name_of(board.setting.roster.lost)
        return Step(WAIT, f"wait for {holder} to put his share together", (holder,))
    return _after_proof(board, me, memory)


def _after_proof(board: RepairBoard, me: Me, memory: RepairMemory) -> Step:
    if me.dealer is not None and not memory.replaced:
        return Step(
            REPLACE,
            "sign the new card: its holder has proved his share. It becomes replacement "
            f"{statement_of(board.setting).number} of the group; of two repairs that end at once, "
            "with one number, only one can stand",
        )
    if board.missing_replacements:
        names = tuple(board.setting.name_of(helper) for helper in board.missing_replacements)
        return Step(WAIT, f"wait for the new card's signatures of {', '.join(names)}", names)
    return Step(
        DONE,
        "nothing is left to do here; everybody uses group-repaired.json from now on"
        + ("" if me.member is None else ", and you import the others' bindings before you sign: "
           "signer journal import --bindings"),
    )  # fmt: skip


def _may_check(board: RepairBoard, memory: RepairMemory) -> bool:
    """Whether a helper has not looked yet at deltas that add up to zero for somebody."""
    looked = memory.delta is None or memory.transcript is not None or memory.complained
    return board.to_be_checked and not board.late and not looked


def _wait(board: RepairBoard, what: str, helpers: tuple[int, ...]) -> Step:
    names = tuple(board.setting.name_of(helper) for helper in helpers)
    if board.late:
        return Step(
            ABORTED, f"the repair's time is over, and the {what} of {', '.join(names)} never came"
        )
    return Step(WAIT, f"wait for the {what} of {', '.join(names)}", names)


def _answer(board: RepairBoard, me: Me) -> Step | None:
    """Return the complaint that this helper has to answer, if there is one."""
    if me.dealer is None or me.dealer not in board.deltas:
        return None
    for index, helper in sorted(board.complaints):
        sum_of_his = index == board.setting.roster.lost  # never opened
        if helper == me.dealer and not sum_of_his and (helper, index) not in board.openings:
            return Step(
                ANSWER,
                f"{board.setting.name_of(index)} says that what you sealed to him is wrong: show "
                "the key of that one ciphertext. The repair is over either way",
                recipient=index,
            )
    return None


def _require_own(board: RepairBoard, helper: int, memory: RepairMemory) -> None:
    shown = board.files.get(helper)
    unknown = shown is not None and memory.delta is None
    if unknown or (helper in board.sigmas and memory.transcript is None):
        raise CeremonyError(
            f"the folder holds {'deltas' if unknown else 'a sum'} of yours, and this state folder "
            "knows nothing of that",
            hint="use the --state folder that was used before; never help twice in one repair",
            code="E_CEREMONY_STATE",
        )
    if shown is not None and shown.digest != memory.delta:
        raise CeremonyError(
            "other deltas than those you made lie in the folder, signed by your token",
            hint="somebody uses your token: tell the pool",
            code="E_REPAIR_CHANGED",
        )

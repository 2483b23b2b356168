"""What somebody has to do now in a repair. Decided from the folder and what his desk remembers.

::

    delta ─▶ sigma ─▶ done      helpers
    finish ─▶ done              the returning holder

Between two of them stands waiting, for whoever is named. A fault leads to `aborted` from anywhere;
whoever is complained of first has to answer.
"""

from dataclasses import dataclass

from signer.ceremony.repair_board import RepairBoard, repair_abort_words
from signer.ceremony.steps import ABORTED, ANSWER, DONE, WAIT, Me, Step
from signer.errors import CeremonyError

DELTA, SIGMA, FINISH = "delta", "sigma", "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairMemory:
    """What somebody's own desk knows that he has done."""

    delta: bytes | None = None  # digest of the deltas he made
    transcript: bytes | None = None  # what he added up
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
        return _answer(board, me) or Step(ABORTED, repair_abort_words(board))
    if memory.complained:
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
                "help: add up what the helpers sent you, seal it to the returning holder, and sign "
                "his new card",
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
    return Step(
        DONE,
        "nothing is left to do here; everybody uses group-repaired.json from now on"
        + ("" if me.member is None else ", and you import the others' bindings before you sign: "
           "signer journal import --bindings"),
    )  # fmt: skip


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
    if shown is None or shown.digest == memory.delta:
        return
    if memory.delta is None:
        raise CeremonyError(
            "deltas of yours lie in the folder, and this state folder knows nothing of them",
            hint="use the --state folder that they were made with; never help twice in one repair",
            code="E_CEREMONY_STATE",
        )
    raise CeremonyError(
        "other deltas than those you made lie in the folder, signed by your token",
        hint="somebody uses your token: tell the pool",
        code="E_REPAIR_CHANGED",
    )

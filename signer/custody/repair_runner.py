"""Take somebody's next step in a repair: decide, have the worker do it, keep it, hand it on.

As `signer.custody.ceremony_runner`: every step can be run again, and what was signed is kept in the
state folder before it goes into the repair's folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signer.ceremony import repair_steps as steps
from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_reading import EQUIVOCATION, read_repair
from signer.ceremony.repair_replacement import statement_of
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_steps import next_repair_step
from signer.ceremony.steps import ANSWER, Me, Step
from signer.custody.ceremony_folder import REPAIRED, CeremonyFolder
from signer.custody.ceremony_kept import require_whole_repair
from signer.custody.ceremony_runner import Taken
from signer.custody.ceremony_seen import beside, caught, hand_on, number_in, seen
from signer.custody.ceremony_state import ACKNOWLEDGEMENT, COMPLAINT, ENVELOPE, CeremonyState
from signer.custody.ceremony_state import file_name as name_of
from signer.custody.custodian import module_environment
from signer.custody.jobs import Job
from signer.custody.jobs.repair import (
    AddUpDeltas,
    FinishRepair,
    MakeDelta,
    OpenRepair,
    ReplaceCard,
)
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import pin_source
from signer.custody.repair_desk import (
    ADDED_UP,
    HELPED,
    REPLACED,
    helped_of,
    memory_of,
    outgoing,
)
from signer.custody.repair_record import ReplacementRecord, another_refusal
from signer.custody.repair_results import repaired_files
from signer.custody.worker_process import run_worker
from signer.errors import UsageError
from signer.files import write_over
from signer.strict import Fields, canonical

_PERSON_SECONDS = 300.0  # a person types a PIN meanwhile


@dataclass(frozen=True, kw_only=True)
class RepairRunner:
    """One who takes part, at his desk: a repair's folder, his state folder, his token."""

    folder: CeremonyFolder
    setting: RepairSetting
    state: Path
    token: TokenChoice | None = None
    pin: SecretSource | None = None
    envelope: bytes | None = None  # a helper's own share
    clock: Callable[[], int]
    worker: Callable[..., Fields] = field(default=run_worker)
    first_failed: Callable[[str], bool] = field(default=lambda ceremony: False)  # asks a person

    def run(self) -> Taken:
        """Take the next step, if it is this one's.

        Raises:
            SignerError: it could not be taken; everything is as before, and it may be tried again.
        """
        desk = self.desk
        me = desk.me()
        with desk.alone():
            require_whole_repair(desk, self.setting, me)
            new = [*self._hand_on(desk, me), *self._hand_on_deltas(desk)]
            step = self._look(desk, me)
            if step.name in _TAKE:
                if step.name in _TIMED:
                    self.setting.roster.require_open(self.clock())
                _TAKE[step.name](self, desk, me, step)
                new += self._hand_on(desk, me)
            self._forget_session(desk)
            board = self.board(desk)
            new += self._result(board)
            strange = repaired_files(self.folder, board).strange
            return Taken(step, self._look(desk, me), tuple(new), strange)

    def look(self) -> Step:
        """Return the next step without taking it."""
        desk = self.desk
        me = desk.me()
        require_whole_repair(desk, self.setting, me)
        return self._look(desk, me)

    @property
    def desk(self) -> CeremonyState:
        """What this machine remembers of the repair."""
        return CeremonyState.of(self.state, self.setting.roster)

    def board(self, desk: CeremonyState) -> RepairBoard:
        """Return the folder's board, together with the deltas that were seen before."""
        files = self.folder.files()
        files |= beside(seen(desk, "delta"))
        return read_repair(self.setting, files, late=self.clock() >= self.setting.roster.expires)

    def _look(self, desk: CeremonyState, me: Me) -> Step:
        return next_repair_step(self.board(desk), me, memory_of(desk))

    # The steps

    def _help(self, desk: CeremonyState, me: Me, _: Step) -> None:
        if self.envelope is None:
            raise UsageError("a helper needs --envelope, the envelope of his own share")
        envelope = _text(self.envelope)
        self._require_only()
        result = self._order(
            lambda token, pin: MakeDelta(
                **self._place(token, pin), helper=_index(me.dealer), envelope=envelope
            )
        )
        helped = {"session": _object(result, "session"), "delta": str(result.take("delta"))}
        desk.keep(HELPED, canonical(helped) + b"\n")  # in one file: one goes not without the other

    def _add_up(self, desk: CeremonyState, me: Me, _: Step) -> None:
        helped, board = helped_of(desk), self.board(desk)
        deltas = _in_order(self.setting, board)
        result = self._order(
            lambda token, pin: AddUpDeltas(
                **self._place(token, pin),
                helper=_index(me.dealer),
                session=helped["session"],
                deltas=deltas,
            )
        )
        for helper, file in board.files.items():
            desk.keep(f"seen-delta-{helper:02}.json", file.to_bytes())
        if not self._complained(desk, result):
            desk.keep(ADDED_UP, str(result.take("sigma")).encode())

    def _finish(self, desk: CeremonyState, _: Me, __: Step) -> None:
        board = self.board(desk)
        sigmas = [board.sigmas[int(h)][0] for h in self.setting.roster.helpers]
        deltas = _in_order(self.setting, board)
        result = self._order(
            lambda token, pin: FinishRepair(
                **self._place(token, pin),
                deltas=deltas,
                sigmas=tuple(_text(file.to_bytes()) for file in sigmas),
            )
        )
        if not self._complained(desk, result):
            desk.keep(ACKNOWLEDGEMENT, str(result.take("acknowledgement")).encode())

    def _replace(self, desk: CeremonyState, me: Me, _: Step) -> None:
        first_failed, board = self._require_only(), self.board(desk)
        if board.proof is None:
            raise ValueError("a card is signed after the holder's proof only")
        sigmas = [board.sigmas[int(h)][0] for h in self.setting.roster.helpers]
        deltas, proof = _in_order(self.setting, board), _text(board.proof[0].to_bytes())
        result = self._order(
            lambda token, pin: ReplaceCard(
                **self._place(token, pin),
                helper=_index(me.dealer),
                deltas=deltas,
                sigmas=tuple(_text(file.to_bytes()) for file in sigmas),
                proof=proof,
            )
        )
        signed = canonical(_object(result, "replacement")) + b"\n"
        self._record.keep(first_failed=first_failed)
        desk.keep(REPLACED, signed)

    @property
    def _record(self) -> ReplacementRecord:
        return ReplacementRecord.of(self.state, statement_of(self.setting))

    def _require_only(self) -> bool:
        """Refuse a second replacement with one number; tell whether a person gave up the first.

        Raises:
            CeremonyError: E_REPLACEMENT.
        """
        other = self._record.other()
        if other is None:
            return False
        if not self.first_failed(other):
            raise another_refusal(statement_of(self.setting).number)
        return True

    def _answer(self, desk: CeremonyState, me: Me, step: Step) -> None:
        helped, helper = helped_of(desk), _index(me.dealer)
        complaint = self.board(desk).signed_complaints[step.recipient, helper]
        result = self._order(
            lambda token, pin: OpenRepair(
                **self._place(token, pin),
                helper=helper,
                recipient=step.recipient,
                session=helped["session"],
                complaint=complaint.to_json(),
            )
        )
        name = name_of("opening", helper, step.recipient)
        desk.keep(name, canonical(_object(result, "opening")) + b"\n")

    def _complained(self, desk: CeremonyState, result: Fields) -> bool:
        if not result.has("complaint"):
            return False
        helper = result.integer("helper", low=1, high=2**16)
        complaint = {"helper": helper, "signed": _object(result, "complaint")}
        desk.keep(COMPLAINT, canonical(complaint) + b"\n")
        return True

    # What goes into the folder

    def _hand_on(self, desk: CeremonyState, me: Me) -> list[str]:
        """Put whatever this desk has signed into the folder, where it is missing."""
        if (file := desk.get(ACKNOWLEDGEMENT)) is not None:
            desk.keep(ENVELOPE, Acknowledgement.parse(file).envelope.to_bytes())
        added = [self.folder.add(name, data) for name, data in outgoing(desk, me).items()]
        return [name for name in added if name is not None]

    def _hand_on_deltas(self, desk: CeremonyState) -> list[str]:
        """Put what was seen of a helper who signed two sets of deltas there, if others see one."""
        guilty = caught(self.board(desk).faults, EQUIVOCATION)
        if guilty:
            guilty -= caught(read_repair(self.setting, self.folder.files()).faults, EQUIVOCATION)
        shown = seen(desk, "delta") if guilty else {}
        return hand_on(self.folder, shown, lambda name: number_in(name) in guilty)

    def _forget_session(self, desk: CeremonyState) -> None:
        """Drop the sealed session seed: once the repair stands nobody can complain any more."""
        if desk.get(HELPED) is None or not self.board(desk).settled:
            return
        if (helped := helped_of(desk))["session"] is not None:
            write_over(desk.path / HELPED, canonical({**helped, "session": None}) + b"\n")

    def _result(self, board: RepairBoard) -> list[str]:
        """Write the group file with the new card where it is due and missing."""
        if board.repaired is None:
            return []
        if repaired_files(self.folder, board).good:
            return []
        name = self.folder.add(REPAIRED, board.repaired.to_bytes())
        return [] if name is None else [name]

    def _place(self, token: TokenChoice, pin: SecretSource) -> dict[str, Any]:
        return {
            "token": token,
            "pin": pin,
            "roster": _text(self.setting.roster.to_bytes()),
            "group": _text(self.setting.group.to_bytes()),
        }

    def _order(self, make: Callable[[TokenChoice, SecretSource], Job]) -> Fields:
        if self.token is None:
            raise UsageError("this step needs your token: give --token or --serial")
        with pin_source(self.pin) as (pin, own):
            return self.worker(
                make(self.token, pin),
                environment=module_environment(self.token.profile.environment),
                seconds=_PERSON_SECONDS,
                terminals=own,
            )


def _in_order(setting: RepairSetting, board: RepairBoard) -> tuple[str, ...]:
    return tuple(_text(board.files[int(h)].to_bytes()) for h in setting.roster.helpers)


def _object(result: Fields, name: str) -> dict[str, Any]:
    value = result.take(name)
    return value if isinstance(value, dict) else {}


def _index(value: int | None) -> int:
    if value is None:
        raise ValueError("a step of a helper for somebody who is none")
    return value


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


_TAKE: Mapping[str, Callable[[RepairRunner, CeremonyState, Me, Step], None]] = {
    steps.DELTA: RepairRunner._help,
    steps.SIGMA: RepairRunner._add_up,
    steps.FINISH: RepairRunner._finish,
    steps.REPLACE: RepairRunner._replace,
    ANSWER: RepairRunner._answer,
}
_TIMED = (steps.DELTA, steps.SIGMA)

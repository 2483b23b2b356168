"""What a repair's folder shows: who has done what, what is wrong, who is to blame.

`signer.ceremony.repair_reading` fills it from the files.
"""

from dataclasses import dataclass, field
from functools import cached_property

from signer.ceremony.acknowledgement import Acknowledgement, AcknowledgementBody
from signer.ceremony.board import Problem
from signer.ceremony.complaint import Verdict
from signer.ceremony.repair_complaint import RepairComplaint, RepairOpening, judge
from signer.ceremony.repair_delta import CheckedDelta, DeltaFile, transcript_of
from signer.ceremony.repair_roster import RepairSetting, each_helper
from signer.ceremony.repair_sigma import SigmaBody, SigmaFile
from signer.errors import DealError, SignerError
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile


@dataclass
class RepairBoard:
    """All that a folder shows of one repair. Built by `read_repair`."""

    setting: RepairSetting
    late: bool = False  # whether the repair's time is over
    settled: bool = False  # whether all sums and the proof hold: nothing undoes the repair any more
    files: dict[int, DeltaFile] = field(default_factory=dict)
    deltas: dict[int, CheckedDelta] = field(default_factory=dict)
    sigmas: dict[int, tuple[SigmaFile, SigmaBody]] = field(default_factory=dict)
    proof: tuple[Acknowledgement, AcknowledgementBody] | None = None
    replacements: dict[int, SignedFile] = field(default_factory=dict)  # by helper
    complaints: dict[tuple[int, int], RepairComplaint] = field(default_factory=dict)  # of, against
    signed_complaints: dict[tuple[int, int], SignedFile] = field(default_factory=dict)
    openings: dict[tuple[int, int], RepairOpening] = field(default_factory=dict)  # helper, to
    faults: dict[int, DealError] = field(default_factory=dict)  # by helper: seen by everybody
    zero: tuple[int, ...] = ()  # helpers for whom all deltas add up to zero
    problems: list[Problem] = field(default_factory=list)
    stop: SignerError | None = None  # what ends the repair beside a helper's fault

    @property
    def missing_deltas(self) -> tuple[int, ...]:
        """The helpers whose deltas are not there yet."""
        return each_helper(self.setting, lambda h: h not in self.deltas and h not in self.faults)

    @property
    def missing_sigmas(self) -> tuple[int, ...]:
        """The helpers whose sum is not there yet."""
        return each_helper(self.setting, lambda helper: helper not in self.sigmas)

    @property
    def missing_replacements(self) -> tuple[int, ...]:
        """The helpers who have not signed the new card yet."""
        return each_helper(self.setting, lambda helper: helper not in self.replacements)

    @cached_property
    def transcript(self) -> bytes | None:
        """The transcript, once all deltas are there."""
        if self.missing_deltas or self.faults:
            return None
        return transcript_of(self.setting, self.deltas)

    @cached_property
    def repaired(self) -> GroupFile | None:
        """The group file with the new card in the place of the lost one, once it is due."""
        if not self.settled or self.missing_replacements:
            return None
        group, card = self.setting.group, self.setting.roster.card
        signed = [self.replacements[int(helper)] for helper in self.setting.roster.helpers]
        return group.replaced(group.succession.join(group.replacements, card, signed))

    @property
    def aborted(self) -> bool:
        """Whether this repair can never succeed."""
        return not self.settled and bool(self.faults or self.complaints or self.stop)

    @property
    def to_be_checked(self) -> bool:
        """Whether it ends because deltas add up to zero, and who got them may still say why."""
        return bool(self.zero) and not self.faults and not self.complaints and not self.settled

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Who is to blame, where there is a fault or a complaint that can be judged."""
        found = [
            Verdict(helper, None, True, error.message, error.code)
            for helper, error in self.faults.items()
        ]
        for (index, helper), complaint in sorted(self.complaints.items()):
            verdict = judge(
                self.setting, complaint, self.deltas, self.openings.get((helper, index)),
                late=self.late,
            )  # fmt: skip
            if verdict is not None and helper not in self.faults:
                found.append(verdict)
        return found


def repair_abort_words(board: RepairBoard) -> str:
    """Return why the repair is over, and whose fault it is."""
    verdicts = sorted(board.verdicts, key=lambda verdict: not verdict.dealer_is_guilty)
    reasons = [f"{verdict.reason} ({verdict.code})" for verdict in verdicts]
    if board.stop is not None:
        reasons.append(f"{board.stop.message} ({board.stop.code})")
    judged = {(verdict.member, verdict.dealer) for verdict in verdicts}
    reasons += [
        f"{board.setting.name_of(index)} complains of {board.setting.name_of(helper)} "
        f"({complaint.code}); his answer is waited for"
        for (index, helper), complaint in sorted(board.complaints.items())
        if (index, helper) not in judged and helper not in board.faults
    ]
    return "this repair is over: " + "; ".join(reasons)

"""Take a participant's next step in a ceremony: decide, have the worker do it, keep it, hand it on.

Every step can be run again. What was signed is kept in the state folder before it goes into the
ceremony's folder, and goes there again whenever it is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.board import Board, read_board
from signer.ceremony.certificate import group_of
from signer.ceremony.setting import Setting
from signer.ceremony.steps import AGREE, DEAL, OWN, Me, Step, next_step
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_folder import (
    CERTIFICATE,
    GROUP,
    PENDING,
    CeremonyFolder,
    certified_board,
    files_of,
    numbered,
)
from signer.custody.ceremony_kept import require_whole
from signer.custody.ceremony_needs import require_given
from signer.custody.ceremony_results import (
    activated,
    active_group,
    certificate_of,
    has_pending,
    note_strange,
    outgoing,
    require_policy,
)
from signer.custody.ceremony_seen import beside, hand_on_deals, seen
from signer.custody.ceremony_state import CeremonyState
from signer.custody.ceremony_tasks import CeremonyTasks

_TIMED = (DEAL, AGREE)
_RESULTS = ("group", "policy")


class Taken(NamedTuple):
    """What a run did."""

    step: Step  # what was to be done
    after: Step  # what is to be done now
    new: tuple[str, ...]  # files that were added to the folder
    strange: tuple[str, ...] = ()  # files under the names of its results that are none


@dataclass(frozen=True, kw_only=True)
class Runner(CeremonyTasks):
    """One participant at his desk: a ceremony's folder, his state folder, his token."""

    folder: CeremonyFolder
    state: Path
    clock: Callable[[], int]
    confirm: Callable[[Step], None] = field(default=lambda step: None)  # raises if he says no

    def run(self) -> Taken:
        """Take the next step, if it is this participant's.

        Raises:
            SignerError: it could not be taken; everything is as before, and it may be tried again.
        """
        setting = self.folder.setting()
        desk = CeremonyState.of(self.state, setting.roster)
        me = desk.me()
        with desk.alone():
            require_whole(desk, setting, me)
            new = self._hand_on(desk, me)
            board = self.board(setting, desk)
            new += hand_on_deals(self.folder, board, desk)
            step = self._step(board, desk, me)
            if step.name in OWN:
                require_policy(self.folder, setting)
                if step.name in _TIMED:
                    setting.roster.require_open(self.clock())
                require_given(self, setting, step, me.dealer)
                self.confirm(step)
                self.take(board, desk, me, step)
                new += self._hand_on(desk, me)
                board = self.board(setting, desk)
            new += self._results(board, desk)
            after = self._step(board, desk, me)
            has_pending(self.folder, board)
            note_strange(self.folder, board, self.clock())
            names = [one.file for one in board.problems if one.file.startswith(_RESULTS)]
            return Taken(step, after, tuple(new), tuple(names))

    def look(self) -> Step:
        """Return the next step without taking it."""
        setting = self.folder.setting()
        desk = CeremonyState.of(self.state, setting.roster)
        me = desk.me()
        require_whole(desk, setting, me)
        return self._step(self.board(setting, desk), desk, me)

    def _step(self, board: Board, desk: CeremonyState, me: Me) -> Step:
        return next_step(board, me, desk.memory(), active_group(self.folder, board))

    def board(self, setting: Setting, desk: CeremonyState) -> Board:
        """Return the folder's board, together with the deals that were seen before."""
        if (own := desk.get(kept.CERTIFICATE)) is not None:
            files, parts = self.folder.files(), files_of(own, setting)
            if (certified := certified_board(setting, parts, files)) is not None:
                return certified
            files |= numbered(parts, 0)
        else:
            if (certified := self.folder.certified(setting)) is not None:
                return certified
            files = self.folder.uncertified(setting)
        files |= beside(seen(desk, "deal", "bundle"))
        member = desk.me().member
        return read_board(
            setting,
            files,
            late=self.clock() >= setting.roster.expires,
            reader=None if member is None else int(member),
        )

    def _hand_on(self, desk: CeremonyState, me: Me) -> list[str]:
        """Put whatever this desk has signed into the folder, where it is missing."""
        added = []
        if (file := desk.get(kept.ACKNOWLEDGEMENT)) is not None:
            desk.keep(kept.ENVELOPE, Acknowledgement.parse(file).envelope.to_bytes())
        for name, data in outgoing(desk, me).items():
            if (new := self.folder.add(name, data)) is not None:
                added.append(new)
        return added

    def _results(self, board: Board, desk: CeremonyState) -> list[str]:
        """Write certificate and group file where they are due and missing."""
        new = []
        certificate = certificate_of(board, desk)
        if certificate is not None:
            desk.forget_session()  # no complaint can come any more
            new.append(self.folder.add(CERTIFICATE, certificate))
        if board.outcome is not None and board.certified and not board.missing_acknowledgements:
            pending = group_of(board.outcome)
            new.append(self.folder.add(PENDING, pending.to_bytes()))
            if active_group(self.folder, board) is None:
                group = activated(pending, self.folder.drills(), self.clock())
                if group is not None:
                    new.append(self.folder.add(GROUP, group.to_bytes()))
        return [name for name in new if name is not None]

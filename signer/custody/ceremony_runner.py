"""Take a participant's next step in a ceremony: decide, have the worker do it, keep it, hand it on.

Every step can be run again. What was signed is kept in the state folder before it goes into the
ceremony's folder, and goes there again whenever it is missing.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from signer.ceremony import steps
from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.agreement import agreeing
from signer.ceremony.board import Board, read_board
from signer.ceremony.certificate import assemble, group_of
from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me, Step, next_step
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_folder import CERTIFICATE, GROUP, PENDING, CeremonyFolder, files_of
from signer.custody.ceremony_state import CeremonyState, file_name
from signer.custody.custodian import module_environment
from signer.custody.devices import Device
from signer.custody.jobs import Job
from signer.custody.jobs.ceremony import (
    CheckDeals,
    DestroyKey,
    FinishCeremony,
    MakeDeal,
    OpenDeal,
)
from signer.custody.jobs.key_source import KeySource
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import pin_source, state_bindings
from signer.custody.worker_process import run_worker
from signer.errors import CeremonyError, InputError, UsageError
from signer.messages.activation import activation_from_drill
from signer.messages.drill_certificate import DrillCertificate
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.messages.group_file import GroupFile
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

_PERSON_SECONDS = 300.0  # a person types a PIN meanwhile; 100 deals take a slow token a while


class KeyForDealing(NamedTuple):
    """Where the dealer of a split has the key, and the descriptors a worker needs to read it."""

    source: KeySource
    terminals: tuple[int, ...]


class Taken(NamedTuple):
    """What a run did."""

    step: Step  # what was to be done
    after: Step  # what is to be done now
    new: tuple[str, ...]  # files that were added to the folder


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One participant at his desk: a ceremony's folder, his state folder, his token."""

    folder: CeremonyFolder
    state: Path
    token: TokenChoice | None = None
    pin: SecretSource | None = None
    spare: Device | None = None  # the spare token on the card, when its old key is to go
    key: KeyForDealing | None = None  # of a split
    envelope: bytes | None = None  # of a reshare: the old share
    journal: Path | None = None  # of a reshare: what the old share has bound
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
            new = self._hand_on(desk, me)
            board = self.board(setting, desk)
            step = self._step(board, desk, me)
            if step.name in _TAKE:
                if step.name in _TIMED:
                    setting.roster.require_open(self.clock())
                self.confirm(step)
                _TAKE[step.name](self, board, desk, me, step)
                new += self._hand_on(desk, me)
                board = self.board(setting, desk)
            new += self._results(board, desk)
            return Taken(step, self._step(board, desk, me), tuple(new))

    def look(self) -> Step:
        """Return the next step without taking it."""
        setting = self.folder.setting()
        desk = CeremonyState.of(self.state, setting.roster)
        return self._step(self.board(setting, desk), desk, desk.me())

    def _step(self, board: Board, desk: CeremonyState, me: Me) -> Step:
        return next_step(board, me, desk.memory(), active_group(self.folder, board))

    def board(self, setting: Setting, desk: CeremonyState) -> Board:
        """Return the folder's board, together with the deals that were seen before.

        Once the certificate is kept here, it stands for all that came before the acknowledgements:
        nothing that somebody signs later undoes what everybody has agreed to.
        """
        files = self.folder.files()
        certificate = desk.get(kept.CERTIFICATE)
        if certificate is not None:
            acknowledged = {name: data for name, data in files.items() if name.startswith("ack-")}
            return read_board(setting, files_of(certificate, setting) | acknowledged)
        for path in sorted(desk.path.glob("seen-deal-*.json")):
            data = desk.get(path.name)
            if data is not None:
                files[path.name.removeprefix("seen-").replace(".json", "-seen.json")] = data
        member = desk.me().member
        return read_board(
            setting,
            files,
            late=self.clock() >= setting.roster.expires,
            reader=None if member is None else int(member),
        )

    # The steps

    def _deal(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        dealer = _index(me.dealer)
        bindings = None
        if setting.previous is not None:
            bindings = self._state_bindings(desk)
        result = self._order(
            lambda token, pin: MakeDeal(
                token=token,
                pin=pin,
                roster=_text(setting.roster.to_bytes()),
                previous=_previous(setting),
                dealer=dealer,
                key=None if self.key is None else self.key.source,
                envelope=None if self.envelope is None else _text(self.envelope),
                bindings=bindings,
            ),
            terminals=() if self.key is None else self.key.terminals,
        )
        dealt = {"session": _object(result, "session"), "deal": _object(result, "deal")}
        desk.keep(
            kept.DEALT, canonical(dealt) + b"\n"
        )  # in one file: one goes not without the other

    def _state_bindings(self, desk: CeremonyState) -> bytes:
        """Have the token say what the journal binds; return the digest of what it said."""
        if self.journal is None or self.token is None:
            raise UsageError("a dealer of a reshare needs --journal, the journal of his old share")
        known = desk.get(kept.BINDINGS)
        if known is None:
            statement = state_bindings(self.token, self.pin, self.journal)
            known = canonical(statement) + b"\n"
            desk.keep(kept.BINDINGS, known)
        return hashlib.sha256(_signed_payload(known)).digest()

    def _agree(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        dealers = setting.roster.dealers
        result = self._order(
            lambda token, pin: CheckDeals(
                token=token,
                pin=pin,
                roster=_text(setting.roster.to_bytes()),
                previous=_previous(setting),
                member=None if me.member is None else int(me.member),
                dealer=me.dealer if setting.previous is not None else None,
                deals=tuple(_deal_of(board, dealer).to_json() for dealer in dealers),
                bindings=tuple(
                    board.bindings[dealer].to_json()
                    for dealer in dealers
                    if dealer in board.bindings
                ),
            )
        )
        for dealer, deal in board.deals.items():
            desk.keep(f"seen-deal-{dealer:02}.json", deal.to_bytes())
        if result.has("complaint"):
            complaint = _object(result, "complaint")
            dealer = result.integer("dealer", low=0, high=2**16)
            desk.keep(kept.COMPLAINT, canonical({"dealer": dealer, "signed": complaint}) + b"\n")
            return
        agreements = result.array("agreements", low=1, high=2)
        desk.keep(kept.AGREEMENTS, canonical({"agreements": agreements}) + b"\n")

    def _acknowledge(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        certificate = _certificate(board, desk)
        if certificate is None:
            raise CeremonyError(
                "the certificate is waited for: of the deals only a bundle is here",
                hint=f"ask another member for {CERTIFICATE}",
                code="E_EARLY",
            )
        text = _text(certificate)
        result = self._order(
            lambda token, pin: FinishCeremony(
                token=token, pin=pin, certificate=text, previous=_previous(setting)
            )
        )
        desk.keep(kept.ACKNOWLEDGEMENT, str(result.take("acknowledgement")).encode())

    def _answer(self, board: Board, desk: CeremonyState, me: Me, step: Step) -> None:
        setting = board.setting
        dealt = desk.dealt()
        if dealt is None:
            raise ValueError("an answer for a deal that this desk never made")
        result = self._order(
            lambda token, pin: OpenDeal(
                token=token,
                pin=pin,
                roster=_text(setting.roster.to_bytes()),
                previous=_previous(setting),
                dealer=_index(me.dealer),
                recipient=step.recipient,
                session=dealt["session"],
                complaint=board.complained[step.recipient, _index(me.dealer)].to_json(),
            )
        )
        name = file_name("opening", _index(me.dealer), step.recipient)
        desk.keep(name, canonical(_object(result, "opening")) + b"\n")

    def _destroy(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        certificate = _certificate(board, desk)
        if certificate is None:
            raise CeremonyError("the certificate is not in the folder", code="E_TOO_EARLY")
        index, old = _index(me.old), setting.old

        def order(token: TokenChoice, pin: SecretSource, *, spare: bool = False) -> DestroyKey:
            return DestroyKey(
                token=token,
                pin=pin,
                certificate=_text(certificate),
                previous=_text(old.to_bytes()),
                index=index,
                spare=spare,
                acknowledgements=tuple(
                    (member, _text(file.to_bytes()))
                    for member, file in sorted(board.acknowledgements.items())
                ),
            )

        if old.card_of(index).body.kex_backup is not None and desk.get(kept.SPARE_GONE) is None:
            if self.spare is None:
                raise UsageError(
                    "your card shows a spare token, which opens the old share as well: give it "
                    "with --spare-token"
                )
            with pin_source(self.spare.pin) as (pin, terminals):
                _hire(order(self.spare.token, pin, spare=True), self.spare.token, terminals)
            desk.keep(kept.SPARE_GONE, b"{}\n")
        result = self._order(order)
        desk.keep(kept.RECEIPT, canonical(_object(result, "receipt")) + b"\n")

    # What goes into the folder

    def _hand_on(self, desk: CeremonyState, me: Me) -> list[str]:
        """Put whatever this desk has signed into the folder, where it is missing."""
        added = []
        if (file := desk.get(kept.ACKNOWLEDGEMENT)) is not None:
            desk.keep(kept.ENVELOPE, Acknowledgement.parse(file).envelope.to_bytes())
        for name, data in _outgoing(desk, me).items():
            if (new := self.folder.add(name, data)) is not None:
                added.append(new)
        return added

    def _results(self, board: Board, desk: CeremonyState) -> list[str]:
        """Write certificate and group file where they are due and missing."""
        new = []
        certificate = _certificate(board, desk)
        if certificate is not None:
            desk.forget_session()  # no complaint can come any more
            if not (self.folder.path / CERTIFICATE).exists():
                new.append(self.folder.add(CERTIFICATE, certificate))
        if board.outcome is not None and board.certified and not board.missing_acknowledgements:
            pending = group_of(board.outcome)
            if not (self.folder.path / PENDING).exists():
                new.append(self.folder.add(PENDING, pending.to_bytes()))
            if not (self.folder.path / GROUP).exists():
                group = activated(pending, self.folder.drills(), self.clock())
                if group is not None:
                    new.append(self.folder.add(GROUP, group.to_bytes()))
        return [name for name in new if name is not None]

    def _order(
        self, make: Callable[[TokenChoice, SecretSource], Job], terminals: Sequence[int] = ()
    ) -> Fields:
        if self.token is None:
            raise UsageError("this step needs your token: give --token or --serial")
        with pin_source(self.pin) as (pin, own):
            return _hire(make(self.token, pin), self.token, (*own, *terminals))


def _hire(job: Job, token: TokenChoice, terminals: Sequence[int]) -> Fields:
    return run_worker(
        job,
        environment=module_environment(token.profile.environment),
        seconds=_PERSON_SECONDS,
        terminals=terminals,
    )


def active_group(folder: CeremonyFolder, board: Board) -> GroupFile | None:
    """Return the active group file in the folder.

    Raises:
        InputError: it is no group file.
        CeremonyError: E_TRANSCRIPT: it is of another ceremony than this one.
    """
    raw = None if board.outcome is None else folder.read(GROUP, MAX_GROUP_BYTES)
    if raw is None or board.outcome is None:
        return None
    group = GroupFile.parse(raw, GROUP)
    if replace(group, amendments=(), replacements=(), activation=None) != group_of(board.outcome):
        raise CeremonyError(
            f"{GROUP} in the folder is not of this ceremony", code="E_TRANSCRIPT",
            hint="take it out of the folder, and ask who put it there",
        )  # fmt: skip
    return group if group.active else None


def _certificate(board: Board, desk: CeremonyState) -> bytes | None:
    """Return the certificate, once everybody has agreed; keep it, whoever this is."""
    known = desk.get(kept.CERTIFICATE)
    if known is None and board.outcome is not None and board.certified and not board.slim:
        agreements = {who: board.agreements[who] for who in agreeing(board.setting)}
        dealers = board.setting.roster.dealers
        statements = [board.bindings[d] for d in dealers if d in board.bindings]
        known = assemble(board.outcome, board.deals, agreements, statements).to_bytes()
        desk.keep(kept.CERTIFICATE, known)
    return known


def activated(pending: GroupFile, drills: Sequence[bytes], now: int) -> GroupFile | None:
    """Return the group file with the signature that its holders made together, if they did."""
    for raw in drills:
        try:
            drill = DrillCertificate.parse(raw, pending, now, "drill")
            return pending.activated(activation_from_drill(pending, drill))
        except InputError:
            continue  # another drill, or one that too few have answered
    return None


def _outgoing(desk: CeremonyState, me: Me) -> Mapping[str, bytes]:
    """Return what this desk has to show, by the name it has in the folder."""
    files: dict[str, bytes] = {}
    if me.dealer is not None:
        dealt = desk.dealt()
        if dealt is not None:
            files[file_name("deal", me.dealer)] = canonical(dealt["deal"]) + b"\n"
        if (data := desk.get(kept.BINDINGS)) is not None:
            files[file_name("bindings", me.dealer)] = data
        for path in sorted(desk.path.glob("opening-*.json")):
            files[path.name] = desk.get(path.name) or b""
    if me.old is not None and (data := desk.get(kept.RECEIPT)) is not None:
        files[file_name("destroyed", me.old)] = data
    agreements = [canonical(value) + b"\n" for value in desk.agreements()]
    if me.member is not None:
        if (data := desk.get(kept.ACKNOWLEDGEMENT)) is not None:
            files[file_name("ack", me.member)] = data
        if (data := desk.get(kept.COMPLAINT)) is not None:
            said = Fields(parse_object(data, what=kept.COMPLAINT, max_bytes=8192), kept.COMPLAINT)
            dealer = said.integer("dealer", low=0, high=MAX_HOLDERS)
            files[file_name("complaint", me.member, dealer)] = (
                canonical(_object(said, "signed")) + b"\n"
            )
        if agreements:
            files[file_name("agree", me.member)] = agreements.pop(0)
    if agreements and me.dealer is not None:
        files[file_name("agree", me.dealer, dealer=True)] = agreements.pop(0)
    return files


def _deal_of(board: Board, dealer: int) -> Deal | SlimDeal:
    return board.deals.get(dealer) or board.slim[dealer]


def _signed_payload(raw: bytes) -> bytes:
    from signer.messages.bindings import MAX_BYTES, MAX_PAYLOAD, PAYLOAD_TYPE
    from signer.messages.dsse import SignedFile
    from signer.strict import parse_object

    value = parse_object(raw, what="bindings", max_bytes=MAX_BYTES)
    return SignedFile.parse(
        value, "bindings", payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD
    ).payload


def _previous(setting: Setting) -> str | None:
    return None if setting.previous is None else _text(setting.previous.to_bytes())


def _object(result: Fields, name: str) -> dict[str, Any]:
    value = result.take(name)
    return value if isinstance(value, dict) else {}


def _index(value: int | None) -> int:
    if value is None:
        raise ValueError("a step of a dealer for somebody who is none")
    return value


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


_TAKE: Mapping[str, Callable[[Runner, Board, CeremonyState, Me, Step], None]] = {
    steps.DEAL: Runner._deal,
    steps.AGREE: Runner._agree,
    steps.ACKNOWLEDGE: Runner._acknowledge,
    steps.ANSWER: Runner._answer,
    steps.DESTROY: Runner._destroy,
}
_TIMED = (steps.DEAL, steps.AGREE)

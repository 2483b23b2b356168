"""What a participant's token has to do in a ceremony, one worker's order for each step.

What a worker signed is kept in the state folder at once; handing it on is the runner's business.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from signer.ceremony import steps
from signer.ceremony.board import Board
from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me, Step
from signer.ceremony.union import open_bindings
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_folder import CERTIFICATE
from signer.custody.ceremony_results import certificate_of
from signer.custody.ceremony_seen import keep_seen
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
from signer.custody.journal_file import JournalFile
from signer.custody.old_keys import gone_keys, keep_gone, keys_of
from signer.custody.orders import pin_source, state_bindings
from signer.custody.vouching import require_whole_journal
from signer.custody.worker_process import run_worker
from signer.errors import CeremonyError, JournalError, UsageError
from signer.messages.bindings import MAX_PAYLOAD, PAYLOAD_TYPE
from signer.messages.dsse import SignedFile
from signer.sealing.envelope import key_fingerprint
from signer.strict import Fields, canonical

_PERSON_SECONDS = 300.0  # a person types a PIN meanwhile; 100 deals take a slow token a while


class KeyForDealing(NamedTuple):
    """Where the dealer of a split has the key, and the descriptors a worker needs to read it."""

    source: KeySource
    terminals: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CeremonyTasks:
    """A participant's token, and what else the steps of some of them need."""

    token: TokenChoice | None = None
    pin: SecretSource | None = None
    spare: Device | None = None  # a spare token, when its key of the old share is to go
    key: KeyForDealing | None = None  # of a split
    envelope: bytes | None = None  # of a reshare: the old share
    envelope_path: Path | None = None  # where it is; the traces of its journal are beside it
    journal: Path | None = None  # of a reshare: what the old share has bound
    no_journal: bool = False  # its holder says that there never was one

    def take(self, board: Board, desk: CeremonyState, me: Me, step: Step) -> None:
        """Have the token do what `step`, one of `steps.OWN`, asks for, and keep what it signed.

        Raises:
            SignerError: it was not done; nothing was kept.
        """
        _TAKE[step.name](self, board, desk, me, step)

    def _deal(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        dealer = _index(me.dealer)
        statement = None if setting.previous is None else self._state_bindings(setting, dealer)
        bindings = None if statement is None else _payload_digest(statement, setting, dealer)
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
        dealt = {
            "session": _object(result, "session"),
            "deal": _object(result, "deal"),
            "bindings": statement,
        }
        desk.keep(kept.DEALT, canonical(dealt) + b"\n")  # in one file: neither without the other

    def _state_bindings(self, setting: Setting, dealer: int) -> dict[str, Any]:
        """Have the token say what the journal binds now; it is kept only with the deal."""
        if self.token is None:
            raise UsageError("this step needs your token: give --token or --serial")
        if (self.journal is None) != self.no_journal:
            raise UsageError("a dealer of a reshare gives either --journal or --no-journal")
        if self.journal is not None and not self.journal.exists():
            raise JournalError(
                f"there is no journal {str(self.journal)!r}",
                hint="agent.yaml names it; if no agent ever ran with this share: --no-journal",
            )
        if self.journal is not None:
            JournalFile.open(self.journal).close()  # in use: more would be bound
        self.require_journal(setting, dealer)
        old = setting.old
        owner = (old.group_id, dealer, old.epoch)
        return state_bindings(self.token, self.pin, self.journal, owner)

    def require_journal(self, setting: Setting, dealer: int) -> None:
        """Refuse to vouch for a journal that is known not to be whole, or for none where one is.

        Raises:
            UsageError, JournalError: as `require_whole_journal`.
        """
        anchored = self.token is not None and self.token.profile.journal_anchor == "host"
        group = setting.old.group_id
        require_whole_journal(self.envelope_path, self.journal, group, dealer, anchored=anchored)

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
        keep_seen(board, desk)
        if result.has("complaint"):
            complaint = _object(result, "complaint")
            dealer = result.integer("dealer", low=0, high=2**16)
            desk.keep(kept.COMPLAINT, canonical({"dealer": dealer, "signed": complaint}) + b"\n")
            return
        agreements = result.array("agreements", low=1, high=2)
        desk.keep(kept.AGREEMENTS, canonical({"agreements": agreements}) + b"\n")

    def _acknowledge(self, board: Board, desk: CeremonyState, me: Me, _: Step) -> None:
        setting = board.setting
        certificate = certificate_of(board, desk)
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
        certificate = certificate_of(board, desk)
        if certificate is None:
            raise CeremonyError("the certificate is not in the folder", code="E_TOO_EARLY")
        index, old, envelope = _index(me.old), setting.old, self.envelope
        needed = keys_of(envelope, old, index)

        def order(token: TokenChoice, pin: SecretSource, *, spare: bool = False) -> DestroyKey:
            return DestroyKey(
                token=token,
                pin=pin,
                certificate=_text(certificate),
                previous=_text(old.to_bytes()),
                index=index,
                envelope=_text(envelope or b""),
                spare=spare,
                gone=gone_keys(desk),
                notes=str(desk.path.absolute()),
                acknowledgements=tuple(
                    (member, _text(file.to_bytes()))
                    for member, file in sorted(board.acknowledgements.items())
                ),
            )

        if self.spare is not None:
            with pin_source(self.spare.pin) as (pin, terminals):
                done = _hire(order(self.spare.token, pin, spare=True), self.spare.token, terminals)
            keep_gone(desk, done)
        if left := set(needed[1:]) - set(gone_keys(desk)):
            raise UsageError(
                "your old share opens on other tokens too, spares of yours: key "
                + ", key ".join(map(key_fingerprint, sorted(left))),
                hint="run this once for each of them: --spare-token; your own token comes last",
            )
        result = self._order(order)
        desk.keep(kept.RECEIPT, canonical(_object(result, "receipt")) + b"\n")

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


def _deal_of(board: Board, dealer: int) -> Deal | SlimDeal:
    return board.deals.get(dealer) or board.slim[dealer]


def _payload_digest(statement: dict[str, Any], setting: Setting, dealer: int) -> bytes:
    """Return how a deal names the statement, once it is one that everybody will take."""
    signed = SignedFile.parse(
        statement, "bindings", payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD
    )
    open_bindings(signed, setting, dealer)  # or the dealer would be found guilty of it
    return hashlib.sha256(signed.payload).digest()


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


_TAKE: Mapping[str, Callable[[CeremonyTasks, Board, CeremonyState, Me, Step], None]] = {
    steps.DEAL: CeremonyTasks._deal,
    steps.AGREE: CeremonyTasks._agree,
    steps.ACKNOWLEDGE: CeremonyTasks._acknowledge,
    steps.ANSWER: CeremonyTasks._answer,
    steps.DESTROY: CeremonyTasks._destroy,
}

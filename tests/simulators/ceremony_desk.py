"""Desks of a ceremony's people: the real runner and the real worker's functions on real folders.

Only the token is software: a person of `tests.simulators.ceremony` stands for it.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from signer.ceremony.steps import Me
from signer.custody import ceremony_tasks
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_runner import Runner, Taken
from signer.custody.ceremony_state import CeremonyState
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker import dealing, joining
from signer.errors import CardError, ProvenanceError, SignerError, revive
from signer.hsm.profile import load_profile
from signer.messages.card import Card
from signer.messages.dsse import SignedFile
from signer.secret import SecretBytes
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering, Person
from tests.simulators.holders import NOW

_HANDLERS: dict[str, Callable[[Fields], dict[str, Any]]] = {
    "make_deal": dealing.make_deal,
    "open_deal": dealing.open_deal,
    "check_deals": joining.check_deals,
    "finish_ceremony": joining.finish_ceremony,
}


@dataclass
class Token:
    """A person's token, as the worker's functions see it."""

    person: Person
    swapped: bool = False  # the point of his receiving key lies beside another private key

    @property
    def public_point(self) -> bytes:
        """The identity key."""
        return self.person.card.body.id_sign


@dataclass
class ReceivingKey:
    """The key that his shares are sealed to."""

    person: Person

    @property
    def public_point(self) -> bytes:
        """Its public point."""
        return self.person.card.body.kex

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        """The token's step of opening an envelope."""
        return self.ecdh(enc)

    def ecdh(self, peer: bytes) -> SecretBytes:
        """Do what the token does."""
        return self.person.ecdh(peer)


@dataclass
class Room:
    """The people of a ceremony, each at his desk, and the folder that travels between them."""

    gathering: Gathering
    path: Path
    draw: Callable[[int], bytes]  # what all tokens draw
    orders: list[str] = field(default_factory=list)  # that were carried out
    swapped: set[int] = field(default_factory=set)  # whose token shows public objects exchanged
    now: int = NOW

    @classmethod
    def open(
        cls, gathering: Gathering, path: Path, patch: pytest.MonkeyPatch,
        draw: Callable[[int], bytes],
    ) -> "Room":  # fmt: skip
        """Lay the folder, let everybody join, and put software in the place of the tokens."""
        room = cls(gathering, path, draw)
        usb = path / "usb"
        usb.mkdir(parents=True)
        roster = gathering.setting.roster
        (usb / "roster.json").write_bytes(roster.to_bytes())
        patch.setattr(ceremony_tasks, "run_worker", room.work)
        for module in (dealing, joining):
            patch.setattr(module, "session_on", room.session)
            patch.setattr(module, "identity_on", _identity_on)
            patch.setattr(module, "sign_file", _sign)
            patch.setattr(module, "receiving_key_of", _receiving)
            patch.setattr(module, "require_ceremony_mechanisms", lambda session: None)
        patch.setattr(joining, "identity_key", lambda token: token)
        patch.setattr(dealing, "token_random", lambda session, size: SecretBytes(draw(size)))
        for index in gathering.members:
            room.join(index)
        return room

    def join(self, index: int) -> None:
        """Let a member join."""
        setting = self.gathering.setting
        card = self.gathering.members[index].card
        me = Me(ShareIndex(index), setting.dealer_of(card.body.id_sign))
        CeremonyState.of(self.state(index), setting.roster).join(me, NOW)

    @property
    def usb(self) -> Path:
        """The folder that travels."""
        return self.path / "usb"

    def state(self, index: int) -> Path:
        """Return a member's own folder."""
        return self.path / f"state-{index}"

    def desk(self, index: int) -> Path:
        """Return what his own folder has of this ceremony."""
        return CeremonyState.of(self.state(index), self.gathering.setting.roster).path

    def runner(self, index: int) -> Runner:
        """Return what `signer ceremony next` makes for a member."""
        return Runner(
            folder=CeremonyFolder(self.usb),
            state=self.state(index),
            token=TokenChoice(profile=load_profile("softhsm2"), label=str(index)),
            pin=SecretSource(file="/none"),
            clock=lambda: self.now,
        )

    def next(self, index: int) -> Taken:
        """Run `next` once."""
        return self.runner(index).run()

    def work(self, job: Job, **_: object) -> Fields:
        """Be the worker process."""
        kind, fields = open_order(order_bytes(job))
        self.orders.append(kind)
        try:
            return Fields(_HANDLERS[kind](fields), "worker's result")
        except SignerError as error:  # as it comes out of the process
            raise revive(type(error).__name__, error.message, error.hint, error.code) from None

    @contextlib.contextmanager
    def session(self, choice: TokenChoice, pin: SecretSource, **_: object) -> Iterator[Token]:
        """Open a member's token."""
        index = int(choice.label or 0)
        yield Token(self.gathering.members[index], index in self.swapped)


def _identity_on(token: Token, card: Card) -> Token:
    if token.public_point != card.body.id_sign:
        raise CardError(f"this token is not that of {card.body.name}'s card")
    return token


def _sign(token: Token, payload_type: str, payload: bytes) -> SignedFile:
    return token.person.sign(payload_type, payload)


def _receiving(token: Token, point: bytes) -> ReceivingKey:
    if token.swapped:
        raise ProvenanceError("its public key object is of another key")
    key = ReceivingKey(token.person)
    assert key.public_point == point
    return key

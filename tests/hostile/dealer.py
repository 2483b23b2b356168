"""A hostile participant of a DKG, a split or a reshare: what an honest one does, but for one thing.

He keeps nothing: his session seed follows from the ceremony's id.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony import agreement, complaint
from signer.ceremony.acknowledgement import PAYLOAD_TYPE as ACK_TYPE
from signer.ceremony.acknowledgement import (
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.agreement import DEALER, MEMBER, agreeing, agreement_of
from signer.ceremony.board import Board
from signer.ceremony.certificate import assemble, certificate_digest, group_of
from signer.ceremony.deal import PAYLOAD_TYPE as DEAL_TYPE
from signer.ceremony.deal import Deal, DealBody, leaves_of
from signer.ceremony.dealing import ephemeral_seed, make_deal, take_share
from signer.ceremony.roster import SPLIT
from signer.ceremony.setting import Setting
from signer.custody.orders import state_bindings
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.bindings import Bindings
from signer.messages.dsse import SignedFile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed
from signer.sealing.share import seal_share
from signer.sealing.transit import ephemeral_scalar
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from tests.hostile.desk import Desk

SPLIT_KEY = b"\0" * 31 + b"\5"  # the key that he says he splits


@dataclass
class Cheat:
    """One way to cheat: what is done differently, at which step."""

    body: Callable[["Dealer", DealBody], DealBody] | None = None
    sealed: Callable[["Dealer", DealBody], Sealed] | None = None  # for the victim
    secret: bytes | None = None  # dealt in the place of his old share, or of the roster's key
    states: Callable[["Dealer", Bindings], Bindings] | None = None  # of his journal
    swaps: bool = False  # the statement that his deal names, for another
    shown: bytes | None = None  # in answer to a complaint; None: a key that he did use
    shown_of: int | None = None  # of which member's ciphertext; None: of the one who complains
    answers: bool | None = None  # None: where an honest dealer does
    twice: bool = False  # deals twice, at once
    late: bool = False  # deals once more when all is done
    anew: bool = False  # deals over the deal that he made before
    ciphertexts: Callable[[tuple[Sealed, ...]], tuple[Sealed, ...]] | None = None  # all of them
    complains: bool = False
    strays: tuple[str, ...] = ()  # in which roles he agrees to something else
    wrong_proof: bool = False  # acknowledges with something else than his share
    proof_tag: bytes = SHARE_PROOF_DST  # under which he proves his share
    certifies: bool = False  # with another deal of his than all have agreed to
    malformed: bool = False


@dataclass
class Dealer:
    """The holder in one ceremony."""

    cheat: Cheat
    desk: Desk
    setting: Setting
    member: ShareIndex | None
    dealer: int | None
    victim: int

    @classmethod
    def of(cls, cheat: Cheat, desk: Desk, setting: Setting, victim: int) -> "Dealer":
        """Return who has the desk's card in a ceremony."""
        point = desk.card.body.id_sign
        member, dealer = setting.roster.member_of(point), setting.dealer_of(point)
        if member is None and dealer is None:
            raise SystemExit("he is not in the roster")
        return cls(cheat, desk, setting, member, dealer, victim)

    @property
    def seed(self) -> SecretBytes:
        """What he deals from; anybody could compute it."""
        return SecretBytes(hashlib.sha256(b"hostile" + self.setting.roster.id).digest())

    @property
    def roles(self) -> list[tuple[str, int]]:
        """In which roles he must agree."""
        mine = {(MEMBER, int(self.member or 0)), (DEALER, int(self.dealer or 0))}
        return [role for role in agreeing(self.setting) if role in mine]

    def board(self) -> Board:
        """Return what the folder shows."""
        return self.desk.folder.board(self.setting, int(time.time()))

    def turn(self) -> list[str]:
        """Do what can be done now; return the names of the files that he made."""
        board = self.board()
        mine = self.dealer
        if mine is not None and mine not in board.deals and mine not in board.faults:
            return self.deal()
        if self.cheat.anew:
            return self.deal()
        answers = self.setting.opens if self.cheat.answers is None else self.cheat.answers
        for (member, dealer), _ in board.complaints.items():
            if dealer == mine and (mine, member) not in board.openings and answers:
                return [self.answer(member)]
        if board.complaints or board.outcome is None:
            return []
        if self.cheat.complains:
            return [self.complain(board)]
        if board.stop is None and (roles := set(self.roles) - set(board.agreements)):
            made = [self.agree(board, *role) for role in sorted(roles, reverse=True)]
            return [*made, self.certify()] if self.cheat.certifies else made
        done = self.member is None or int(self.member) in board.acknowledgements
        if board.certified and not done:
            return [self.acknowledge(board)]
        if self.cheat.certifies and board.certified:
            return [self.certify()]
        return self.deal("-late") if self.cheat.late and board.certified else []

    # His files

    def deal(self, rest: str = "") -> list[str]:
        """Deal, as no honest holder would."""
        mine, made = self.dealer or 0, []
        bindings = None
        if self.setting.previous is not None:
            statement = self.statement()
            bindings = hashlib.sha256(statement.payload).digest()
            if self.cheat.swaps:
                statement = self.restated(statement, lambda _, said: replace(said, sequence=9))
            made.append(self.desk.put(f"bindings-{mine:02}{rest}.json", statement))
        with self.seed as seed, self.constant() as constant:
            body, ciphertexts = make_deal(
                self.setting, mine, seed, int(time.time()), constant=constant, bindings=bindings
            )
        if self.cheat.sealed is not None:
            changed = list(ciphertexts)
            changed[self.victim - 1] = self.cheat.sealed(self, body)
            ciphertexts = tuple(changed)
        if self.cheat.ciphertexts is not None:
            ciphertexts = self.cheat.ciphertexts(ciphertexts)
        body = replace(body, ciphertexts_root=merkle.root(leaves_of(ciphertexts)))
        if self.cheat.body is not None:
            body = self.cheat.body(self, body)
        payload = body.to_payload()
        if self.cheat.malformed:
            payload = payload.replace(b'"version":1', b'"version":9')
        deal = Deal(self.desk.sign(DEAL_TYPE, payload), ciphertexts)
        made.append(self.desk.put(f"deal-{mine:02}{rest}.json", deal.to_bytes()))
        if self.cheat.twice:
            again = replace(body, moment=body.moment + 1).to_payload()
            deal = Deal(self.desk.sign(DEAL_TYPE, again), ciphertexts)
            made.append(self.desk.put(f"deal-{mine:02}-again.json", deal.to_bytes()))
        return made

    @contextlib.contextmanager
    def constant(self) -> Iterator[SecretScalar | None]:
        """Yield what he deals where the ceremony fixes it."""
        if self.setting.previous is None and self.setting.roster.kind != SPLIT:
            yield None
        elif self.cheat.secret is not None or self.setting.previous is None:
            with SecretBytes(self.cheat.secret or SPLIT_KEY) as plain:
                yield SecretScalar.from_big_endian(plain)
        else:
            with self.desk.share(self.setting.previous) as share:
                yield share.scalar

    def statement(self) -> SignedFile:
        """Return what he says that his journal binds."""
        owner = (self.setting.old.group_id, int(self.dealer or 0), self.setting.old.epoch)
        true = state_bindings(self.desk.token, self.desk.pin, self.desk.journal, owner)
        signed = SignedFile.parse(
            true, "bindings", payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS
        )
        return signed if self.cheat.states is None else self.restated(signed, self.cheat.states)

    def restated(
        self, signed: SignedFile, change: Callable[["Dealer", Bindings], Bindings]
    ) -> SignedFile:
        """Sign a changed statement."""
        said = change(self, Bindings.parse(signed.payload, "bindings"))
        return self.desk.sign(BINDINGS_TYPE, said.to_payload())

    def answer(self, member: int) -> str:
        """Show a key, the true one or another."""
        mine = self.dealer or 0
        with (
            self.seed as seed,
            ephemeral_seed(seed, self.setting.roster.id, self.cheat.shown_of or member) as derived,
            ephemeral_scalar(derived) as scalar,
        ):
            shown = self.cheat.shown or bytes(scalar.expose())
        said = complaint.Opening(
            ceremony=self.setting.roster.id, dealer=mine, recipient=member, ephemeral=shown,
            moment=int(time.time()),
        )  # fmt: skip
        signed = self.desk.sign(complaint.OPENING_TYPE, said.to_payload())
        return self.desk.put(f"opening-{mine:02}-for-{member:02}.json", signed)

    def complain(self, board: Board) -> str:
        """Complain of the victim's deal, with which nothing is wrong."""
        mine = int(self.member or 0)
        said = complaint.Complaint(
            ceremony=self.setting.roster.id, index=mine, dealer=self.victim, code="E_DEAL_SHARE",
            deal=board.checked[self.victim].digest, moment=int(time.time()),
        )  # fmt: skip
        signed = self.desk.sign(complaint.COMPLAINT_TYPE, said.to_payload())
        return self.desk.put(f"complaint-{mine:02}-against-{self.victim:02}.json", signed)

    def agree(self, board: Board, role: str, index: int) -> str:
        """Agree, to these deals or to others."""
        assert board.outcome is not None
        said = agreement_of(board.outcome, role, index, int(time.time()))
        if role in self.cheat.strays:
            said = replace(said, transcript=hashlib.sha256(said.transcript).digest())
        signed = self.desk.sign(agreement.PAYLOAD_TYPE, said.to_payload())
        middle = "" if role == MEMBER else "dealer-"
        return self.desk.put(f"agree-{middle}{index:02}.json", signed)

    def certify(self) -> str:
        """Put together what everybody has agreed to, but with another deal of his."""
        board, mine = self.board(), self.dealer or 0
        assert board.outcome is not None
        true = board.deals[mine]
        body = DealBody.parse(true.signed.payload, "deal")
        again = replace(body, moment=body.moment + 1).to_payload()
        deals = {**board.deals, mine: Deal(self.desk.sign(DEAL_TYPE, again), true.ciphertexts)}
        made = assemble(board.outcome, deals, board.agreements, list(board.bindings.values()))
        return self.desk.put("certificate.json", made.to_bytes())

    def acknowledge(self, board: Board) -> str:
        """Acknowledge, with his share or with something else."""
        assert board.outcome is not None
        assert self.member is not None
        outcome, certificate = board.outcome, certificate_digest(board.outcome)
        key = self.desk.key
        with (
            take_share(outcome, self.member, key.public_point, key.ecdh) as share,
            share.scalar.to_big_endian() as plain,
        ):
            binding = group_of(outcome).binding(self.member)
            envelope = seal_share(plain, binding, [key.public_point], os.urandom)
            other = SecretScalar.from_big_endian(bytearray(b"\0" * 31 + b"\7"))
            proved = other if self.cheat.wrong_proof else share.scalar
            proof = sign(proved, share_proof_message(certificate), self.cheat.proof_tag)
        body = AcknowledgementBody(
            ceremony=self.setting.roster.id, certificate=certificate, index=int(self.member),
            share_proof=bytes(proof), envelope_sha256=envelope_digest(envelope),
            moment=int(time.time()),
        )  # fmt: skip
        file = Acknowledgement(self.desk.sign(ACK_TYPE, body.to_payload()), envelope)
        return self.desk.put(f"ack-{int(self.member):02}.json", file.to_bytes())

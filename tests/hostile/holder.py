"""A holder who takes part in a ceremony with his own token, and cheats.

    python -m tests.hostile.holder CHEAT --folder FOLDER --card CARD --token LABEL --pin-file FILE

Each run does what he can do now: deal, answer a complaint, agree or complain, acknowledge; CHEAT
says which of these he does as no honest holder would. He signs with his token like everybody, so
what he signed is evidence. He keeps nothing: his session seed follows from the ceremony's id.
"""

import argparse
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from signer.bls.scalar import GROUP_ORDER, SecretScalar
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
from signer.ceremony.agreement import MEMBER, agreement_of
from signer.ceremony.board import Board
from signer.ceremony.certificate import certificate_digest, group_of
from signer.ceremony.deal import PAYLOAD_TYPE as DEAL_TYPE
from signer.ceremony.deal import Deal, DealBody, ProofText, info_of, leaves_of
from signer.ceremony.dealing import ephemeral_seed, make_deal, take_share
from signer.ceremony.setting import Setting
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.hsm.keys import receiving_key
from signer.hsm.profile import load_profile
from signer.hsm.receiving import ReceivingKey
from signer.messages.card import Card
from signer.messages.dsse import SignedFile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed
from signer.sealing.share import seal_share
from signer.sealing.transit import ephemeral_scalar, seal_in_transit
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex

_INFINITY = b"\xc0" + bytes(47)
_OUTSIDE = bytes.fromhex("8123456789abcdef" * 6)  # bls12-381-tests: on the curve, not in the group


@dataclass
class Cheat:
    """One way to cheat: what is done differently, at which step."""

    body: Callable[["Cheater", DealBody], DealBody] | None = None
    sealed: Callable[["Cheater", DealBody], Sealed] | None = None  # for the victim
    shown: bytes | None = None  # in answer to a complaint; None: the true key
    answers: bool = True
    twice: bool = False  # deals twice, at once
    late: bool = False  # deals once more when all is done
    fewer: bool = False  # ciphertexts
    complains: bool = False
    strays: bool = False  # agrees to something else
    wrong_proof: bool = False  # acknowledges with something else than his share
    malformed: bool = False


@dataclass
class Cheater:
    """The holder at his token."""

    cheat: Cheat
    folder: CeremonyFolder
    setting: Setting
    index: ShareIndex
    victim: int
    sign: Callable[[str, bytes], SignedFile]
    key: ReceivingKey

    @property
    def seed(self) -> SecretBytes:
        """What he deals from; anybody could compute it."""
        return SecretBytes(hashlib.sha256(b"hostile" + self.setting.roster.id).digest())

    @property
    def name(self) -> str:
        """How his files are called."""
        return f"{int(self.index):02}"

    def turn(self) -> list[str]:
        """Do what can be done now; return the names of the files that he made."""
        board = self.folder.board(self.setting, int(time.time()))
        mine = int(self.index)
        if mine not in board.deals and mine not in board.faults:
            return self.deal()
        for (member, dealer), _ in board.complaints.items():
            if dealer == mine and (mine, member) not in board.openings and self.cheat.answers:
                return [self.answer(member)]
        if board.complaints or board.outcome is None:
            return []
        if self.cheat.complains:
            return [self.complain(board)]
        if (MEMBER, mine) not in board.agreements and board.stop is None:
            return [self.agree(board)]
        if board.certified and mine not in board.acknowledgements:
            return [self.acknowledge(board)]
        return self.deal("-late") if self.cheat.late and mine in board.acknowledgements else []

    def deal(self, rest: str = "") -> list[str]:
        """Deal, as no honest holder would."""
        with self.seed as seed:
            body, ciphertexts = make_deal(self.setting, int(self.index), seed, int(time.time()))
        if self.cheat.sealed is not None:
            changed = list(ciphertexts)
            changed[self.victim - 1] = self.cheat.sealed(self, body)
            ciphertexts = tuple(changed)
        if self.cheat.fewer:
            ciphertexts = ciphertexts[:-1]
        body = replace(body, ciphertexts_root=merkle.root(leaves_of(ciphertexts)))
        if self.cheat.body is not None:
            body = self.cheat.body(self, body)
        payload = body.to_payload()
        if self.cheat.malformed:
            payload = payload.replace(b'"version":1', b'"version":9')
        deal = Deal(self.sign(DEAL_TYPE, payload), ciphertexts)
        made = [self.put("deal", deal.to_bytes(), rest)]
        if self.cheat.twice:
            again = replace(body, moment=body.moment + 1).to_payload()
            deal = Deal(self.sign(DEAL_TYPE, again), ciphertexts)
            made.append(self.put("deal", deal.to_bytes(), "-again"))
        return made

    def answer(self, member: int) -> str:
        """Show a key, the true one or another."""
        with (
            self.seed as seed,
            ephemeral_seed(seed, self.setting.roster.id, member) as derived,
            ephemeral_scalar(derived) as scalar,
        ):
            shown = self.cheat.shown or bytes(scalar.expose())
        said = complaint.Opening(
            ceremony=self.setting.roster.id, dealer=int(self.index), recipient=member,
            ephemeral=shown, moment=int(time.time()),
        )  # fmt: skip
        signed = self.sign(complaint.OPENING_TYPE, said.to_payload())
        return self.put("opening", canonical(signed.to_json()), f"-for-{member:02}")

    def complain(self, board: Board) -> str:
        """Complain of the victim's deal, with which nothing is wrong."""
        said = complaint.Complaint(
            ceremony=self.setting.roster.id, index=int(self.index), dealer=self.victim,
            code="E_DEAL_SHARE", deal=board.checked[self.victim].digest, moment=int(time.time()),
        )  # fmt: skip
        signed = self.sign(complaint.COMPLAINT_TYPE, said.to_payload())
        return self.put("complaint", canonical(signed.to_json()), f"-against-{self.victim:02}")

    def agree(self, board: Board) -> str:
        """Agree, to these deals or to others."""
        assert board.outcome is not None
        said = agreement_of(board.outcome, MEMBER, int(self.index), int(time.time()))
        if self.cheat.strays:
            said = replace(said, transcript=hashlib.sha256(said.transcript).digest())
        signed = self.sign(agreement.PAYLOAD_TYPE, said.to_payload())
        return self.put("agree", canonical(signed.to_json()))

    def acknowledge(self, board: Board) -> str:
        """Acknowledge, with his share or with something else."""
        assert board.outcome is not None
        outcome, certificate = board.outcome, certificate_digest(board.outcome)
        recipient = self.setting.roster.members[self.index - 1].body.kex
        with (
            take_share(outcome, self.index, self.key.public_point, self.key.ecdh) as share,
            share.scalar.to_big_endian() as plain,
        ):
            binding = group_of(outcome).binding(self.index)
            envelope = seal_share(plain, binding, [recipient], os.urandom)
            other = SecretScalar.from_big_endian(bytearray(b"\0" * 31 + b"\7"))
            proved = other if self.cheat.wrong_proof else share.scalar
            proof = sign(proved, share_proof_message(certificate), SHARE_PROOF_DST)
        body = AcknowledgementBody(
            ceremony=self.setting.roster.id, certificate=certificate, index=int(self.index),
            share_proof=bytes(proof), envelope_sha256=envelope_digest(envelope),
            moment=int(time.time()),
        )  # fmt: skip
        file = Acknowledgement(self.sign(ACK_TYPE, body.to_payload()), envelope)
        return self.put("ack", file.to_bytes())

    def put(self, kind: str, data: bytes, rest: str = "") -> str:
        """Put a file into the folder, over whatever is there."""
        name = f"{kind}-{self.name}{rest}.json"
        (self.folder.path / name).write_bytes(data)
        return name


def _commitments(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Cheat:
    return Cheat(body=lambda _, body: replace(body, commitments=change(body.commitments)))


def _proof(change: Callable[[ProofText], ProofText | None]) -> Cheat:
    def changed(_: Cheater, body: DealBody) -> DealBody:
        return replace(body, proof=body.proof and change(body.proof))

    return Cheat(body=changed)


def _copied(cheater: Cheater, body: DealBody) -> DealBody:
    board = cheater.folder.board(cheater.setting, int(time.time()))
    other = DealBody.parse(board.deals[cheater.victim].signed.payload, "deal")
    return replace(body, commitments=other.commitments, proof=other.proof)


def _off_by_one(cheater: Cheater, body: DealBody) -> Sealed:
    roster = cheater.setting.roster
    with (
        cheater.seed as seed,
        Dealing.derive(seed, roster.id, roster.threshold.t) as dealing,
        dealing.share_for(ShareIndex(cheater.victim)) as share,
        share.to_big_endian() as plain,
    ):
        number = (int.from_bytes(plain.expose()) + 1) % GROUP_ORDER
    return _sealed(cheater, body, number.to_bytes(32), int(cheater.index))


def _too_large(cheater: Cheater, body: DealBody) -> Sealed:
    return _sealed(cheater, body, GROUP_ORDER.to_bytes(32), int(cheater.index))


def _elsewhere(cheater: Cheater, body: DealBody) -> Sealed:
    return _sealed(cheater, body, b"\1" * 32, 77)


def _sealed(cheater: Cheater, body: DealBody, plain: bytes, dealer: int) -> Sealed:
    roster = cheater.setting.roster
    with (
        SecretBytes(plain) as secret,
        cheater.seed as seed,
        ephemeral_seed(seed, roster.id, cheater.victim) as ephemeral,
    ):
        info = info_of(roster.id, dealer, cheater.victim)
        kex = roster.members[cheater.victim - 1].body.kex
        return seal_in_transit(kex, secret, info, body.associated_data, ephemeral)


CHEATS: dict[str, Cheat] = {
    "short": _commitments(lambda points: points[:-1]),
    "long": _commitments(lambda points: (*points, points[0])),
    "infinity": _commitments(lambda points: (*points[:-1], _INFINITY)),
    "outside": _commitments(lambda points: (_OUTSIDE, *points[1:])),
    "no-proof": _proof(lambda _: None),
    "wrong-proof": _proof(lambda proof: ProofText(proof.r, b"\0" * 31 + b"\1")),
    "copied": Cheat(body=_copied),
    "fewer": Cheat(fewer=True),
    "malformed": Cheat(malformed=True),
    "two-deals": Cheat(twice=True),
    "late-deal": Cheat(late=True),
    "bad-share": Cheat(sealed=_off_by_one),
    "large-share": Cheat(sealed=_too_large),
    "bad-ciphertext": Cheat(sealed=_elsewhere),
    "no-point": Cheat(sealed=lambda _, __: Sealed(b"\4" + b"\x11" * 64, bytes(48))),
    "wrong-key": Cheat(sealed=_off_by_one, shown=b"\1" * 32),
    "silent": Cheat(sealed=_off_by_one, answers=False),
    "false-complaint": Cheat(complains=True),
    "stray": Cheat(strays=True),
    "wrong-share": Cheat(wrong_proof=True),
    "honest": Cheat(),
}


def main() -> None:
    """Take part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cheat", choices=sorted(CHEATS))
    for name in ("--folder", "--card", "--token", "--pin-file"):
        parser.add_argument(name, required=True)
    parser.add_argument("--victim", type=int, default=2)
    chosen = parser.parse_args()
    folder = CeremonyFolder(Path(chosen.folder))
    setting = folder.setting()
    card = Card.parse_file(Path(chosen.card).read_bytes(), "card")
    index = setting.roster.member_of(card.body.id_sign)
    if index is None:
        parser.error("he is not in the roster")
    token = TokenChoice(profile=load_profile("softhsm2"), label=chosen.token)
    with session_on(token, SecretSource(file=chosen.pin_file)) as session:
        identity = identity_on(session, card)
        cheater = Cheater(
            CHEATS[chosen.cheat], folder, setting, index, chosen.victim,
            lambda kind, payload: sign_file(identity, kind, payload),
            receiving_key(session, [card.body.kex]),
        )  # fmt: skip
        for name in cheater.turn():
            print(name)


if __name__ == "__main__":
    main()

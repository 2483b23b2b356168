"""A hostile helper of a repair, and a hostile one who returns: honest, but for one thing.

As the dealer he keeps nothing: his session seed follows from the repair's id.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.ceremony.acknowledgement import PAYLOAD_TYPE as ACK_TYPE
from signer.ceremony.acknowledgement import (
    SHARE_PROOF_DST,
    Acknowledgement,
    AcknowledgementBody,
    envelope_digest,
    share_proof_message,
)
from signer.ceremony.deal import leaves_of
from signer.ceremony.repair_board import RepairBoard
from signer.ceremony.repair_complaint import (
    COMPLAINT_TYPE,
    OPENING_TYPE,
    RepairComplaint,
    RepairOpening,
)
from signer.ceremony.repair_delta import PAYLOAD_TYPE as DELTA_TYPE
from signer.ceremony.repair_delta import DeltaBody, DeltaFile
from signer.ceremony.repair_proof import repair_digest
from signer.ceremony.repair_reading import read_repair
from signer.ceremony.repair_replacement import statement_of
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_sigma import PAYLOAD_TYPE as SIGMA_TYPE
from signer.ceremony.repair_sigma import SigmaBody, SigmaFile
from signer.ceremony.repairing import (
    Unsealer,
    ephemeral_seed,
    make_delta,
    make_sigma,
    repair_share,
)
from signer.messages.replacement import PAYLOAD_TYPE as REPLACEMENT_TYPE
from signer.messages.replacement import ReplacementBody
from signer.sealing import merkle
from signer.sealing.hpke import Sealed
from signer.sealing.share import seal_share
from signer.sealing.transit import ephemeral_scalar
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare
from tests.hostile.desk import Desk


@dataclass
class RepairCheat:
    """One way to cheat: what is done differently, at which step."""

    body: Callable[["Helper", DeltaBody], DeltaBody] | None = None
    sealed: Callable[["Helper", DeltaBody], Sealed] | None = None  # for the victim
    share: bytes | None = None  # in the place of his own
    fewer: bool = False  # ciphertexts
    malformed: bool = False
    twice: bool = False  # deltas twice, at once
    late: bool = False  # deltas once more when all is done
    shown: bytes | None = None  # in answer to a complaint; None: the true key
    answers: bool = True
    complains: bool = False  # of the victim's deltas or sum, with which nothing is wrong
    sigma: Callable[["Helper", SigmaBody], SigmaBody] | None = None
    sigma_malformed: bool = False
    sigma_twice: bool = False
    silent_from: str = ""  # "sigma" or "replacement": he does nothing more
    card: Callable[[ReplacementBody], ReplacementBody] | None = None  # another than he proved
    wrong_proof: bool = False  # the returning holder's, with something else than his share


@dataclass
class _Party:
    cheat: RepairCheat
    desk: Desk
    setting: RepairSetting
    victim: int

    def board(self) -> RepairBoard:
        """Return what the folder shows."""
        return read_repair(self.setting, self.desk.folder.files())

    @property
    def unsealer(self) -> Unsealer:
        """His receiving key."""
        key = self.desk.key
        return Unsealer(key.public_point, key.ecdh)

    def complain(self, index: int, code: str, digest: bytes) -> str:
        """Complain of the victim's file."""
        said = RepairComplaint(
            ceremony=self.setting.roster.id, index=index, helper=self.victim, code=code,
            file=digest, moment=int(time.time()),
        )  # fmt: skip
        signed = self.desk.sign(COMPLAINT_TYPE, said.to_payload())
        return self.desk.put(f"complaint-{index:02}-against-{self.victim:02}.json", signed)


@dataclass
class Helper(_Party):
    """One who helps, and cheats."""

    index: ShareIndex

    @classmethod
    def of(cls, cheat: RepairCheat, desk: Desk, setting: RepairSetting, victim: int) -> "Helper":
        """Return who has the desk's card in a repair."""
        index = setting.helper_of(desk.card.body.id_sign)
        if index is None:
            raise SystemExit("he does not help")
        return cls(cheat, desk, setting, victim, index)

    @property
    def seed(self) -> SecretBytes:
        """What his deltas come from; anybody could compute it."""
        return SecretBytes(hashlib.sha256(b"hostile" + self.setting.roster.id).digest())

    def own_share(self) -> SecretShare:
        """Return the share whose term he breaks."""
        if self.cheat.share is None:
            return self.desk.share(self.setting.group)
        return SecretShare(self.index, SecretScalar.from_big_endian(bytearray(self.cheat.share)))

    def turn(self) -> list[str]:
        """Do what can be done now; return the names of the files that he made."""
        board, mine = self.board(), int(self.index)
        if mine not in board.files and mine not in board.faults:
            return self.help()
        for index, helper in board.complaints:
            shown = (helper, index) in board.openings or index == self.setting.roster.lost
            if helper == mine and not shown and self.cheat.answers:
                return [self.answer(index)]
        if board.aborted or board.missing_deltas:
            return []
        if self.cheat.complains and not board.complaints:
            return [self.complain(mine, "E_REPAIR_DELTA", board.deltas[self.victim].digest)]
        if mine not in board.sigmas:
            return [] if self.cheat.silent_from == "sigma" else self.add_up(board)
        if board.proof is not None and mine not in board.replacements:
            return [] if self.cheat.silent_from == "replacement" else [self.replace_card()]
        return self.help("-late") if self.cheat.late and board.settled else []

    # His files

    def help(self, rest: str = "") -> list[str]:
        """Break his term, as no honest helper would."""
        with self.own_share() as share, self.seed as seed:
            body, ciphertexts = make_delta(self.setting, share, seed, int(time.time()))
        if self.cheat.sealed is not None:
            changed = list(ciphertexts)
            changed[self.setting.position_of(self.victim)] = self.cheat.sealed(self, body)
            ciphertexts = tuple(changed)
        if self.cheat.fewer:
            ciphertexts = ciphertexts[:-1]
        body = replace(body, ciphertexts_root=merkle.root(leaves_of(ciphertexts)))
        if self.cheat.body is not None:
            body = self.cheat.body(self, body)
        payload = body.to_payload()
        if self.cheat.malformed:
            payload = payload.replace(b'"version":1', b'"version":9')
        made = [self._delta(payload, ciphertexts, rest)]
        if self.cheat.twice:
            again = replace(body, moment=body.moment + 1).to_payload()
            made.append(self._delta(again, ciphertexts, "-again"))
        return made

    def _delta(self, payload: bytes, ciphertexts: tuple[Sealed, ...], rest: str) -> str:
        file = DeltaFile(self.desk.sign(DELTA_TYPE, payload), ciphertexts)
        return self.desk.put(f"delta-{int(self.index):02}{rest}.json", file.to_bytes())

    def answer(self, recipient: int) -> str:
        """Show a key, the true one or another."""
        with (
            self.seed as seed,
            ephemeral_seed(seed, self.setting.roster.id, recipient) as derived,
            ephemeral_scalar(derived) as scalar,
        ):
            shown = self.cheat.shown or bytes(scalar.expose())
        said = RepairOpening(
            ceremony=self.setting.roster.id, helper=int(self.index), recipient=recipient,
            ephemeral=shown, moment=int(time.time()),
        )  # fmt: skip
        signed = self.desk.sign(OPENING_TYPE, said.to_payload())
        return self.desk.put(f"opening-{int(self.index):02}-for-{recipient:02}.json", signed)

    def add_up(self, board: RepairBoard) -> list[str]:
        """Add up what he was sent, or say something else."""
        with self.seed as seed:
            body = make_sigma(
                self.setting, board.deltas, self.index, self.unsealer, seed, int(time.time())
            )
        if self.cheat.sigma is not None:
            body = self.cheat.sigma(self, body)
        payload = body.to_payload()
        if self.cheat.sigma_malformed:
            payload = payload.replace(b'"version":1', b'"version":9')
        made = [self._sigma(payload)]
        if self.cheat.sigma_twice:
            again = replace(body, moment=body.moment + 1).to_payload()
            made.append(self._sigma(again, "-again"))
        return made

    def _sigma(self, payload: bytes, rest: str = "") -> str:
        file = SigmaFile(self.desk.sign(SIGMA_TYPE, payload))
        return self.desk.put(f"sigma-{int(self.index):02}{rest}.json", file.to_bytes())

    def replace_card(self) -> str:
        """Sign the new card, or another."""
        said = statement_of(self.setting)
        if self.cheat.card is not None:
            said = self.cheat.card(said)
        signed = self.desk.sign(REPLACEMENT_TYPE, said.to_payload())
        return self.desk.put(f"replacement-{int(self.index):02}.json", signed)


@dataclass
class Returning(_Party):
    """The one whose share is repaired, and who cheats."""

    def turn(self) -> list[str]:
        """Take the share, or say that something is wrong with a sum."""
        board, lost = self.board(), int(self.setting.roster.lost)
        if board.missing_deltas or board.missing_sigmas or board.aborted:
            return []
        if self.cheat.complains:
            return [self.complain(lost, "E_REPAIR_SIGMA", board.sigmas[self.victim][0].digest)]
        return [] if board.proof is not None else [self.take(board)]

    def take(self, board: RepairBoard) -> str:
        """Put the share together and prove it, or prove something else."""
        roster, group = self.setting.roster, self.setting.group
        assert board.transcript is not None
        digest = repair_digest(self.setting, board.transcript)
        sums = {helper: body for helper, (_, body) in board.sigmas.items()}
        with (
            repair_share(self.setting, board.deltas, sums, self.unsealer) as share,
            share.scalar.to_big_endian() as plain,
        ):
            binding = group.binding(roster.lost, recovered=True)
            envelope = seal_share(plain, binding, [roster.card.body.kex], os.urandom)
            other = SecretScalar.from_big_endian(bytearray(b"\0" * 31 + b"\7"))
            proved = other if self.cheat.wrong_proof else share.scalar
            proof = sign(proved, share_proof_message(digest), SHARE_PROOF_DST)
        body = AcknowledgementBody(
            ceremony=roster.id, certificate=digest, index=int(roster.lost),
            share_proof=bytes(proof), envelope_sha256=envelope_digest(envelope),
            moment=int(time.time()),
        )  # fmt: skip
        file = Acknowledgement(self.desk.sign(ACK_TYPE, body.to_payload()), envelope)
        return self.desk.put(f"ack-{int(roster.lost):02}.json", file.to_bytes())

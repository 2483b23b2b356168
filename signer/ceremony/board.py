"""What lies in a ceremony's folder, checked: who has done what, what is wrong, who is to blame.

The folder is anybody's: a USB stick, a shared directory. A name says only where to look; what a
file is, its signature says. A file that does not hold is listed and otherwise as good as absent. A
fault that somebody signed ends the ceremony and is named.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, NoReturn

from signer.bls.encoding import Signature
from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.agreement import (
    DEALER,
    MEMBER,
    agreeing,
    open_agreement,
    require_agreement,
)
from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.bundle import Bundle
from signer.ceremony.checking import (
    NO_KEY,
    CheckedDeal,
    Outcome,
    check_deal,
    check_slim_deal,
    outcome_of,
    require_deal_of,
)
from signer.ceremony.complaint import (
    COMPLAINT,
    HIDDEN,
    OPENING,
    Complaint,
    Opening,
    Verdict,
    judge,
    open_complaint,
    open_opening,
)
from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.roster import RESHARE
from signer.ceremony.setting import Setting
from signer.ceremony.statement import parse_statement
from signer.ceremony.union import read_bindings, require_stated_by, union_digest
from signer.errors import CeremonyError, DealError, SignerError
from signer.messages.bindings import MAX_BYTES as MAX_BINDINGS_BYTES
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.strict import parse_object
from signer.threshold.params import ShareIndex

_NAME = re.compile(
    r"(?P<kind>deal|bundle|bindings|agree|ack|complaint|opening)-(?P<dealer>dealer-)?(?P<first>\d{1,3})"
    r"(?:-(?:against|for)-(?P<second>\d{1,3}))?(?:-(?:copy|[a-z0-9]{1,8}))?\.json"
)


class Problem(NamedTuple):
    """A file that does not hold, and why."""

    file: str
    code: str
    message: str

    @property
    def words(self) -> str:
        """What is wrong, without the file's name."""
        return self.message.removeprefix(f"{self.file}: ")

    @property
    def line(self) -> str:
        """The problem as people are told of it."""
        return f"not used: {self.file}: {self.code}: {self.words}"


@dataclass
class Board:
    """All that a folder shows of one ceremony. Build it with `read_board`."""

    setting: Setting
    late: bool = False  # whether the ceremony's time is over
    reader: int | None = None  # the member whose bundle stands for deals, if one does
    deals: dict[int, Deal] = field(default_factory=dict)
    slim: dict[int, SlimDeal] = field(default_factory=dict)  # where the whole deal is not there
    checked: dict[int, CheckedDeal] = field(default_factory=dict)
    bindings: dict[int, SignedFile] = field(default_factory=dict)
    agreements: dict[tuple[str, int], SignedFile] = field(default_factory=dict)
    acknowledgements: dict[int, Acknowledgement] = field(default_factory=dict)
    proofs: dict[int, Signature] = field(default_factory=dict)
    complaints: dict[tuple[int, int], Complaint] = field(default_factory=dict)  # member, dealer
    complained: dict[tuple[int, int], SignedFile] = field(default_factory=dict)  # as signed
    openings: dict[tuple[int, int], Opening] = field(default_factory=dict)  # dealer, member
    faults: dict[int, DealError] = field(default_factory=dict)  # by dealer: seen by everybody
    problems: list[Problem] = field(default_factory=list)
    stop: SignerError | None = None  # what ends the ceremony beside a dealer's fault
    no_key: SignerError | None = None  # the sum is none: the members look who is to blame

    @property
    def missing_deals(self) -> tuple[int, ...]:
        """The dealers whose deal is not there yet."""
        return tuple(
            dealer
            for dealer in self.setting.roster.dealers
            if dealer not in self.checked and dealer not in self.faults
        )

    @property
    def missing_bindings(self) -> tuple[int, ...]:
        """The dealers of a reshare whose bindings are not there yet."""
        dealers = self.setting.roster.dealers if self.setting.roster.kind == RESHARE else ()
        return tuple(dealer for dealer in dealers if dealer not in self.bindings)

    @property
    def missing_agreements(self) -> tuple[tuple[str, int], ...]:
        """Who has not agreed yet."""
        return tuple(who for who in agreeing(self.setting) if who not in self.agreements)

    @property
    def missing_acknowledgements(self) -> tuple[int, ...]:
        """The members who have not acknowledged yet."""
        return tuple(
            int(index)
            for index in self.setting.roster.indices
            if int(index) not in self.acknowledgements
        )

    @cached_property
    def outcome(self) -> Outcome | None:
        """What the deals add up to, once they are all there."""
        if self.missing_deals or self.missing_bindings or self.faults:
            return None
        deals = [self.checked[dealer] for dealer in self.setting.roster.dealers]
        statements = [self.bindings[d] for d in self.setting.roster.dealers if d in self.bindings]
        try:
            return outcome_of(self.setting, deals, union_digest(self.setting, deals, statements))
        except DealError as error:
            self.faults[error.dealer] = error
        except CeremonyError as error:
            if error.code == NO_KEY:
                self.no_key = error
            else:
                self.stop = error
        return None

    @property
    def certified(self) -> bool:
        """Whether everybody has agreed to these deals."""
        return self.outcome is not None and not self.missing_agreements and self.stop is None

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Who is to blame, where there is a fault or a complaint that can be judged."""
        found = [
            Verdict(dealer, None, True, error.message, error.code)
            for dealer, error in self._all_faults.items()
        ]
        for (_, dealer), complaint in sorted(self.complaints.items()):
            if dealer in self.faults or dealer not in self.checked:
                continue
            deal = self.checked[dealer]
            if complaint.code not in HIDDEN:
                found.append(Verdict(dealer, complaint.index, False,
                    f"{self.setting.name_of_member(complaint.index)} complains of what nobody else "
                    f"sees: {complaint.code}"))  # fmt: skip
                continue
            if complaint.index not in deal.ciphertexts:
                continue  # of a slim deal the reader has no ciphertext but his own
            opening = self.openings.get((dealer, complaint.index))
            if verdict := judge(self.setting, complaint, deal, opening, late=self.late):
                found.append(verdict)
        return found

    @property
    def aborted(self) -> bool:
        """Whether this ceremony can never succeed."""
        return bool(self._all_faults or self.complaints or self.stop)

    @property
    def _all_faults(self) -> Mapping[int, DealError]:
        """The faults of single deals, and those that only all of them together show."""
        _ = self.outcome
        return self.faults


def read_board(
    setting: Setting, files: Mapping[str, bytes], *, late: bool = False, reader: int | None = None
) -> Board:
    """Read the files of a folder, by name, in an order that does not matter.

    Args:
        setting: the ceremony; its own files (roster, previous group) are not looked at again.
        files: the folder's files.
        late: whether the ceremony's time is over.
        reader: the member who reads: his bundle stands for the deals that are not there.
    """
    board = Board(setting, late, reader)
    read: set[tuple[str, str, int, int, bytes]] = set()  # equal bytes are looked at once
    for kind in ("deal", "bundle", "bindings", "agree", "ack", "complaint", "opening"):
        for name in sorted(files):
            match = _NAME.fullmatch(name)
            if match is None or match["kind"] != kind:
                continue
            first, second = int(match["first"]), int(match["second"] or 0)
            role = DEALER if match["dealer"] else MEMBER
            if (copy := (kind, role, first, second, files[name])) in read:
                continue
            read.add(copy)
            try:
                _TAKE[kind](board, name, files[name], role, first, second)
            except DealError as error:
                board.faults.setdefault(error.dealer, error)
            except SignerError as error:
                board.problems.append(Problem(name, error.code, error.message))
    return board


def _deal(board: Board, name: str, raw: bytes, _role: str, dealer: int, _: int) -> None:
    setting = board.setting
    _require_one_of(dealer, setting.roster.dealers, name)
    deal = Deal.parse(raw, name)
    known = board.deals.get(dealer)
    if known is not None and known.digest != deal.digest:
        require_deal_of(deal.signed, setting, dealer)  # another ceremony's proves nothing here
        _equivocation(board, dealer)
    if known is None and dealer not in board.faults:
        board.checked[dealer] = check_deal(deal, setting, dealer)
        board.deals[dealer] = deal


def _bundle(board: Board, name: str, raw: bytes, _role: str, member: int, _: int) -> None:
    """Take what a bundle brings its member; to others it only shows who signed two deals."""
    bundle, setting, is_reader = Bundle.parse(raw, name), board.setting, member == board.reader
    if (bundle.ceremony, bundle.index) != (setting.roster.id, member):
        raise CeremonyError(f"{name}: it is of another ceremony, or another's")
    for dealer, deal in bundle.deals.items():
        _require_one_of(dealer, setting.roster.dealers, name)
        known = board.deals.get(dealer) or board.slim.get(dealer)
        if known is not None and known.digest != deal.digest:
            require_deal_of(deal.signed, setting, dealer)
            _equivocation(board, dealer)
        if known is None and is_reader and dealer not in board.faults:
            checked = check_slim_deal(deal, setting, dealer, ShareIndex(member))
            board.checked[dealer], board.slim[dealer] = checked, deal
    for dealer, signed in bundle.bindings.items() if is_reader else ():
        _take_bindings(board, name, dealer, signed)


def _equivocation(board: Board, dealer: int) -> NoReturn:
    board.checked.pop(dealer, None)
    raise DealError(
        f"{board.setting.name_of(dealer)} has signed two different deals",
        dealer=dealer, code="E_DEAL_EQUIVOCATION",
    )  # fmt: skip


def _bindings(board: Board, name: str, raw: bytes, _role: str, dealer: int, _: int) -> None:
    value = parse_object(raw, what=name, max_bytes=MAX_BINDINGS_BYTES)
    signed = SignedFile.parse(value, name, payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS)
    _take_bindings(board, name, dealer, signed)


def _take_bindings(board: Board, name: str, dealer: int, signed: SignedFile) -> None:
    """Take the statement that the dealer's deal names, of all that he may have made.

    Raises:
        DealError: E_DEAL_BINDINGS: the one that it names can never hold.
        CeremonyError: it is not his, or not the one.
    """
    setting = board.setting
    if setting.previous is None:
        raise CeremonyError(f"{name}: only a reshare takes over bindings", code="E_BINDINGS")
    _require_one_of(dealer, setting.roster.dealers, name)
    require_stated_by(signed, setting, dealer)
    if dealer not in board.checked:
        raise CeremonyError(f"{name}: it is ahead of the deal that names it", code="E_EARLY")
    named = board.checked[dealer].bindings == hashlib.sha256(signed.payload).digest()
    try:
        read_bindings(signed, setting, dealer)
    except SignerError as error:
        if not named:
            raise
        raise DealError(error.message, dealer=dealer, code="E_DEAL_BINDINGS") from None
    if not named:
        raise CeremonyError(
            f"{name}: {setting.name_of(dealer)} stated it another time; his deal does not name it",
            code="E_BINDINGS",
        )
    board.bindings.setdefault(dealer, signed)


def _agree(board: Board, name: str, raw: bytes, role: str, index: int, _: int) -> None:
    _require_one_of((role, index), agreeing(board.setting), name)
    signed = parse_statement(raw, AGREEMENT, name)
    said = open_agreement(signed, board.setting, role, index, name)
    if board.outcome is None:  # deals may still be on their way
        raise CeremonyError(f"{name}: it is ahead of the deals it agrees to", code="E_EARLY")
    try:
        require_agreement(said, board.outcome, name)
    except CeremonyError as error:
        board.stop = board.stop or error
        raise
    board.agreements.setdefault((role, index), signed)


def _ack(board: Board, name: str, raw: bytes, _role: str, index: int, _: int) -> None:
    _require_one_of(index, tuple(map(int, board.setting.roster.indices)), name)
    if board.outcome is None:
        raise CeremonyError(f"{name}: it is ahead of the deals", code="E_EARLY")
    file = Acknowledgement.parse(raw, name)
    proof = file.check(board.outcome, ShareIndex(index), name)
    if board.acknowledgements.setdefault(index, file) is file:
        board.proofs[index] = proof


def _complaint(board: Board, name: str, raw: bytes, _r: str, member: int, dealer: int) -> None:
    _require_one_of(member, tuple(map(int, board.setting.roster.indices)), name)
    _require_one_of(dealer, board.setting.roster.dealers, name)
    signed = parse_statement(raw, COMPLAINT, name)
    said = open_complaint(signed, board.setting, member, dealer, name)
    if dealer not in board.checked and dealer not in board.faults:
        raise CeremonyError(f"{name}: it is ahead of the deal it complains of", code="E_EARLY")
    if (MEMBER, member) in board.agreements:
        who = board.setting.name_of_member(member)
        raise CeremonyError(
            f"{name}: {who} has agreed to all deals, and complains of one",
            code="E_COMPLAINT",
        )
    if board.complaints.setdefault((member, dealer), said) is said:
        board.complained[member, dealer] = signed


def _opening(board: Board, name: str, raw: bytes, _r: str, dealer: int, member: int) -> None:
    _require_one_of(dealer, board.setting.roster.dealers, name)
    signed = parse_statement(raw, OPENING, name)
    said = open_opening(signed, board.setting, dealer, member, name)
    board.openings.setdefault((dealer, member), said)


def _require_one_of(found: object, allowed: tuple[object, ...], name: str) -> None:
    if found not in allowed:
        raise CeremonyError(f"{name}: nobody of this roster has this number")


_TAKE = {
    "deal": _deal, "bundle": _bundle, "bindings": _bindings, "agree": _agree, "ack": _ack,
    "complaint": _complaint, "opening": _opening,
}  # fmt: skip

"""What each participant did, when, and by which digest: one entry for each thing that he signed.

Read from the files themselves, not from what the board makes of them: the deal that proves its
dealer guilty is as good as absent there, and it is what the minutes are about. Signatures are
verified anew. Once the certificate holds, what it does not hold counts as little as on the board.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from signer.ceremony.agreement import DEALER, MEMBER, agreeing, open_agreement
from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.board import Board
from signer.ceremony.bundle import Bundle
from signer.ceremony.certificate import certificate_digest
from signer.ceremony.checking import require_deal_of
from signer.ceremony.complaint import COMPLAINT, OPENING, open_complaint, open_opening
from signer.ceremony.deal import Deal, DealBody, SlimDeal
from signer.ceremony.destruction import KIND as DESTROYED
from signer.ceremony.destruction import open_destroyed
from signer.ceremony.statement import MAX_MOMENT, parse_statement
from signer.ceremony.union import require_stated_by
from signer.errors import CeremonyError, DealError, SignerError
from signer.messages.bindings import MAX_BYTES as MAX_BINDINGS_BYTES
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.bindings import Bindings
from signer.messages.drill_certificate import DrillCertificate
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile, marked_text
from signer.strict import parse_object

_NAME = re.compile(
    r"(?P<kind>deal|bindings|agree|ack|complaint|opening|destroyed)-(?P<dealer>dealer-)?"
    r"(?P<first>\d{1,3})(?:-(?:against|for)-(?P<second>\d{1,3}))?(?:-[a-z0-9]{1,8})?\.json"
)
_BUNDLE = re.compile(r"bundle-\d{1,3}(?:-[a-z0-9]{1,8})?\.json")


class Entry(NamedTuple):
    """One thing that somebody did."""

    kind: str
    who: str
    did: str
    moment: int | None  # Unix seconds, by the clock of who did it; None: he states none
    digest: bytes  # of what he signed; of an agreement the transcript, of an ack the envelope
    file: str  # where it lies

    def to_json(self) -> dict[str, Any]:
        """Return the entry for programs."""
        return {**self._asdict(), "digest": self.digest.hex()}

    def lines(self, *, rehearsal: bool) -> tuple[str, str]:
        """Return the entry as it stands in the minutes."""
        digest = marked_text(self.digest.hex(), rehearsal=rehearsal)
        return f"  {time_text(self.moment)}  {self.who} {self.did}", f"{'':23}{digest}"


Reader = Callable[[re.Match[str], bytes], Entry]


def entries_of(
    board: Board, files: Mapping[str, bytes], parts: Iterable[tuple[str, str, bytes]] = ()
) -> list[Entry]:
    """Return everything that was done, in the order of the participants' own clocks.

    Args:
        board: the ceremony's folder.
        files: the participants' files in it, by name.
        parts: what lies in others, as the certificate: the other's name, the part's, its bytes.
    """
    readers = {
        "deal": _deal, "bindings": _bindings, "agree": _agreement, "ack": _acknowledgement,
        "complaint": _complaint, "opening": _opening, "destroyed": _destroyed,
    }  # fmt: skip
    bound = {kind: partial(reader, board) for kind, reader in readers.items()}
    found = list(read_entries(files, parts, _NAME, bound))
    return in_order([*found, *_only_in_bundles(board, files, {one.digest for one in found})])


def activation_entries(
    board: Board, group: GroupFile, file: str, drills: Iterable[tuple[str, DrillCertificate]]
) -> list[Entry]:
    """Return who signed together, so that the group is active, as far as the files tell.

    Args:
        board: the ceremony's folder.
        group: the group file that came of it, active or not.
        file: where that lies.
        drills: of this group, each with the name of its file.
    """
    found = {}
    if group.activation is not None:
        order, together = group.activation.order, f"at least {group.threshold.t} members"
        did = "were called to sign together, and did: the group is active"
        entry = Entry("activation", together, did, order.moment, order.digest, file)
        found[order.digest] = entry
    for name, certificate in drills:
        for drill in certificate.drills:
            if drill.order.nonce != group.certificate:
                continue
            for report in drill.reports:
                digest = digest_of(report.signed)
                who, moment = board.setting.name_of_member(report.index), report.body.moment
                did = "signed to activate the group"
                found.setdefault(digest, Entry("report", who, did, moment, digest, name))
    return list(found.values())


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by their moments; those without one last."""
    return sorted(entries, key=lambda one: MAX_MOMENT + 1 if one.moment is None else one.moment)


def read_entries(
    files: Mapping[str, bytes],
    parts: Iterable[tuple[str, str, bytes]],
    pattern: re.Pattern[str],
    readers: Mapping[str, Reader],
) -> Iterator[Entry]:
    """Yield what the files show, each thing once; what does not hold is passed over.

    Args:
        files: by name.
        parts: as of `entries_of`.
        pattern: of names, with a group `kind`.
        readers: by kind; they raise SignerError for what does not hold.
    """
    seen: set[tuple[str, str, bytes]] = set()
    own = ((name, name, files[name]) for name in sorted(files, key=lambda one: (len(one), one)))
    for file, name, raw in (*own, *parts):
        match = pattern.fullmatch(name)
        if match is None or match["kind"] not in readers:
            continue
        try:
            entry = readers[match["kind"]](match, raw)._replace(file=file)
        except SignerError:
            continue
        if (what := (entry.kind, entry.did + entry.who, entry.digest)) not in seen:
            seen.add(what)
            yield entry


def digest_of(signed: SignedFile) -> bytes:
    """Return SHA-256 of what was signed."""
    return hashlib.sha256(signed.payload).digest()


def time_text(moment: int | None) -> str:
    """Return a moment in UTC, or as many characters that say there is none."""
    if moment is None or not 0 <= moment <= MAX_MOMENT:
        return f"{'(no time stated)':19}"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


def require(found: bool) -> None:
    """Refuse what is not of this ceremony, or not what counts in it.

    Raises:
        CeremonyError: always if `found` is false.
    """
    if not found:
        raise CeremonyError("it does not count here")


def _deal(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    setting, dealer, name = board.setting, int(match["first"]), match[0]
    require(dealer in setting.roster.dealers)
    deal = Deal.parse(raw, name)
    checked = board.checked.get(dealer)
    held = checked is not None and checked.digest == deal.digest
    require(held or not board.certified)
    return _dealt(board, dealer, deal, name)


def _dealt(board: Board, dealer: int, deal: Deal | SlimDeal, name: str) -> Entry:
    setting, moment = board.setting, None
    try:
        require_deal_of(deal.signed, setting, dealer)
        moment = DealBody.parse(deal.signed.payload, name).moment
    except DealError:
        pass  # he signed what is no deal: the proof of his guilt
    return Entry("deal", setting.name_of(dealer), "dealt", moment, deal.digest, name)


def _only_in_bundles(
    board: Board, files: Mapping[str, bytes], known: Container[bytes]
) -> Iterator[Entry]:
    """Yield the deals of guilty dealers that only a member's bundle shows."""
    seen: set[bytes] = set()
    for name in sorted(files) if board.faults and not board.certified else ():
        if _BUNDLE.fullmatch(name) is None:
            continue
        with contextlib.suppress(SignerError):
            for dealer, deal in Bundle.parse(files[name], name).deals.items():
                if dealer not in board.faults or deal.digest in seen or deal.digest in known:
                    continue
                with contextlib.suppress(CeremonyError):  # not his
                    yield _dealt(board, dealer, deal, name)
                    seen.add(deal.digest)


def _bindings(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    setting, dealer, name = board.setting, int(match["first"]), match[0]
    require(setting.previous is not None and dealer in setting.roster.dealers)
    value = parse_object(raw, what=name, max_bytes=MAX_BINDINGS_BYTES)
    signed = SignedFile.parse(value, name, payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS)
    require_stated_by(signed, setting, dealer)
    digest, checked = digest_of(signed), board.checked.get(dealer)
    require(checked is not None and checked.bindings == digest)  # the one that his deal names
    moment = None
    try:
        moment = Bindings.parse(signed.payload, name).moment
    except SignerError:
        require(dealer in board.faults)  # for which he is guilty
    did = "stated what his journal binds"
    return Entry("bindings", setting.name_of(dealer), did, moment, digest, name)


def _agreement(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    setting, index, name = board.setting, int(match["first"]), match[0]
    role = DEALER if match["dealer"] else MEMBER
    require((role, index) in agreeing(setting))
    signed = parse_statement(raw, AGREEMENT, name)
    said = open_agreement(signed, setting, role, index, name)
    held = board.agreements.get((role, index))
    require(not board.certified or (held is not None and held.payload == signed.payload))
    who = setting.name_of(index) if role == DEALER else setting.name_of_member(index)
    return Entry("agreement", who, "agreed", said.moment, said.transcript, name)


def _acknowledgement(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    from signer.ceremony.acknowledgement import KIND, Acknowledgement, AcknowledgementBody
    from signer.ceremony.statement import open_statement

    setting, index, name = board.setting, int(match["first"]), match[0]
    held, file = board.acknowledgements.get(index), Acknowledgement.parse(raw, name)
    require(held is not None and held.signed.payload == file.signed.payload)
    point = setting.roster.members[index - 1].body.id_sign
    body = open_statement(file.signed, KIND, point, AcknowledgementBody.take, name)
    who, digest = setting.name_of_member(index), body.envelope_sha256
    return Entry("acknowledgement", who, "acknowledged", body.moment, digest, name)


def _complaint(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    setting, name = board.setting, match[0]
    member, dealer = _pair(board, match["first"], match["second"])
    signed = parse_statement(raw, COMPLAINT, name)
    said = open_complaint(signed, setting, member, dealer, name)
    did = f"complained of {setting.name_of(dealer)} ({said.code})"
    who = setting.name_of_member(member)
    return Entry("complaint", who, did, said.moment, digest_of(signed), name)


def _opening(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    setting, name = board.setting, match[0]
    member, dealer = _pair(board, match["second"], match["first"])
    signed = parse_statement(raw, OPENING, name)
    said = open_opening(signed, setting, dealer, member, name)
    did = f"showed the key of what he sealed to {setting.name_of_member(member)}"
    return Entry("opening", setting.name_of(dealer), did, said.moment, digest_of(signed), name)


def _pair(board: Board, member: str | None, dealer: str | None) -> tuple[int, int]:
    """Return who complains and of whom; nothing of that counts beside a certificate."""
    found = int(member or 0), int(dealer or 0)
    roster = board.setting.roster
    require(not board.certified and member is not None and dealer is not None)
    require(found[0] in roster.indices and found[1] in roster.dealers)
    return found


def _destroyed(board: Board, match: re.Match[str], raw: bytes) -> Entry:
    old, outcome = board.setting.previous, board.outcome
    index, name = int(match["first"]), match[0]
    if old is None or outcome is None or index not in old.indices:
        raise CeremonyError("it does not count here")
    signed = parse_statement(raw, DESTROYED, name)
    said = open_destroyed(signed, old, index, certificate_digest(outcome), name)
    keys = f"{len(said.keys)} {'key' if len(said.keys) == 1 else 'keys'}"
    did = f"destroyed what opened his share of epoch {old.epoch}, {keys}"
    who = f"old holder {index} ({old.card_of(index).body.name})"
    return Entry("destruction", who, did, said.moment, digest_of(signed), name)

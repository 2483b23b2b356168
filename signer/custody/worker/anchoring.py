"""Before a share is unsealed: is this journal the newest one? The token remembers.

The worker reads the journal's file itself. Its last record must be the INTENT of the very request
it was given, and its chain must lead back to the record that the token's anchor names. Then the
anchor moves to that INTENT, and only then anything is unsealed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from signer.custody.anchor import Anchor, rolled_back, share_name
from signer.custody.jobs.journal import CheckAnchor
from signer.custody.journal_tail import Link, links_backwards
from signer.custody.record import MAX_LINE_BYTES
from signer.custody.worker.desk_token import session_on
from signer.errors import AnchorError, JournalError, SchemaError
from signer.hsm.data_objects import DataObject, read_objects, replace_objects, unreadable
from signer.hsm.session import TokenSession
from signer.strict import Fields, parse_object


class Share(NamedTuple):
    """Whose journal it is."""

    group_id: bytes
    number: int  # of the share

    @property
    def name(self) -> str:
        """Under which name the token keeps its anchor."""
        return share_name(self.group_id, self.number)


class Kept(NamedTuple):
    """What a token keeps for one share."""

    anchor: Anchor | None  # the one that counts
    objects: list[DataObject]  # all there are


def check_anchor(fields: Fields) -> dict[str, Any]:
    """Log in and hold the journal against the anchor. Unseals and changes nothing.

    Raises:
        JournalError: E_ROLLBACK.
        AnchorError: E_ANCHOR.
    """
    job = CheckAnchor.parse(fields)
    with session_on(job.token, job.pin) as session:
        kept = compare(session, Share(job.group, job.index), job.journal, job.anchored_serials)
    sequence = None if kept.anchor is None else kept.anchor.sequence
    return {
        "anchor_sequence": sequence,
        "serial": session.token.serial,
        "serial_sha256": serial_digest(session).hex(),
    }


def compare(
    session: TokenSession,
    share: Share,
    journal: str,
    anchored_serials: frozenset[bytes],
) -> Kept:
    """Refuse a journal that does not contain the anchored record; return what the token keeps.

    Raises:
        JournalError: E_ROLLBACK, or the journal cannot be read or is damaged.
        AnchorError: E_ANCHOR.
    """
    kept = _read(session, share, anchored_serials)
    _require_contained(kept.anchor, links_backwards(Path(journal)))
    return kept


def advance(
    session: TokenSession,
    share: Share,
    journal: str,
    anchored_serials: frozenset[bytes],
    request_digest: bytes,
) -> Anchor:
    """Do as `compare` does, then move the anchor to the journal's last record.

    Raises:
        JournalError: E_ROLLBACK, or the last record is not the INTENT of this request.
        AnchorError: E_ANCHOR; the old anchor stays.
    """
    kept = _read(session, share, anchored_serials)
    links = links_backwards(Path(journal))
    last = require_intent(links, request_digest)
    if kept.anchor is not None and kept.anchor.sequence >= last.sequence:
        raise rolled_back(f"the token names record {kept.anchor.sequence}", last.sequence)
    _require_contained(kept.anchor, links, last)
    anchor = Anchor(last.sequence, last.head)
    replace_objects(session, share.name, anchor.to_bytes(), kept.objects)
    return anchor


def is_anchored(session: TokenSession, share: Share) -> bool:
    """Tell whether the token keeps anything under the share's name."""
    return bool(read_objects(session, share.name))


def require_intent(links: Iterator[Link], request_digest: bytes) -> Link:
    """Return the last record, if it is the INTENT of the request of this digest.

    Raises:
        JournalError: E_JOURNAL; nothing may be unsealed.
    """
    last = next(links, None)
    if last is None or last.kind != "INTENT" or _request_of(last) != request_digest:
        raise JournalError(
            "the journal does not end with this request; nothing was unsealed",
            hint="another process writes to it, or it was put back: restart the agent",
        )
    return last


def serial_digest(session: TokenSession) -> bytes:
    """Return SHA-256 of the token's serial number, as cards have it."""
    return hashlib.sha256(session.token.serial.encode()).digest()


def _read(session: TokenSession, share: Share, anchored_serials: frozenset[bytes]) -> Kept:
    """Return what the token keeps for the share; of several anchors the latest counts."""
    objects = read_objects(session, share.name)
    try:
        anchors = sorted({Anchor.parse(entry.value) for entry in objects})
    except SchemaError as error:
        raise unreadable(session, error.message) from None
    if not anchors and serial_digest(session) in anchored_serials:
        raise AnchorError(
            f"{session.token.describe()} has lost the anchor of this share's journal",
            hint="somebody removed it or set the token up anew: see docs/journal.md",
        )
    if len(anchors) > 1 and anchors[-1].sequence == anchors[-2].sequence:
        raise AnchorError(
            f"{session.token.describe()} has two anchors of one number: two journals of this share",
            hint="sign nothing with this share, tell the pool; see docs/journal.md",
        )
    return Kept(anchors[-1] if anchors else None, objects)


def _require_contained(anchor: Anchor | None, links: Iterator[Link], *before: Link) -> None:
    """Read back until the anchor's number; the head there must be the anchor's."""
    if anchor is None:
        return
    last = before[0].sequence if before else -1
    for link in (*before, *links) if before else links:
        last = max(last, link.sequence)
        if link.sequence > anchor.sequence:
            continue
        if link.sequence == anchor.sequence and link.head == anchor.head:
            return
        break
    raise rolled_back(f"the token names record {anchor.sequence}", last)


def _request_of(link: Link) -> bytes:
    what = "journal's last record"
    fields = Fields(parse_object(link.line, what=what, max_bytes=MAX_LINE_BYTES), what)
    return fields.nested("body").hex_bytes("request", 32)

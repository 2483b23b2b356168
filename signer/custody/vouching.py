"""Whether a journal may speak for its share: whole, as far as this machine knows.

A statement of what a share has bound is believed by the others for years. So before the token signs
one, the journal is held against what lies beside the envelope: the mark that says where the share's
journal is, and the anchor that says how far it had come.
"""

from pathlib import Path

from signer.custody.host_anchor import HostAnchor, host_anchor_path
from signer.custody.journal_backup import verify_journal
from signer.custody.mark import mark_path, require_marked_journal
from signer.errors import JournalError, UsageError


def require_whole_journal(
    envelope: Path | None, journal: Path | None, group_id: bytes, index: int, *, anchored: bool
) -> None:
    """Refuse a journal that is known to be another one, or to lack something.

    Args:
        envelope: the share's; the mark and the host's anchor are beside it.
        journal: its journal; None: it is said never to have had one.
        group_id: of the share.
        index: of the share.
        anchored: whether the host keeps the anchor of a share on this kind of token.

    Raises:
        UsageError: the envelope has to be named, and is not.
        JournalError: E_ROLLBACK, E_ANCHOR; or the share has another journal, or has one after all.
    """
    if envelope is None:
        if anchored:
            raise UsageError(
                "this kind of token keeps no anchor: the journal is held against the one that "
                "lies beside the envelope, which is not named",
                hint="give --config, or in a ceremony --envelope",
            )
        return
    if journal is not None:
        require_marked_journal(envelope, journal)
        state = verify_journal(journal)
        HostAnchor(host_anchor_path(envelope), group_id, index).require_not_ahead(state.head_at)
        return
    for trace in (mark_path(envelope), host_anchor_path(envelope)):
        if trace.exists():
            raise JournalError(
                f"this share has had a journal: {str(trace)!r} remembers it",
                hint="give it with --journal, or restore it from a backup first",
            )

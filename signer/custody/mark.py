"""A mark beside the envelope: this share has a journal, and where.

Whoever loses the state folder, or starts the share with another one, would begin a journal that
remembers nothing, and could sign a second address. The mark is made with the journal; later the
agent starts only with the journal it names.
"""

from pathlib import Path

from signer.errors import JournalError, OutputError
from signer.files import read_file, write_new
from signer.strict import Fields, canonical, parse_object

MAX_BYTES = 8192


def mark_path(envelope: Path) -> Path:
    """Return where the mark of the share in `envelope` is."""
    return envelope.with_name(envelope.name + ".journal")


def require_marked_journal(envelope: Path, journal: Path) -> None:
    """Refuse to begin or use another journal than the one this share has.

    Raises:
        JournalError: the marked journal is missing or empty, or another is configured.
        InputError: the mark cannot be read, or is none.
    """
    mark = mark_path(envelope)
    if not mark.exists():
        return
    what = f"journal mark {str(mark)!r}"
    raw = read_file(mark, what="journal mark", max_bytes=MAX_BYTES)
    fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
    fields.constant("type", "signer-journal-mark")
    fields.constant("version", 1)
    marked = fields.string("journal", pattern=r"/[^\x00\n]*", max_length=4096)
    fields.done()
    if Path(marked).resolve() != journal.resolve():
        raise JournalError(
            f"this share's journal is {marked!r}, not {str(journal)!r}",
            hint=f"use it; if you moved it, correct its place in {str(mark)!r}",
        )
    if not journal.exists() or journal.stat().st_size == 0:
        raise JournalError(
            f"this share's journal {marked!r} is gone: without it two addresses could be signed",
            hint="restore it whole from a backup; do not begin another",
        )


def carry_mark(old: Path, new: Path) -> None:
    """Mark envelope `new` as `old` is marked, if it is: the share has the same one journal.

    Raises:
        InputError: the mark cannot be read.
        OutputError: it cannot be written.
    """
    if mark_path(old).exists():
        raw = read_file(mark_path(old), what="journal mark", max_bytes=MAX_BYTES)
        write_new(mark_path(new), raw, mode=0o600)


def mark_journal(envelope: Path, journal: Path) -> bool:
    """Leave the mark, once; tell whether it is there. A read-only folder has none."""
    mark = mark_path(envelope)
    if mark.exists():
        return True
    value = {"type": "signer-journal-mark", "version": 1, "journal": str(journal.resolve())}
    try:
        write_new(mark, canonical(value) + b"\n", mode=0o600)
    except OutputError:
        return False
    return True

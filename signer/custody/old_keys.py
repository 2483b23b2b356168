"""Which keys open the old share after a reshare, and which of them are gone.

Each key is gone from one token at a time, perhaps days apart. What a worker said is gone is kept
in the state folder, so no token has to be given twice.
"""

import hashlib

from signer.custody.ceremony_state import CeremonyState
from signer.errors import UsageError
from signer.messages.group_file import GroupFile
from signer.recipient import parse_recipient
from signer.sealing.envelope import MAX_SLOTS, Envelope
from signer.strict import Fields, canonical, parse_object

_MAX_NOTE_BYTES = 4096


def keys_of(envelope: bytes | None, old: GroupFile, index: int) -> tuple[bytes, ...]:
    """Return every key that opens the old share `index`, the one of its holder's token first.

    Args:
        envelope: of the old share, as it is in use: a spare added later is a slot in it.
        old: the group file before.
        index: of the old share.

    Raises:
        UsageError: no envelope is given.
        SealError: it is none.
    """
    if envelope is None:
        raise UsageError(
            "this step needs --envelope, the envelope of your old share: every slot in it is a key "
            "that opens the share",
            hint="if it is lost: signer share recover",
        )
    body = old.card_of(index).body
    slots = Envelope.parse(envelope, "old envelope").recipients
    shown = () if body.kex_backup is None else (body.kex_backup,)
    return tuple(dict.fromkeys((body.kex, *shown, *slots)))


def gone_keys(desk: CeremonyState) -> tuple[bytes, ...]:
    """Return the keys that were destroyed on spare tokens before."""
    found = []
    for path in sorted(desk.path.glob("gone-*.json")):
        what = path.name
        fields = Fields(
            parse_object(desk.get(what) or b"", what=what, max_bytes=_MAX_NOTE_BYTES), what
        )
        found.append(parse_recipient(fields.take("kex"), f"{what}: field 'kex'"))
        fields.done()
    return tuple(found)


def keep_gone(desk: CeremonyState, result: Fields) -> None:
    """Keep what a worker says that it destroyed on a spare token."""
    for entry in result.array("gone", low=1, high=2 * MAX_SLOTS):
        point = parse_recipient(entry, "worker's result: gone")
        desk.keep(
            f"gone-{hashlib.sha256(point).hexdigest()[:16]}.json",
            canonical({"kex": point.hex()}) + b"\n",
        )

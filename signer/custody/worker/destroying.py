"""The order to destroy the keys that open a share of the epoch before.

Every slot of the old envelope is a key that opens it, on a token of its own: first the spares', one
token an order, then the primary's, whose identity signs the receipt over them all.

A slot that was cut off the envelope would leave a key alive that nobody counts. All slots are
sealed under the list of all, so the envelope must open on the token before a key is destroyed. An
older envelope, from before a spare was added, opens as well: which is in use only its holder knows.

Before a key is destroyed the token is noted in the holder's state folder. So after a power cut the
key's absence on that very token counts; on any other it says nothing.
"""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.certificate import Certificate, certificate_digest
from signer.ceremony.checking import Outcome
from signer.ceremony.destruction import PAYLOAD_TYPE, Destroyed, note_name
from signer.custody.jobs.ceremony import DestroyKey
from signer.custody.worker.anchoring import serial_digest
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.opening import open_with, require_of_group
from signer.custody.worker.resealing import recipients_of
from signer.errors import CeremonyError, TokenKeyError
from signer.files import write_new
from signer.hsm.keys import destroy_receiving_key, receiving_keys
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope, key_fingerprint
from signer.strict import Fields, canonical
from signer.threshold.params import ShareIndex


def destroy_key(fields: Fields) -> dict[str, Any]:
    """Destroy the token's keys that open an old share, if the new sharing is certain to live.

    The complete certificate must be there, and the acknowledgements of all its members. Returns the
    points that are gone, and the receipt if it was the primary.

    Raises:
        CeremonyError: E_TOO_EARLY; nothing was destroyed.
        TokenKeyError: the token has none of these keys, and it was never told to destroy one.
        ProvenanceError: a public object on it claims a point for another key.
    """
    job = DestroyKey.parse(fields)
    previous = GroupFile.parse(job.previous.encode(), "previous")
    outcome = Certificate.parse(job.certificate.encode()).outcome(previous)
    if outcome.setting.previous is None:
        raise CeremonyError("the certificate replaces no earlier sharing", code="E_TOO_EARLY")
    _require_acknowledged(outcome, job.acknowledgements)
    envelope = _envelope_of(job, previous)
    needed = {*envelope.recipients, *recipients_of(previous.card_of(job.index).body)}
    opened = partial(_require_opens, envelope=envelope, previous=previous)
    _require_none_new(outcome, needed)
    card = previous.card_of(job.index)
    others = needed - {card.body.kex}
    if not job.spare and (left := sorted(others - set(job.gone))):
        raise CeremonyError(
            f"the old share opens on other tokens too: {_words(left)}",
            hint="destroy those first: give each such token with --spare-token",
            code="E_TOO_EARLY",
        )
    with session_on(job.token, job.pin) as session:
        if job.spare:
            return {
                "gone": _hex(_destroy(session, others, Path(job.notes), opened)),
                "receipt": None,
            }
        identity = identity_on(session, card)  # made together: what is absent here is nowhere
        gone = _destroy(session, {card.body.kex}, Path(job.notes), opened, primary=True)
        said = Destroyed(
            group=previous.group_id,
            epoch=previous.epoch,
            index=job.index,
            keys=tuple(sorted(needed)),
            successor=certificate_digest(outcome),
            moment=int(time.time()),
        )
        signed = sign_file(identity, PAYLOAD_TYPE, said.to_payload())
    return {"gone": _hex(gone), "receipt": signed.to_json()}


def _destroy(
    session: TokenSession,
    wanted: Collection[bytes],
    notes: Path,
    require_opens: Callable[[ReceivingKey], None],
    *,
    primary: bool = False,
) -> list[bytes]:
    """Destroy those of the `wanted` keys that are here; return them and those gone before."""
    serial = serial_digest(session)
    keys = {key.public_point: key for key in receiving_keys(session)}
    here = sorted(point for point in wanted if point in keys)
    absent = sorted(
        point
        for point in wanted
        if point not in keys and (primary or (notes / note_name(point, serial)).exists())
    )
    if not here and not absent:
        raise TokenKeyError(
            f"{session.token.describe()} has none of the keys that open the old share",
            hint="nothing was destroyed; is it the right token?",
        )
    if absent:
        # A public object is not behind the PIN: exchanged, it hides a key that is still there.
        for key in receiving_keys(session):
            key.require_own_point()
    for point in here:
        keys[point].require_own_point()
        require_opens(keys[point])
    for point in here:
        _note(notes / note_name(point, serial), point, serial)
        destroy_receiving_key(session, point)
    return [*here, *absent]


def _note(path: Path, point: bytes, serial: bytes) -> None:
    """Note durably that this token is about to be told to destroy this key."""
    if not path.exists():
        note = {"kex": point.hex(), "serial_sha256": serial.hex()}
        write_new(path, canonical(note) + b"\n", mode=0o600)


def _require_opens(key: ReceivingKey, *, envelope: Envelope, previous: GroupFile) -> None:
    """Refuse an envelope that its own key does not open: slots may have been cut off it.

    A key that only stands on the card has nothing to open.

    Raises:
        SealError: E_UNSEAL.
    """
    if key.public_point in envelope.recipients:
        open_with(key, envelope, previous).wipe()


def _envelope_of(job: DestroyKey, previous: GroupFile) -> Envelope:
    """Return the old share's envelope; every slot in it is a key that opens the share."""
    envelope = Envelope.parse(job.envelope.encode(), "old envelope")
    if (found := require_of_group(envelope, previous)) != ShareIndex(job.index):
        raise CeremonyError(
            f"the envelope is of share {int(found)}, your old share is {job.index}",
            code="E_TOO_EARLY",
        )
    return envelope


def _require_none_new(outcome: Outcome, needed: Collection[bytes]) -> None:
    for card in outcome.setting.roster.members:
        if not set(needed).isdisjoint(recipients_of(card.body)):
            raise CeremonyError(
                f"the new share of {card.body.name} is sealed to the same key", code="E_TOO_EARLY",
                hint="each epoch has a key of its own: signer token card --fresh-key",
            )  # fmt: skip


def _require_acknowledged(outcome: Outcome, files: Sequence[tuple[int, str]]) -> None:
    """Refuse unless every new member has opened his share and signed with it."""
    members = {int(index) for index in outcome.setting.roster.indices}
    shown = set()
    for member, text in files:
        if member in members:
            file = Acknowledgement.parse(text.encode(), f"acknowledgement {member}")
            file.check(outcome, ShareIndex(member), f"acknowledgement {member}")
            shown.add(member)
    if missing := sorted(members - shown):
        raise CeremonyError(
            f"members {', '.join(map(str, missing))} have not acknowledged the new shares; with "
            "the old ones gone the key might be lost",
            code="E_TOO_EARLY",
        )


def _words(points: Sequence[bytes]) -> str:
    return ", ".join(f"key {key_fingerprint(point)}" for point in points)


def _hex(points: Sequence[bytes]) -> list[str]:
    return [point.hex() for point in points]

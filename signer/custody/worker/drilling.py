"""The orders to seal a share to a spare token, and to drill.

A drill signs the drill's own message under the drill's own tag, whatever the order says: nothing
else can be asked for here.
"""

import os
import time
from typing import Any

from signer.bls.encoding import Signature
from signer.custody.jobs.drilling import RunDrill, SealToCard
from signer.custody.worker.anchoring import Share, compare, is_anchored, serial_digest
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.opening import (
    open_share,
    require_card_of,
    require_of_group,
    require_spare_card,
)
from signer.errors import CardError, SealError
from signer.hsm.keys import identity_key
from signer.hsm.session import TokenSession
from signer.messages.card import Card
from signer.messages.drill import DRILL_DST, DrillOrder, require_open
from signer.messages.drill_report import (
    PAYLOAD_TYPE,
    PRIMARY,
    Drilled,
    DrillReport,
    ReportBody,
    require_own_devices,
)
from signer.messages.dsse import pre_authentication_encoding
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.sealing.spare import add_slot, require_room
from signer.strict import Fields
from signer.threshold.partial import sign_partials
from signer.threshold.share import SecretShare

_OTHER_CARD = "compare cards and fingerprints with the dealer; do not use this group file"


def seal_to_card(fields: Fields) -> dict[str, Any]:
    """Unseal on the token and seal the same share to the card of another token.

    Raises:
        CardError: the card is a holder's own, or of the very token that unseals.
        SealError: no room, or the key has its slot.
    """
    job = SealToCard.parse(fields)
    group = GroupFile.parse(job.group.encode())
    envelope = Envelope.parse(job.envelope.encode())
    index = require_of_group(envelope, group)
    card = Card.parse_file(job.card.encode(), "the card")
    require_spare_card(card, group, index)
    own = group.card_of(index)
    if job.rehearsal and card.body.kex in envelope.recipients:
        raise SealError("the scratch token is one that the envelope is for", code="E_ENVELOPE")
    if not job.rehearsal:
        require_room(envelope, card.body.kex)
    with session_on(job.token, job.pin, among=envelope.recipients) as session:
        if serial_digest(session) == card.body.serial_sha256:
            raise CardError(
                "the card is of the very token that opens the share; a spare is another one",
                hint="plug in the second token and export its card",
            )
        key, share = open_share(session, envelope, group)
        with share:
            if job.rehearsal and key.public_point == own.body.kex:
                raise CardError(
                    "this is the primary; a recovery is rehearsed from the spare's slot",
                    hint="give the spare with --spare-token",
                )
            kept = Envelope(envelope.binding, ()) if job.rehearsal else envelope
            with share.scalar.to_big_endian() as plain:
                sealed = add_slot(kept, plain, card.body.kex, os.urandom, key.wraps)
    return {"envelope": sealed.to_bytes().decode(), "index": int(index)}


def run_drill(fields: Fields) -> dict[str, Any]:
    """Unseal on the device, sign in the drill domain; on the primary, sign the report as well.

    Raises:
        DeniedError: the order is not for this group, or not now.
        CardError: the token is not what the order calls it.
        InputError: another device's partial does not hold. No report is signed then.
    """
    job = RunDrill.parse(fields)
    group = GroupFile.parse(job.group.encode())
    envelope = Envelope.parse(job.envelope.encode())
    order = DrillOrder.take(Fields(job.order, "drill order"))
    require_open(order, group, job.moment)
    index = require_of_group(envelope, group)
    others = tuple(Drilled.take(Fields(entry, "other device")) for entry in job.others)
    card = group.card_of(index)
    with session_on(job.token, job.pin, among=envelope.recipients) as session:
        own = Share(group.group_id, int(index))
        anchored = session.profile.journal_anchor == "token" or is_anchored(session, own)
        if job.journal is not None and anchored:
            compare(session, own, job.journal, job.anchored_serials)
        opened = time.monotonic()
        key, share = open_share(session, envelope, group)
        with share:
            partial = _sign(share, order, group)
        milliseconds = int(1000 * (time.monotonic() - opened)) + 1
        device = Drilled(
            role=job.role,
            serial_sha256=serial_digest(session),
            profile=session.profile.name,
            kex=key.public_point,
            partial=bytes(partial),
        )
        if job.role != PRIMARY:
            if key.public_point == card.body.kex:
                raise CardError(f"the token given as {job.role} is the primary")
            return _result(session, device, None, milliseconds)
        which = f"the group file's card of share {int(index)}"
        require_card_of(session, key.public_point, card, which, _OTHER_CARD)
        body = ReportBody(
            order_digest=order.digest,
            group_id=group.group_id,
            epoch=group.epoch,
            index=index,
            devices=(device, *others),
            moment=job.moment,
        )
        report = _report(session, body, order, group)
    return _result(session, device, report, milliseconds)


def _result(
    session: TokenSession, device: Drilled, report: DrillReport | None, milliseconds: int
) -> dict[str, Any]:
    return {
        "device": device.to_json(),
        "report": None if report is None else report.signed.to_json(),
        "serial": session.token.serial,
        "unsealed_milliseconds": milliseconds,
    }


def _sign(share: SecretShare, order: DrillOrder, group: GroupFile) -> Signature:
    """Sign the drill's message, and check the partial."""
    (partial,) = sign_partials(
        share.scalar,
        [order.message],
        group.vector.public_share(share.index),
        random_bytes=os.urandom,
        dst=DRILL_DST,
    )
    return partial


def _report(
    session: TokenSession, body: ReportBody, order: DrillOrder, group: GroupFile
) -> DrillReport:
    """Have the token sign the report, once every device's partial was held against the share."""
    require_own_devices(body.devices, group.card_of(body.index), group, "own report")
    for device in body.devices:
        device.require_partial(group.vector.public_share(body.index), order, "own report")
    signed = pre_authentication_encoding(PAYLOAD_TYPE, body.to_payload())
    return DrillReport.seal_of(body, identity_key(session).sign(signed), order, group)

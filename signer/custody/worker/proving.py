"""The order to prove a share: it opens on this token and lies on the group's polynomial."""

from typing import Any

from signer.custody.jobs.shares import VerifyShare
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.opening import (
    open_share,
    require_card_of,
    require_of_group,
    require_spare_card,
)
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.strict import Fields


def verify_share(fields: Fields) -> dict[str, Any]:
    """Open the envelope on the token and hold the share against the group's vector.

    The token is the one of the holder's card in the group file, or the spare whose card the order
    brings. A group file that shows another card for this share is so found out.

    Raises:
        CardError: the token is not of that card, or the spare's card is a holder's own.
    """
    job = VerifyShare.parse(fields)
    group = GroupFile.parse(job.group.encode())
    envelope = Envelope.parse(job.envelope.encode())
    index = require_of_group(envelope, group)  # before a PIN is spent on it
    card, which = group.card_of(index), f"the group file's card of share {int(index)}"
    hint = "compare cards and fingerprints with the dealer; for a spare token give its --card"
    if job.card is not None:
        card, which = Card.parse_file(job.card.encode(), "the spare's card"), "the spare's card"
        hint = "export it anew: signer token card"
        require_spare_card(card, group, index)
    with session_on(job.token, job.pin, among=envelope.recipients) as session:
        key, share = open_share(session, envelope, group)
        share.wipe()
        require_card_of(session, key.public_point, card, which, hint)
    return {"index": int(index)}

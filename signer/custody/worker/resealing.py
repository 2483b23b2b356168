"""Seal a share at rest; and the order to do it anew, from what its holder acknowledged."""

import os
from collections.abc import Sequence
from typing import Any

from signer.ceremony.acknowledgement import KIND, Acknowledgement, AcknowledgementBody
from signer.ceremony.acknowledgement import envelope_digest as digest_of
from signer.ceremony.statement import open_statement
from signer.custody.jobs.ceremony import ResealShare
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.opening import open_share, require_of_group
from signer.errors import CeremonyError, SelfCheckError
from signer.messages.card import CardBody
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare


def reseal_share(fields: Fields) -> dict[str, Any]:
    """Seal the share of an acknowledged envelope anew, as recovered.

    It is sealed to the keys on the holder's card and the one that opened it: an envelope's own list
    of slots is worth nothing before somebody has signed it, and not needed afterwards.

    Raises:
        CeremonyError: the holder did not sign this envelope, or not for this group.
        SealError: it is of another group, or the token does not open it.
    """
    job = ResealShare.parse(fields)
    group = GroupFile.parse(job.group.encode())
    file = Acknowledgement.parse(job.acknowledgement.encode())
    index = _require_acknowledged(file, group)
    recipients = recipients_of(group.card_of(index).body)
    with session_on(job.token, job.pin, among=file.envelope.recipients) as session:
        key, share = open_share(session, file.envelope, group)
        with share:
            if key.public_point not in recipients:
                recipients.append(key.public_point)
            sealed = seal_at_rest(share, group.binding(index, recovered=True), recipients)
    return {"index": int(index), "envelope": sealed.to_bytes().decode()}


def recipients_of(card: CardBody) -> list[bytes]:
    """Return the keys that a holder's share is sealed to: his token's, and his spare's."""
    return [card.kex, *([card.kex_backup] if card.kex_backup else [])]


def seal_at_rest(share: SecretShare, binding: Binding, recipients: Sequence[bytes]) -> Envelope:
    """Seal a share at rest.

    Raises:
        SelfCheckError: the binding is of another share.
    """
    if binding.index != int(share.index):
        raise SelfCheckError("the envelope would be bound to another share")
    with share.scalar.to_big_endian() as plain:
        return seal_share(plain, binding, recipients, os.urandom)


def _require_acknowledged(file: Acknowledgement, group: GroupFile) -> ShareIndex:
    """Return whose envelope it is, if he has signed it with the card in force."""
    what = "acknowledgement"
    index = require_of_group(file.envelope, group)
    point = group.card_of(index).body.id_sign
    said = open_statement(file.signed, KIND, point, AcknowledgementBody.take, what)
    if said.index != int(index) or said.envelope_sha256 != digest_of(file.envelope):
        raise CeremonyError(
            f"{what}: the envelope in it is not the one that holder {int(index)} acknowledged",
            hint="somebody changed the file: get it from another copy of the ceremony's folder",
        )
    # A repair has a digest of its own; its envelope is bound to the group like any other.
    repaired = any(one.body.index == index for one in group.replacements)
    if not repaired and said.certificate != group.certificate:
        raise CeremonyError(f"{what}: it is of another certificate", code="E_TRANSCRIPT")
    return index

"""The order to split an existing key. The whole key is in this process and nowhere else."""

import os
from collections.abc import Sequence
from typing import Any

from signer.custody.jobs.splitting import SplitKey
from signer.custody.worker.key_source import read_key
from signer.messages.card import Card
from signer.messages.group_file import GroupFile, refuse_shared_keys
from signer.sealing.share import seal_share
from signer.strict import Fields
from signer.threshold.params import Threshold
from signer.threshold.share import SecretShare, split


def split_key(fields: Fields) -> dict[str, Any]:
    """Split the key that the order names among its cards; return group file and envelopes."""
    job = SplitKey.parse(fields)
    cards = tuple(
        Card.parse_file(text.encode(), f"card {number}")
        for number, text in enumerate(job.cards, start=1)
    )
    refuse_shared_keys(cards, "cards")
    threshold = Threshold(job.threshold, len(cards))
    with read_key(job.key, job.role) as key:
        vector, shares = split(key, threshold, os.urandom)
    group = GroupFile(
        network=job.network,
        role=job.role,
        epoch=1,
        origin="split",
        policy_digest=job.policy_digest,
        threshold=threshold,
        vector=vector,
        cards=cards,
    )
    envelopes = []
    try:
        for share, card in zip(shares, cards, strict=True):
            with share.scalar.to_big_endian() as plain:
                sealed = seal_share(plain, group.binding(share.index), [card.body.kex], os.urandom)
            envelopes.append(sealed.to_bytes().decode())
    finally:
        _wipe(shares)
    return {"group": group.to_bytes().decode(), "envelopes": envelopes}


def _wipe(shares: Sequence[SecretShare]) -> None:
    for share in shares:
        share.wipe()

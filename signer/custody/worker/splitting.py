"""The order to split an existing key. The whole key is in this process and nowhere else."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signer.bls.eip2333 import derive_path, signing_path, withdrawal_path
from signer.bls.keystore import MAX_BYTES as MAX_KEYSTORE_BYTES
from signer.bls.keystore import open_keystore
from signer.bls.mnemonic import mnemonic_to_seed
from signer.bls.scalar import SecretScalar
from signer.custody.jobs.splitting import SplitKey
from signer.custody.worker.desk_token import read_secret
from signer.errors import UsageError
from signer.files import read_file
from signer.messages.card import Card
from signer.messages.group_file import GroupFile, refuse_shared_keys
from signer.sealing.share import seal_share
from signer.strict import Fields
from signer.threshold.params import Threshold
from signer.threshold.share import SecretShare, split

_MAX_WORDS_BYTES = 1024
_MAX_PASSWORD_BYTES = 1024


def split_key(fields: Fields) -> dict[str, Any]:
    """Split the key that the order names among its cards; return group file and envelopes."""
    job = SplitKey.parse(fields)
    cards = tuple(
        Card.parse_file(text.encode(), f"card {number}")
        for number, text in enumerate(job.cards, start=1)
    )
    refuse_shared_keys(cards, "cards")
    threshold = Threshold(job.threshold, len(cards))
    with _key(job) as key:
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


def _key(job: SplitKey) -> SecretScalar:
    if job.keystore is not None:
        if job.password is None:
            raise UsageError("a keystore needs a password")
        raw = read_file(Path(job.keystore), what="keystore", max_bytes=MAX_KEYSTORE_BYTES)
        with read_secret(
            job.password, what="keystore password", max_bytes=_MAX_PASSWORD_BYTES
        ) as password:
            return open_keystore(raw, password, signing=job.role == "validator")
    if job.mnemonic is None:
        raise UsageError("a mnemonic or a keystore is needed")
    with read_secret(job.mnemonic, what="mnemonic", max_bytes=_MAX_WORDS_BYTES) as words:
        if job.passphrase is None:
            seed = mnemonic_to_seed(words)
        else:
            with read_secret(
                job.passphrase, what="passphrase", max_bytes=_MAX_PASSWORD_BYTES
            ) as passphrase:
                seed = mnemonic_to_seed(words, passphrase)
    with seed:
        path = signing_path if job.role == "validator" else withdrawal_path
        return derive_path(seed, path(job.key_index))


def _wipe(shares: Sequence[SecretShare]) -> None:
    for share in shares:
        share.wipe()

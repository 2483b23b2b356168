"""A pool as a ceremony leaves it: tokens, envelopes, an active group file. Made in no time.

What a DKG of the commands would come to, put together from the whole key, which everybody knows.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from signer.bls.scalar import SecretScalar
from signer.custody.desk import read_policy
from signer.files import write_new
from signer.messages.group_file import GroupFile
from signer.messages.group_id import Certified
from signer.messages.networks import MAINNET
from signer.sealing.share import seal_share
from signer.strict import canonical
from signer.testing.pool import Holder
from signer.testing.provision import make_card
from signer.testing.softhsm import SoftHSM
from signer.threshold.params import Threshold
from signer.threshold.share import split
from tests.simulators.here import PoolHere
from tests.simulators.holders import KEY, activation_of


def finished(folder: Path, names: Sequence[str], threshold: int, *, more: int = 0) -> PoolHere:
    """Make a pool whose key was generated together and is active, `threshold` of `names`.

    Args:
        folder: new; the pool's.
        names: of the holders, and of the last `more`, who have tokens and no share.
        threshold: t.
        more: how many have none.
    """
    pool = PoolHere(folder)
    folder.mkdir(parents=True)
    pool.write_policy(more="drill: {every: 30d}")
    for index, name in enumerate(names, start=1):
        place = folder / f"holder-{index}"
        place.mkdir()
        token = SoftHSM.create(place / "token", f"holder-{index}")
        pool.holders.append(Holder(index, name, place, token))
    module = pool.holders[0].token.module  # one copy after the other; a module costs its loading
    cards = [make_card(holder.token, holder.name, module) for holder in pool.holders]
    for holder, card in zip(pool.holders, cards, strict=True):
        write_new(holder.card, canonical(card.to_json()))
    terms = Threshold(threshold, len(names) - more)
    with SecretScalar.from_big_endian(bytearray(KEY)) as key:
        vector, shares = split(key, terms, os.urandom)
    group = GroupFile(
        network=MAINNET, role="withdrawal", epoch=1, origin="dkg",
        policy_digest=read_policy(pool.policy).digest, threshold=terms, vector=vector,
        cards=tuple(cards[: terms.n]), rehearsal=True,
        certified=Certified(os.urandom(32), os.urandom(32)),
    )  # fmt: skip
    group = group.activated(activation_of(group))
    for share, card, holder in zip(shares, group.cards, pool.holders, strict=False):
        with share.scalar.to_big_endian() as plain:
            sealed = seal_share(plain, group.binding(share.index), [card.body.kex], os.urandom)
        share.wipe()
        write_new(holder.envelope, sealed.to_bytes(), mode=0o600)
    pool.group.parent.mkdir()
    write_new(pool.group, group.to_bytes())
    return pool

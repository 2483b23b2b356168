"""A pool with its key split, in this process and in a fraction of a second.

What `signer token setup`, `signer token card` and `signer group split` do in workers of their own,
done here with the same functions. For tests alone: PINs and the whole key pass through this
process, and both are known to everybody.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from signer.bls.eip2333 import derive_path, withdrawal_path
from signer.bls.mnemonic import mnemonic_to_seed
from signer.custody.desk import read_policy
from signer.files import write_new
from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.keys import ensure_keys, identity_key, receiving_key
from signer.hsm.module import load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import load_profile
from signer.hsm.session import TokenSession, open_session
from signer.messages.card import NONCE_BYTES, PAYLOAD_TYPE, Card, CardBody
from signer.messages.dsse import pre_authentication_encoding
from signer.messages.group_file import GroupFile
from signer.messages.networks import find_network
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.testing.pool import TEST_MNEMONIC, Holder, Pool
from signer.testing.softhsm import SoftHSM
from signer.threshold.params import Threshold
from signer.threshold.share import split

PROFILE = "softhsm2"


@contextlib.contextmanager
def session_here(token: SoftHSM, module: Path | None = None) -> Iterator[TokenSession]:
    """Yield a logged-in session on `token` in this process; its module is finalised at the end.

    Args:
        token: the token and its PIN.
        module: another module to reach it through; without it, the token's own copy.
    """
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(token.config)  # read while the module is initialised
    try:
        loaded = load_module(token.module if module is None else module)
    finally:
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
    with loaded:
        found = find_token(loaded, TokenSelector(token.label))
        pin = PinFile(token.pin_file)
        with open_session(loaded, found, load_profile(PROFILE), pin) as session:
            yield session


def make_keys(token: SoftHSM, module: Path | None = None) -> None:
    """Make the two keys of a holder, as `signer token setup` does."""
    with session_here(token, module) as session:
        ensure_keys(session)


def make_card(token: SoftHSM, name: str, module: Path | None = None) -> Card:
    """Make keys where they are absent and return the holder's card, as `signer token card` does."""
    profile = load_profile(PROFILE)
    with session_here(token, module) as session:
        ensure_keys(session)
        identity, receiving = identity_key(session), receiving_key(session)
        body = CardBody(
            name=name,
            id_sign=identity.public_point,
            kex=receiving.public_point,
            epoch_nonce=os.urandom(NONCE_BYTES),
            manufacturer=session.token.manufacturer,
            model=session.token.model,
            serial_sha256=hashlib.sha256(session.token.serial.encode()).digest(),
            profile=profile.name,
            key_backup=profile.key_backup,
            software=profile.software,
            ceremony=profile.ceremony,
            proven=identity.provenance.proven and receiving.provenance.proven,
            created=int(time.time()),
        )
        signed = pre_authentication_encoding(PAYLOAD_TYPE, body.to_payload())
        return Card.seal_of(body, identity.sign(signed))


def split_here(pool: Pool, threshold: int, *, network: str = "mainnet") -> GroupFile:
    """Split the test mnemonic's key among the pool's holders, as `signer group split` does.

    Each holder's token gets its keys, and his folder his card and envelope.
    """
    module = pool.holders[0].token.module  # one copy after the other; a module costs its loading
    cards = [make_card(holder.token, holder.name, module) for holder in pool.holders]
    with (
        SecretBytes(TEST_MNEMONIC.encode()) as words,
        mnemonic_to_seed(words) as seed,
        derive_path(seed, withdrawal_path(0)) as key,
    ):
        vector, shares = split(key, Threshold(threshold, len(cards)), os.urandom)
    group = GroupFile(
        network=find_network(network),
        role="withdrawal",
        epoch=1,
        origin="split",
        policy_digest=read_policy(pool.policy).digest,
        threshold=Threshold(threshold, len(cards)),
        vector=vector,
        cards=tuple(cards),
    )
    for share, card, holder in zip(shares, cards, pool.holders, strict=True):
        with share.scalar.to_big_endian() as plain:
            sealed = seal_share(plain, group.binding(share.index), [card.body.kex], os.urandom)
        share.wipe()
        _write(holder, card, sealed.to_bytes())
    pool.group.parent.mkdir(exist_ok=True)
    write_new(pool.group, group.to_bytes())
    return group


def _write(holder: Holder, card: Card, envelope: bytes) -> None:
    write_new(holder.card, canonical(card.to_json()))
    write_new(holder.envelope, envelope, mode=0o600)

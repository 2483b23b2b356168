"""Open an envelope against the group file, and look who the token is to the share."""

from dataclasses import replace

from signer.bls.scalar import SecretScalar
from signer.errors import CardError, SealError
from signer.hsm.keys import identity_key, receiving_key
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import require_binding, unseal_share
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare


def require_of_group(envelope: Envelope, group: GroupFile) -> ShareIndex:
    """Return the index of the share, if the envelope is one of `group`'s. Needs no token.

    Raises:
        SealError: E_ENVELOPE: it is not.
    """
    found = envelope.binding.index
    if not 1 <= found <= group.threshold.n:
        raise SealError(
            f"the envelope is for share {found}, which this group does not have", code="E_ENVELOPE"
        )
    require_binding(envelope.binding, expected_binding(envelope, group))
    return ShareIndex(found)


def expected_binding(envelope: Envelope, group: GroupFile) -> Binding:
    """Return the binding that the group file gives the envelope's share.

    Whether the share was recovered is the envelope's own word, which its slots are sealed under.
    """
    binding = group.binding(ShareIndex(envelope.binding.index))
    return replace(binding, recovered=envelope.binding.recovered)


def open_share(
    session: TokenSession, envelope: Envelope, group: GroupFile
) -> tuple[ReceivingKey, SecretShare]:
    """Unseal the share on this token and hold it against the group's vector.

    The caller wipes the share.

    Raises:
        SealError: the token does not open it.
        ShareMismatchError: E_SHARE: what it opens to is not the share of this index.
    """
    require_of_group(envelope, group)
    key = receiving_key(session, envelope.recipients)
    return key, open_with(key, envelope, group)


def open_with(key: ReceivingKey, envelope: Envelope, group: GroupFile) -> SecretShare:
    """Unseal the share with this key and hold it against the group's vector.

    The caller wipes the share.

    Raises:
        SealError: the key does not open it.
        ShareMismatchError: E_SHARE: what it opens to is not the share of this index.
    """
    index = require_of_group(envelope, group)
    expected = expected_binding(envelope, group)
    with unseal_share(envelope, expected, key.public_point, key.unlock) as plain:
        share = SecretShare(index, SecretScalar.from_big_endian(plain))
    try:
        share.verify(group.vector)
    except BaseException:
        share.wipe()
        raise
    return share


def require_spare_card(card: Card, group: GroupFile, own: ShareIndex) -> None:
    """Refuse a card, of a spare for holder `own`, that shows a key of a card in the group file.

    Only the key of the spare that his own card names may be there: it is the very one.

    Raises:
        CardError: it is a holder's own card, or borrows a key of one.
    """
    for index, other in enumerate(group.current_cards, start=1):
        keys, theirs = set(card.body.keys.values()), set(other.body.keys.values())
        if index == own:  # primary and spare may name each other
            keys, theirs = keys - {card.body.kex_backup}, theirs - {other.body.kex_backup}
        if keys & theirs:
            raise CardError(
                f"this card shows a key of holder {index} ({other.body.name}); a spare is a "
                "second token with keys of its own",
                hint="run `signer token setup` and `signer token card` on the spare token",
            )


def require_card_of(session: TokenSession, kex: bytes, card: Card, which: str, hint: str) -> None:
    """Hold both keys of the token against `card`, which is called `which`.

    Raises:
        CardError: it is the card of another token.
    """
    if (card.body.kex, card.body.id_sign) != (kex, identity_key(session).public_point):
        raise CardError(f"{which} ({card.body.name}) is not of this token", hint=hint)

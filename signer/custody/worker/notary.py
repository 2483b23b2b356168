"""Have the holder's identity key sign a file, and look whether it did."""

from signer.errors import CardError, TokenError
from signer.hsm.keys import IdentityKey, identity_key
from signer.hsm.session import TokenSession
from signer.messages.card import Card
from signer.messages.dsse import SignedFile, key_id_of, pre_authentication_encoding


def sign_file(identity: IdentityKey, payload_type: str, payload: bytes) -> SignedFile:
    """Return the signed file.

    Raises:
        TokenError: the token refused, or its signature does not verify.
    """
    signature = identity.sign(pre_authentication_encoding(payload_type, payload))
    signed = SignedFile(payload_type, payload, key_id_of(identity.public_point), signature)
    if not signed.signed_by(identity.public_point):
        raise TokenError("the token's signature does not verify under its own key")
    return signed


def identity_on(session: TokenSession, card: Card) -> IdentityKey:
    """Return the token's identity key, which must be the one of `card`.

    Raises:
        CardError: it is the card of another token.
    """
    identity = identity_key(session)
    if identity.public_point != card.body.id_sign:
        raise CardError(
            f"this token is not that of {card.body.name}'s card",
            hint="plug in the token that the card was made on",
        )
    return identity

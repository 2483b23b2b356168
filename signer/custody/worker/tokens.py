"""Orders about a token: list, set up, make a card."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signer.custody.jobs.tokens import ListTokens, MakeCard, SetUpToken
from signer.custody.worker.anchoring import serial_digest
from signer.custody.worker.desk_token import module_of, selector_of, session_on
from signer.errors import CardError, ProfileError, TokenKeyError, UnknownTokenError
from signer.hsm.discovery import TokenInfo, profile_for, require_profile
from signer.hsm.discovery import list_tokens as present_tokens
from signer.hsm.keys import (
    IdentityKey,
    ensure_keys,
    identity_key,
    make_receiving_key,
    receiving_keys,
)
from signer.hsm.mechanisms import require_ceremony_mechanisms
from signer.hsm.profile import DeviceProfile, require_ceremony
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.hsm.uri import uri_of
from signer.messages.card import NONCE_BYTES, PAYLOAD_TYPE, Card, CardBody
from signer.messages.dsse import pre_authentication_encoding
from signer.recipient import AES_256_GCM
from signer.sealing.envelope import key_fingerprint
from signer.strict import Fields

_SHOWN_KEYS = 16  # in a message


def list_tokens(fields: Fields) -> dict[str, Any]:
    """List the tokens that the module shows."""
    job = ListTokens.parse(fields)
    meant = selector_of(job.token)
    with module_of(job.token) as (module, profile):
        rows = [
            _row(token, profile, module.path) | {"meant": meant.matches(token)}
            for token in present_tokens(module)
        ]
    return {"tokens": rows}


def set_up_token(fields: Fields) -> dict[str, Any]:
    """Make the two keys where they are absent."""
    job = SetUpToken.parse(fields)
    with session_on(job.token, job.pin) as session:
        keys = ensure_keys(session)
        for key in receiving_keys(session):
            key.require_own_point()
    return {"made": list(keys.made), "present": list(keys.there)}


def make_card(fields: Fields) -> dict[str, Any]:
    """Sign a card for keys that passed the provenance check, with the identity key.

    Raises:
        ProfileError: E_PROFILE: a fresh key is for a ceremony, and this kind of token is for none.
        MechanismError: nor is this one, by its own list of mechanisms.
        ProfileError: E_PROFILE: nobody but the token itself could seal to its key.
        CardError: the spare's card is of this token.
        TokenKeyError: there are several receiving keys and none was chosen.
    """
    job = MakeCard.parse(fields)
    spare = None if job.spare is None else Card.parse_file(job.spare.encode(), "the spare's card")
    if job.fresh_key:
        require_ceremony(job.token.profile)
    if job.token.profile.seal == AES_256_GCM:
        raise ProfileError(
            f"profile {job.token.profile.name!r} seals with {AES_256_GCM}, which the token itself "
            "has to do: no dealer could seal a share to this card",
            hint="put hpke-p256 or an RSA-OAEP method first in `seal`, and set the token up again",
        )
    with session_on(job.token, job.pin) as session:
        identity = identity_key(session)
        if spare is not None:
            _require_other_token(session, identity, spare.body)
        receiving = _chosen_key(session, fresh=job.fresh_key, kex=job.kex)
        receiving.require_own_point()  # the card's signature proves the identity key's point
        # Shares will be sealed to both tokens, so the claims are those of the weaker one.
        profile = session.profile
        weak_backup = spare is not None and spare.body.key_backup == "possible"
        body = CardBody(
            name=job.name,
            id_sign=identity.public_point,
            kex=receiving.public_point,
            kex_backup=None if spare is None else spare.body.kex,
            epoch_nonce=os.urandom(NONCE_BYTES),
            manufacturer=_ascii(session.token.manufacturer),
            model=_ascii(session.token.model),
            serial_sha256=serial_digest(session),
            profile=profile.name,
            key_backup="possible" if weak_backup else profile.key_backup,
            software=profile.software or (spare is not None and spare.body.software),
            ceremony=profile.ceremony and (spare is None or spare.body.ceremony),
            proven=(identity.provenance.proven and receiving.provenance.proven)
            and (spare is None or spare.body.proven),
            created=job.created,
            attestation=job.attestation,
        )
        signed = pre_authentication_encoding(PAYLOAD_TYPE, body.to_payload())
        card = Card.seal_of(body, identity.sign(signed))
    return {"card": card.to_json()}


def _chosen_key(session: TokenSession, *, fresh: bool, kex: str | None) -> ReceivingKey:
    """Return a new receiving key, the one with the fingerprint `kex`, or the only one."""
    if fresh:
        require_ceremony_mechanisms(session)
        return make_receiving_key(session)
    keys = receiving_keys(session)
    meant = [key for key in keys if kex is None or kex == _fingerprint(key)]
    if len(meant) == 1:
        return meant[0]
    name = session.token.describe()
    if not keys:
        raise TokenKeyError(f"{name} has no receiving key", hint="run `signer token setup`")
    found = f"{len(keys)} receiving keys" if len(keys) > 1 else "one receiving key"
    why = "nothing tells which is meant"
    if kex is not None:
        why = f"{'more than one' if meant else 'none'} is {kex}"
    raise TokenKeyError(
        f"{name} has {found} and {why}: {_list_of(keys)}",
        hint="choose one with --kex, or make another with --fresh-key",
    )


def _fingerprint(key: ReceivingKey) -> str:
    return key_fingerprint(key.public_point).replace(" ", "")


def _list_of(keys: Sequence[ReceivingKey]) -> str:
    shown = [key_fingerprint(key.public_point) for key in keys[:_SHOWN_KEYS]]
    more = len(keys) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _require_other_token(session: TokenSession, identity: IdentityKey, spare: CardBody) -> None:
    """Refuse a spare that is the token itself: then one loss would be the loss of both."""
    own = {identity.public_point, *(key.public_point for key in receiving_keys(session))}
    if own & {spare.id_sign, spare.kex} or spare.serial_sha256 == serial_digest(session):
        raise CardError(
            f"the spare's card ({spare.name}) is of this very token; a spare is a second one",
            hint="run `signer token setup` and `signer token card` on the spare token",
        )


def _row(token: TokenInfo, profile: DeviceProfile, module: Path) -> dict[str, Any]:
    best: DeviceProfile | None = profile
    try:
        require_profile(token, profile)
        known: str | None = profile.name
    except UnknownTokenError:
        known, best = None, profile_for(token, module)
    return {
        "label": _ascii(token.label),
        "serial": _ascii(token.serial),
        "manufacturer": _ascii(token.manufacturer),
        "model": _ascii(token.model),
        "initialized": token.initialized,
        "pin_state": _pin_state(token),
        "profile": known,
        "described_by": None if best is None else best.name,
        "proven": None if best is None else best.proven,
        "uri": uri_of(token),
    }


def _pin_state(token: TokenInfo) -> str:
    if token.locked:
        return "locked"
    if token.final_try:
        return "final try"
    if not token.user_pin_set:
        return "not set"
    return "low" if token.count_low else "ok"


def _ascii(text: str) -> str:
    """Return what a token calls itself as printable ASCII."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)

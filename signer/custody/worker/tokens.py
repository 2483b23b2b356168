"""Orders about a token: list, set up, make a card."""

import hashlib
from typing import Any

from signer.custody.jobs.tokens import ListTokens, MakeCard, SetUpToken
from signer.custody.worker.desk_token import module_of, session_on
from signer.errors import UnknownTokenError
from signer.hsm.discovery import TokenInfo, require_profile
from signer.hsm.discovery import list_tokens as present_tokens
from signer.hsm.keys import ensure_keys, identity_key, receiving_key
from signer.hsm.profile import DeviceProfile
from signer.messages.card import PAYLOAD_TYPE, Card, CardBody
from signer.messages.dsse import pre_authentication_encoding
from signer.strict import Fields


def list_tokens(fields: Fields) -> dict[str, Any]:
    """List the tokens that the module shows."""
    job = ListTokens.parse(fields)
    with module_of(job.token) as (module, profile):
        return {"tokens": [_row(token, profile) for token in present_tokens(module)]}


def set_up_token(fields: Fields) -> dict[str, Any]:
    """Make the two keys where they are absent."""
    job = SetUpToken.parse(fields)
    with session_on(job.token, job.pin) as session:
        keys = ensure_keys(session)
        receiving_key(session).require_own_point()
    return {"made": list(keys.made), "present": list(keys.there)}


def make_card(fields: Fields) -> dict[str, Any]:
    """Sign a card for keys that passed the provenance check, with the identity key."""
    job = MakeCard.parse(fields)
    with session_on(job.token, job.pin) as session:
        identity = identity_key(session)
        receiving = receiving_key(session)
        receiving.require_own_point()  # the card's signature proves the identity key's point
        body = CardBody(
            name=job.name,
            id_sign=identity.public_point,
            kex=receiving.public_point,
            manufacturer=_ascii(session.token.manufacturer),
            model=_ascii(session.token.model),
            serial_sha256=hashlib.sha256(session.token.serial.encode()).digest(),
            profile=session.profile.name,
            created=job.created,
        )
        signed = pre_authentication_encoding(PAYLOAD_TYPE, body.to_payload())
        card = Card.seal_of(body, identity.sign(signed))
    return {"card": card.to_json()}


def _row(token: TokenInfo, profile: DeviceProfile) -> dict[str, Any]:
    try:
        require_profile(token, profile)
        known: str | None = profile.name
    except UnknownTokenError:
        known = None
    return {
        "label": _ascii(token.label),
        "serial": _ascii(token.serial),
        "manufacturer": _ascii(token.manufacturer),
        "model": _ascii(token.model),
        "initialized": token.initialized,
        "pin_state": _pin_state(token),
        "profile": known,
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

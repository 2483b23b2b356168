"""The keys a holder's token has: `id-sign` signs for him, an `epoch-kex` opens his envelopes.

`id-sign` is a P-256 key pair, an `epoch-kex` what the device's profile seals to: another such pair,
an RSA pair, or an AES key. All are made on the token. There is one `id-sign`, for years; each
ceremony gets an `epoch-kex` of its own, and the one before stays until it is destroyed by name. A
key is handed out only after `require_provenance`, and never overwritten here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pkcs11.mechanisms import Mechanism

from signer.errors import (
    MechanismError,
    ProfileError,
    ProvenanceError,
    TokenError,
    TokenKeyError,
)
from signer.hsm.mechanisms import require_key_mechanisms
from signer.hsm.pairs import Pair, destroy_pair, find_pairs, make_pair, usage_of
from signer.hsm.provenance import Provenance, require_provenance
from signer.hsm.receiving import RECEIVING_LABEL, ReceivingKey
from signer.hsm.session import TokenSession, handle_of
from signer.recipient import HPKE_P256
from signer.secret import SecretBytes

IDENTITY_LABEL = "id-sign"
SIGNATURE_BYTES = 64  # r, s

_LABELS = (IDENTITY_LABEL, RECEIVING_LABEL)
_TRIAL = b"signer: a new identity key signs"
_SETUP = "run `signer token setup`"
_SEVERAL = {
    IDENTITY_LABEL: "nothing was changed; look at them with `pkcs11-tool --list-objects`",
    RECEIVING_LABEL: "is it the right token? `signer token card` lists its receiving keys",
}
_RANDOM_BYTES = range(16, 1025)  # what `token_random` gives at once


@dataclass(frozen=True, slots=True)
class KeysMade:
    """Which keys `ensure_keys` had to make; the others were there."""

    made: tuple[str, ...]
    there: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """The holder's signing key, on the token."""

    public_point: bytes  # 65 bytes
    provenance: Provenance
    _private: Any = field(repr=False)
    _session: TokenSession = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature r‖s, 64 bytes, over SHA-256 of `message`."""
        digest = hashlib.sha256(message).digest()
        with self._session.doing("signing"):
            signature = bytes(self._private.sign(digest, mechanism=Mechanism.ECDSA))
        if len(signature) != SIGNATURE_BYTES:
            raise TokenError(
                f"{self._session.token.describe()} gave a signature of {len(signature)} bytes, "
                f"{SIGNATURE_BYTES} are expected"
            )
        return signature


def ensure_keys(session: TokenSession) -> KeysMade:
    """Make `id-sign` and `epoch-kex` where they are absent, and check all that are there.

    Raises:
        TokenKeyError: half a pair, or several `id-sign`. Nothing was made or changed then.
        MechanismError: the token cannot make one, or not use it. None that was made stays.
        ProfileError: no key belongs to how the profile seals. None that was made stays.
        ProvenanceError: a key that was there already was not made on the token; or the token does
            not say so of one that it just made, and none that was made stays.
    """
    absent = [label for label in _LABELS if not find_pairs(session, label)]
    if IDENTITY_LABEL not in absent:
        identity_key(session)
    receiving_keys(session)
    made: list[tuple[str, Pair]] = []
    try:
        for label in absent:
            made.append((label, _make(session, label)))
    except (MechanismError, ProfileError, ProvenanceError):
        for label, pair in made:
            destroy_pair(session, label, pair)
        raise
    return KeysMade(tuple(absent), tuple(label for label in _LABELS if label not in absent))


def identity_key(session: TokenSession) -> IdentityKey:
    """Return the key that signs for the holder.

    Raises:
        TokenKeyError: absent, or there are several.
        ProvenanceError: not made on the token, or not as it must be.
    """
    return _identity(session, _only(session, IDENTITY_LABEL, find_pairs(session, IDENTITY_LABEL)))


def receiving_key(session: TokenSession, among: Sequence[bytes] = ()) -> ReceivingKey:
    """Return the key that opens envelopes: the one whose point is `among` some, or the only one.

    Raises:
        TokenKeyError: absent, or there are several and `among` does not choose.
        ProvenanceError: not made on the token, or not as it must be.
    """
    pairs = find_pairs(session, RECEIVING_LABEL)
    pairs = [pair for pair in pairs if pair.public in among] or pairs
    return _receiving(session, _only(session, RECEIVING_LABEL, pairs))


def receiving_key_of(session: TokenSession, point: bytes) -> ReceivingKey:
    """Return the key that opens envelopes and has this public point, as its private half proves.

    For whoever seals to the point, or blames somebody for what does not open: a public object is
    not behind the PIN, and could be another's.

    Raises:
        TokenKeyError: no key has this point, or several say they have.
        ProvenanceError: not made on the token, not as it must be, or the point is not its own.
    """
    pairs = [pair for pair in find_pairs(session, RECEIVING_LABEL) if pair.public == point]
    if not pairs:
        raise TokenKeyError(
            f"{session.token.describe()} has no key {RECEIVING_LABEL!r} of the card's public point",
            hint="somebody changed its public objects, or the key is gone: tell the pool",
        )
    key = _receiving(session, _only(session, RECEIVING_LABEL, pairs))
    key.require_own_point()
    return key


def receiving_keys(session: TokenSession) -> tuple[ReceivingKey, ...]:
    """Return every key that opens envelopes, each checked as `receiving_key` does; maybe none."""
    return tuple(_receiving(session, pair) for pair in find_pairs(session, RECEIVING_LABEL))


def make_receiving_key(session: TokenSession) -> ReceivingKey:
    """Make one more `epoch-kex`, whatever others there are, and return it. They stay.

    Raises:
        TokenKeyError: half a pair is there. Nothing was made then.
        MechanismError: the token cannot make one, or not use it. It does not stay.
        ProvenanceError: what it made is not as it must be. It does not stay.
    """
    find_pairs(session, RECEIVING_LABEL)  # or a key would be made that could not be found again
    return _receiving(session, _make(session, RECEIVING_LABEL))


def destroy_receiving_key(session: TokenSession, point: bytes) -> None:
    """Destroy the `epoch-kex` of this public point, for ever: what is sealed to it stays sealed.

    The token first proves which private key the point is of. A public object is not behind the PIN:
    somebody could have put the old key's point beside the new private key.

    Raises:
        TokenKeyError: E_TOKEN_KEY: it has no such private key, perhaps since an earlier call that
            was cut off. Nothing was destroyed by this one.
        ProvenanceError: a public object claims the point for another key. Nothing was destroyed.
        TokenError: the token refused, or still shows it.
    """
    pairs = [pair for pair in find_pairs(session, RECEIVING_LABEL) if pair.public == point]
    if not pairs:
        raise TokenKeyError(
            f"{session.token.describe()} has no key {RECEIVING_LABEL!r} of this public point",
            hint="nothing was destroyed; is it the right token?",
        )
    for pair in pairs:
        _receiving(session, pair).require_own_point()
    for pair in pairs:
        destroy_pair(session, RECEIVING_LABEL, pair)


def token_random(session: TokenSession, count: int) -> SecretBytes:
    """Return `count` (16 to 1024) bytes from the token's own generator.

    Mix them with the system's, never use them alone: a bad generator looks like a good one.

    Raises:
        MechanismError: the token has no generator.
        TokenError: it gave the same bytes twice.
    """
    if count not in _RANDOM_BYTES:
        raise ValueError(f"{count} random bytes at once")
    handle = handle_of(session.session)
    with (
        session.doing("drawing random bytes"),
        session.module.random(handle, count) as one,
        session.module.random(handle, count) as other,
    ):
        if one != other:
            return SecretBytes(other.expose())
    raise TokenError(
        f"{session.token.describe()} gave the same random bytes twice",
        hint="its generator is broken: do not use this token, tell the pool",
    )


def _only(session: TokenSession, label: str, pairs: Sequence[Pair]) -> Pair:
    """Return the one pair of `pairs`."""
    name = session.token.describe()
    if not pairs:
        raise TokenKeyError(f"{name} has no key {label!r}", hint=_SETUP)
    if len(pairs) > 1:
        raise TokenKeyError(
            f"{name} has {len(pairs)} keys {label!r} and nothing tells which is meant",
            hint=_SEVERAL[label],
        )
    return pairs[0]


def _identity(session: TokenSession, pair: Pair) -> IdentityKey:
    provenance = _provenance(session, IDENTITY_LABEL, pair)
    return IdentityKey(pair.public, provenance, pair.private, session)


def _receiving(session: TokenSession, pair: Pair) -> ReceivingKey:
    provenance = _provenance(session, RECEIVING_LABEL, pair)
    return ReceivingKey(pair.public, provenance, pair.private, session)


def _provenance(session: TokenSession, label: str, pair: Pair) -> Provenance:
    what = f"key {label!r} on {session.token.describe()}"
    usage = usage_of(label == IDENTITY_LABEL, pair.public)
    return require_provenance(
        pair.attributes, usage, curve=pair.is_p256, proven=session.profile.proven, what=what
    )


def _make(session: TokenSession, label: str) -> Pair:
    """Generate a pair on the token and use it once; it stays only if it is as it must be.

    Some tokens make keys for what they cannot do, and no list of mechanisms tells for sure. A key
    that would be refused ever after would be in the way of the next one.
    """
    signs = label == IDENTITY_LABEL
    method = HPKE_P256 if signs else session.profile.seal
    try:
        key_id = make_pair(session, label, method, signs=signs)
    except TokenError:
        require_key_mechanisms(session, method, signs=signs)
        raise
    made = [pair for pair in find_pairs(session, label) if pair.key_id == key_id]
    pair = _only(session, label, made)
    try:
        if signs:
            _identity(session, pair).sign(_TRIAL)
        else:
            _receiving(session, pair).require_own_point()
    except (MechanismError, ProvenanceError):
        destroy_pair(session, label, pair)
        raise
    return pair

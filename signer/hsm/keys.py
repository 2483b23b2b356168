"""The two keys a holder's token has: `id-sign` signs his cards, `epoch-kex` opens his envelopes.

Both are P-256 key pairs made on the token. A key is handed out only after `require_provenance`, and
never erased or overwritten here.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pkcs11.constants import Attribute, MechanismFlag
from pkcs11.mechanisms import KDF, KeyType, Mechanism
from pkcs11.types import PrivateKey, PublicKey

from signer.errors import EncodingError, ProvenanceError, TokenError, TokenKeyError
from signer.hsm.provenance import (
    P256_PARAMS,
    PROVENANCE_ATTRIBUTES,
    Attributes,
    Provenance,
    read_attributes,
    require_provenance,
)
from signer.hsm.session import TokenSession, handle_of
from signer.p256 import POINT_BYTES, is_point
from signer.secret import SecretBytes

IDENTITY_LABEL = "id-sign"
RECEIVING_LABEL = "epoch-kex"
SIGNATURE_BYTES = 64  # r, s
SHARED_BYTES = 32  # x of the shared point

_KEY_ID_BYTES = 16
_USAGE = {IDENTITY_LABEL: Attribute.SIGN, RECEIVING_LABEL: Attribute.DERIVE}
_SETUP = "run `signer token setup`"


@dataclass(frozen=True, slots=True)
class _Pair:
    public_point: bytes
    private: PrivateKey
    attributes: Attributes


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


@dataclass(frozen=True, slots=True)
class ReceivingKey:
    """The key that envelopes are sealed to, on the token."""

    public_point: bytes  # 65 bytes
    provenance: Provenance
    _private: Any = field(repr=False)
    _session: TokenSession = field(repr=False)

    def ecdh(self, peer_point: bytes) -> SecretBytes:
        """Return the 32-byte x of this key times `peer_point`, an uncompressed P-256 point.

        Raises:
            EncodingError: `peer_point` is no such point; the token never saw it.
            TokenError: the token refused, or gave a result of another length.
        """
        if not is_point(peer_point):
            raise EncodingError("the peer's key is not a point of P-256")
        with self._session.doing("ECDH"):
            shared = self._private.derive_key(
                KeyType.GENERIC_SECRET,
                8 * SHARED_BYTES,
                capabilities=0,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, peer_point),
                template={
                    Attribute.SENSITIVE: False,
                    Attribute.EXTRACTABLE: True,
                    Attribute.PRIVATE: False,
                },
            )
            try:
                secret = self._session.module.read_secret(
                    handle_of(self._session.session), shared.handle, 4 * SHARED_BYTES
                )
            finally:
                shared.destroy()
        if len(secret) != SHARED_BYTES:
            secret.wipe()
            raise TokenError(
                f"{self._session.token.describe()} gave an ECDH result of {len(secret)} bytes, "
                f"{SHARED_BYTES} are expected"
            )
        return secret

    def require_own_point(self) -> None:
        """Have the token prove that `public_point` is this private key's.

        A public key object is not behind the PIN: whoever reaches the module can put his own in its
        place, and shares would be sealed to him. So before anybody is given the point, the token
        computes an ECDH with a fresh key of ours, and the result must be what the point gives.

        Raises:
            ProvenanceError: the point is of another key.
        """
        # Only cards need this; a worker that signs is spared the import, 10 ms.
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        fresh = ec.generate_private_key(ec.SECP256R1())
        challenge = fresh.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        claimed = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.public_point)
        with (
            self.ecdh(challenge) as answer,
            SecretBytes(fresh.exchange(ec.ECDH(), claimed)) as expected,
        ):
            if answer != expected:
                raise ProvenanceError(
                    f"key {RECEIVING_LABEL!r} on {self._session.token.describe()}: its public key "
                    "object is of another key",
                    hint="somebody changed the token: do not use it, tell the pool",
                )


def ensure_keys(session: TokenSession) -> KeysMade:
    """Make `id-sign` and `epoch-kex` where they are absent, and check them both.

    Raises:
        TokenKeyError: half a pair, or several of one label. Nothing was made or changed then.
        ProvenanceError: a key that was there already was not made on the token.
    """
    absent = [label for label in _USAGE if not _pairs(session, label)]
    for label in _USAGE.keys() - set(absent):
        _checked(session, label)
    for label in absent:
        _make(session, label)
    return KeysMade(tuple(absent), tuple(label for label in _USAGE if label not in absent))


def identity_key(session: TokenSession) -> IdentityKey:
    """Return the key that signs for the holder.

    Raises:
        TokenKeyError: absent, or there are several.
        ProvenanceError: not made on the token, or not as it must be.
    """
    pair, provenance = _checked(session, IDENTITY_LABEL)
    return IdentityKey(pair.public_point, provenance, pair.private, session)


def receiving_key(session: TokenSession, among: Sequence[bytes] = ()) -> ReceivingKey:
    """Return the key that opens envelopes: the one whose point is `among` some, or the only one.

    Raises:
        TokenKeyError: absent, or there are several and `among` does not choose.
        ProvenanceError: not made on the token, or not as it must be.
    """
    pair, provenance = _checked(session, RECEIVING_LABEL, among)
    return ReceivingKey(pair.public_point, provenance, pair.private, session)


def _checked(
    session: TokenSession, label: str, among: Sequence[bytes] = ()
) -> tuple[_Pair, Provenance]:
    """Return the one pair of `label`, if need be the one `among` these points; checked."""
    pairs = _pairs(session, label)
    name = session.token.describe()
    pairs = [pair for pair in pairs if pair.public_point in among] or pairs
    if not pairs:
        raise TokenKeyError(f"{name} has no key {label!r}", hint=_SETUP)
    if len(pairs) > 1:
        raise TokenKeyError(
            f"{name} has {len(pairs)} keys {label!r} and nothing tells which is meant",
            hint="remove those that are not in use with the vendor's tool",
        )
    what = f"key {label!r} on {name}"
    return pairs[0], require_provenance(pairs[0].attributes, _USAGE[label], what=what)


def _pairs(session: TokenSession, label: str) -> list[_Pair]:
    """Return the key pairs of `label`, joined by CKA_ID. One search, one read for each object."""
    what = f"key {label!r} on {session.token.describe()}"
    points: dict[bytes, list[bytes]] = {}
    private: dict[bytes, list[tuple[PrivateKey, Attributes]]] = {}
    with session.doing("looking for keys"):
        for key in list(session.session.get_objects({Attribute.LABEL: label})):
            if isinstance(key, PublicKey):
                read = read_attributes(key, (Attribute.ID, Attribute.EC_POINT))
                point = _point_of(read.get(Attribute.EC_POINT, b""), what)
                points.setdefault(read.get(Attribute.ID, b""), []).append(point)
            elif isinstance(key, PrivateKey):
                read = read_attributes(key, (Attribute.ID, *PROVENANCE_ATTRIBUTES))
                private.setdefault(read.get(Attribute.ID, b""), []).append((key, read))
    # Anybody may put public objects there, PIN or not: one without a private twin is nobody's.
    for key_id in private:
        if not points.get(key_id) or len(private[key_id]) != 1:
            raise TokenKeyError(
                f"{what}: with CKA_ID {key_id.hex()[:32] or 'empty'} there is not one private key "
                f"with its public key",
                hint="nothing was changed; look at it with `pkcs11-tool --list-objects`",
            )
    return [
        _Pair(point, *private[key_id][0]) for key_id in sorted(private) for point in points[key_id]
    ]


def _make(session: TokenSession, label: str) -> None:
    """Generate a pair on the token, and check what came of it."""
    usage = _USAGE[label]
    capabilities = MechanismFlag.DERIVE
    if usage is Attribute.SIGN:
        capabilities = MechanismFlag.SIGN | MechanismFlag.VERIFY
    with session.writable() as writable, session.doing(f"making key {label!r}"):
        parameters = writable.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMS}, local=True
        )
        parameters.generate_keypair(
            id=os.urandom(_KEY_ID_BYTES),
            label=label,
            store=True,
            capabilities=capabilities,
            private_template={
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
            },
        )
    _checked(session, label)


def _point_of(point: bytes, what: str) -> bytes:
    """Return CKA_EC_POINT plain; most modules wrap it in a DER OCTET STRING, some do not."""
    if len(point) == POINT_BYTES + 2 and point[:2] == bytes([0x04, POINT_BYTES]):
        point = point[2:]
    if not is_point(point):
        raise TokenKeyError(f"{what} has a public key that is not a point of P-256")
    return point

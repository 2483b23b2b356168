"""Key pairs on a token: found by label, joined by CKA_ID, made, and destroyed.

What a pair is for, and whether it may be used, is said in `signer.hsm.keys`. A public key object is
not behind the PIN, so a pair's point is a claim until the token has proved it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType
from pkcs11.types import PrivateKey, PublicKey, Session

from signer.errors import TokenError, TokenKeyError
from signer.hsm.provenance import (
    P256_PARAMS,
    PROVENANCE_ATTRIBUTES,
    Attributes,
    read_attributes,
)
from signer.hsm.session import TokenSession
from signer.p256 import POINT_BYTES, is_point

_KEY_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and the point that the public object beside it claims for it."""

    key_id: bytes  # CKA_ID, of both
    public_point: bytes  # 65 bytes
    private: PrivateKey
    attributes: Attributes  # of the private key: PROVENANCE_ATTRIBUTES


def find_pairs(session: TokenSession, label: str) -> list[Pair]:
    """Return the key pairs of `label`. One search, one read for each object.

    Raises:
        TokenKeyError: half a pair, two private keys of one CKA_ID, or a point that is none.
    """
    what = f"key {label!r} on {session.token.describe()}"
    points: dict[bytes, list[bytes]] = {}
    private: dict[bytes, list[tuple[PrivateKey, Attributes]]] = {}
    with session.doing("looking for keys"):
        for key in list(session.session.get_objects({Attribute.LABEL: label})):
            if isinstance(key, PublicKey):
                read = read_attributes(key, (Attribute.ID, Attribute.EC_POINT))
                point = point_of(read.get(Attribute.EC_POINT, b""), what)
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
        Pair(key_id, point, *private[key_id][0])
        for key_id in sorted(private)
        for point in points[key_id]
    ]


def make_pair(session: TokenSession, label: str, usage: Attribute) -> bytes:
    """Generate a P-256 pair on the token, for `usage` (SIGN or DERIVE) only; return its CKA_ID."""
    key_id = os.urandom(_KEY_ID_BYTES)
    capabilities = MechanismFlag.DERIVE
    if usage is Attribute.SIGN:
        capabilities = MechanismFlag.SIGN | MechanismFlag.VERIFY
    with session.writable() as writable, session.doing(f"making key {label!r}"):
        parameters = writable.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMS}, local=True
        )
        parameters.generate_keypair(
            id=key_id,
            label=label,
            store=True,
            capabilities=capabilities,
            private_template={
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
            },
        )
    return key_id


def destroy_pair(session: TokenSession, label: str, pair: Pair) -> None:
    """Destroy the private key of `pair`, then its public objects; look that they are gone.

    The caller knows that the point is the private key's. Public objects with another point stay,
    whatever CKA_ID they carry.

    Raises:
        TokenError: the token refused, or still shows one of them.
    """
    name = session.token.describe()
    with session.writable() as writable, session.doing(f"destroying key {label!r}"):
        for handle in _private_of(writable, label, pair):
            handle.destroy()
        for handle in _public_of(writable, label, pair):
            handle.destroy()
    with session.doing(f"looking whether key {label!r} is gone"):
        left = [*_private_of(session.session, label, pair)]
        left += _public_of(session.session, label, pair)
    if left:
        raise TokenError(
            f"{name} still shows key {label!r} after it was told to destroy it",
            hint="do not say that it is destroyed; see what the vendor's tool says",
        )


def _private_of(session: Session, label: str, pair: Pair) -> list[Any]:
    return list(session.get_objects(_search(ObjectClass.PRIVATE_KEY, label, pair)))


def _public_of(session: Session, label: str, pair: Pair) -> Iterable[Any]:
    """Return the public objects of the pair; their points are compared plain."""
    found = session.get_objects(_search(ObjectClass.PUBLIC_KEY, label, pair))
    return [
        key
        for key in list(found)
        if plain_point(read_attributes(key, (Attribute.EC_POINT,)).get(Attribute.EC_POINT, b""))
        == pair.public_point
    ]


def _search(kind: ObjectClass, label: str, pair: Pair) -> dict[Attribute, Any]:
    return {Attribute.CLASS: kind, Attribute.LABEL: label, Attribute.ID: pair.key_id}


def point_of(point: bytes, what: str) -> bytes:
    """Return CKA_EC_POINT plain, if it is a point of P-256.

    Raises:
        TokenKeyError: it is none.
    """
    point = plain_point(point)
    if not is_point(point):
        raise TokenKeyError(f"{what} has a public key that is not a point of P-256")
    return point


def plain_point(point: bytes) -> bytes:
    """Return CKA_EC_POINT plain; most modules wrap it in a DER OCTET STRING, some do not."""
    if len(point) == POINT_BYTES + 2 and point[:2] == bytes([0x04, POINT_BYTES]):
        return point[2:]
    return point

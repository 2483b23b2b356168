"""Keys on a token: found by label, joined by CKA_ID, made, and destroyed.

What a key is for, and whether it may be used, is said in `signer.hsm.keys`. A public key object is
not behind the PIN, so a pair's public half is a claim until the token has proved it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import DEFAULT, Attribute, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import KeyType, Mechanism
from pkcs11.types import Key, PrivateKey, PublicKey, SecretKey, Session

from signer.errors import EncodingError, MechanismError, ProfileError, TokenError, TokenKeyError
from signer.hsm.provenance import (
    P256_PARAMS,
    PROVENANCE_ATTRIBUTES,
    Attributes,
    read_attributes,
)
from signer.hsm.session import TokenSession
from signer.p256 import POINT_BYTES, is_point
from signer.recipient import (
    AES_256_GCM,
    HPKE_P256,
    KEY_ID_BYTES,
    METHODS,
    RSA_BITS,
    RSA_EXPONENT,
    RSA_OAEP_SHA1,
    RSA_OAEP_SHA256,
    aes_recipient,
    method_of,
    rsa_recipient,
)

_RSA_METHODS = (RSA_OAEP_SHA256, RSA_OAEP_SHA1)
_EC_PUBLIC = (Attribute.ID, Attribute.KEY_TYPE, Attribute.EC_POINT)
_RSA_PUBLIC = (
    Attribute.ID, Attribute.KEY_TYPE, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT,
)  # fmt: skip
_PREFERRED_BITS = (3072, 2048)
_PRIVATE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
# What a public key may do is not said: nothing is done with it on the token, and tpm2-pkcs11 makes
# no pair whose public half is told what it may not do.
_PUBLIC = dict.fromkeys((Attribute.ENCRYPT, Attribute.WRAP, Attribute.VERIFY), DEFAULT)


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and what the public object beside it claims for it; or a secret key."""

    key_id: bytes  # CKA_ID, of both
    public: bytes  # as `signer.recipient` has it
    private: Key
    attributes: Attributes  # of the private key: PROVENANCE_ATTRIBUTES

    @property
    def is_p256(self) -> bool:
        """Whether it is a pair of the curve P-256."""
        return method_of(self.public) == HPKE_P256


def usage_of(signs: bool, public: bytes) -> Attribute:
    """Return the one thing that a key may do."""
    if signs:
        return Attribute.SIGN
    return Attribute.DERIVE if method_of(public) == HPKE_P256 else Attribute.DECRYPT


def find_pairs(session: TokenSession, label: str) -> list[Pair]:
    """Return the keys of `label`. One search, one read for each object.

    Raises:
        TokenKeyError: half a pair, two private keys of one CKA_ID, or a public key that is none.
    """
    what = f"key {label!r} on {session.token.describe()}"
    public: dict[bytes, list[bytes]] = {}
    private: dict[bytes, list[tuple[Key, Attributes]]] = {}
    with session.doing("looking for keys"):
        for key in list(session.session.get_objects({Attribute.LABEL: label})):
            if isinstance(key, PublicKey):
                key_id, found = _public_half(key, session.profile.seal, what)
                public.setdefault(key_id, []).append(found)
            elif isinstance(key, PrivateKey | SecretKey):
                read = read_attributes(key, (Attribute.ID, *PROVENANCE_ATTRIBUTES))
                key_id = read.get(Attribute.ID, b"")
                private.setdefault(key_id, []).append((key, read))
                if isinstance(key, SecretKey) and len(key_id) == KEY_ID_BYTES:
                    public.setdefault(key_id, []).append(aes_recipient(key_id))
    # Anybody may put public objects there, PIN or not: one without a private twin is nobody's.
    for key_id in private:
        if not public.get(key_id) or len(private[key_id]) != 1:
            raise TokenKeyError(
                f"{what}: with CKA_ID {key_id.hex()[:32] or 'empty'} there is not one private key "
                f"with its public key",
                hint="nothing was changed; look at it with `pkcs11-tool --list-objects`",
            )
    return [
        Pair(key_id, half, *private[key_id][0])
        for key_id in sorted(private)
        for half in public[key_id]
    ]


def _public_half(key: PublicKey, method: str, what: str) -> tuple[bytes, bytes]:
    """Return CKA_ID of a public key object, and the key as `signer.recipient` has it.

    One read where the key is of the kind that the profile seals to.
    """
    rsa = method in _RSA_METHODS
    read = read_attributes(key, _RSA_PUBLIC if rsa else _EC_PUBLIC)
    if (read.get(Attribute.KEY_TYPE) is KeyType.RSA) != rsa:
        if not rsa:
            raise TokenKeyError(
                f"{what} is an RSA key, which this device's profile does not seal to",
                hint="name the profile that it was made with: --profile",
            )
        rsa, read = False, read_attributes(key, _EC_PUBLIC)
    key_id = read.get(Attribute.ID, b"")
    if rsa:
        modulus = read.get(Attribute.MODULUS, b"")
        return key_id, rsa_public(modulus, read.get(Attribute.PUBLIC_EXPONENT, b""), method, what)
    return key_id, point_of(read.get(Attribute.EC_POINT, b""), what)


def make_pair(session: TokenSession, label: str, method: str, *, signs: bool) -> bytes:
    """Generate a key on the token that signs, or that opens what `method` seals; return its CKA_ID.

    Raises:
        MechanismError: the token cannot make it.
        ProfileError: no key belongs to the method.
    """
    if method not in METHODS:
        raise ProfileError(
            f"keys for {method!r} are not made: a data object behind a PIN is not sealing",
            hint="put a method that seals first in the profile's `seal`",
        )
    key_id = os.urandom(KEY_ID_BYTES)
    with session.writable() as writable, session.doing(f"making key {label!r}"):
        common: dict[str, Any] = {"id": key_id, "label": label, "store": True}
        if method == AES_256_GCM:
            use = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
            writable.generate_key(KeyType.AES, 256, capabilities=use, template=_PRIVATE, **common)
        elif method in _RSA_METHODS:
            use = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
            writable.generate_keypair(
                KeyType.RSA, _rsa_bits(session), capabilities=use, public_template=_PUBLIC,
                private_template=_PRIVATE, **common,
            )  # fmt: skip
        else:
            use = MechanismFlag.SIGN | MechanismFlag.VERIFY if signs else MechanismFlag.DERIVE
            parameters = writable.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMS}, local=True
            )
            parameters.generate_keypair(
                capabilities=use, public_template=_PUBLIC, private_template=_PRIVATE, **common
            )
    return key_id


def _rsa_bits(session: TokenSession) -> int:
    """Return the best size of RSA keys that the token makes.

    Raises:
        MechanismError: it makes none that is large enough.
    """
    info = session.token.slot.get_mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN)
    low, high = info.min_key_length or 0, info.max_key_length or 0
    for bits in _PREFERRED_BITS:
        if low <= bits <= high:
            return bits
    raise MechanismError(
        f"{session.token.describe()} makes RSA keys of {low} to {high} bits; {RSA_BITS[0]} or more "
        "are needed"
    )


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
    secret = method_of(pair.public) == AES_256_GCM
    kind = ObjectClass.SECRET_KEY if secret else ObjectClass.PRIVATE_KEY
    return list(session.get_objects(_search(kind, label, pair)))


def _public_of(session: Session, label: str, pair: Pair) -> Iterable[Any]:
    """Return the public objects of the pair; what they claim is compared plain."""
    found = list(session.get_objects(_search(ObjectClass.PUBLIC_KEY, label, pair)))
    method = method_of(pair.public)
    return [key for key in found if plain_public(key, method) == pair.public]


def _search(kind: ObjectClass, label: str, pair: Pair) -> dict[Attribute, Any]:
    return {Attribute.CLASS: kind, Attribute.LABEL: label, Attribute.ID: pair.key_id}


def rsa_public(modulus: bytes, exponent: bytes, method: str, what: str) -> bytes:
    """Return an RSA public key as `signer.recipient` has it.

    Raises:
        TokenKeyError: it has another size or exponent than we use.
    """
    try:
        if int.from_bytes(exponent) != RSA_EXPONENT:
            raise EncodingError(f"its exponent is not {RSA_EXPONENT}")
        return rsa_recipient(modulus, method)
    except EncodingError as error:
        raise TokenKeyError(f"{what} has a public key that is not used: {error.message}") from None


def plain_public(key: Any, method: str) -> bytes | None:
    """Return what a public object claims, as `signer.recipient` has it; None: nothing we use."""
    try:
        if key.key_type is KeyType.RSA:
            modulus, exponent = key[Attribute.MODULUS], key[Attribute.PUBLIC_EXPONENT]
            if method not in _RSA_METHODS or int.from_bytes(exponent) != RSA_EXPONENT:
                return None
            return rsa_recipient(modulus, method)
        return plain_point(bytes(key[Attribute.EC_POINT]))
    except (PKCS11Error, EncodingError):
        return None


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

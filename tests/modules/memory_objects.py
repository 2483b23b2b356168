"""What a token in memory holds: attributes, and the operations of its keys, by `cryptography`."""

import os
from collections.abc import Callable
from ctypes import Structure, c_size_t, sizeof, string_at
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import exceptions, types
from pkcs11.constants import DEFAULT, Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from signer.hsm.cryptoki import GcmParams, OaepParams

Template = dict[Attribute, Any]

CURVES: dict[bytes, ec.EllipticCurve] = {  # by the DER of their object identifiers
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
}
_HASHES: dict[int, hashes.HashAlgorithm] = {
    Mechanism.SHA_1: hashes.SHA1(),
    Mechanism.SHA256: hashes.SHA256(),
}
_PUBLIC_USAGES = ("ENCRYPT", "WRAP", "VERIFY")
_PRIVATE_USAGES = ("DECRYPT", "UNWRAP", "SIGN", "DERIVE")
_SECRET_USAGES = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")


class MemoryObject:
    """One object: its attributes, and whether it is still there."""

    def __init__(self, attributes: Template, handle: int, remove: Callable[[int], object]) -> None:
        self.attributes = {Attribute.PRIVATE: False, Attribute.MODIFIABLE: True, **attributes}
        self._handle, self._remove = handle, remove
        self.destroyed = False

    @property
    def handle(self) -> int:
        return self._handle

    def __getitem__(self, key: Attribute) -> Any:
        self._require_there()
        if key not in self.attributes:
            raise exceptions.AttributeTypeInvalid
        if key is Attribute.VALUE and self.attributes.get(Attribute.SENSITIVE, False):
            raise exceptions.AttributeSensitive
        return self.attributes[key]

    def __setitem__(self, key: Attribute, value: Any) -> None:
        self._require_there()
        self.attributes[key] = value

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, Any]:
        return {key: self[key] for key in keys}

    def destroy(self) -> None:
        self._require_there()
        self.destroyed = True
        self._remove(self._handle)

    def encrypt(self, data: bytes, mechanism: int, parameters: Structure) -> bytes:
        raise exceptions.KeyTypeInconsistent

    def decrypt(self, data: bytes, mechanism: int, parameters: Structure) -> bytes:
        raise exceptions.KeyTypeInconsistent

    def matches(self, template: Template) -> bool:
        return all(self.attributes.get(key) == value for key, value in template.items())

    def _require_there(self) -> None:
        if self.destroyed:
            raise exceptions.ObjectHandleInvalid


class MemoryPublicKey(MemoryObject, types.PublicKey):
    """The public half of a pair: nothing is done with it on the token."""


class MemoryPrivateKey(MemoryObject, types.PrivateKey):
    """The private half; CKA_VALUE is the key as `cryptography` has it, or an imported scalar."""

    derived: Callable[[Template], MemoryObject]  # puts the result on the token

    def _key(self, usage: Attribute) -> Any:
        self._require_there()
        if not self.attributes.get(usage, False):
            raise exceptions.KeyTypeInconsistent
        key = self.attributes[Attribute.VALUE]
        if isinstance(key, bytes):
            curve = CURVES[self.attributes[Attribute.EC_PARAMS]]
            return ec.derive_private_key(int.from_bytes(key), curve)
        return key

    def sign(self, data: bytes, *, mechanism: Mechanism) -> bytes:
        if mechanism is not Mechanism.ECDSA:
            raise exceptions.MechanismInvalid
        key = self._key(Attribute.SIGN)
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)

    def derive_key(
        self,
        key_type: KeyType,
        bits: int,
        *,
        capabilities: int,
        mechanism: Mechanism,
        mechanism_param: tuple[Any, Any, bytes],
        template: Template,
    ) -> MemoryObject:
        if mechanism is not Mechanism.ECDH1_DERIVE:
            raise exceptions.MechanismInvalid
        key = self._key(Attribute.DERIVE)
        peer = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, mechanism_param[2])
        made = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: key_type,
            Attribute.TOKEN: False,
            Attribute.LABEL: "",
            Attribute.ID: b"",
            Attribute.VALUE: key.exchange(ec.ECDH(), peer)[: bits // 8],
        }
        return self.derived(made | dict(template))

    def decrypt(self, data: bytes, mechanism: int, parameters: Structure) -> bytes:
        if mechanism != Mechanism.RSA_PKCS_OAEP:
            raise exceptions.MechanismInvalid
        digest = _HASHES[OaepParams.from_buffer(parameters).hash]
        try:
            key = self._key(Attribute.DECRYPT)
            return bytes(key.decrypt(data, padding.OAEP(padding.MGF1(digest), digest, None)))
        except ValueError:
            raise exceptions.EncryptedDataInvalid from None


class MemorySecretKey(MemoryObject, types.SecretKey):
    """An AES key, or what ECDH gave."""

    def encrypt(self, data: bytes, mechanism: int, parameters: Structure) -> bytes:
        nonce, aad = _gcm(mechanism, parameters)
        return AESGCM(self.attributes[Attribute.VALUE]).encrypt(nonce, data, aad)

    def decrypt(self, data: bytes, mechanism: int, parameters: Structure) -> bytes:
        nonce, aad = _gcm(mechanism, parameters)
        try:
            return AESGCM(self.attributes[Attribute.VALUE]).decrypt(nonce, data, aad)
        except (InvalidTag, ValueError):
            raise exceptions.EncryptedDataInvalid from None


def _gcm(mechanism: int, parameters: Structure) -> tuple[bytes, bytes]:
    """Return nonce and associated data; ctypes would end a `c_char_p` at its first zero byte."""
    if mechanism != Mechanism.AES_GCM:
        raise exceptions.MechanismInvalid
    words = (c_size_t * (sizeof(GcmParams) // sizeof(c_size_t))).from_buffer(parameters)
    return string_at(words[0], words[1]), string_at(words[3], words[4]) if words[4] else b""


KINDS: dict[ObjectClass, type[MemoryObject]] = {
    ObjectClass.PUBLIC_KEY: MemoryPublicKey,
    ObjectClass.PRIVATE_KEY: MemoryPrivateKey,
    ObjectClass.SECRET_KEY: MemorySecretKey,
}


def ec_pair(params: bytes, common: Template, usage: MechanismFlag, public: Template | None,
            private: Template | None) -> tuple[Template, Template]:  # fmt: skip
    """Return the attributes of both halves of a new pair on a curve."""
    if params not in CURVES:
        raise exceptions.DomainParamsInvalid
    key = ec.generate_private_key(CURVES[params])
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    both = {**common, Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_PARAMS: params}
    octets = b"\x04" + bytes([len(point)]) + point
    return (
        _public(both | {Attribute.EC_POINT: octets}, usage, public),
        _made_here(both | {Attribute.VALUE: key}, usage, private),
    )


def rsa_pair(bits: int, common: Template, usage: MechanismFlag, public: Template | None,
             private: Template | None) -> tuple[Template, Template]:  # fmt: skip
    """Return the attributes of both halves of a new RSA pair."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    numbers = key.public_key().public_numbers()
    both = {
        **common,
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.MODULUS: numbers.n.to_bytes(bits // 8),
        Attribute.PUBLIC_EXPONENT: numbers.e.to_bytes(3),
    }
    return (
        _public(both | {Attribute.MODULUS_BITS: bits}, usage, public),
        _made_here(both | {Attribute.VALUE: key}, usage, private),
    )


def aes_key(bits: int, common: Template, usage: MechanismFlag, template: Template) -> Template:
    """Return the attributes of a new AES key."""
    made = {**common, Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}
    made |= {Attribute.VALUE: os.urandom(bits // 8), Attribute.VALUE_LEN: bits // 8}
    return _guarded(made | _usages(_SECRET_USAGES, usage), template)


def _public(both: Template, usage: MechanismFlag, template: Template | None) -> Template:
    made = {**both, Attribute.CLASS: ObjectClass.PUBLIC_KEY, **_usages(_PUBLIC_USAGES, usage)}
    return made | _given(template)


def _made_here(both: Template, usage: MechanismFlag, template: Template | None) -> Template:
    made = {**both, Attribute.CLASS: ObjectClass.PRIVATE_KEY, **_usages(_PRIVATE_USAGES, usage)}
    return _guarded({**made, Attribute.PRIVATE: True}, template or {})


def _guarded(made: Template, template: Template) -> Template:
    """Add what a token says truthfully of a key that it made."""
    key = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, **made, **_given(template)}
    return key | {
        Attribute.LOCAL: True,
        Attribute.ALWAYS_SENSITIVE: key[Attribute.SENSITIVE],
        Attribute.NEVER_EXTRACTABLE: not key[Attribute.EXTRACTABLE],
    }


def _given(template: Template | None) -> Template:
    return {key: value for key, value in (template or {}).items() if value is not DEFAULT}


def _usages(names: tuple[str, ...], usage: MechanismFlag) -> Template:
    return {Attribute[name]: bool(usage & MechanismFlag[name]) for name in names}

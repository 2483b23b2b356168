"""A holder's card: his public keys, signed by his token. What a dealer seals to.

The token attributes are what the holder's own module says; only a vendor's attestation would be
evidence to others. It is carried here and is under the signature, but nobody verifies it yet. The
trust anchor is the card's fingerprint, compared by voice.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import CardError, EncodingError, SchemaError
from signer.messages.dsse import SignedFile, key_id_of
from signer.p256 import POINT_BYTES, is_point
from signer.recipient import parse_recipient
from signer.strict import (
    Fields,
    canonical,
    encode_base64,
    parse_base64,
    parse_object,
)

PAYLOAD_TYPE = "application/vnd.signer.card.v1+json"
MAX_BYTES = 64 * 1024  # an attestation of full size, in base64 twice, and the rest
MAX_PAYLOAD_BYTES = 46 * 1024
NONCE_BYTES = 32

KEY_BACKUPS = ("possible", "impossible")
ATTESTATION_KINDS = ("yubico-piv", "schsm-cvc", "yubihsm")
MAX_CERTIFICATES = 4
MAX_CERTIFICATE_BYTES = 8 * 1024

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"
_SELF_DESCRIPTION = r"[ -~]{0,64}"  # what tokens call themselves: printable ASCII
# What is shown of a token whose card claims nothing of where its keys were made.
UNPROVEN = "UNPROVEN: its module cannot prove that its keys were made on it"
_ATTRIBUTES = ("local", "always_sensitive", "never_extractable", "extractable")


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a vendor says of a token's keys, as the vendor's tools give it. Not verified here."""

    kind: str  # one of ATTESTATION_KINDS
    certificates: tuple[bytes, ...]  # DER, 1 to MAX_CERTIFICATES

    def to_json(self) -> dict[str, Any]:
        """Return the attestation as it stands in a card."""
        return {
            "kind": self.kind,
            "certificates": [encode_base64(certificate) for certificate in self.certificates],
        }

    @classmethod
    def parse(cls, value: Any, what: str) -> Self:
        """Read an attestation strictly; what the certificates say is not looked at."""
        fields = Fields(value, what)
        kind = fields.choice("kind", ATTESTATION_KINDS)
        entries = fields.array("certificates", low=1, high=MAX_CERTIFICATES)
        fields.done()
        certificates = []
        for number, entry in enumerate(entries, start=1):
            place = f"{what}: certificate {number}"
            certificate = parse_base64(entry, place, max_bytes=MAX_CERTIFICATE_BYTES)
            if not 1 <= len(certificate) <= MAX_CERTIFICATE_BYTES:
                raise SchemaError(f"{place} is not of 1 to {MAX_CERTIFICATE_BYTES} bytes")
            certificates.append(certificate)
        return cls(kind, tuple(certificates))


@dataclass(frozen=True, slots=True, kw_only=True)
class CardBody:
    """What a card says."""

    name: str  # of the holder
    id_sign: bytes  # 65-byte point; signs cards and ceremony files
    kex: bytes  # shares are sealed to it; as `signer.recipient` has it
    kex_backup: bytes | None = None  # likewise, of the holder's spare token
    epoch_nonce: bytes  # 32 bytes, drawn for each card: no two are the same bytes
    manufacturer: str
    model: str
    serial_sha256: bytes
    profile: str
    key_backup: str  # one of KEY_BACKUPS: whether the vendor lets keys leave or clone
    software: bool  # a token that protects nothing, for rehearsals
    ceremony: bool  # by its profile it has what a ceremony needs: raw ECDH and raw ECDSA
    proven: bool  # its module says that its keys were made on it and cannot leave it
    created: int  # Unix seconds
    attestation: Attestation | None = None

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that the token signs."""
        return canonical(
            {
                "type": "signer-card",
                "version": 2,
                "name": self.name,
                "id_sign": self.id_sign.hex(),
                "kex": self.kex.hex(),
                "kex_backup": None if self.kex_backup is None else self.kex_backup.hex(),
                "epoch_nonce": self.epoch_nonce.hex(),
                "token": {
                    "manufacturer": self.manufacturer,
                    "model": self.model,
                    "serial_sha256": self.serial_sha256.hex(),
                    "profile": self.profile,
                    "key_backup": self.key_backup,
                    "software": self.software,
                    "ceremony": self.ceremony,
                    # Claimed only of keys that passed the strict check, else nothing is.
                    "keys": {
                        "local": True,
                        "always_sensitive": True,
                        "never_extractable": True,
                        "extractable": False,
                    }
                    if self.proven
                    else None,
                },
                "created": self.created,
                "attestation": None if self.attestation is None else self.attestation.to_json(),
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a card's payload strictly."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD_BYTES), what)
        fields.constant("type", "signer-card")
        fields.constant("version", 2)
        name = fields.string("name", pattern=NAME_PATTERN, max_length=64)
        id_sign = fields.hex_bytes("id_sign", POINT_BYTES)
        kex = _receiving_key(fields.take("kex"), f"{what}: kex")
        backup = fields.take("kex_backup")
        nonce = fields.hex_bytes("epoch_nonce", NONCE_BYTES)
        created = fields.integer("created", low=0, high=2**53 - 1)
        attestation = fields.take("attestation")
        token = fields.nested("token")
        fields.done()
        keys = token.take("keys")
        body = cls(
            name=name,
            id_sign=id_sign,
            kex=kex,
            kex_backup=None if backup is None else _receiving_key(backup, f"{what}: kex_backup"),
            epoch_nonce=nonce,
            manufacturer=token.string("manufacturer", pattern=_SELF_DESCRIPTION),
            model=token.string("model", pattern=_SELF_DESCRIPTION),
            serial_sha256=token.hex_bytes("serial_sha256", 32),
            profile=token.string("profile", pattern=r"[a-z0-9][a-z0-9-]{0,31}"),
            key_backup=token.choice("key_backup", KEY_BACKUPS),
            software=token.boolean("software"),
            ceremony=token.boolean("ceremony"),
            proven=keys is not None,
            created=created,
            attestation=None
            if attestation is None
            else Attestation.parse(attestation, f"{what}: attestation"),
        )
        token.done()
        if keys is not None:
            _require_made_there(Fields(keys, f"{what}: token: keys"), what)
        return body

    @property
    def profile_words(self) -> str:
        """The profile, as people are shown it."""
        return profile_words(self.profile, proven=self.proven)

    @property
    def keys(self) -> dict[str, bytes]:
        """The public keys of the card, by their names in it."""
        keys = {"id_sign": self.id_sign, "kex": self.kex}
        return keys if self.kex_backup is None else keys | {"kex_backup": self.kex_backup}


@dataclass(frozen=True, slots=True)
class Card:
    """A card whose signature was verified. There is no other way to get one."""

    body: CardBody
    signed: SignedFile

    @classmethod
    def parse(cls, value: Any, what: str = "card") -> Self:
        """Verify the card that is the JSON object `value`.

        Raises:
            SchemaError: not a card.
            CardError: bad signature, a point that is none, or one key in two roles.
        """
        signed = SignedFile.parse(
            value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD_BYTES
        )
        body = CardBody.parse(signed.payload, what)
        roles: dict[bytes, str] = {}
        for role, point in body.keys.items():
            if role == "id_sign" and not is_point(point):
                raise CardError(f"{what}: {role} is not a point of P-256")
            if point in roles:
                raise CardError(f"{what}: one key is given as both {roles[point]} and {role}")
            roles[point] = role
        if not signed.signed_by(body.id_sign):
            raise CardError(
                f"{what}: the signature does not verify under the card's own identity key",
                hint="the card was altered: ask the holder for it again",
            )
        return cls(body, signed)

    @classmethod
    def parse_file(cls, raw: bytes, what: str) -> Self:
        """Verify the card in the bytes of a file."""
        return cls.parse(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)

    @classmethod
    def seal_of(cls, body: CardBody, signature: bytes) -> Self:
        """Put the token's signature under `body` and verify the result like any card."""
        signed = SignedFile(PAYLOAD_TYPE, body.to_payload(), key_id_of(body.id_sign), signature)
        return cls.parse(signed.to_json(), "own card")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the payload; its fingerprint is what holders compare by voice."""
        return hashlib.sha256(self.signed.payload).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the signed card as a JSON object."""
        return self.signed.to_json()


def profile_words(name: str, *, proven: bool) -> str:
    """Return a profile's name as people are shown it; what can prove nothing is marked."""
    return name if proven else f"{name} {UNPROVEN.partition(':')[0]}"


def _require_made_there(keys: Fields, what: str) -> None:
    claims = {name: keys.boolean(name) for name in _ATTRIBUTES}
    keys.done()
    wrong = [name for name in _ATTRIBUTES if claims[name] == (name == "extractable")]
    if wrong:
        raise CardError(
            f"{what}: by its own card the key was not made on the token ({', '.join(wrong)})",
            hint="the holder runs `signer token setup` and `signer token card` again",
        )


def _receiving_key(value: Any, what: str) -> bytes:
    try:
        return parse_recipient(value, what)
    except EncodingError as error:
        raise CardError(error.message) from None


def fingerprint(digest: bytes) -> str:
    """Return the first 16 bytes of a digest as eight groups of four hex digits, to read aloud."""
    digits = digest[:16].hex()
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))

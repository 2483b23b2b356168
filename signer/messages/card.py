"""A holder's card: his two public keys, signed by his token. What a dealer seals to.

The token attributes are what the holder's own module says; only a vendor's attestation would be
evidence to others. The trust anchor is the card's fingerprint, compared by voice.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import CardError
from signer.messages.dsse import SignedFile, key_id_of
from signer.p256 import POINT_BYTES, is_point
from signer.strict import Fields, canonical, parse_object

PAYLOAD_TYPE = "application/vnd.signer.card.v1+json"
MAX_BYTES = 16 * 1024

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"
_SELF_DESCRIPTION = r"[ -~]{0,64}"  # what tokens call themselves: printable ASCII
_ATTRIBUTES = ("local", "always_sensitive", "never_extractable", "extractable")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardBody:
    """What a card says."""

    name: str  # of the holder
    id_sign: bytes  # 65-byte point; signs cards and, later, ceremony files
    kex: bytes  # 65-byte point; shares are sealed to it
    manufacturer: str
    model: str
    serial_sha256: bytes
    profile: str
    created: int  # Unix seconds

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that the token signs."""
        return canonical(
            {
                "type": "signer-card",
                "version": 1,
                "name": self.name,
                "id_sign": self.id_sign.hex(),
                "kex": self.kex.hex(),
                "token": {
                    "manufacturer": self.manufacturer,
                    "model": self.model,
                    "serial_sha256": self.serial_sha256.hex(),
                    "profile": self.profile,
                    # A card is made only for keys that passed the provenance check.
                    "keys": {
                        "local": True,
                        "always_sensitive": True,
                        "never_extractable": True,
                        "extractable": False,
                    },
                },
                "created": self.created,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a card's payload strictly."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-card")
        fields.constant("version", 1)
        name = fields.string("name", pattern=NAME_PATTERN, max_length=64)
        id_sign = fields.hex_bytes("id_sign", POINT_BYTES)
        kex = fields.hex_bytes("kex", POINT_BYTES)
        created = fields.integer("created", low=0, high=2**53 - 1)
        token = fields.nested("token")
        fields.done()
        body = cls(
            name=name,
            id_sign=id_sign,
            kex=kex,
            manufacturer=token.string("manufacturer", pattern=_SELF_DESCRIPTION),
            model=token.string("model", pattern=_SELF_DESCRIPTION),
            serial_sha256=token.hex_bytes("serial_sha256", 32),
            profile=token.string("profile", pattern=r"[a-z0-9][a-z0-9-]{0,31}"),
            created=created,
        )
        keys = token.nested("keys")
        token.done()
        provenance = {name: keys.boolean(name) for name in _ATTRIBUTES}
        keys.done()
        wrong = [name for name in _ATTRIBUTES if provenance[name] == (name == "extractable")]
        if wrong:
            raise CardError(
                f"{what}: by its own card the key was not made on the token ({', '.join(wrong)})",
                hint="the holder runs `signer token setup` and `signer token card` again",
            )
        return body


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
        signed = SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_BYTES)
        body = CardBody.parse(signed.payload, what)
        for role, point in (("id_sign", body.id_sign), ("kex", body.kex)):
            if not is_point(point):
                raise CardError(f"{what}: {role} is not a point of P-256")
        if body.id_sign == body.kex:
            raise CardError(f"{what}: one key is given for both identity and receiving")
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


def fingerprint(digest: bytes) -> str:
    """Return the first 16 bytes of a digest as eight groups of four hex digits, to read aloud."""
    digits = digest[:16].hex()
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))

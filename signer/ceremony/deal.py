"""A deal: one dealer's polynomial, committed to in public, and a sealed share for each member.

What the dealer signs is the public part and the root of a hash tree over the ciphertexts. So a
member can be given a slim deal, with his own ciphertext alone and the path to it, and knows that it
is of the deal that everybody else has seen.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from signer.ceremony.statement import take_moment
from signer.messages.dsse import SignedFile
from signer.p256 import POINT_BYTES
from signer.sealing import merkle
from signer.sealing.envelope import CIPHERTEXT_BYTES
from signer.sealing.hpke import Sealed
from signer.strict import (
    Fields,
    canonical,
    encode_base64,
    parse_hex,
    parse_object,
)
from signer.threshold.params import MAX_HOLDERS, ShareIndex

PAYLOAD_TYPE = "application/vnd.signer.deal.v1+json"
MAX_PAYLOAD = 16 * 1024
MAX_BYTES = 64 * 1024
COMMITMENT_BYTES = 48
_MAX_PATH = 7  # of a tree of up to 128 leaves
_INFO = b"signer/deal/v1\x00"


class ProofText(NamedTuple):
    """A proof of possession as it travels: not checked, not even decoded."""

    r: bytes  # 48 bytes, a point
    z: bytes  # 32 bytes, a scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class DealBody:
    """What the dealer signs. Its points are not decoded: see `signer.ceremony.checking`."""

    ceremony: bytes
    dealer: int
    commitments: tuple[bytes, ...]  # 48 bytes each, the constant term first
    proof: ProofText | None
    ciphertexts_root: bytes
    bindings: bytes | None  # SHA-256 of what a reshare's dealer says his journal binds
    moment: int  # Unix seconds, by the dealer's clock

    @property
    def associated_data(self) -> bytes:
        """What each ciphertext of the deal is authenticated with."""
        return hashlib.sha256(b"".join(self.commitments)).digest()

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that are signed."""
        proof = self.proof
        return canonical(
            {
                "type": "signer-deal",
                "version": 1,
                "ceremony": self.ceremony.hex(),
                "dealer": self.dealer,
                "commitments": encode_base64(b"".join(self.commitments)),
                "proof": None if proof is None else {"r": proof.r.hex(), "z": proof.z.hex()},
                "ciphertexts_root": self.ciphertexts_root.hex(),
                "bindings": None if self.bindings is None else self.bindings.hex(),
                "moment": self.moment,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Self:
        """Read a payload strictly. Proves nothing about who wrote it."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD), what)
        fields.constant("type", "signer-deal")
        fields.constant("version", 1)
        body = cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            dealer=fields.integer("dealer", low=0, high=MAX_HOLDERS),
            commitments=fields.packed(
                "commitments", of="points", size=COMMITMENT_BYTES, high=MAX_HOLDERS
            ),
            proof=_proof(fields),
            ciphertexts_root=fields.hex_bytes("ciphertexts_root", 32),
            bindings=_optional_digest(fields, "bindings"),
            moment=take_moment(fields),
        )
        fields.done()
        return body


@dataclass(frozen=True, slots=True)
class Deal:
    """A dealer's file: what he signed, and every ciphertext. Nothing in it is trusted yet."""

    signed: SignedFile
    ciphertexts: tuple[Sealed, ...]  # for member 1, 2, … n

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was signed; the signature itself may be made anew and is left out."""
        return hashlib.sha256(self.signed.payload).digest()

    @property
    def root(self) -> bytes:
        """The root of the tree over the ciphertexts that are there."""
        return merkle.root(leaves_of(self.ciphertexts))

    def slim(self, index: ShareIndex) -> "SlimDeal":
        """Return what member `index` needs of it."""
        path = merkle.path(leaves_of(self.ciphertexts), index - 1)
        return SlimDeal(self.signed, self.ciphertexts[index - 1], tuple(path))

    def to_json(self) -> dict[str, Any]:
        """Return the deal as a JSON object."""
        return {
            "type": "signer-deal",
            "version": 1,
            "signed": self.signed.to_json(),
            "ciphertexts": [sealed_json(entry) for entry in self.ciphertexts],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "deal") -> Self:
        """Read the bytes of a deal's file. Proves nothing."""
        return cls.take(Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what))

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take a deal apart."""
        fields.constant("type", "signer-deal")
        fields.constant("version", 1)
        deal = cls(
            take_signed(fields, PAYLOAD_TYPE, MAX_PAYLOAD),
            tuple(
                take_sealed(Fields(entry, f"{fields.what}: ciphertext {number}"))
                for number, entry in enumerate(
                    fields.array("ciphertexts", low=1, high=MAX_HOLDERS), start=1
                )
            ),
        )
        fields.done()
        return deal


@dataclass(frozen=True, slots=True)
class SlimDeal:
    """What one member needs of a deal."""

    signed: SignedFile
    ciphertext: Sealed
    path: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """As of the whole deal."""
        return hashlib.sha256(self.signed.payload).digest()

    def root(self, index: ShareIndex, members: int) -> bytes | None:
        """Return the root of the tree that the ciphertext is in, as the leaf of member `index`."""
        leaf = leaf_of(index, self.ciphertext)
        return merkle.root_of(leaf, index - 1, members, self.path)

    def to_json(self) -> dict[str, Any]:
        """Return the deal as it stands in a bundle."""
        return {
            "signed": self.signed.to_json(),
            **sealed_json(self.ciphertext),
            "path": [digest.hex() for digest in self.path],
        }

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take an entry of a bundle apart."""
        path = fields.array("path", low=0, high=_MAX_PATH)
        signed = take_signed(fields, PAYLOAD_TYPE, MAX_PAYLOAD)
        return cls(
            signed,
            take_sealed(fields),
            tuple(parse_hex(entry, 32, f"{fields.what}: path") for entry in path),
        )


def info_of(ceremony: bytes, dealer: int, recipient: int) -> bytes:
    """Return the HPKE info of the ciphertext from `dealer` to `recipient`."""
    return _INFO + ceremony + dealer.to_bytes(2, "big") + recipient.to_bytes(2, "big")


def leaf_of(index: int, sealed: Sealed) -> bytes:
    """Return what the tree holds of member `index`'s ciphertext."""
    return index.to_bytes(2, "big") + sealed.enc + sealed.ciphertext


def leaves_of(ciphertexts: Sequence[Sealed]) -> list[bytes]:
    """Return the leaves of the tree over all ciphertexts."""
    return [leaf_of(index, sealed) for index, sealed in enumerate(ciphertexts, start=1)]


def sealed_json(sealed: Sealed) -> dict[str, str]:
    """Return a ciphertext as it stands in a file."""
    return {"enc": sealed.enc.hex(), "ciphertext": sealed.ciphertext.hex()}


def take_sealed(fields: Fields, size: int = CIPHERTEXT_BYTES) -> Sealed:
    """Take a ciphertext, and nothing but it."""
    sealed = Sealed(fields.hex_bytes("enc", POINT_BYTES), fields.hex_bytes("ciphertext", size))
    fields.done()
    return sealed


def take_signed(fields: Fields, payload_type: str, max_payload: int) -> SignedFile:
    """Take the signed part of a file."""
    return SignedFile.parse(
        fields.take("signed"), fields.what, payload_type=payload_type, max_payload=max_payload
    )


def _proof(fields: Fields) -> ProofText | None:
    value = fields.take("proof")
    if value is None:
        return None
    proof = Fields(value, f"{fields.what}: proof")
    text = ProofText(proof.hex_bytes("r", 48), proof.hex_bytes("z", 32))
    proof.done()
    return text


def _optional_digest(fields: Fields, name: str) -> bytes | None:
    value = fields.take(name)
    return None if value is None else parse_hex(value, 32, f"{fields.what}: field {name!r}")

"""Signed files: DSSE v1 envelopes over exact bytes, ECDSA P-256 signatures by tokens' keys.

`SignedFile` has one signature; `JointlySignedFile` has one of every holder over the same bytes.

https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md. What is signed is PAE(type,
payload), so bytes of one kind cannot pass for another. The signature is r ‖ s, 64 bytes, as PKCS#11
gives it. Parse only what `payload_of` returns: those bytes, and no others, were signed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from signer.errors import SchemaError
from signer.strict import Fields, encode_base64, parse_base64

SIGNATURE_BYTES = 64


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return PAE(type, payload), the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


class Signature(NamedTuple):
    """One signature of a file, with the hint whose it is."""

    key_id: bytes  # SHA-256 of the signer's 65-byte point; a hint, never an authority
    value: bytes  # r ‖ s

    def to_json(self) -> dict[str, str]:
        """Return the entry of a DSSE envelope."""
        return {"keyid": self.key_id.hex(), "sig": encode_base64(self.value)}

    @classmethod
    def parse(cls, value: Any, what: str) -> Self:
        """Read an entry of a DSSE envelope."""
        entry = Fields(value, f"{what}: signature")
        key_id = entry.hex_bytes("keyid", 32)
        signature = parse_base64(entry.take("sig"), f"{what}: sig", max_bytes=SIGNATURE_BYTES)
        entry.done()
        if len(signature) != SIGNATURE_BYTES:
            raise SchemaError(f"{what}: a signature is {SIGNATURE_BYTES} bytes, r then s")
        return cls(key_id, signature)

    def verifies(self, point: bytes, signed: bytes) -> bool:
        """Tell whether the P-256 key at `point` (65 bytes) made this signature over `signed`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        if self.key_id != key_id_of(point):
            return False
        half = SIGNATURE_BYTES // 2
        r, s = int.from_bytes(self.value[:half]), int.from_bytes(self.value[half:])
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A DSSE envelope with one signature. Nothing in it is trusted before `payload_of`."""

    payload_type: str
    payload: bytes
    key_id: bytes  # SHA-256 of the signer's 65-byte point; a hint, never an authority
    signature: bytes  # r ‖ s

    def to_json(self) -> dict[str, Any]:
        """Return the envelope as a JSON object."""
        return {
            "payloadType": self.payload_type,
            "payload": encode_base64(self.payload),
            "signatures": [Signature(self.key_id, self.signature).to_json()],
        }

    @classmethod
    def parse(cls, value: Any, what: str, *, payload_type: str, max_payload: int) -> Self:
        """Take an envelope of exactly `payload_type` apart. Proves nothing about its signature."""
        payload, (signature,) = _take_apart(value, what, payload_type, max_payload, 1, 1)
        return cls(payload_type, payload, signature.key_id, signature.value)

    def signed_by(self, point: bytes) -> bool:
        """Tell whether the key at `point` (65 bytes, uncompressed P-256) signed this file."""
        signed = pre_authentication_encoding(self.payload_type, self.payload)
        return Signature(self.key_id, self.signature).verifies(point, signed)


@dataclass(frozen=True, slots=True)
class JointlySignedFile:
    """A DSSE envelope that several keys signed, in an agreed order. Nothing here is trusted yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the envelope as a JSON object."""
        return {
            "payloadType": self.payload_type,
            "payload": encode_base64(self.payload),
            "signatures": [signature.to_json() for signature in self.signatures],
        }

    @classmethod
    def parse(
        cls, value: Any, what: str, *, payload_type: str, max_payload: int, most: int
    ) -> Self:
        """Take an envelope with at most `most` signatures apart. Proves nothing about them."""
        return cls(payload_type, *_take_apart(value, what, payload_type, max_payload, 0, most))

    def signed_by_each(self, points: Sequence[bytes]) -> bool:
        """Tell whether exactly these keys signed, in this order: as many signatures, no key twice.

        Args:
            points: 65-byte uncompressed points of P-256, all different.
        """
        signed = pre_authentication_encoding(self.payload_type, self.payload)
        return len(self.signatures) == len(points) == len(set(points)) and all(
            signature.verifies(point, signed)
            for signature, point in zip(self.signatures, points, strict=True)
        )


def _take_apart(
    value: Any, what: str, payload_type: str, max_payload: int, low: int, high: int
) -> tuple[bytes, tuple[Signature, ...]]:
    fields = Fields(value, what)
    fields.constant("payloadType", payload_type)
    payload = parse_base64(fields.take("payload"), f"{what}: payload", max_bytes=max_payload)
    entries = fields.array("signatures", low=low, high=high)
    fields.done()
    return payload, tuple(Signature.parse(entry, what) for entry in entries)


def key_id_of(point: bytes) -> bytes:
    """Return the key id of a P-256 public key given as its 65-byte point."""
    return hashlib.sha256(point).digest()

"""The envelope: one share at rest, sealed to up to four token keys, bound to what it is a share of.

The whole binding and the list of slots are the associated data of every slot. So an envelope that
is renamed, edited, moved to another group or robbed of a slot opens nowhere, and under other
holders' identity keys it does not open either: a worker may trust what the holders of an opened
envelope signed. The file is public: it is of no use without the token. This module knows the format
and touches no secret; `signer.sealing.share` seals and unseals.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import SealError
from signer.p256 import POINT_BYTES
from signer.recipient import (
    AES_256_GCM,
    HPKE_P256,
    METHODS,
    method_of,
    parse_recipient,
    rsa_modulus,
)
from signer.strict import MAX_INTEGER, Fields, canonical, parse_object

MAX_BYTES = 64 * 1024
MAX_SLOTS = 4
MAX_INDEX = 2**16 - 1
SHARE_BYTES = 32
NO_CERTIFICATE = bytes(32)  # of a split at one desk
CIPHERTEXT_BYTES = SHARE_BYTES + 16  # with the tag of AES-GCM
GCM_ENC_BYTES = 12 + 32 + 16  # nonce, wrapped key, tag
ROLES = ("withdrawal", "validator", "approval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a share is a share of. Public; the envelope opens under exactly this."""

    group: bytes  # 32-byte id of the group
    epoch: int  # generation of shares, from 1
    index: int  # share index, from 1
    public_share: bytes  # 48-byte G1 point; this room does not look inside
    role: str  # one of ROLES
    policy_digest: bytes  # SHA-256 of the first policy; amendments lead on from it
    holders: bytes  # SHA-256 over the threshold and every holder's identity key
    certificate: bytes  # digest of the certificate of the ceremony it came of, or NO_CERTIFICATE
    recovered: bool = False  # made by recovering a lost share, not in the ceremony

    def __post_init__(self) -> None:
        """Refuse what could not be written and read back."""
        digests = (self.group, self.policy_digest, self.holders, self.certificate)
        sizes = (len(self.public_share), *map(len, digests))
        if sizes != (48, 32, 32, 32, 32):
            raise ValueError(f"binding with sizes {sizes}, (48, 32, 32, 32, 32) are expected")
        if not 0 <= self.epoch <= MAX_INTEGER or not 1 <= self.index <= MAX_INDEX:
            raise ValueError(f"binding with epoch {self.epoch}, index {self.index}")
        if self.role not in ROLES:
            raise ValueError(f"binding with role {self.role!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as they stand in an envelope."""
        return {
            "group": self.group.hex(),
            "epoch": self.epoch,
            "index": self.index,
            "public_share": self.public_share.hex(),
            "role": self.role,
            "policy_digest": self.policy_digest.hex(),
            "holders": self.holders.hex(),
            "certificate": self.certificate.hex(),
            "recovered": self.recovered,
        }

    @classmethod
    def take(cls, source: Fields) -> Self:
        """Take the fields of a binding from `source`."""
        return cls(
            group=source.hex_bytes("group", 32),
            epoch=source.integer("epoch", low=0, high=MAX_INTEGER),
            index=source.integer("index", low=1, high=MAX_INDEX),
            public_share=source.hex_bytes("public_share", 48),
            role=source.choice("role", ROLES),
            policy_digest=source.hex_bytes("policy_digest", 32),
            holders=source.hex_bytes("holders", 32),
            certificate=source.hex_bytes("certificate", 32),
            recovered=source.boolean("recovered"),
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """One recipient's way to the share."""

    method: str  # one of `signer.recipient.METHODS`, which the recipient tells too
    recipient: bytes  # the token's receiving key
    enc: bytes  # ephemeral point of HPKE (65 bytes), or the wrapped key
    ciphertext: bytes  # 48 bytes: share and tag

    def to_json(self) -> dict[str, str]:
        """Return the slot as it stands in an envelope."""
        return {
            "method": self.method,
            "recipient": self.recipient.hex(),
            "enc": self.enc.hex(),
            "ciphertext": self.ciphertext.hex(),
        }

    @classmethod
    def parse(cls, value: Any, what: str) -> Self:
        """Read a slot strictly."""
        source = Fields(value, what)
        recipient = parse_recipient(source.take("recipient"), f"{what}: field 'recipient'")
        slot = cls(
            method=source.choice("method", METHODS),
            recipient=recipient,
            enc=source.hex_bytes("enc", enc_bytes(recipient)),
            ciphertext=source.hex_bytes("ciphertext", CIPHERTEXT_BYTES),
        )
        source.done()
        if (told := method_of(recipient)) != slot.method:
            source.fail("method", f"is {slot.method}, the recipient is a key for {told}")
        return slot


@dataclass(frozen=True, slots=True)
class Envelope:
    """A binding and its slots."""

    binding: Binding
    slots: tuple[Slot, ...]

    @property
    def recipients(self) -> tuple[bytes, ...]:
        """The token keys that open it, 65 bytes each."""
        return tuple(slot.recipient for slot in self.slots)

    def to_bytes(self) -> bytes:
        """Return the bytes of the envelope's file."""
        head = {"type": "signer-envelope", "version": 4}
        slots = {"slots": [slot.to_json() for slot in self.slots]}
        return canonical(head | self.binding.to_json() | slots) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "envelope") -> Self:
        """Read the bytes of an envelope's file. Parsing proves nothing; unsealing does.

        Raises:
            SchemaError: not an envelope.
            SealError: E_ENVELOPE: two slots for one token key.
        """
        source = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        source.constant("type", "signer-envelope")
        source.constant("version", 4)
        binding = Binding.take(source)
        values = source.array("slots", low=1, high=MAX_SLOTS)
        source.done()
        slots = tuple(
            Slot.parse(value, f"{what}: slot {number}") for number, value in enumerate(values, 1)
        )
        if len({slot.recipient for slot in slots}) != len(slots):
            raise SealError(f"{what}: two slots are for one token key", code="E_ENVELOPE")
        return cls(binding, slots)


def enc_bytes(recipient: bytes) -> int:
    """Return the size of what travels for `recipient` beside the ciphertext, in bytes."""
    method = method_of(recipient)
    if method == HPKE_P256:
        return POINT_BYTES
    return GCM_ENC_BYTES if method == AES_256_GCM else rsa_modulus(recipient).bit_length() // 8


def key_fingerprint(recipient: bytes) -> str:
    """Return the first 8 bytes of a public key's SHA-256 as four groups of four hex digits."""
    digits = hashlib.sha256(recipient).hexdigest()
    return " ".join(digits[i : i + 4] for i in range(0, 16, 4))

"""A slim bundle: what one member needs of all deals, to carry to a machine without a network.

For 100 members it is a tenth of the deals. He checks it as he would check them, and his agreement
names the same transcript; the certificate, later, brings the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from signer.ceremony.deal import Deal, SlimDeal
from signer.ceremony.roster import Roster
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_BYTES = 48 * 1024 * 1024  # mostly statements of bindings, in base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything in it is to be checked like the files it stands for."""

    ceremony: bytes
    index: int  # of the member it is for
    deals: Mapping[int, SlimDeal]  # by dealer
    bindings: Mapping[int, SignedFile]  # by dealer, of a reshare

    @classmethod
    def of(
        cls,
        roster: Roster,
        index: ShareIndex,
        deals: Mapping[int, Deal],
        bindings: Mapping[int, SignedFile],
    ) -> Self:
        """Make the bundle of a member from all deals."""
        return cls(
            ceremony=roster.id,
            index=int(index),
            deals={dealer: deal.slim(index) for dealer, deal in deals.items()},
            bindings=bindings,
        )

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        value: dict[str, Any] = {
            "type": "signer-bundle",
            "version": 1,
            "ceremony": self.ceremony.hex(),
            "index": self.index,
            "deals": [
                {"dealer": dealer, "deal": deal.to_json()} for dealer, deal in self.deals.items()
            ],
            "bindings": [
                {"dealer": dealer, "signed": signed.to_json()}
                for dealer, signed in self.bindings.items()
            ],
        }
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "bundle") -> Self:
        """Read the bytes of a bundle's file. Proves nothing."""
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-bundle")
        fields.constant("version", 1)
        deals: dict[int, SlimDeal] = {}
        for value in fields.array("deals", low=1, high=MAX_HOLDERS):
            entry = Fields(value, f"{what}: deal")
            dealer = entry.integer("dealer", low=0, high=MAX_HOLDERS)
            deals[dealer] = SlimDeal.take(entry.nested("deal"))
            entry.done()
        bindings: dict[int, SignedFile] = {}
        for value in fields.array("bindings", low=0, high=MAX_HOLDERS):
            entry = Fields(value, f"{what}: bindings")
            dealer = entry.integer("dealer", low=1, high=MAX_HOLDERS)
            bindings[dealer] = SignedFile.parse(
                entry.take("signed"), what, payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS
            )
            entry.done()
        bundle = cls(
            ceremony=fields.hex_bytes("ceremony", 32),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            deals=deals,
            bindings=bindings,
        )
        fields.done()
        return bundle

"""A certificate: the roster, every deal, everybody's agreement. Proof of success, recovery data.

It carries no signature of its own: whoever has the bytes can check all of it, and with his token
recomputes his share from it. Its digest leaves every signature out, so two people who assembled it
from the same deals have the same one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.agreement import agreeing, open_agreement, require_agreement
from signer.ceremony.checking import Outcome, check_deal, outcome_of
from signer.ceremony.deal import Deal
from signer.ceremony.roster import Roster
from signer.ceremony.setting import Setting
from signer.ceremony.statement import take_statement
from signer.ceremony.union import union_digest
from signer.errors import CeremonyError
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.group_id import Certified
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

MAX_BYTES = 48 * 1024 * 1024  # mostly statements of bindings, in base64


@dataclass(frozen=True, slots=True)
class Certificate:
    """A ceremony's public files, not yet checked; `outcome` does that."""

    roster: Roster
    deals: tuple[Deal, ...]  # in the order of the roster's dealers
    agreements: tuple[SignedFile, ...]  # in the order of `agreeing`
    bindings: tuple[SignedFile, ...] = ()  # of a reshare's dealers

    def outcome(self, previous: GroupFile | None = None) -> Outcome:
        """Check everything and return what the deals add up to.

        Raises:
            SignerError: anything does not hold.
        """
        setting = Setting.of(self.roster, previous)
        if len(self.deals) != len(self.roster.dealers):
            raise CeremonyError("certificate: it lacks deals, or has too many")
        checked = [
            check_deal(deal, setting, dealer)
            for dealer, deal in zip(self.roster.dealers, self.deals, strict=True)
        ]
        outcome = outcome_of(setting, checked, union_digest(setting, checked, self.bindings))
        needed = agreeing(setting)
        if len(self.agreements) != len(needed):
            raise CeremonyError("certificate: it lacks agreements, or has too many")
        for (role, index), signed in zip(needed, self.agreements, strict=True):
            what = f"certificate: the agreement of {role} {index}"
            require_agreement(open_agreement(signed, setting, role, index, what), outcome, what)
        return outcome

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON object."""
        return {
            "type": "signer-certificate",
            "version": 1,
            "roster": self.roster.to_json(),
            "deals": [deal.to_json() for deal in self.deals],
            "agreements": [signed.to_json() for signed in self.agreements],
            "bindings": [signed.to_json() for signed in self.bindings],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, what: str = "certificate") -> Self:
        """Read the bytes of a certificate's file.

        Raises:
            SchemaError: not this format.
            SignerError: its roster does not hold.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-certificate")
        fields.constant("version", 1)
        certificate = cls(
            roster=Roster.take(fields.nested("roster")),
            deals=tuple(
                Deal.take(Fields(entry, f"{what}: deal {number}"))
                for number, entry in enumerate(
                    fields.array("deals", low=1, high=MAX_HOLDERS), start=1
                )
            ),
            agreements=tuple(
                take_statement(entry, AGREEMENT, f"{what}: agreement {number}")
                for number, entry in enumerate(
                    fields.array("agreements", low=1, high=2 * MAX_HOLDERS), start=1
                )
            ),
            bindings=tuple(
                SignedFile.parse(
                    entry, f"{what}: bindings", payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS
                )
                for entry in fields.array("bindings", low=0, high=MAX_HOLDERS)
            ),
        )
        fields.done()
        return certificate


def assemble(
    outcome: Outcome,
    deals: Mapping[int, Deal],
    agreements: Mapping[tuple[str, int], SignedFile],
    bindings: Sequence[SignedFile] = (),
) -> Certificate:
    """Put the certificate together from files that were checked before."""
    roster = outcome.setting.roster
    return Certificate(
        roster,
        tuple(deals[dealer] for dealer in roster.dealers),
        tuple(agreements[who] for who in agreeing(outcome.setting)),
        tuple(bindings),
    )


def certificate_digest(outcome: Outcome) -> bytes:
    """Return the 32 bytes that stand for the certificate: ceremony, transcript, origin."""
    digest = group_of(outcome).certificate
    if digest is None:
        raise ValueError("a ceremony's group names its certificate")
    return digest


def group_of(outcome: Outcome) -> GroupFile:
    """Return the group file that comes of a ceremony, not active yet."""
    roster, previous = outcome.setting.roster, outcome.setting.previous
    return GroupFile(
        network=roster.network,
        role=roster.role,
        epoch=roster.epoch,
        origin=roster.kind if previous is None else previous.origin,
        policy_digest=roster.policy_digest,
        threshold=roster.threshold,
        vector=outcome.vector,
        cards=roster.members,
        rehearsal=roster.rehearsal,
        certified=Certified(roster.id, outcome.transcript),
    )

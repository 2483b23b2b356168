"""What makes a certified group active: one signature that t holders made together.

It is the group's signature of a drill order whose nonce is the digest of the group's certificate,
in the drill domain: no Ethereum signature, and of no use to another group, epoch or certificate.
Holders make it by a drill (`signer drill run --activate`), through the same devices and agents that
will sign for real. It shows that t shares open and combine. It shows nothing where one has the
whole key, as the dealer of a split does: he can make it alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from signer.errors import GroupFileError, InputError
from signer.messages.drill import DrillOrder
from signer.strict import Fields

if TYPE_CHECKING:
    from signer.bls.encoding import Signature
    from signer.messages.drill_certificate import Drill, DrillCertificate
    from signer.messages.group_file import GroupFile

SIGNATURE_BYTES = 96


@dataclass(frozen=True, slots=True)
class Activation:
    """A drill order and what should be the group's signature of it: see `verify`."""

    order: DrillOrder
    signature: "Signature"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"order": self.order.to_json(), "signature": bytes(self.signature).hex()}

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take an activation apart. Proves nothing.

        Raises:
            SchemaError: not this format.
            EncodingError: the signature is not a point of the group.
        """
        from signer.bls.encoding import Signature  # a group without certificate is spared it

        order = DrillOrder.take(fields.nested("order"))
        signature = fields.hex_bytes("signature", SIGNATURE_BYTES)
        fields.done()
        return cls(order, Signature(signature))

    def verify(self, group: "GroupFile", what: str = "group file") -> None:
        """Refuse what does not activate `group` with the certificate that it names.

        Raises:
            GroupFileError: of another group, epoch or certificate, or not the group's signature.
        """
        from signer.bls.scheme import verify_hashed

        order = self.order
        if (order.group_id, order.epoch) != (group.group_id, group.epoch):
            raise GroupFileError(f"{what}: the activation is of another group or epoch")
        if order.nonce != group.certificate:
            raise GroupFileError(f"{what}: the activation is of another certificate")
        if not verify_hashed(group.public_key, order.point, self.signature):
            raise GroupFileError(
                f"{what}: the activation is not a signature under the group public key",
                hint="make it by a drill: signer drill run --activate",
            )


def activation_from_drill(group: "GroupFile", certificate: "DrillCertificate") -> Activation:
    """Combine the partials of a drill that was run to activate `group`.

    Raises:
        InputError: E_DRILL: no drill in it names the group's certificate and has t reports, or it
            is of another group or epoch.
    """
    drilled = certificate.group
    if (drilled.group_id, drilled.epoch) != (group.group_id, group.epoch):
        raise InputError("the drill is of another group or epoch", code="E_DRILL")
    need = group.threshold.t
    named = [drill for drill in certificate.drills if drill.order.nonce == group.certificate]
    most = max((len(drill.reports) for drill in named), default=0)
    for drill in named:
        if len(drill.reports) >= need:
            activation = Activation(drill.order, _combined(drill, need))
            activation.verify(group, "drill")
            return activation
    raise InputError(
        f"{most} of the {need} holders that are needed answered a drill that names the group's "
        "certificate",
        code="E_DRILL",
        hint="signer drill run --activate, with --include for what others answered",
    )


def _combined(drill: "Drill", need: int) -> "Signature":
    """Combine the first partials, each of which its report's verification held against a share."""
    from signer.bls.combination import Combination
    from signer.errors import EngineError
    from signer.threshold.lagrange import lagrange_at_zero

    reports = sorted(drill.reports, key=lambda report: report.index)[:need]
    fractions = lagrange_at_zero(tuple(report.index for report in reports))
    combination = Combination(fractions.numerators, fractions.denominator)
    signature = combination.combine([report.partial for report in reports])
    if signature is None:
        raise EngineError("good partial signatures combined to no signature")
    return signature

"""Activate a group with its shares: what a drill of its agents does."""

from collections.abc import Mapping
from dataclasses import replace

from signer.bls.combination import Combination
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign
from signer.messages.activation import Activation
from signer.messages.drill import DRILL_DST, DrillOrder
from signer.messages.group_file import GroupFile
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex
from tests.simulators.holders import NOW


def activated_by(group: GroupFile, shares: Mapping[int, bytes]) -> GroupFile:
    """Return the group with a signature that these shares make together."""
    if group.certificate is None:
        raise ValueError("only a certified group is activated")
    order = DrillOrder(
        group_id=group.group_id, epoch=group.epoch, nonce=group.certificate, moment=NOW,
        expires=NOW + 600,
    )  # fmt: skip
    partials = {}
    for index, plain in shares.items():
        with SecretScalar.from_big_endian(bytearray(plain)) as scalar:
            partials[ShareIndex(index)] = bytes(sign(scalar, order.message, DRILL_DST))
    chosen = tuple(sorted(partials))[: group.threshold.t]
    fractions = lagrange_at_zero(chosen)
    combination = Combination(fractions.numerators, fractions.denominator)
    signature = combination.combine([partials[index] for index in chosen])
    assert signature is not None
    return replace(group, activation=Activation(order, signature))

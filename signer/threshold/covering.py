"""Show that partials are of one polynomial: combinations that between them use every partial."""

from collections.abc import Mapping

from signer.bls.combination import Combination
from signer.bls.encoding import Signature
from signer.bls.scheme import MessagePoint, verify_hashed
from signer.errors import EngineError
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex
from signer.threshold.vector import VerificationVector


def combine_each(
    point: MessagePoint, partials: Mapping[ShareIndex, Signature], vector: VerificationVector
) -> list[tuple[ShareIndex, ...]]:
    """Combine partials, t at a time, until each was used; return the sets that were combined.

    Args:
        point: H(message), under the tag of the domain that was signed in.
        partials: each verified under its public share; at least t.
        vector: of the group.

    Raises:
        EngineError: a combination is not the group signature. Partials that verify always combine:
            this machine erred.
    """
    indices, need = sorted(partials), vector.threshold
    if len(indices) < need:
        raise ValueError(f"{len(indices)} partials, {need} are needed")
    sets = []
    for start in range(0, len(indices), need):
        first = min(start, len(indices) - need)
        chosen = tuple(indices[first : first + need])
        fractions = lagrange_at_zero(chosen)
        combination = Combination(fractions.numerators, fractions.denominator)
        signature = combination.combine([partials[index] for index in chosen])
        if signature is None or not verify_hashed(vector.group_public_key, point, signature):
            raise EngineError("good partial signatures combined to a wrong signature")
        sets.append(chosen)
    return sets

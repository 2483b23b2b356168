"""Repair of one lost share by t others, none of whom learns it (Stinson and Wei), made verifiable.

The lost share is Σ λᵢ·sᵢ over the helpers. Helper i breaks his term into deltas δᵢⱼ, one a helper,
and commits to each; helper j adds up what he was sent, σⱼ = Σᵢ δᵢⱼ; the holder adds up the σⱼ. At
each step a commitment tells whose number is wrong. Everybody else's share stays as it is.

The sums of secrets are `signer.threshold.share.weighted_sum`; a delta, a σ and the repaired share
are each checked by comparing `public_key` of it with its commitment.
"""

import itertools
from collections.abc import Sequence

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_sum, g1_weighted_sum
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import public_key
from signer.errors import EncodingError, EngineError, ThresholdParameterError
from signer.secret import Secret, SecretBytes
from signer.threshold.dealing import CEREMONY_BYTES, derive_scalar
from signer.threshold.lagrange import lagrange_at
from signer.threshold.params import MIN_THRESHOLD, ShareIndex, Threshold
from signer.threshold.share import SecretShare, weighted_sum

_DELTA = b"signer/repair/delta/v1"


class RepairDealing(Secret):
    """One helper's deltas and their commitments. Use it in a `with` block, which wipes the deltas.

    Attributes:
        helpers: for whom the deltas are.
        commitments: Dᵢⱼ = δᵢⱼ·G in the order of the helpers. Public.
    """

    __slots__ = ("_deltas", "commitments", "helpers")

    def __init__(self, helpers: tuple[ShareIndex, ...], deltas: list[SecretScalar]) -> None:
        """Take the deltas over, to be wiped with this."""
        self.helpers = helpers
        self._deltas = deltas
        self.commitments: tuple[PublicKey, ...] = tuple(map(public_key, deltas))

    def delta_for(self, helper: ShareIndex) -> SecretScalar:
        """Return the delta for a helper, which the caller wipes.

        Raises:
            ThresholdParameterError: he is none of the helpers.
        """
        return self._deltas[_position(self.helpers, helper)].duplicate()

    def wipe(self) -> None:
        """Overwrite the deltas with zeros; the commitments are public and stay."""
        for delta in self._deltas:
            delta.wipe()


def require_helpers(
    helpers: Sequence[ShareIndex], lost: ShareIndex, threshold: Threshold | None = None
) -> None:
    """Check who repairs whose share.

    Args:
        helpers: in ascending order.
        lost: whose share is repaired.
        threshold: of the group. Without it only what needs none is checked.

    Raises:
        ThresholdParameterError: not ascending or one twice, the lost one among them, fewer than t
            of them, or an index that the group does not have: repair must not mint shares.
    """
    if any(a >= b for a, b in itertools.pairwise(helpers)):
        raise ThresholdParameterError("repair: the helpers must be different and in order")
    if lost in helpers:
        raise ThresholdParameterError(f"repair: holder {int(lost)} cannot help to repair himself")
    need = MIN_THRESHOLD if threshold is None else threshold.t
    if len(helpers) < need:
        raise ThresholdParameterError(f"repair: {len(helpers)} helpers, {need} are needed")
    if threshold is not None and max(*helpers, lost) > threshold.n:
        raise ThresholdParameterError(f"repair: the group has only {threshold.n} shares")


def deal_repair(
    share: SecretShare,
    helpers: tuple[ShareIndex, ...],
    lost: ShareIndex,
    seed: SecretBytes,
    ceremony: bytes,
) -> RepairDealing:
    """Break a helper's term of the lost share into deltas; the same arguments give the same ones.

    Args:
        share: of one of the helpers, held against his public share before; stays as it is.
        helpers: in ascending order, at least t of the group: see `require_helpers`.
        lost: whose share is repaired.
        seed: the helper's 32-byte session seed.
        ceremony: 32-byte id.

    Raises:
        ThresholdParameterError: see `require_helpers`; or the share is none of the helpers'.
        EngineError: the commitments do not verify, so this machine erred; or the seed is zeros.
        EncodingError: a delta is zero (E_SCALAR), once in 2**255.
    """
    require_helpers(helpers, lost)
    position = _position(helpers, share.index)
    if len(ceremony) != CEREMONY_BYTES:
        raise ValueError(f"a ceremony's id has {CEREMONY_BYTES} bytes, not {len(ceremony)}")
    # All who take part, so that one seed never shares a delta among two repairs.
    parties = (lost, len(helpers), *helpers, share.index)
    label = _DELTA + ceremony + b"".join(number.to_bytes(2, "big") for number in parties)
    deltas: list[SecretScalar] = []
    try:
        for helper in helpers[:-1]:
            deltas.append(derive_scalar(seed, label + helper.to_bytes(2, "big")))
        with (
            share.scalar.multiply_public(_weight(helpers, position, lost)) as term,
            weighted_sum(deltas) as rest,
        ):
            deltas.append(term.subtract(rest))
        dealing = RepairDealing(helpers, deltas)
        own = public_key(share.scalar)
        if not check_repair_commitments(dealing.commitments, own, helpers, share.index, lost):
            raise EngineError("the deltas do not add up: this machine erred")
        return dealing
    except BaseException:
        for delta in deltas:
            delta.wipe()
        raise


def check_repair_commitments(
    commitments: Sequence[PublicKey],
    public_share: PublicKey,
    helpers: tuple[ShareIndex, ...],
    helper: ShareIndex,
    lost: ShareIndex,
) -> bool:
    """Tell whether a helper's commitments add up to his term of the lost share: Σⱼ Dᵢⱼ = λᵢ·Yᵢ.

    Args:
        commitments: Dᵢⱼ in the order of the helpers.
        public_share: Yᵢ, from the group's vector.
        helpers: in ascending order.
        helper: i.
        lost: whose share is repaired.

    Raises:
        ThresholdParameterError: see `require_helpers`; or `helper` is none of them.
    """
    require_helpers(helpers, lost)
    weight = _weight(helpers, _position(helpers, helper), lost)
    if len(commitments) != len(helpers):
        return False
    total = g1_sum([entry.affine for entry in commitments])
    expected = g1_weighted_sum([public_share.affine], [weight])
    return total is not None and total == expected


def sigma_commitment(
    commitments: Sequence[Sequence[PublicKey]], helpers: tuple[ShareIndex, ...], helper: ShareIndex
) -> PublicKey:
    """Return what helper j's sum must commit to: σⱼ·G = Σᵢ Dᵢⱼ.

    Args:
        commitments: of every helper, each of the right length.
        helpers: in ascending order.
        helper: j.

    Raises:
        EncodingError: it is infinity.
        ThresholdParameterError: `helper` is none of the helpers.
    """
    position = _position(helpers, helper)
    if len(commitments) != len(helpers) or any(len(row) != len(helpers) for row in commitments):
        raise ValueError("every helper commits to one delta for each helper")
    total = g1_sum([row[position].affine for row in commitments])
    if total is None:
        raise EncodingError(f"repair: the deltas for holder {int(helper)} add up to infinity")
    return PublicKey.from_affine(total)


def _position(helpers: tuple[ShareIndex, ...], helper: ShareIndex) -> int:
    if helper not in helpers:
        raise ThresholdParameterError(f"repair: holder {int(helper)} is none of the helpers")
    return helpers.index(helper)


def _weight(helpers: tuple[ShareIndex, ...], position: int, lost: ShareIndex) -> int:
    return lagrange_at(helpers, lost).modulo(GROUP_ORDER)[position]

"""The verification vector: commitments to the polynomial whose values are the shares (Feldman)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from signer.bls.encoding import PublicKey
from signer.bls.engine import GROUP_ORDER
from signer.bls.points import g1_polynomial_at, g1_sum, g1_weighted_sum
from signer.errors import EncodingError, ThresholdParameterError
from signer.threshold.params import MAX_HOLDERS, MIN_THRESHOLD, ShareIndex

if TYPE_CHECKING:  # for the name alone; a worker that signs combines nothing
    from signer.threshold.lagrange import Fractions


class VerificationVector:
    """t commitments Cₖ = aₖ·G. C₀ is the group public key; Σ xᵏ·Cₖ is the public share of x."""

    __slots__ = ("_public_shares", "commitments")

    def __init__(self, commitments: Sequence[PublicKey]) -> None:
        """Take the commitments in the order of their powers.

        Raises:
            ThresholdParameterError: their number is no threshold.
        """
        if not MIN_THRESHOLD <= len(commitments) <= MAX_HOLDERS:
            raise ThresholdParameterError(
                f"verification vector: {len(commitments)} commitments, "
                f"{MIN_THRESHOLD} to {MAX_HOLDERS} are possible"
            )
        self.commitments = tuple(PublicKey(commitment) for commitment in commitments)
        self._public_shares: dict[ShareIndex, PublicKey] = {}

    @classmethod
    def parse(cls, encoded: Sequence[bytes]) -> Self:
        """Decode 48-byte commitments.

        Raises:
            EncodingError: one is not a point of the group, or is infinity.
            ThresholdParameterError: their number is no threshold.
        """
        return cls([PublicKey(entry) for entry in encoded])

    @property
    def threshold(self) -> int:
        """How many partials a signature takes: t."""
        return len(self.commitments)

    @property
    def group_public_key(self) -> PublicKey:
        """The key under which combined signatures verify."""
        return self.commitments[0]

    def public_share(self, index: ShareIndex) -> PublicKey:
        """Return the key under which partials of share `index` verify.

        Raises:
            EncodingError: it is infinity; no honest dealer makes such a vector.
        """
        known = self._public_shares.get(index)
        if known is not None:
            return known
        point = g1_polynomial_at([entry.affine for entry in self.commitments], ShareIndex(index))
        if point is None:
            raise EncodingError(f"verification vector: the public share of {index} is infinity")
        return self._public_shares.setdefault(index, PublicKey.from_affine(point))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VerificationVector):
            return NotImplemented
        return self.commitments == other.commitments

    def __hash__(self) -> int:
        return hash(self.commitments)

    def __repr__(self) -> str:
        return f"VerificationVector(t={self.threshold}, {self.group_public_key!r})"


def sum_vectors(vectors: Sequence[Sequence[PublicKey]]) -> VerificationVector:
    """Return the vector of the sum of the dealers' polynomials, as key generation makes it.

    Raises:
        EncodingError: a sum is infinity.
        ThresholdParameterError: the vectors differ in length, or their length is no threshold.
    """
    return _combined(vectors, g1_sum)


def weigh_vectors(
    vectors: Sequence[Sequence[PublicKey]], coefficients: "Fractions"
) -> VerificationVector:
    """Return the vector of Σ λᵢ·fᵢ, as a reshare among dealers i makes it.

    Raises:
        EncodingError: a sum is infinity.
        ThresholdParameterError: the vectors differ in length, or their length is no threshold.
    """
    weights = coefficients.modulo(GROUP_ORDER)
    return _combined(vectors, lambda points: g1_weighted_sum(points, weights))


def _combined(
    vectors: Sequence[Sequence[PublicKey]], combine: Callable[[list[bytes]], bytes | None]
) -> VerificationVector:
    """Combine what stands at the same power."""
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise ThresholdParameterError(
            f"verification vectors of lengths {sorted(lengths)}, one length is expected"
        )
    commitments = []
    for power, column in enumerate(zip(*vectors, strict=True)):
        point = combine([entry.affine for entry in column])
        if point is None:
            raise EncodingError(f"verification vector: the sum at power {power} is infinity")
        commitments.append(PublicKey.from_affine(point))
    return VerificationVector(commitments)

"""Shares: one holder's value of the polynomial, and the split of a whole key into them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from signer.bls.encoding import PublicKey
from signer.bls.scalar import GROUP_ORDER, SecretScalar, evaluate_polynomial, sum_of_products
from signer.bls.scheme import public_key
from signer.errors import EncodingError, EngineError, ShareMismatchError
from signer.secret import Secret
from signer.threshold.params import ShareIndex, Threshold
from signer.threshold.vector import VerificationVector

if TYPE_CHECKING:  # for the name alone; a worker that signs combines nothing
    from signer.threshold.lagrange import Fractions


class SecretShare(Secret):
    """A share and its index. Use it in a `with` block, which wipes the scalar."""

    __slots__ = ("index", "scalar")

    def __init__(self, index: ShareIndex, scalar: SecretScalar) -> None:
        self.index = ShareIndex(index)
        self.scalar = scalar

    def verify(self, vector: VerificationVector) -> None:
        """Hold the share against the committed polynomial.

        Raises:
            ShareMismatchError: it does not lie there.
        """
        self.verify_against(vector.public_share(self.index))

    def verify_against(self, public_share: PublicKey) -> None:
        """Hold the share against its public share.

        Raises:
            ShareMismatchError: they do not belong together.
        """
        if public_key(self.scalar) != public_share:
            raise ShareMismatchError(
                f"share {int(self.index)} does not belong to this group file",
                hint="ask the dealer for the envelope and the group file of the same ceremony",
            )

    def wipe(self) -> None:
        """Overwrite the scalar with zeros."""
        self.scalar.wipe()

    def __repr__(self) -> str:
        return f"SecretShare({int(self.index)}, <redacted>)"


def split(
    secret: SecretScalar, threshold: Threshold, random_bytes: Callable[[int], bytes]
) -> tuple[VerificationVector, list[SecretShare]]:
    """Split `secret` so that any t of n shares stand for it. `secret` stays as it is.

    The caller wipes the shares.

    Raises:
        EngineError: the random source is broken.
    """
    while True:
        coefficients = [SecretScalar.random(random_bytes) for _ in range(threshold.t - 1)]
        try:
            _require_distinct(coefficients)
            return _deal([secret, *coefficients], threshold)
        except EncodingError:
            continue  # a share is zero, once in 2**255; its holder could not sign
        finally:
            for coefficient in coefficients:
                coefficient.wipe()


def weighted_sum(
    scalars: Sequence[SecretScalar], coefficients: "Fractions | None" = None
) -> SecretScalar:
    """Return Σ λᵢ·scalarᵢ mod r, or the plain sum without coefficients. The caller wipes it.

    So a holder's share of a sum of polynomials is made of his shares of each.

    Args:
        scalars: at least one; they stay as they are.
        coefficients: public, one a scalar.

    Raises:
        EncodingError: the sum is zero (E_SCALAR).
    """
    factors = (1,) * len(scalars) if coefficients is None else coefficients.modulo(GROUP_ORDER)
    return sum_of_products(scalars, factors)


def _deal(
    polynomial: list[SecretScalar], threshold: Threshold
) -> tuple[VerificationVector, list[SecretShare]]:
    vector = VerificationVector([public_key(coefficient) for coefficient in polynomial])
    shares: list[SecretShare] = []
    try:
        for position in range(1, threshold.n + 1):
            index = ShareIndex(position)
            shares.append(SecretShare(index, evaluate_polynomial(polynomial, index)))
            shares[-1].verify(vector)
    except BaseException:
        for share in shares:
            share.scalar.wipe()
        raise
    return vector, shares


def _require_distinct(coefficients: list[SecretScalar]) -> None:
    """Refuse a random source that repeats itself: the polynomial could be guessed."""
    for position, coefficient in enumerate(coefficients):
        if any(coefficient == other for other in coefficients[:position]):
            raise EngineError("the random source is broken: it repeats itself")

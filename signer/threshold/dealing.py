"""A dealer's secret polynomial and its public commitments, made of one session seed.

The same seed, ceremony and threshold give the same polynomial, so a dealer whose machine crashed
deals again what he dealt before. What the constant must be (anything with a proof of possession,
the key that is split, the old share of a reshare) is the ceremony's rule, not this module's.
"""

from typing import Self

from signer.bls.encoding import PublicKey
from signer.bls.scalar import SecretScalar, evaluate_polynomial
from signer.bls.scheme import public_key
from signer.errors import EngineError, ThresholdParameterError
from signer.sealing.hkdf import derive
from signer.secret import Secret, SecretBytes
from signer.threshold.params import MAX_HOLDERS, MIN_THRESHOLD, ShareIndex

SEED_BYTES = 32
CEREMONY_BYTES = 32

_WIDE_BYTES = 48  # reduced mod r, within 2**-128 of uniform
_COEFFICIENT = b"signer/deal/coefficient/v1"


class Dealing(Secret):
    """f of degree t - 1 and Cₖ = fₖ·G. Use it in a `with` block, which wipes the polynomial."""

    __slots__ = ("_coefficients", "commitments")

    def __init__(self, coefficients: list[SecretScalar]) -> None:
        """Take the coefficients over, to be wiped with this.

        Raises:
            EngineError: two are equal: the source they came from is broken.
        """
        self._coefficients = coefficients
        self.commitments: tuple[PublicKey, ...] = tuple(map(public_key, coefficients))
        if len(set(self.commitments)) != len(coefficients):
            raise EngineError("the random source is broken: it repeats itself")

    @classmethod
    def derive(
        cls, seed: SecretBytes, ceremony: bytes, t: int, constant: SecretScalar | None = None
    ) -> Self:
        """Make the polynomial of a seed.

        Args:
            seed: 32 random bytes; stays as it is.
            ceremony: 32-byte id, never used before with this seed and another purpose.
            t: how many coefficients.
            constant: f(0), if the rule prescribes it; copied.

        Raises:
            EngineError: the seed is zeros, or the polynomial repeats a coefficient.
            EncodingError: a coefficient is zero (E_SCALAR), once in 2**255.
            ThresholdParameterError: t is no threshold.
        """
        if not MIN_THRESHOLD <= t <= MAX_HOLDERS:
            raise ThresholdParameterError(
                f"polynomial: {t} coefficients, {MIN_THRESHOLD} to {MAX_HOLDERS} are possible"
            )
        coefficients: list[SecretScalar] = []
        try:
            if constant is not None:
                coefficients.append(constant.duplicate())
            for power in range(len(coefficients), t):
                label = _COEFFICIENT + _ceremony(ceremony) + power.to_bytes(2, "big")
                coefficients.append(derive_scalar(seed, label))
            return cls(coefficients)
        except BaseException:
            for coefficient in coefficients:
                coefficient.wipe()
            raise

    @property
    def constant(self) -> SecretScalar:
        """f(0). It belongs to this dealing and ends with it."""
        return self._coefficients[0]

    def share_for(self, index: ShareIndex) -> SecretScalar:
        """Return f(index), which the caller wipes.

        Raises:
            EncodingError: it is zero (E_SCALAR), once in 2**255.
        """
        return evaluate_polynomial(self._coefficients, ShareIndex(index))

    def wipe(self) -> None:
        """Overwrite the polynomial with zeros; the commitments are public and stay."""
        for coefficient in self._coefficients:
            coefficient.wipe()


def derive_scalar(seed: SecretBytes, label: bytes) -> SecretScalar:
    """Return the scalar that a session seed has under `label`, uniform but for 2**-128.

    Raises:
        EngineError: the seed is zeros.
        EncodingError: the scalar is zero (E_SCALAR), once in 2**255.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a session seed has {SEED_BYTES} bytes, not {len(seed)}")
    with SecretBytes.zeros(SEED_BYTES) as zeros:
        if seed == zeros:
            raise EngineError("the random source is broken: the session seed is zeros")
    with derive(seed, label, _WIDE_BYTES) as wide:
        return SecretScalar.reduced(wide)


def _ceremony(ceremony: bytes) -> bytes:
    if len(ceremony) != CEREMONY_BYTES:
        raise ValueError(f"a ceremony's id has {CEREMONY_BYTES} bytes, not {len(ceremony)}")
    return ceremony

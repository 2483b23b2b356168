"""Share indices and thresholds that cannot be out of range."""

from dataclasses import dataclass
from typing import Self

from signer.errors import ThresholdParameterError

MAX_HOLDERS = 100
MIN_THRESHOLD = 2


class ShareIndex(int):
    """Where a share lies on the polynomial: 1..100. 0 would be the secret itself."""

    def __new__(cls, value: int) -> Self:
        """Check `value`.

        Raises:
            ThresholdParameterError: not an integer (bool, float and text are none) in 1..100.
        """
        if type(value) is cls:
            return value
        if type(value) is not int or not 1 <= value <= MAX_HOLDERS:
            raise ThresholdParameterError(f"share index: must be an integer in 1..{MAX_HOLDERS}")
        return super().__new__(cls, value)


@dataclass(frozen=True, slots=True)
class Threshold:
    """t of n: any t of n holders sign, t - 1 cannot. 2 <= t <= n <= 100.

    t = 1 is refused: each holder alone could take everything.
    """

    t: int
    n: int

    def __post_init__(self) -> None:
        if type(self.t) is not int or type(self.n) is not int:
            raise ThresholdParameterError("threshold: t and n must be integers")
        if not MIN_THRESHOLD <= self.n <= MAX_HOLDERS:
            raise ThresholdParameterError(
                f"threshold: {self.n} holders, {MIN_THRESHOLD} to {MAX_HOLDERS} are possible"
            )
        if self.t < MIN_THRESHOLD:
            raise ThresholdParameterError(
                f"threshold: {self.t} of {self.n} would let a single holder sign",
                hint="choose at least 2; two thirds of the holders is usual",
            )
        if self.t > self.n:
            raise ThresholdParameterError(f"threshold: {self.t} of {self.n} can never sign")

"""The aggregator's core: from partial signatures to group signatures, naming who sent a bad one.

The good case is fast: partials are combined unchecked, each combination is checked to be in the
group, and one random linear combination verifies all of them under the group public key. Only when
that fails are single partials looked at. A signature that leaves this module has been verified, and
BLS signatures are unique: it is the one that the whole key would have made.

Left to others: that an index belongs to one of n holders, and that nobody answers twice; a mapping
holds an index once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from signer.bls.combination import Combination, UnusablePartialError
from signer.bls.encoding import Signature
from signer.bls.scheme import hash_many, verify_batch
from signer.errors import BadPartialsError, EngineError, InputError, TooFewPartialsError
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex
from signer.threshold.partial import (
    E_ENCODING,
    E_INVALID,
    decode_partial,
    verify_hashed_partial,
)
from signer.threshold.vector import VerificationVector

_MAX_FAILING = 64  # items looked at one by one in a round
_MAX_PREPARED = 64  # sets of signers whose buffers are kept; one batch seldom has more than one


@dataclass(frozen=True, slots=True)
class CombineResult:
    """What became of a batch.

    `signatures`: one entry an item, None where fewer than t good partials are at hand.
    `culprits`: who sent a bad partial, and of which kind. His other partials were not used for
    items that were still open, and are not counted.
    `good_partials`: for each unfinished item by position, how many verified partials it has.
    `signers`: whose partials made the signatures.
    """

    signatures: list[Signature | None]
    culprits: dict[ShareIndex, str]
    good_partials: dict[int, int]
    signers: frozenset[ShareIndex]


def combine_batch(
    roots: Sequence[bytes],
    partials: Mapping[ShareIndex, Sequence[bytes | None]],
    vector: VerificationVector,
    random_bytes: Callable[[int], bytes],
) -> CombineResult:
    """Combine the partials of many items.

    Args:
        roots: the signing root of each item, computed by whoever calls, not by whoever answered.
        partials: for each share index one entry an item, 96 unverified bytes or None.
        vector: of the group.
        random_bytes: a cryptographic source that the senders of partials cannot foresee.

    Raises:
        EncodingError: the vector makes somebody's public share infinity.
        EngineError: the random source is broken, or this machine computed something wrong.
    """
    if any(len(column) != len(roots) for column in partials.values()):
        raise ValueError("every holder's column must have one entry an item")
    batch = _Batch(roots, partials, vector, random_bytes)
    batch.run()
    return CombineResult(
        signatures=batch.signatures,
        good_partials=batch.count_good_partials(),  # may name more culprits
        culprits=batch.culprits,
        signers=frozenset(batch.signers),
    )


def combine(
    root: bytes,
    partials: Mapping[ShareIndex, bytes],
    vector: VerificationVector,
    random_bytes: Callable[[int], bytes],
) -> tuple[Signature, dict[ShareIndex, str]]:
    """Combine the partials of one item; return the group signature and who sent a bad partial.

    Raises:
        TooFewPartialsError: fewer than t holders answered.
        BadPartialsError: fewer than t partials are good; the error names the culprits.
    """
    columns = {index: [partial] for index, partial in partials.items()}
    result = combine_batch([root], columns, vector, random_bytes)
    signature = result.signatures[0]
    if signature is not None:
        return signature, result.culprits
    have, need = result.good_partials[0], vector.threshold
    culprits = tuple((int(index), code) for index, code in sorted(result.culprits.items()))
    message = f"{have} good partial signatures, {need} are needed"
    if have + len(culprits) >= need:
        raise BadPartialsError(message, have=have, need=need, culprits=culprits)
    raise TooFewPartialsError(message, have=have, need=need, culprits=culprits)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A combination that is in the group but not verified yet."""

    signature: Signature
    signers: tuple[ShareIndex, ...]


class _Batch:
    """The state of one `combine_batch`."""

    def __init__(
        self,
        roots: Sequence[bytes],
        partials: Mapping[ShareIndex, Sequence[bytes | None]],
        vector: VerificationVector,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._vector = vector
        self._random_bytes = random_bytes
        self._columns = {ShareIndex(index): partials[index] for index in sorted(partials)}
        self._points = hash_many(roots)
        self._candidates: dict[int, _Candidate] = {}
        self._prepared: dict[tuple[ShareIndex, ...], Combination] = {}
        self.signatures: list[Signature | None] = [None] * len(roots)
        self.culprits: dict[ShareIndex, str] = {}
        self.signers: set[ShareIndex] = set()

    def run(self) -> None:
        """Sign every item that has t good partials. Each round but the last names culprits."""
        while True:
            self._propose()
            failing = self._settle()
            if not failing:
                return
            for position in failing:
                if position in self._candidates:  # else its culprit was named a moment ago
                    self._blame(position, self._candidates[position].signers)

    def _propose(self) -> None:
        """Make a candidate for every open item that has t usable partials."""
        while waiting := {
            position: signers
            for position in self._open()
            if position not in self._candidates and (signers := self._choose(position)) is not None
        }:
            known = len(self.culprits)
            for position, signers in waiting.items():
                self._combine(position, signers)
                if len(self.culprits) > known:  # the choices of signers are out of date
                    break

    def _open(self) -> list[int]:
        return [position for position, done in enumerate(self.signatures) if done is None]

    def _choose(self, position: int) -> tuple[ShareIndex, ...] | None:
        """Return the t lowest indices with a usable partial for this item, None if too few."""
        need = self._vector.threshold
        chosen = []
        for index, column in self._columns.items():
            if column[position] is not None:
                chosen.append(index)
                if len(chosen) == need:
                    return tuple(chosen)
        return None

    def _combine(self, position: int, signers: tuple[ShareIndex, ...]) -> None:
        partials = [self._columns[index][position] or b"" for index in signers]
        try:
            signature = self._combination(signers).combine(partials)
        except UnusablePartialError as error:
            self._exclude(signers[error.position], E_ENCODING)
            return
        if signature is None:
            self._blame(position, signers)
        else:
            self._candidates[position] = _Candidate(signature, signers)

    def _combination(self, signers: tuple[ShareIndex, ...]) -> Combination:
        prepared = self._prepared.get(signers)
        if prepared is None:
            if len(self._prepared) == _MAX_PREPARED:
                self._prepared.clear()
            fractions = lagrange_at_zero(signers)
            prepared = Combination(fractions.numerators, fractions.denominator)
            self._prepared[signers] = prepared
        return prepared

    def _settle(self) -> list[int]:
        """Accept candidates that verify; return the positions of those that do not.

        Bisection: a batch that fails is halved until single items are left. Enough failing items
        for one round are _MAX_FAILING; what then is unsettled waits for the next.
        """
        failing: list[int] = []
        parts = [sorted(self._candidates)]
        while parts and len(failing) < _MAX_FAILING:
            positions = parts.pop()
            if self._verifies(positions):
                self._accept(positions)
            elif len(positions) == 1:
                failing += positions
            else:
                half = len(positions) // 2
                parts += [positions[half:], positions[:half]]
        return failing

    def _verifies(self, positions: list[int]) -> bool:
        return not positions or verify_batch(
            self._vector.group_public_key,
            [self._points[position] for position in positions],
            [self._candidates[position].signature for position in positions],
            self._random_bytes,
        )

    def _accept(self, positions: list[int]) -> None:
        for position in positions:
            candidate = self._candidates.pop(position)
            self.signatures[position] = candidate.signature
            self.signers.update(candidate.signers)

    def _blame(self, position: int, signers: tuple[ShareIndex, ...]) -> None:
        """Exclude who sent a bad partial for an item whose combination is wrong.

        Raises:
            EngineError: nobody did. t good partials always combine: this machine erred.
        """
        known = len(self.culprits)
        for index in signers:
            try:
                verify_hashed_partial(
                    self._vector.public_share(index),
                    self._points[position],
                    self._columns[index][position] or b"",
                )
            except InputError as error:
                self._exclude(index, error.code)
        if len(self.culprits) == known:
            raise EngineError("good partial signatures combined to a wrong signature")

    def _exclude(self, index: ShareIndex, code: str) -> None:
        """Take a culprit's partials out of everything that is not verified yet."""
        self.culprits[index] = code
        del self._columns[index]
        self._candidates = {
            position: candidate
            for position, candidate in self._candidates.items()
            if index not in candidate.signers
        }

    def count_good_partials(self) -> dict[int, int]:
        """Verify the partials of unfinished items, exclude more culprits, return the counts."""
        counts = dict.fromkeys(self._open(), 0)
        for index, column in list(self._columns.items()):
            positions = [position for position in counts if column[position] is not None]
            if not positions:
                continue
            try:
                partials = [decode_partial(column[position] or b"") for position in positions]
            except InputError as error:
                self._exclude(index, error.code)
                continue
            points = [self._points[position] for position in positions]
            key = self._vector.public_share(index)
            if not verify_batch(key, points, partials, self._random_bytes):
                self._exclude(index, E_INVALID)
                continue
            for position in positions:
                counts[position] += 1
        return counts

import pytest

from signer.bls.encoding import Signature
from signer.bls.scheme import hash_to_g2
from signer.errors import EngineError
from signer.threshold.covering import combine_each
from signer.threshold.params import ShareIndex
from tests.simulators.drills import DrillPool

HOLDERS = DrillPool()
POINT, VECTOR = HOLDERS.order.point, HOLDERS.group.vector
PARTIALS = {ShareIndex(i): Signature(HOLDERS.partial(i, HOLDERS.order)) for i in range(1, 6)}


def some(*indices: int) -> dict[ShareIndex, Signature]:
    return {ShareIndex(i): PARTIALS[ShareIndex(i)] for i in indices}


@pytest.mark.parametrize(
    ("indices", "sets"),
    [
        ((1, 2, 3), [(1, 2, 3)]),
        ((5, 2, 4), [(2, 4, 5)]),
        ((1, 2, 3, 4), [(1, 2, 3), (2, 3, 4)]),
        ((1, 2, 3, 4, 5), [(1, 2, 3), (3, 4, 5)]),
    ],
)
def test_every_partial_is_used(indices: tuple[int, ...], sets: list[tuple[int, ...]]) -> None:
    assert combine_each(POINT, some(*indices), VECTOR) == sets


@pytest.mark.parametrize("bad", [1, 2, 3, 4])
def test_one_that_does_not_fit_is_noticed_wherever_it_stands(bad: int) -> None:
    partials = some(1, 2, 3, 4) | {ShareIndex(bad): PARTIALS[ShareIndex(5)]}
    with pytest.raises(EngineError):
        combine_each(POINT, partials, VECTOR)


def test_another_message_is_noticed() -> None:
    with pytest.raises(EngineError):
        combine_each(hash_to_g2(b"else"), some(1, 2, 3), VECTOR)


def test_too_few_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="3 are needed"):
        combine_each(POINT, some(1, 2), VECTOR)

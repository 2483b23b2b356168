import copy
import json
import pickle
from typing import Any

import pytest

from signer.errors import ThresholdParameterError
from signer.threshold.params import ShareIndex, Threshold


@pytest.mark.parametrize("value", [1, 2, 99, 100])
def test_index(value: int) -> None:
    index = ShareIndex(value)
    assert index == value
    assert json.dumps({"index": index}) == f'{{"index": {value}}}'
    for twin in (ShareIndex(index), copy.copy(index), pickle.loads(pickle.dumps(index))):
        assert type(twin) is ShareIndex
        assert twin == index


@pytest.mark.case("P3", "index 0, negative, 101, r, r + 1, not an integer")
@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        101,
        2**16,
        0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001,
        0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000002,
        True,
        1.0,
        "1",
        b"1",
        None,
        float("nan"),
    ],
)
def test_no_index(value: Any) -> None:
    with pytest.raises(ThresholdParameterError) as caught:
        ShareIndex(value)
    assert caught.value.code == "E_THRESHOLD"


@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (6, 11), (67, 100), (100, 100)])
def test_threshold(t: int, n: int) -> None:
    assert (Threshold(t, n).t, Threshold(t, n).n) == (t, n)


@pytest.mark.case("P1", "t of 0, 1, n + 1, 2**16")
@pytest.mark.parametrize(("t", "n"), [(0, 5), (1, 5), (-1, 5), (6, 5), (2**16, 5), (101, 100)])
def test_no_threshold(t: int, n: int) -> None:
    refused(t, n)


@pytest.mark.case("P2", "n of 0, 1, 101")
@pytest.mark.parametrize(("t", "n"), [(2, 0), (0, 0), (1, 1), (2, 1), (2, 101), (2, -1)])
def test_no_group(t: int, n: int) -> None:
    refused(t, n)


@pytest.mark.case("P1", "t or n that is no integer")
@pytest.mark.parametrize(("t", "n"), [(2.0, 3), ("2", 3), (2, 3.0), (2, "3"), (True, 3), (2, None)])
def test_no_integers(t: Any, n: Any) -> None:
    refused(t, n)


def refused(t: Any, n: Any) -> None:
    with pytest.raises(ThresholdParameterError) as caught:
        Threshold(t, n)
    assert caught.value.code == "E_THRESHOLD"
    assert caught.value.exit_status == 1

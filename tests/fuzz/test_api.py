"""A few hundred requests of what `make fuzz` makes by the thousand."""

import pytest

from tests.fuzz.api import examine


@pytest.mark.case("X472", "schemathesis: what the OpenAPI file allows, over the socket")
@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_every_answer_is_as_documented() -> None:
    assert examine(max_examples=15) > 40

"""What docs/testing.md says of the modules is what the suite asserts of them."""

from pathlib import Path

import pytest

from signer.hsm.discovery import profile_for
from tests.modules.bench import Bench
from tests.modules.under_test import REFUSALS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def told(name: str) -> set[str]:
    """Return the words of a module's row, after its name and version."""
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    return {word.strip("`") for word in row.split("|")[3].split()}


@pytest.mark.ours_only
def test_the_page_says_what_a_module_cannot(bench: Bench) -> None:
    assert told(bench.under.name) == REFUSALS.keys() - bench.under.abilities


def test_its_profile_is_the_one_that_describes_it(bench: Bench) -> None:
    found = profile_for(bench.token(), bench.under.path)
    assert found is not None
    assert found.name == bench.under.profile_name

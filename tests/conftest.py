"""What every test may ask for."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Return a reader of `../shared/vectors`; missing vectors fail in CI and skip elsewhere."""
    if not VECTORS.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{VECTORS} is missing: the vectors must be there in CI")
        pytest.skip("no ../shared/vectors on this machine")

    def read(name: str) -> Any:
        return json.loads((VECTORS / name).read_text(encoding="utf-8"))

    return read


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", action="store_true", help="list the bad inputs tried, run nothing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--cases"):
        return
    lines = set()
    for item in items:
        for mark in item.iter_markers("case"):
            number, *words = mark.args
            lines.add(
                (number[0], int(number[1:]), f"{number:5} {' '.join(words)}  [{item.nodeid}]")
            )
    for _, _, line in sorted(lines):
        print(line)  # noqa: T201
    items[:] = []

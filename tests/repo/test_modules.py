"""The results of `make modules` that are in the repository: of all modules, and no failure."""

import json
from pathlib import Path

from tests.modules.catalogue import MODULES

ROOT = Path(__file__).resolve().parents[2]


def test_results_of_every_module() -> None:
    results = json.loads((ROOT / "modules" / "results.json").read_text())
    assert results.keys() == MODULES.keys()
    for name, counts in results.items():
        assert counts.keys() == {"passed", "failed", "asserted_unsupported"}
        assert counts["failed"] == 0, name
        assert counts["passed"] > 0, name
    assert results["memory"]["asserted_unsupported"] == 0

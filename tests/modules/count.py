"""How many tests passed, failed, and asserted a refusal, on each module: a plugin for pytest.

`make modules` takes it, with `-p tests.modules.count --module-results FILE`.
"""

import json
from pathlib import Path

import pytest

_KINDS = ("passed", "failed", "asserted_unsupported")


class Counts:
    """The counts of one run; with xdist they are kept where all reports arrive."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.modules: dict[str, dict[str, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one test."""
        properties = dict(report.user_properties)
        name = properties.get("module")
        if not isinstance(name, str):
            return
        counts = self.modules.setdefault(name, dict.fromkeys(_KINDS, 0))
        if report.failed or report.skipped:  # a module that is not there proves nothing
            counts["failed"] += 1
        elif report.when == "call":
            counts["asserted_unsupported" if "unsupported" in properties else "passed"] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the results, and show them."""
        results = dict(sorted(self.modules.items()))
        self.out.parent.mkdir(exist_ok=True)
        self.out.write_text(json.dumps(results, indent=2) + "\n")
        for name, counts in results.items():
            words = ", ".join(f"{number} {kind}" for kind, number in counts.items())
            terminalreporter.write_line(f"{name}: {words}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--module-results", type=Path, metavar="FILE", required=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counts(config.getoption("--module-results")))

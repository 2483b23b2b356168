"""docs/operations.md lists exactly the names that the program uses."""

import re
from pathlib import Path

from signer.agent.metrics import HELP, RESULTS, TOKEN_STATES
from tests.unit.agent.test_openapi import DOCUMENT

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/operations.md").read_text()
_WRITE = re.compile(r"\b_?log\.write\(\s*(\"[^)]*?)(?:,|\))")


def first_column(heading: str) -> set[str]:
    """Return the names in the first column of the table below `heading`."""
    section = TEXT[TEXT.index(f"## {heading}") :].split("\n## ")[0]
    return set(re.findall(r"^\| `([A-Za-z_]+)` \|", section, re.MULTILINE))


def in_program(pattern: str, folder: str = "signer") -> set[str]:
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        found |= set(re.findall(pattern, path.read_text()))
    return found


def test_every_event_is_listed_and_no_other() -> None:
    events: set[str] = set()
    for path in (ROOT / "signer").rglob("*.py"):
        for argument in _WRITE.findall(path.read_text()):
            events |= set(re.findall(r'"([a-z_]+)"', argument))
    assert {"listening", "signed", "denied", "bug", "library"} <= events  # the search finds them
    assert events == first_column("Log")


def test_every_metric_is_listed_and_no_other() -> None:
    assert first_column("Metrics") == {f"signer_{name}" for name in HELP}
    for word in (*TOKEN_STATES, *(result for result in RESULTS if result != "waiting")):
        assert f"`{word}`" in TEXT


def test_the_states_of_a_token_are_those_of_the_status() -> None:
    token = DOCUMENT["components"]["schemas"]["Status"]["properties"]["token"]
    assert set(token["properties"]["state"]["enum"]) == set(TOKEN_STATES)


def test_every_code_of_the_doctor_is_listed_and_no_other() -> None:
    assert first_column("`signer doctor`") == in_program(r'"(D_[A-Z_]+)"')


def test_every_weakness_is_listed_and_no_other() -> None:
    said = set(
        re.findall(
            r'weaknesses\.append\("([a-z_]+)"\)',
            (ROOT / "signer/custody/worker/hardening.py").read_text(),
        )
    )
    assert first_column("What a worker protects itself by") == said
    assert said

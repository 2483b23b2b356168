"""hsm_profiles/README.md says what the profiles and the parser say."""

import json
import re
from pathlib import Path

from signer.hsm.profile import load_profile, profile_names
from signer.hsm.profile_facts import FACTS, QUIRKS

FOLDER = Path(__file__).parents[2] / "hsm_profiles"
README = (FOLDER / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table under `heading`, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_profiles_is_what_they_say() -> None:
    said = {name.strip("`"): cells for name, *cells in rows("Profiles")}
    assert sorted(said) == sorted(profile_names())
    for name, cells in said.items():
        profile = load_profile(name)
        assert cells == [
            profile.title,
            ", ".join(f"`{method}`" for method in profile.seal_methods),
            str(profile.ceremony).lower(),
            profile.provenance,
            profile.journal_anchor,
            profile.verified,
        ]


def test_the_table_of_fields_has_every_field_and_no_other() -> None:
    schema = json.loads((FOLDER / "profile.schema.json").read_text())
    fields = set()
    for name, entry in schema["properties"].items():
        parts = entry.get("properties")
        fields |= {f"{name}.{part}" for part in parts} if parts else {name}
    fields -= {f"evidence.{fact}" for fact in FACTS}
    fields |= {f"evidence.<fact>.{part}" for part in ("verified", "source")}
    said = [name for cells in rows("Fields") for name in re.findall(r"`([^`]+)`", cells[0])]
    assert sorted(said) == sorted(fields)


def test_evidence_is_told_of_for_every_fact() -> None:
    (cells,) = [cells for cells in rows("Fields") if cells[0] == "`evidence.<fact>.verified`"]
    assert tuple(re.findall(r"`([a-z_]+)`", cells[2])) == FACTS


def test_every_quirk_is_explained_once() -> None:
    assert [cells[0].strip("`") for cells in rows("Quirks")] == sorted(QUIRKS)
    assert all(len(cells) == 3 and all(cells) for cells in rows("Quirks"))

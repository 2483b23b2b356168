"""profile.schema.json says what the parser does: what one refuses, so does the other."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from signer.errors import SchemaError
from signer.hsm import profile_facts as facts
from signer.hsm.profile import DeviceProfile, load_profile, profile_names
from signer.strict import Fields
from signer.strict_yaml import parse_yaml_object

FOLDER = Path(__file__).parents[3] / "hsm_profiles"
SCHEMA: dict[str, Any] = json.loads((FOLDER / "profile.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
PROFILES = [load_profile(name).to_json() for name in profile_names()]
Place = tuple[str | int, ...]


def by_schema(value: Any) -> bool:
    return bool(VALIDATOR.is_valid(value))


def by_parser(value: Any) -> bool:
    try:
        DeviceProfile.take(Fields(value, "profile"))
    except SchemaError:
        return False
    return True


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield where something stands in `value`."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for name, entry in entries:
        yield (*at, name)
        yield from places(entry, (*at, name))


def around(value: Any, place: Place) -> Any:
    """Return what `place` stands in."""
    for name in place[:-1]:
        value = value[name]
    return value


def at(value: Any, place: Place) -> Any:
    """Return what stands at `place`."""
    return around(value, (*place, ""))


def words(schema: Any) -> Iterator[Any]:
    """Yield every value that the schema names."""
    if isinstance(schema, dict):
        yield from schema.get("enum", ())
        for name, entry in schema.items():
            if name != "enum":
                yield from words(entry)
    elif isinstance(schema, list):
        for entry in schema:
            yield from words(entry)


profiles = st.sampled_from(PROFILES).map(copy.deepcopy)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**31),
    st.sampled_from(sorted(set(words(SCHEMA)))),
    st.text(st.characters(min_codepoint=32, max_codepoint=128), max_size=40),
    st.lists(st.sampled_from(sorted(set(words(SCHEMA)))), max_size=3),
    st.dictionaries(st.sampled_from(["max", "lock", "path", "source"]), st.none(), max_size=2),
)


def test_the_schema_is_one_and_keeps_its_words_with_the_parser() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    properties = SCHEMA["properties"]
    assert tuple(properties["seal"]["items"]["enum"]) == facts.SEAL_METHODS
    assert tuple(properties["quirks"]["items"]["enum"]) == facts.QUIRKS
    assert tuple(properties["evidence"]["required"]) == facts.FACTS


@pytest.mark.parametrize("name", profile_names())
def test_every_packaged_profile_is_valid_as_it_stands_in_its_file(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    value = parse_yaml_object(path.read_bytes(), what=path.name, max_bytes=2**16)
    VALIDATOR.validate(value)


@pytest.mark.case("X869", "profile: each field dropped, and each renamed, by parser and by schema")
@pytest.mark.parametrize("profile", PROFILES, ids=profile_names())
def test_no_field_can_go_or_be_called_otherwise(profile: dict[str, Any]) -> None:
    tried = 0
    for place in places(profile):
        if isinstance(place[-1], int):
            continue
        dropped, renamed = copy.deepcopy(profile), copy.deepcopy(profile)
        del around(dropped, place)[place[-1]]
        entry = around(renamed, place).pop(place[-1])
        around(renamed, place)[f"{place[-1]}s"] = entry
        for value in (dropped, renamed):
            assert (by_schema(value), by_parser(value)) == (False, False), place
            tried += 1
    assert tried > 100


@pytest.mark.case("X869", "profile: one field more in each of its objects, by parser and by schema")
def test_no_field_can_be_added() -> None:
    profile = load_profile("softhsm2").to_json()
    objects = [(), *(place for place in places(profile) if type(at(profile, place)) is dict)]
    assert len(objects) > 15
    for place in objects:
        value = copy.deepcopy(profile)
        at(value, place)["colour"] = "red"
        assert (by_schema(value), by_parser(value)) == (False, False), place


@pytest.mark.case("X869", "profile: anything at all in place of anything in it, by both")
@given(profiles, st.data())
def test_both_refuse_the_same_values(profile: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(sorted(places(profile), key=str)))
    around(profile, place)[place[-1]] = data.draw(values)
    pin = profile["pin"]
    names = ("min_length", "max_length")
    lengths: list[Any] = [pin.get(name) for name in names] if type(pin) is dict else []
    # What the schema's $comment leaves to the parser.
    assume(not all(type(length) is int for length in lengths) or lengths == sorted(lengths))
    assert by_schema(profile) == by_parser(profile), place


@pytest.mark.case("X869", "profile: two of its fields changed, so that they may contradict")
@given(profiles, st.data())
def test_both_refuse_the_same_contradictions(profile: dict[str, Any], data: st.DataObject) -> None:
    changes = {
        "seal": st.lists(st.sampled_from(facts.SEAL_METHODS), min_size=1, unique=True),
        "allow_weak": st.booleans(),
        "ceremony": st.booleans(),
        "provenance": st.sampled_from(facts.PROVENANCES),
        "journal_anchor": st.sampled_from(facts.ANCHORS),
    }
    for name in data.draw(st.lists(st.sampled_from(sorted(changes)), min_size=2, unique=True)):
        profile[name] = data.draw(changes[name])
    pins, objects = profile["pin"], profile["objects"]
    pins["lock"] = data.draw(st.sampled_from(facts.LOCKS))
    pins["tries"] = data.draw(st.sampled_from([None, 3]))
    objects["data_objects"] = data.draw(st.booleans())
    objects["max_data_bytes"] = data.draw(st.sampled_from([None, 2048]))
    assert by_schema(profile) == by_parser(profile)

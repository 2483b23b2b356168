"""What the agent remembers of PINs, across restarts, until a person or a new file speaks."""

import os
from pathlib import Path
from typing import Any

import pytest

from signer.custody.jobs.sources import SecretSource
from signer.custody.pin_guard import PinGuard
from signer.errors import ConfigError, PinError, SchemaError
from signer.strict import Fields, canonical, parse_object

EMPTY = {"type": "signer-pin-guard", "version": 1, "bound": [], "refused": []}


@pytest.fixture
def pin(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.write_text("wrong\n")
    return path


def refused(guard: PinGuard, source: SecretSource) -> bool:
    try:
        guard.ready(source)
    except PinError as error:
        return error.code == "E_PIN_REFUSED" and "unlatch" in error.hint
    return False


@pytest.mark.case("X300", "PIN file that the token refused, after a restart of the agent")
def test_a_refused_file_is_not_used_again_until_it_is_written_anew(
    tmp_path: Path, pin: Path
) -> None:
    source = SecretSource(file=str(pin))
    guard = PinGuard.open(tmp_path / "guard.json")
    assert guard.ready(source) == source
    guard.refused(source)
    assert refused(guard, source)
    again = PinGuard.open(tmp_path / "guard.json")
    assert refused(again, source)
    pin.write_text("right\n")
    assert not refused(again, source)
    again.accepted(source, "S1")
    assert not refused(PinGuard.open(tmp_path / "guard.json"), source)


def test_a_person_may_have_it_tried_again(tmp_path: Path, pin: Path) -> None:
    source = SecretSource(file=str(pin))
    guard = PinGuard.open(tmp_path / "guard.json")
    guard.refused(source)
    guard.release()
    assert not refused(guard, source)
    assert not refused(PinGuard.open(tmp_path / "guard.json"), source)


def test_what_a_person_gives_now_is_never_held_back(tmp_path: Path) -> None:
    guard = PinGuard.open(tmp_path / "guard.json")
    for source in (
        SecretSource(terminal=5), SecretSource(pipe=5), SecretSource(pinentry="/p"),
        SecretSource(pad=True),
    ):  # fmt: skip
        guard.refused(source)
        assert guard.ready(source) is source
        guard.accepted(source, "S1")
        assert guard.ready(source) is source
    assert not (tmp_path / "guard.json").exists()


@pytest.mark.case("X301", "PIN file of one token, another token in its place")
def test_a_pin_is_for_the_token_that_took_it_first(tmp_path: Path, pin: Path) -> None:
    source = SecretSource(file=str(pin))
    guard = PinGuard.open(tmp_path / "guard.json")
    guard.accepted(source, "S1")
    for known in (guard, PinGuard.open(tmp_path / "guard.json")):
        known.accepted(source, "S2")
        assert known.ready(source).serial == "S1"
    other = SecretSource(file=str(tmp_path / "spare-pin"))
    assert guard.ready(other).serial is None  # another PIN is another token's
    named = SecretSource(file=str(pin), serial="S9")
    assert guard.ready(named).serial == "S9"  # the configuration's word counts
    guard.release()
    assert guard.ready(source).serial is None


@pytest.mark.case("X306", "two PIN files refused in turn: the first is still refused")
def test_each_source_is_remembered_for_itself(tmp_path: Path, pin: Path) -> None:
    sources = []
    for number in range(3):
        path = tmp_path / f"pin-{number}"
        path.write_text("wrong\n")
        sources.append(SecretSource(file=str(path)))
    guard = PinGuard.open(tmp_path / "guard.json")
    for source in sources:
        guard.refused(source)
    assert all(refused(guard, source) for source in sources)
    guard.accepted(sources[2], "S1")  # says nothing about the other two
    again = PinGuard.open(tmp_path / "guard.json")
    assert [refused(again, source) for source in sources] == [True, True, False]


def test_the_file_stays_one_that_is_read(tmp_path: Path) -> None:
    guard = PinGuard.open(tmp_path / "guard.json")
    for number in range(20):
        guard.accepted(SecretSource(file=f"/run/pin-{number}"), f"S{number}")
        guard.refused(SecretSource(file=f"/run/pin-{number}"))
    again = PinGuard.open(tmp_path / "guard.json")
    assert refused(again, SecretSource(file="/run/pin-19"))


@pytest.mark.case("X307", "token whose serial is blank or too long: nothing to bind a PIN to")
@pytest.mark.parametrize("serial", ["", "x" * 33, "a\nb"])
def test_a_token_without_a_serial_is_not_bound_to(tmp_path: Path, pin: Path, serial: str) -> None:
    source = SecretSource(file=str(pin))
    guard = PinGuard.open(tmp_path / "guard.json")
    guard.refused(source)
    guard.accepted(source, serial)
    for known in (guard, PinGuard.open(tmp_path / "guard.json")):
        ready = known.ready(source)
        assert ready == source
        assert taken(ready.to_json()) == ready


@pytest.mark.case("X302", "PIN guard file: garbage, unknown field, other version, empty")
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", canonical({"type": "signer-pin-guard", "version": 2}),
        canonical(EMPTY | {"x": 1}), canonical(EMPTY | {"bound": [5]}),
        canonical(EMPTY | {"refused": [{}]}),
    ],
)  # fmt: skip
def test_a_damaged_guard_file_is_not_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "guard.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        PinGuard.open(path)
    assert "counter" in caught.value.hint


def test_the_file_is_private_and_holds_no_pin(tmp_path: Path, pin: Path) -> None:
    guard = PinGuard.open(tmp_path / "guard.json")
    guard.refused(SecretSource(file=str(pin)))
    path = tmp_path / "guard.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"wrong" not in path.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["guard.json", "pin"]


# A source, in an order


def taken(value: dict[str, Any]) -> SecretSource:
    return SecretSource.parse(Fields(parse_object(canonical(value), what="o", max_bytes=9999), "o"))


SOURCES = (
    SecretSource(file="/run/pin"), SecretSource(credential="/run/c/pin"),
    SecretSource(descriptor=4), SecretSource(terminal=5, final_try=True), SecretSource(pipe=6),
    SecretSource(pinentry="/usr/bin/pinentry", display={"GPG_TTY": "/dev/pts/1"}),
    SecretSource(pad=True, serial="S1"),
)  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_source_comes_out_as_it_went_in(source: SecretSource) -> None:
    assert taken(source.to_json()) == source


def test_which_sources_need_nobody() -> None:
    assert [source.unattended for source in SOURCES] == [True] * 3 + [False] * 4


@pytest.mark.case("X303", "order with no source of a secret, with two, with another's field")
@pytest.mark.parametrize(
    "changes",
    [
        {"file": None}, {"terminal": 5}, {"pad": True}, {"pipe": -1}, {"pipe": True},
        {"file": "relative"}, {"file": "/a\nb"}, {"pin": "1234"}, {"final_try": 1},
        {"display": {"LD_PRELOAD": "/x"}}, {"final_try": True}, {"serial": ""},
        {"serial": "x" * 33},
    ],
)  # fmt: skip
def test_a_source_is_exactly_one(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        taken(SOURCES[0].to_json() | changes)


def test_the_identity_of_a_descriptor_is_its_files(tmp_path: Path, pin: Path) -> None:
    with pin.open("rb") as file:
        source = SecretSource(descriptor=os.dup(file.fileno()))
    guard = PinGuard.open(tmp_path / "guard.json")
    guard.refused(source)
    assert refused(guard, source)
    pin.write_text("another one")
    assert not refused(guard, source)
    os.close(source.descriptor or 0)

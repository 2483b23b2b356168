"""Where a desk command takes the PIN: at most one source, and the last try only with a person."""

import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from signer.cli.options import pin_option
from signer.cli.wiring import pin_choice
from signer.custody.jobs.sources import SecretSource
from signer.errors import PinError, UsageError
from signer.strict import Fields, canonical, parse_object

NOTHING: dict[str, Any] = {
    "pin_file": None, "pin_fd": None, "pinentry": None, "pin_pad": False, "final_try": False,
}  # fmt: skip
DESCRIPTOR = os.open("/dev/null", os.O_RDONLY)
SOME: tuple[dict[str, Any], ...] = (
    {"pin_file": Path("/p")}, {"pin_fd": DESCRIPTOR}, {"pinentry": Path("/e")}, {"pin_pad": True},
)  # fmt: skip


def test_without_an_option_the_terminal_is_asked() -> None:
    assert pin_choice(**NOTHING) is None
    last = pin_choice(**NOTHING | {"final_try": True})
    assert last is not None
    assert (last.chosen, last.final_try) == (False, True)


@pytest.mark.parametrize("options", SOME, ids=str)
def test_each_source_is_one_that_an_order_takes(options: dict[str, Any]) -> None:
    source = pin_choice(**NOTHING | options)
    assert source is not None
    raw = canonical(source.to_json())
    assert SecretSource.parse(Fields(parse_object(raw, what="o", max_bytes=9999), "o")) == source
    assert source.unattended == ("pin_file" in options)


def test_pinentry_gets_the_display_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("GPG_TTY", "/dev/pts/1")
    monkeypatch.setenv("SIGNER_PIN", "1234")
    source = pin_choice(**NOTHING | {"pinentry": Path("bin/pinentry-tty")})
    assert source is not None
    assert source.pinentry == str(Path.cwd() / "bin/pinentry-tty")
    assert source.display["WAYLAND_DISPLAY"] == "wayland-0"
    assert source.display["GPG_TTY"] == "/dev/pts/1"
    assert "SIGNER_PIN" not in source.display
    beside = pin_choice(**NOTHING | {"pin_pad": True})
    assert beside is not None
    assert beside.display == {}


@pytest.mark.case("X310", "two sources of a PIN on one command line")
@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_two_sources_are_refused(first: int, second: int) -> None:
    if first == second:
        return
    with pytest.raises(UsageError, match="give one of"):
        pin_choice(**NOTHING | SOME[first] | SOME[second])


@pytest.mark.case("X311", "--final-try with a source that needs nobody")
def test_the_last_try_needs_a_person() -> None:
    for options in SOME[:2]:
        with pytest.raises(UsageError, match="a person has to be there"):
            pin_choice(**NOTHING | options | {"final_try": True})
    for options in SOME[2:]:
        source = pin_choice(**NOTHING | options | {"final_try": True})
        assert source is not None
        assert source.final_try


@pytest.mark.case("T3", "PIN in the environment under a likely name: ignored")
def test_no_variable_brings_a_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[SecretSource | None] = []

    @click.command()
    @pin_option
    def command(pin: SecretSource | None) -> None:
        got.append(pin)

    for name in ("PIN", "SIGNER_PIN", "SIGNER_PIN_FILE", "SIGNER_PIN_FD", "COMMAND_PIN_FD"):
        monkeypatch.setenv(name, "1234")
    assert CliRunner().invoke(command, []).exit_code == 0
    assert CliRunner().invoke(command, ["--pin-fd", "5"]).exit_code == 0
    assert got == [None, SecretSource(pipe=5)]


@pytest.mark.case("X310", "--pin-fd of the standard streams, or no number")
@pytest.mark.parametrize("value", ["0", "2", "-1", "1025", "x"])
def test_a_descriptor_that_cannot_be_one(value: str) -> None:
    @click.command()
    @pin_option
    def command(pin: SecretSource | None) -> None:
        pytest.fail("ran")

    assert CliRunner().invoke(command, ["--pin-fd", value]).exit_code == 2


def test_a_bare_name_of_pinentry_is_looked_for_as_a_shell_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pinentry-mine"
    program.parent.mkdir()
    program.touch(mode=0o700)
    monkeypatch.setenv("PATH", str(program.parent))
    source = pin_choice(**NOTHING | {"pinentry": Path("pinentry-mine")})
    assert source is not None
    assert source.pinentry == str(program)


@pytest.mark.case("X462", "PIN on a descriptor that is not open")
def test_a_descriptor_must_be_open() -> None:
    with pytest.raises(PinError, match="descriptor 1023 is not open"):
        pin_choice(**NOTHING | {"pin_fd": 1023})

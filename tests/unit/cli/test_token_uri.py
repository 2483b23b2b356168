"""A URI where commands take a token: what it chooses, and options that contradict it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from signer.cli.main import main
from signer.cli.sparing import other_device
from signer.cli.wiring import pin_choice, token_choice
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import UsageError
from signer.hsm.profile import load_profile

PROFILE = load_profile("softhsm2")
URI = "pkcs11:token=ada;serial=1234abcd?module-path=/m.so&pin-source=file:/run/pin"
NO_PIN: dict[str, Any] = {
    "pin_file": None, "pin_fd": None, "pinentry": None, "pin_pad": False, "final_try": False,
}  # fmt: skip
NO_SPARE: dict[str, Any] = {
    f"spare_{name}": None for name in ("label", "serial", "profile", "module", "pin_file")
}


def test_a_uri_chooses_token_module_and_pin() -> None:
    chosen = TokenChoice(profile=PROFILE, module="/m.so", label="ada", serial="1234abcd")
    assert token_choice("softhsm2", None, URI, None) == chosen
    assert token_choice("softhsm2", Path("/m.so"), URI, "1234abcd") == chosen
    whole = "pkcs11:model=N;manufacturer=M;serial=;token=a%20b;slot-id=7"
    assert token_choice("softhsm2", Path("/o.so"), whole, None) == TokenChoice(
        profile=PROFILE, module="/o.so", label="a b", serial="", manufacturer="M", model="N",
        slot_id=7,
    )  # fmt: skip
    pin = SecretSource(file="/run/pin")
    assert pin_choice(**NO_PIN, token=URI) == pin
    assert pin_choice(**NO_PIN | {"pin_file": Path("/run/pin")}, token=URI) == pin


def test_options_say_what_a_uri_leaves_open() -> None:
    chosen = token_choice("softhsm2", Path("/m.so"), "pkcs11:token=ada", "77")
    assert chosen == TokenChoice(profile=PROFILE, module="/m.so", label="ada", serial="77")
    assert pin_choice(**NO_PIN, token="pkcs11:token=ada") is None
    pad = pin_choice(**NO_PIN | {"pin_pad": True}, token="pkcs11:token=ada")
    assert pad == SecretSource(pad=True)


def test_a_label_is_still_a_label() -> None:
    assert token_choice("softhsm2", None, "token=ada;x", None).label == "token=ada;x"
    assert pin_choice(**NO_PIN, token="ada") is None


@pytest.mark.case("X924", "--serial, --module, --pin-file or another PIN source against the URI's")
def test_what_contradicts_the_uri_is_refused() -> None:
    for module, serial, words in (
        (None, "1234abce", "--serial is another than the serial of --token's URI"),
        (Path("/other.so"), None, "--module is another than the module-path of --token's URI"),
    ):
        with pytest.raises(UsageError, match=words):
            token_choice("softhsm2", module, URI, serial)
    with pytest.raises(UsageError, match="--pin-file is another than the pin-source"):
        pin_choice(**NO_PIN | {"pin_file": Path("/other")}, token=URI)
    for source in ({"pin_fd": 5}, {"pinentry": Path("/e")}, {"pin_pad": True}):
        with pytest.raises(UsageError, match="give one of pin-source, --pin"):
            pin_choice(**NO_PIN | source, token=URI)
    with pytest.raises(UsageError, match="--final-try does not go with pin-source"):
        pin_choice(**NO_PIN | {"final_try": True}, token=URI)


def test_a_spare_is_chosen_by_a_uri_of_its_own() -> None:
    device = other_device("spare", NO_SPARE | {"spare_label": URI}, "softhsm2", Path("/main.so"))
    assert device is not None
    assert device.pin == SecretSource(file="/run/pin")
    assert (device.token.module, device.token.serial) == ("/m.so", "1234abcd")
    plain = NO_SPARE | {"spare_label": "pkcs11:token=b"}
    device = other_device("spare", plain, "softhsm2", Path("/main.so"))
    assert device is not None
    assert (device.token.module, device.pin) == ("/main.so", None)


@pytest.mark.case("X924", "a spare's options against its URI's")
@pytest.mark.parametrize(
    ("option", "value"),
    [("serial", "9"), ("module", Path("/other.so")), ("pin_file", Path("/other"))],
)
def test_a_spares_options_that_contradict_its_uri(option: str, value: object) -> None:
    devices = NO_SPARE | {"spare_label": URI, f"spare_{option}": value}
    with pytest.raises(UsageError, match=f"--spare-{option.replace('_', '-')} is another"):
        other_device("spare", devices, "softhsm2", None)


@pytest.mark.case("X925", "URI that cannot be used, at commands that take a token: status 2")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["token", "list", "--token", "pkcs11:"], "names no token"),
        (["token", "list", "--token", "pkcs11:slot-id=0"], "slot ids change"),
        (["token", "setup", "--token", "pkcs11:token=a;id=%01"], "is of an object"),
        (["token", "setup", "--token", "pkcs11:token=a?pin-value=the-pin"], "never stands"),
        (["token", "setup", "--token", "Pkcs11:token=a;pin-value=the-pin"], "never stands"),
        (["token", "setup", "--token", URI, "--pin-file", "other"], "--pin-file is another"),
        (["token", "card", "--name", "A", "--out", "c", "--token", "pkcs11:token=a?x=the-pin"],
         "no attribute of RFC 7512"),
        (["token", "list", "--token", URI, "--serial", "9"], "--serial is another"),
        (["token", "list", "--token", "pkcs11:token=" + "a" * 33], "'token' has 33 bytes"),
        (["share", "verify", "--group", "g", "--envelope", "e", "--token", "pkcs11:token=a&b;"],
         "one ';' too many"),
        (["share", "spare", "--group", "g", "--envelope", "e", "--card", "c", "--out", "o",
          "--token", "a", "--spare-token", "pkcs11:token=a?module-name=x"],
         "--spare-token: the URI cannot be used: 'module-name' is not supported"),
    ],
)  # fmt: skip
def test_usage_errors(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["signer", *arguments])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("E_USAGE: --")
    assert words in said.err
    assert "the-pin" not in said.err
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

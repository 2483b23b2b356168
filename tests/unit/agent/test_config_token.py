"""agent.yaml, `token:` by a URI."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer.agent.config import AgentConfig
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import ConfigError
from signer.hsm.profile import load_profile

URI = "pkcs11:token=ada;serial=1234abcd"
SETTINGS: dict[str, Any] = {
    "version": 1, "socket": "s", "state": "state", "group": "g", "envelope": "e", "policy": "p",
    "peers": {"status": [], "sign": []}, "pin": {"file": "/run/pin"},
}  # fmt: skip
Load = Callable[..., AgentConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(token: dict[str, Any], **changes: Any) -> AgentConfig:
        settings = SETTINGS | {"token": {"profile": "softhsm2"} | token} | changes
        kept = {name: value for name, value in settings.items() if value is not None}
        (tmp_path / "agent.yaml").write_text(json.dumps(kept))
        return AgentConfig.load(tmp_path / "agent.yaml")

    return load


def test_a_uri_says_which_token(load: Load) -> None:
    config = load({"uri": URI})
    assert config.token == TokenChoice(
        profile=load_profile("softhsm2"), label="ada", serial="1234abcd"
    )
    assert config.pin == SecretSource(file="/run/pin")
    assert config.token.uri == "pkcs11:serial=1234abcd;token=ada"


def test_a_uri_may_say_module_and_pin_too(load: Load, tmp_path: Path) -> None:
    whole = f"{URI}?module-path=/m.so&pin-source=file:/run/pin"
    for token, changes in (
        ({}, {"pin": None}), ({"module": "/m.so"}, {}), ({}, {"pin": {"file": "/run/pin"}}),
    ):  # fmt: skip
        config = load({"uri": whole} | token, **changes)
        assert (config.token.module, config.pin) == ("/m.so", SecretSource(file="/run/pin"))
        assert "run" not in config.token.uri
    beside = f"{URI}?module-path={tmp_path}/m.so&pin-source=file:{tmp_path}/pin"
    config = load({"uri": beside, "module": "m.so"}, pin={"file": "pin"})
    assert config.token.module == str(tmp_path / "m.so")
    assert load({"uri": URI, "module": "m.so"}).token.module == str(tmp_path / "m.so")


@pytest.mark.case("X926", "agent.yaml whose token.uri is none, names no one token, is contradicted")
@pytest.mark.parametrize(
    ("token", "changes", "words"),
    [
        ({"uri": ""}, {}, "does not begin with pkcs11:"),
        ({"uri": 7}, {}, "must be a string"),
        ({"uri": "ada"}, {}, "does not begin with pkcs11:"),
        ({"uri": "pkcs11:"}, {}, "names no token"),
        ({"uri": "pkcs11:model=SoftHSM%20v2"}, {}, "must say which"),
        ({"uri": "pkcs11:serial=;model=m"}, {}, "must say which"),
        ({"uri": "pkcs11:slot-id=1"}, {}, "slot ids change"),
        ({"uri": "pkcs11:slot-id=1;model=m"}, {}, "must say which"),
        ({"uri": f"{URI}?pin-value=the-pin"}, {}, "a PIN never stands in a URI"),
        ({"uri": f"{URI}\n"}, {}, "form that is not allowed"),
        ({"uri": URI, "label": "ada"}, {}, "beside it does too"),
        ({"uri": URI, "serial": "1234abcd"}, {}, "beside it does too"),
        ({"label": "pkcs11:token=ada"}, {}, "write 'uri'"),
        ({"uri": f"{URI}?module-path=/m.so", "module": "/n.so"}, {}, "module-path"),
        ({"uri": f"{URI}?pin-source=file:/p"}, {}, "another source"),
        ({"uri": f"{URI}?pin-source=file:/run/pin"}, {"pin": {"ask": True}}, "another source"),
        ({"uri": f"{URI}?pin-source=file:/run/pin"}, {"pin": {}}, "must be given"),
        ({"uri": URI}, {"pin": None}, "'pin' is missing"),
    ],
)  # fmt: skip
def test_what_is_refused(
    load: Load, token: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(token, **changes)
    assert refused.value.code == "E_CONFIG"
    assert words in refused.value.message
    assert "the-pin" not in refused.value.line()

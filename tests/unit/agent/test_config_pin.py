"""agent.yaml, `pin:`: exactly one of the kinds of source."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer.agent.config import AgentConfig
from signer.custody.jobs.sources import SecretSource
from signer.errors import ConfigError

SETTINGS: dict[str, Any] = {
    "version": 1, "socket": "s", "state": "state", "group": "g", "envelope": "e", "policy": "p",
    "token": {"profile": "softhsm2", "label": "desk"}, "peers": {"status": [], "sign": []},
}  # fmt: skip
Load = Callable[[Any], AgentConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(pin: Any) -> AgentConfig:
        (tmp_path / "agent.yaml").write_text(json.dumps(SETTINGS | {"pin": pin}))
        return AgentConfig.load(tmp_path / "agent.yaml")

    return load


@pytest.mark.parametrize(
    ("pin", "source"),
    [
        ({"file": "/p"}, SecretSource(file="/p")),
        ({"credential": "/run/c/pin"}, SecretSource(credential="/run/c/pin")),
        ({"credential": "pin"}, SecretSource(credential="/run/credentials/unit/pin")),
        ({"descriptor": 5}, SecretSource(descriptor=5)),
        ({"pinentry": {"program": "/e"}}, SecretSource(pinentry="/e")),
        (
            {"pinentry": {"program": "/e", "environment": {"WAYLAND_DISPLAY": "wayland-0"}}},
            SecretSource(pinentry="/e", display={"WAYLAND_DISPLAY": "wayland-0"}),
        ),
        ({"pad": True}, SecretSource(pad=True)),
        ({"ask": True}, None),
    ],
    ids=str,
)
def test_each_kind(
    load: Load, monkeypatch: pytest.MonkeyPatch, pin: Any, source: SecretSource | None
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit")
    assert load(pin).pin == source


@pytest.mark.case("X312", "agent.yaml: no source of the PIN, two, a bad value, an unknown variable")
@pytest.mark.parametrize(
    "pin",
    [
        {}, None, {"file": "p", "ask": True}, {"pad": True, "ask": True}, {"ask": False},
        {"pad": "true"}, {"pad": 1}, {"descriptor": 2}, {"descriptor": "5"}, {"descriptor": True},
        {"credential": "../pin"}, {"credential": "a/b"}, {"credential": ""}, {"credential": ".."},
        {"pinentry": "/e"}, {"pinentry": {}}, {"pinentry": {"program": "/e", "arguments": []}},
        {"pinentry": {"program": "/e", "environment": {"LD_PRELOAD": "/x"}}},
        {"file": "p", "final_try": True}, {"file": "p", "serial": "S1"}, {"terminal": 5},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_one_source(load: Load, monkeypatch: pytest.MonkeyPatch, pin: Any) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit")
    with pytest.raises(ConfigError) as caught:
        load(pin)
    assert "pin" in caught.value.line()


@pytest.mark.case("X313", "agent.yaml: a credential's name, and systemd gave none")
@pytest.mark.parametrize("folder", [None, "", "relative"])
def test_a_name_needs_systemd(
    load: Load, monkeypatch: pytest.MonkeyPatch, folder: str | None
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if folder is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
    with pytest.raises(ConfigError, match="no credentials"):
        load({"credential": "pin"})

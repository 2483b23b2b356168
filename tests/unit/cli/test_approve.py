"""What `signer agent approve` tells the agent, with everything around it in place of the real."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from signer.agent.commands import Command
from signer.agent.config import AgentConfig
from signer.cli import approve
from signer.cli.printer import Printer
from signer.cli.shown import Shown
from signer.custody.jobs.sources import SecretSource
from signer.errors import DeniedError
from signer.strict import Fields

WORDS = "one two three"
ROW = {
    "ticket": "0" * 16, "state": "done", "purpose": "sign", "request": "00" * 32, "uid": 0,
    "kind": "bls_to_execution_change", "items": 1, "asked": 0, "expires": 1, "signed": 1,
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Command]:
    """Return the commands that reach the agent."""
    commands: list[Command] = []
    token = SimpleNamespace(label="desk", serial=None, profile=SimpleNamespace(touch="none"))
    settings = SimpleNamespace(control=tmp_path / "control.sock", token=token)

    def tell(control: Path, command: Command, **_: Any) -> Fields:
        commands.append(command)
        return Fields(dict(ROW), "answer")

    shown = Shown(
        digest=bytes(32), text="", prompts=(), right=lambda typed: False, words=WORDS,
        asks_pin=False,
    )  # fmt: skip
    monkeypatch.setattr(AgentConfig, "load", lambda path: settings)
    monkeypatch.setattr(approve, "show_ticket", lambda *_: shown)
    monkeypatch.setattr(approve, "tell", tell)
    return commands


def test_the_last_try_is_spent_only_when_he_says_so(
    told: list[Command], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Pipe:
        def __enter__(self) -> int:
            return 0

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(approve, "_pipe", lambda *_: Pipe())
    config = tmp_path / "agent.yaml"
    approve.approve_ticket(Printer(), config, "0" * 16, WORDS, None)
    pin = SecretSource(pinentry="/usr/bin/pinentry", final_try=True)
    approve.approve_ticket(Printer(), config, "0" * 16, WORDS, pin)
    assert [command.final_try for command in told] == [False, True]


@pytest.mark.case("R15", "script that gives other words than the request's")
def test_other_words_reach_nobody(told: list[Command], tmp_path: Path) -> None:
    for words in ("", "one two four", WORDS + " "):
        with pytest.raises(DeniedError) as refused:
            approve.approve_ticket(Printer(), tmp_path / "a.yaml", "0" * 16, words, None)
        assert refused.value.code == "E_CONFIRM"
    assert told == []

"""The one question of a repair: whether another one with the same number has come to nothing."""

import contextlib
from collections.abc import Iterator

import pytest

from signer.cli import repairing
from signer.cli.repairing import first_failed
from signer.messages.card import fingerprint

OTHER = "ab" * 32


@pytest.mark.case("X777", "the question whether the first repair failed, answered otherwise")
def test_only_the_very_word_says_that_a_repair_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    @contextlib.contextmanager
    def terminal(*_: object) -> Iterator[int]:
        yield 3

    monkeypatch.setattr(repairing, "terminal", terminal)
    monkeypatch.setattr(repairing, "say", lambda tty, text: said.append(text))
    for answer, failed in (("failed", True), ("", False), ("yes", False), ("Failed", False)):
        monkeypatch.setattr(repairing, "ask", lambda tty, prompt, answer=answer: answer)
        assert first_failed(False, OTHER) is failed
    assert fingerprint(bytes.fromhex(OTHER)) in "\n".join(said)
    said.clear()
    assert first_failed(True, OTHER)
    assert not said

"""The control protocol's lines."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.agent.commands import (
    MAX_COMMAND_BYTES,
    NAMES,
    Command,
    answer_line,
    error_line,
    open_answer,
)
from signer.errors import AgentError, DeniedError, PinError, SchemaError, SignerError

DIGEST = bytes(range(32))
TICKET = DIGEST.hex()[:16]
COMMANDS = [
    Command(name="pending"),
    Command(name="status"),
    Command(name="unlatch"),
    Command(name="show", ticket=TICKET),
    Command(name="approve", ticket=TICKET, request=DIGEST, typed=("aBcDeF", "3")),
    Command(name="approve", ticket=TICKET, request=DIGEST, words="abandon ability", final_try=True),
    Command(name="deny", ticket=TICKET, request=DIGEST, reason="E_DENIED"),
]
APPROVE: dict[str, Any] = json.loads(COMMANDS[4].to_line())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_is_written_is_read(command: Command) -> None:
    assert Command.parse(command.to_line()) == command


def test_every_command_is_tried() -> None:
    assert {command.name for command in COMMANDS} == set(NAMES)


@pytest.mark.case("K15", "control commands with a PIN in them, a bare yes, or anything else more")
@pytest.mark.case("K4", "control commands that are no objects")
@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"null", b"{}", b"yes", b'{"version":1}', b'{"command":"pending"}',
        b'{"version":1,"command":"pending","ticket":"' + TICKET.encode() + b'"}',
        b'{"version":2,"command":"pending"}', b'{"version":1,"command":"sign"}',
        *(json.dumps(APPROVE | changes).encode() for changes in (
            {"pin": "1234"}, {"yes": True}, {"typed": [], "words": ""}, {"words": "abandon"},
            {"typed": ["x"] * 5}, {"typed": [1]}, {"typed": "abc"}, {"typed": ["\x1b[2J"]},
            {"typed": ["x" * 65]}, {"ticket": TICKET[:-1]}, {"ticket": "../../x" + TICKET},
            {"ticket": TICKET.upper().replace("0", "A")}, {"request": None}, {"request": "00"},
            {"command": "deny"}, {"command": "show"}, {"reason": "E_X"}, {"version": True},
            {"final_try": 1}, {"final_try": None},
        )),
        json.dumps(APPROVE | {"words": "x" * MAX_COMMAND_BYTES}).encode(),
        b'{"version":1,"command":"pending","command":"pending"}',
    ],
    ids=lambda line: repr(line[:60]),
)  # fmt: skip
def test_what_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(SchemaError):
        Command.parse(line)


@settings(max_examples=200, deadline=None)
@given(line=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_command_or_refused(line: bytes) -> None:
    for read in (Command.parse, open_answer):
        try:
            read(line)
        except SignerError:
            continue


def test_answers_come_back() -> None:
    fields = open_answer(answer_line({"a": 1}))
    assert fields.integer("a", low=0, high=2) == 1
    for error in (PinError("no", code="E_PIN_REFUSED", hint="h"), DeniedError("n", code="E_X")):
        with pytest.raises(type(error)) as raised:
            open_answer(error_line(error))
        assert (raised.value.message, raised.value.code) == (error.message, error.code)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"version":1}', b'{"version":1,"error":{}}'])
def test_what_is_no_answer_is_the_agents_trouble(line: bytes) -> None:
    with pytest.raises(AgentError):
        open_answer(line)

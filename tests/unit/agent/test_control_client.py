"""The holder's command against sockets that are no agent's, or that answer at odd moments."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from signer.agent import control_client
from signer.agent.commands import Command, answer_line, error_line
from signer.agent.control_client import tell
from signer.errors import AgentError, DeniedError

APPROVE = Command(name="approve", ticket="0" * 16, request=bytes(32), typed=("x" * 60, "y" * 60))
REFUSAL = error_line(DeniedError("not you", code="E_PEER"))


def against(path: Path, act: Callable[[socket.socket], None], **options: object) -> object:
    """Give a command to a socket whose one connection `act` serves."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                act(connection)

        server = threading.Thread(target=serve)
        server.start()
        try:
            return tell(path, APPROVE, **options)  # type: ignore[arg-type]
        finally:
            server.join(5)


@pytest.mark.case("X439", "agent that refuses before it has read the command, or as it reads it")
@pytest.mark.parametrize("read", [0, 10, 65536])
@pytest.mark.parametrize("with_pipe", [False, True])
def test_an_early_refusal_is_still_heard(tmp_path: Path, read: int, with_pipe: bool) -> None:
    refused = threading.Event()

    def act(connection: socket.socket) -> None:
        if read:
            connection.recv(read)
        connection.sendall(REFUSAL)
        connection.close()
        refused.set()

    read_end, write_end = os.pipe()
    try:
        with pytest.raises(DeniedError) as denied:
            against(tmp_path / "s", act, descriptors=[read_end] if with_pipe else [])
    finally:
        os.close(read_end)
        os.close(write_end)
    assert denied.value.code == "E_PEER"


@pytest.mark.parametrize("with_pipe", [False, True])
def test_a_refusal_that_is_there_before_anything_is_sent(
    tmp_path: Path, with_pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()

    def act(connection: socket.socket) -> None:
        connection.sendall(REFUSAL)
        connection.close()
        gone.set()

    send = control_client._send

    def send_late(*arguments: object) -> None:
        assert gone.wait(5)
        send(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(control_client, "_send", send_late)
    with pytest.raises(DeniedError) as denied:
        against(tmp_path / "s", act, descriptors=[0] if with_pipe else [])
    assert denied.value.code == "E_PEER"


def test_nothing_is_sent_after_the_descriptor_took_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def act(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer_line({}))
        connection.close()
        answered.set()

    sent: list[int] = []

    class Watched(socket.socket):
        def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
            sent.append(len(data))
            super().sendall(data, flags)

    path = tmp_path / "s"
    real = socket.socket
    monkeypatch.setattr(socket, "socket", Watched)
    with real(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        server = threading.Thread(target=lambda: act(listener.accept()[0]))
        server.start()
        tell(path, APPROVE, descriptors=[0])
        server.join(5)
    assert 0 not in sent


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"{}\n", "E_AGENT"), (b"HTTP/1.1 400 Bad\r\n\r\n", "E_AGENT")],
)
def test_what_is_no_agent_is_said_so(tmp_path: Path, answer: bytes, code: str) -> None:
    def act(connection: socket.socket) -> None:
        connection.sendall(answer)

    with pytest.raises(AgentError) as failed:
        against(tmp_path / "s", act)
    assert failed.value.code == code


def test_silence_has_an_end(tmp_path: Path) -> None:
    done = threading.Event()

    def act(connection: socket.socket) -> None:
        done.wait(1)

    with pytest.raises(AgentError) as failed:
        against(tmp_path / "s", act, seconds=0.2)
    assert failed.value.code == "E_TIMEOUT"


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as failed:
        tell(tmp_path / "nothing", APPROVE)
    assert failed.value.code == "E_UNREACHABLE"

"""A holder's word to his agent over the private control socket. Believes only what it can parse."""

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

from signer.agent.commands import MAX_ANSWER_BYTES, Command, open_answer
from signer.errors import AgentError
from signer.strict import Fields

SECONDS = 15.0
APPROVE_SECONDS = 600.0  # signatures before this one, and this one of 20,000 items


def tell(
    path: Path, command: Command, *, seconds: float = SECONDS, descriptors: Sequence[int] = ()
) -> Fields:
    """Give `command` to the agent whose control socket is at `path`; return its answer.

    Raises:
        AgentError: nobody there (E_UNREACHABLE), silent (E_TIMEOUT), or no agent.
        SignerError: what the agent answered.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _send(connection, command.to_line(), descriptors)  # it may refuse us unheard
            answer = _receive(connection)
    except TimeoutError:
        raise AgentError(f"no answer in {seconds:.0f} s", code="E_TIMEOUT") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise AgentError(
            f"control socket {str(path)!r}: {reason}",
            code="E_UNREACHABLE",
            hint="does the agent run, is 'control' in its agent.yaml, are you its user?",
        ) from None
    return open_answer(answer)


def _send(connection: socket.socket, line: bytes, descriptors: Sequence[int]) -> None:
    """Send the line, descriptors with its first bytes."""
    sent = socket.send_fds(connection, [line], list(descriptors)) if descriptors else 0
    if line[sent:]:  # to send nothing is a call too, which fails once the answer is there
        connection.sendall(line[sent:])


def _receive(connection: socket.socket) -> bytes:
    answer = bytearray()
    while not answer.endswith(b"\n") and (data := connection.recv(1 << 16)):
        answer += data
        if len(answer) > MAX_ANSWER_BYTES:
            raise AgentError("the agent's answer is too long")
    if not answer:
        raise AgentError("the agent gave no answer", hint="it may have been stopped; see its log")
    return bytes(answer)

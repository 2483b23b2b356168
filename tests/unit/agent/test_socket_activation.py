"""A socket that systemd made, and things that only claim to be one."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signer.agent.notify import notify
from signer.agent.socket_path import passed_listener

Maker = Callable[[Path], socket.socket]

# In a process of its own: descriptor 3 is the passed one there, and LISTEN_PID its number.
CODE = """
import json, os, socket, sys
from pathlib import Path
from signer.agent.socket_path import passed_listener
from signer.errors import ConfigError
passed, path = int(sys.argv[1]), Path(sys.argv[2])
if passed >= 0 and passed != 3:
    os.dup2(passed, 3)
environment = {k: v.replace("PID", str(os.getpid())) for k, v in json.loads(sys.argv[3]).items()}
try:
    got = passed_listener(path, environment)
    answer = None if got is None else [got.fileno(), os.get_inheritable(3), got.getsockname()]
except ConfigError as error:
    answer = error.line()
print(json.dumps([answer, environment]), flush=True)
os._exit(0)
"""
TOLD = {"LISTEN_PID": "PID", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "agent", "OTHER": "1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o750)
    return folder / "agent.sock"


def try_it(
    passed: socket.socket | None, path: Path, told: dict[str, str]
) -> tuple[object, dict[str, str]]:
    number = -1 if passed is None else passed.fileno()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(number), str(path), json.dumps(told)],
        pass_fds=() if passed is None else (number,), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer, environment = json.loads(done.stdout)
    return answer, environment


def unix_at(path: Path, kind: int = socket.SOCK_STREAM, *, listens: bool = True) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    if listens:
        made.listen()
    return made


def tcp(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def abstract(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(f"\0{path}")
    made.listen()
    return made


def test_the_socket_that_systemd_made_is_taken(path: Path) -> None:
    with unix_at(path) as made:
        answer, environment = try_it(made, path, TOLD)
    assert answer == [3, False, str(path)]
    assert environment == {"OTHER": "1"}  # nobody is told a second time


@pytest.mark.parametrize("told", [{}, {"LISTEN_FDS": "1"}, TOLD | {"LISTEN_PID": "1"}])
def test_what_was_passed_to_another_process_is_not_ours(path: Path, told: dict[str, str]) -> None:
    with unix_at(path) as made:
        assert try_it(made, path, told)[0] is None


@pytest.mark.case("K16", "LISTEN_FDS pointing at TCP, datagrams, an abstract name, another path")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (tcp, "no unix stream socket"),
        (lambda path: unix_at(path, socket.SOCK_DGRAM, listens=False), "no unix stream socket"),
        (lambda path: unix_at(path, socket.SOCK_SEQPACKET), "no unix stream socket"),
        (lambda path: unix_at(path, listens=False), "does not listen"),
        (abstract, "is not at"),
        (lambda path: unix_at(path.with_name("other.sock")), "is not at"),
    ],
)
def test_another_kind_of_socket_is_refused(path: Path, make: Maker, word: str) -> None:
    with make(path) as made:
        answer, _ = try_it(made, path, TOLD)
    assert isinstance(answer, str)
    assert answer.startswith("E_CONFIG")
    assert word in answer


@pytest.mark.case("K16", "LISTEN_FDS of none, two, garbage; a descriptor that is closed or a file")
@pytest.mark.parametrize("count", ["0", "2", "-1", "", "x", "1 ", "99999999999999999999"])
def test_exactly_one_is_taken(path: Path, count: str) -> None:
    with unix_at(path) as made:
        answer, _ = try_it(made, path, TOLD | {"LISTEN_FDS": count})
    assert isinstance(answer, str)
    assert "an agent has one" in answer


@pytest.mark.case("K16", "LISTEN_FDS where descriptor 3 is closed")
def test_a_descriptor_that_is_none_is_refused(path: Path) -> None:
    answer, _ = try_it(None, path, TOLD)
    assert isinstance(answer, str)
    assert "cannot be used" in answer


@pytest.mark.case("K12", "a passed socket in a folder that others may change")
def test_the_folder_of_a_passed_socket_is_looked_at_too(path: Path) -> None:
    with unix_at(path) as made:
        path.parent.chmod(0o777)
        answer, _ = try_it(made, path, TOLD)
    assert isinstance(answer, str)
    assert "others may change" in answer


def test_nothing_passed_touches_no_descriptor(path: Path) -> None:
    assert passed_listener(path, {}) is None


@contextlib.contextmanager
def notify_socket(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(2)
        yield channel


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(tmp_path: Path, kind: str) -> None:
    name = f"@signer-test-{os.getpid()}" if kind == "abstract" else str(tmp_path / "notify")
    with notify_socket(name.replace("@", "\0", 1)) as channel:
        notify("READY=1", {"NOTIFY_SOCKET": name})
        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/notify", "@nobody-there"])
def test_nobody_to_tell_is_no_trouble(name: str) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": name})
    notify("READY=1", {})

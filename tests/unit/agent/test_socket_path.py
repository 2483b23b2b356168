import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from signer.agent.socket_path import listen, remove
from signer.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "agent.sock"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        listen(path)
    return refused.value.message


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.case("H7", "umask 000 and 077: the same modes")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_socket_is_0660_in_a_folder_0750(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with listen(path) as listener:
            assert os.umask(umask) == umask
            assert listener.get_inheritable() is False
    finally:
        os.umask(before)
    assert mode(path) == 0o660
    assert mode(path.parent) == 0o750
    assert stat.S_ISSOCK(path.lstat().st_mode)


def test_a_client_gets_through(path: Path) -> None:
    with listen(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.case("K12", "socket path taken by a file, a folder, a link, a FIFO")
@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to a socket", "fifo"])
def test_what_is_in_the_way_stays(path: Path, kind: str) -> None:
    path.parent.mkdir(mode=0o750)
    target = path.parent / "target"
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(target)
        case _:
            listen(target).close()
            path.symlink_to(target)
    before = path.lstat()
    assert "in the way" in refusal(path)
    assert os.path.samestat(path.lstat(), before)


@pytest.mark.case("K12", "socket in a folder that others may change, or that is a link")
def test_the_folder_is_nobody_elses(path: Path) -> None:
    path.parent.mkdir()
    for wide in (0o770, 0o757, 0o777, 0o1777):
        path.parent.chmod(wide)
        assert "others may change" in refusal(path)
    path.parent.chmod(0o755)
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    assert "is a link" in refusal(link / "agent.sock")
    assert list(path.parent.iterdir()) == []


@pytest.mark.case("K12", "socket in another user's folder")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_the_folder_is_ours(path: Path) -> None:
    path.parent.mkdir(mode=0o750)
    os.chown(path.parent, 12345, -1)
    assert "others may change" in refusal(path)


@pytest.mark.case("K14", "second agent on the same path")
def test_a_living_agents_socket_is_left_alone(path: Path) -> None:
    with listen(path) as first:
        assert "another agent listens" in refusal(path)
        first.settimeout(2)
        first.accept()[0].close()  # the probe
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_dead_agents_socket_is_replaced(path: Path) -> None:
    listen(path).close()
    path.chmod(0o600)
    with listen(path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.accept()[0].close()
    assert mode(path) == 0o660  # a new one


@pytest.mark.case("K12", "socket path too long for the kernel, or in a folder that cannot be")
def test_a_path_that_cannot_be_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o750)
    with pytest.raises(ConfigError, match="cannot listen"):
        listen(path.with_name("x" * 120))
    assert list(path.parent.iterdir()) == []


def test_at_the_end_only_our_own_socket_is_removed(path: Path) -> None:
    with listen(path):
        bound = path.lstat()
        path.rename(path.with_name("elsewhere"))
        with listen(path):
            remove(path, bound)
            assert path.exists()
            remove(path, path.lstat())
            assert not path.exists()
            remove(path, bound)  # gone already: nothing to do


def test_more_connections_wait_than_anybody_opens(path: Path) -> None:
    with listen(path), contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(str(path))

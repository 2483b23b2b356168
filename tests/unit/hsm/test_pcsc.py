import os
import socket
from pathlib import Path

import pytest

from signer.hsm.node import Person
from signer.hsm.pcsc import SOCKET, Pcscd, listens, needs_pcscd
from signer.hsm.profile import load_profile, profile_names

ME = Person.of(os.geteuid())
HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"


def test_which_profiles_are_reached_through_pcscd() -> None:
    found = {name for name in profile_names() if needs_pcscd(load_profile(name), None)}
    assert found == {"opensc", "nitrokey-hsm2", "yubikey-piv"}


def test_a_module_that_is_named_counts_more_than_the_profile() -> None:
    generic, yubikey = load_profile("generic"), load_profile("yubikey-piv")
    assert needs_pcscd(generic, Path("/opt/onepin-opensc-pkcs11.so"))
    assert not needs_pcscd(yubikey, Path("/opt/vendor.so"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ffff8: 00000002 00000000 00010000 0001 01 2045 /run/pcscd/pcscd.comm", True),
        ("ffff8: 00000002 00000000 00010000 0001 01 2045 /var/run/pcscd/pcscd.comm", True),
        ("ffff8: 00000002 00000000 00000000 0001 03 2045 /run/pcscd/pcscd.comm", False),
        ("ffff8: 00000002 00000000 00010000 0001 01 2045 /run/pcscd/other", False),
        ("ffff8: 00000002 00000000 zz 0001 01 2045 /run/pcscd/pcscd.comm", False),
        ("ffff8: 00000002 00000000 00010000 0001 01 2045", False),
        ("", False),
    ],
)
def test_who_listens_is_read_from_the_kernels_table(line: str, expected: bool) -> None:
    assert listens(SOCKET, f"{HEAD}{line}\n") == expected


def test_a_machine_without_it(tmp_path: Path) -> None:
    seen = Pcscd.look(ME, tmp_path)
    found = (seen.installed, seen.systemd, seen.socket.there, seen.is_socket, seen.listening)
    assert not any(found)


def test_a_machine_with_it_and_nobody_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket has no room for long paths
    root = Path()
    for folder in ("run/pcscd", "run/systemd/system", "usr/sbin", "proc/net"):
        (root / folder).mkdir(parents=True)
    (root / "usr/sbin/pcscd").touch()
    place = root / "run/pcscd/pcscd.comm"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        (root / "proc/net/unix").write_text(Path("/proc/net/unix").read_text())
        seen = Pcscd.look(ME, root)
        assert seen.installed
        assert seen.systemd
        assert seen.is_socket
        assert seen.listening
        assert seen.socket.usable
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    (root / "proc/net/unix").write_text(Path("/proc/net/unix").read_text())
    seen = Pcscd.look(ME, root)
    assert seen.is_socket
    assert not seen.listening
    place.unlink()
    place.touch()
    assert not Pcscd.look(ME, root).is_socket

import grp
import os
import stat
from pathlib import Path

import pytest

from signer.hsm.node import Node, Person, group_exists

MINE = os.geteuid()
STRANGER = Person(MINE + 1, "mallory", frozenset())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("mode", "of_group", "usable"),
    [
        (0o660, True, True), (0o660, False, False), (0o640, True, False), (0o664, False, False),
        (0o666, False, True), (0o662, False, False), (0o606, True, False), (0o600, True, False),
    ],
)  # fmt: skip
def test_another_users_access_is_by_mode(
    path: Path, mode: int, of_group: bool, usable: bool
) -> None:
    path.chmod(mode)
    groups = frozenset({path.stat().st_gid}) if of_group else frozenset()
    node = Node.look(path, Person(MINE + 1, "ada", groups))
    assert (node.there, node.usable) == (True, usable)
    assert node.group == grp.getgrgid(path.stat().st_gid).gr_name


def test_an_owner_is_no_other(path: Path) -> None:
    path.chmod(0o066)
    if os.geteuid() == 0:
        os.chown(path, STRANGER.uid, 0)
        assert not Node.look(path, STRANGER).usable
        path.chmod(0o600)
        assert Node.look(path, STRANGER).usable
    else:
        assert not Node.look(path, Person.of(MINE)).usable


def test_of_ones_own_the_kernel_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def access(_: Path, mode: int, *, effective_ids: bool) -> bool:
        assert effective_ids
        asked.append(mode)
        return len(asked) > 1

    monkeypatch.setattr(os, "access", access)
    me = Person(MINE, "me", frozenset())
    assert Node.look(path, me).usable == (MINE == 0)  # root may, whatever the list says
    assert Node.look(path, me).usable
    assert asked == [os.R_OK | os.W_OK] * 2


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path / ("x" * 300), Path("/\0")):
        assert Node.look(path, STRANGER) == Node(path=path, there=False)


def test_a_node_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr("builtins.open", opened)
    assert Node.look(path, STRANGER).there
    assert stat.S_ISREG(path.stat().st_mode)


def test_people() -> None:
    me = Person.of(MINE)
    assert set(os.getgroups()) | {os.getegid()} == me.groups
    nobody = Person.of(2**31 - 7)
    assert (nobody.name, nobody.groups) == ("user 2147483641", frozenset())
    assert group_exists("root")
    assert not group_exists("no-such-group-here")

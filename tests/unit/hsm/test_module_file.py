import os
from pathlib import Path

import pytest

from signer.errors import ModuleError
from signer.hsm.module_file import require_unchangeable

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "lib" / "pkcs11"
    folder.mkdir(parents=True, mode=0o755)
    path = folder / "module.so"
    path.touch(mode=0o644)
    return path


def refused(path: Path, words: str) -> None:
    with pytest.raises(ModuleError) as failed:
        require_unchangeable(path)
    assert words in failed.value.message
    assert str(path) in failed.value.message


def test_a_private_file_in_private_folders_is_good(module: Path) -> None:
    require_unchangeable(module)
    module.chmod(0o755)
    module.parent.chmod(0o775)  # Debian's /usr/local/lib belongs to a group
    require_unchangeable(module)
    module.parent.chmod(0o1777)  # /tmp: nobody replaces another's file there
    require_unchangeable(module)


@pytest.mark.case("T8", "module: group-writable, world-writable")
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o602, 0o777])
def test_a_file_that_others_may_write_is_refused(module: Path, mode: int) -> None:
    module.chmod(mode)
    refused(module, "others can change it")


@pytest.mark.case("T8", "module: in a folder, or under one, where anybody may put another")
@pytest.mark.parametrize("up", [0, 1])
def test_a_folder_that_anybody_may_write_is_refused(module: Path, up: int) -> None:
    module.parents[up].chmod(0o757)
    refused(module, f"its folder '{module.parents[up]}'")


@pytest.mark.case("T8", "module or its folder: another user's")
@root_only
def test_what_belongs_to_another_user_is_refused(module: Path) -> None:
    os.chown(module, 12345, 0)
    refused(module, "belongs to another user")
    os.chown(module, 0, 0)
    os.chown(module.parents[1], 12345, 0)
    refused(module, f"its folder '{module.parents[1]}'")


@pytest.mark.case("T8", "module: a link, its target or a link between in a folder for anybody")
def test_links_are_followed_and_each_folder_counts(module: Path, tmp_path: Path) -> None:
    good, open_to_all = tmp_path / "good", tmp_path / "open"
    good.mkdir(mode=0o755)
    open_to_all.mkdir()
    (good / "direct.so").symlink_to(module)
    (good / "relative.so").symlink_to("../lib/pkcs11/module.so")
    require_unchangeable(good / "direct.so")
    require_unchangeable(good / "relative.so")
    open_to_all.chmod(0o757)
    (open_to_all / "module.so").symlink_to(module)
    refused(open_to_all / "module.so", "its folder")
    (good / "through.so").symlink_to(open_to_all / "module.so")
    refused(good / "through.so", "its folder")
    module.chmod(0o666)
    refused(good / "direct.so", "others can change it")


@pytest.mark.case("T8", "module: links in a circle, a link to nothing")
def test_links_that_lead_nowhere(module: Path) -> None:
    folder = module.parent
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "c").symlink_to("nothing")
    for name in "ac":
        refused(folder / name, "")

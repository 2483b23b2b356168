import errno
import os
from pathlib import Path

import pytest

from signer.errors import InputError, OutputError
from signer.files import make_folder, read_file, require_new, require_place, write_new


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, what="thing", max_bytes=5) == b"12345"
    with pytest.raises(InputError, match="5 bytes, at most 4"):
        read_file(path, what="thing", max_bytes=4)


@pytest.mark.case("F17", "input that is a FIFO, a folder, a device, absent, unreadable")
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero"), tmp_path / "none", tmp_path / "none" / "x"):
        with pytest.raises(InputError, match="thing"):
            read_file(path, what="thing", max_bytes=10)


def test_a_file_is_written_with_its_mode_and_nothing_else_is_left(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_new(tmp_path / "file", b"data", mode=0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == b"data"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "path", tmp_path / "other"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_bytes(b"old")
    else:
        path.symlink_to(other)
        if kind == "link":
            other.write_bytes(b"old")
    there = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="not overwritten"):
        write_new(path, b"new")
    assert sorted(tmp_path.iterdir()) == there
    assert not other.exists() or other.read_bytes() == b"old"


@pytest.mark.case("X826", "output where something is, in no folder, or in one that is read-only")
def test_what_could_not_be_written_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.iterdir())
    require_new(tmp_path / "new")
    for folder in (tmp_path, tmp_path / "new"):
        require_place(folder)
    for check in (require_new, require_place):
        for name in ("file", "dangling"):
            with pytest.raises(OutputError, match="not overwritten"):
                check(tmp_path / name)
        for name in ("a/b", "file/b"):
            with pytest.raises(OutputError, match="there is no folder"):
                check(tmp_path / name)
    with pytest.raises(OutputError, match="not overwritten"):
        require_new(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may do anything
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(OutputError, match="cannot write to folder"):
            require_place(path)
    with pytest.raises(OutputError, match="cannot write to folder"):
        require_new(tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.case("F21", "disk full or broken while a result is written")
@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError, match=os.strerror(number).lower()):
        write_new(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_without_hard_links_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """FAT, as on many USB sticks."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"old")
        with pytest.raises(OutputError, match="not overwritten"):
            write_new(path, b"new")
        assert path.read_bytes() == b"old"
    else:
        write_new(path, b"new")
        assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/x")):
        with pytest.raises(OutputError):
            make_folder(path)

"""The journal on disks that are really full."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.custody.journal import Journal
from signer.errors import JournalError
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import ADDRESS, NOW, SimulatedPool

POOL = SimulatedPool.new()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB, where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Leave no space."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.case("F21", "a disk that is really full")
def test_on_a_full_disk_nothing_is_signed_until_there_is_space(small_disk: Path) -> None:
    desk = SimulatedDesk(POOL, small_disk)
    request = POOL.request(*range(2000))
    ballast = small_disk / "ballast"
    fill(ballast)
    before = desk.path.read_bytes()
    with pytest.raises(JournalError, match="no space left") as refused:
        desk.custodian.sign(request, 0)
    assert refused.value.exit_status == 8
    assert desk.path.read_bytes() == before
    assert desk.worker.jobs == []
    ballast.unlink()
    assert desk.custodian.sign(request, 0).denied == ()
    desk.reopen()
    assert desk.records() == ["OPENED", "INTENT", "RELEASED"]
    desk.journal.close()


@pytest.mark.case("F21", "no space for a new journal")
def test_on_a_full_disk_no_journal_is_begun(small_disk: Path) -> None:
    fill(small_disk / "ballast")
    with pytest.raises(JournalError):
        Journal.open(small_disk / "journal.jsonl", POOL.group, 1)
    (small_disk / "ballast").unlink()
    with Journal.open(small_disk / "journal.jsonl", POOL.group, 1) as journal:
        assert journal.sequence == 1


@pytest.mark.case("X624", "no space for the record of a new epoch")
def test_on_a_full_disk_no_new_epoch_begins(small_disk: Path) -> None:
    path, later = small_disk / "journal.jsonl", SimulatedPool.new(epoch=2).group
    Journal.open(path, POOL.group, 1).close()
    before = path.read_bytes()
    fill_to_the_last_byte(path, small_disk)
    filled = path.read_bytes()
    assert filled.startswith(before)
    with pytest.raises(JournalError, match="no space left"):
        Journal.open(path, later, 1)
    assert path.read_bytes() == filled
    (small_disk / "ballast").unlink()
    with Journal.open(path, later, 1) as journal:
        assert journal.epoch == 2


def fill_to_the_last_byte(path: Path, disk: Path) -> None:
    """Leave no space on the disk, and none in the last block of the journal either."""
    fill(disk / "ballast")
    opened = Journal.open(path, POOL.group, 1, clock=lambda: NOW)
    with opened as journal, contextlib.suppress(JournalError):
        while True:
            journal.drilled(NOW, bytes(32))


_LIMITED = """
import resource, sys
from pathlib import Path
from signer.custody.journal import Journal
from signer.errors import JournalError
from tests.simulators.holders import ADDRESS, SimulatedPool

path = Path(sys.argv[1])
items = [(index, ADDRESS) for index in range(100)]
with Journal.open(path, SimulatedPool.new().group, 1) as journal:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        journal.intent(bytes(32), items, 0)
    except JournalError as error:
        print(error.exit_status, path.read_bytes().count(b"\\n"), path.read_bytes()[-1:])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(journal.intent(bytes(32), items, 0))
"""


@pytest.mark.case("F21", "file size limit that is reached in mid-line")
def test_a_line_that_fits_in_part_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == "8 1 b'\\n'\n1\n"
    with Journal.open(path, POOL.group, 1, clock=lambda: NOW) as journal:
        assert journal.address_of(99) == ADDRESS
        assert not journal.torn

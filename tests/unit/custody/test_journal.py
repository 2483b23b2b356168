import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.custody.journal import Journal
from signer.custody.record import MAX_LINE_BYTES
from signer.errors import JournalError
from signer.messages.address import ExecutionAddress
from signer.messages.items import (
    KIND_BLS_TO_EXECUTION_CHANGE,
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    Change,
)
from signer.messages.networks import HOODI
from signer.strict import canonical
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
GROUP = POOL.group
DIGEST = bytes(range(32))
ASKED = {"request": "00" * 32, "uid": 0, "approved": False, "count": 1}
RELEASED = {"anchored_on": None, "unsealed_milliseconds": None, "count": 1}
STATEMENTS = [{"index": 2, "sha256": "00" * 32}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def open_journal(path: Path, *, index: int = 1, group: Any = GROUP) -> Journal:
    return Journal.open(path, group, index, clock=lambda: NOW)


def written(path: Path) -> bytes:
    """Write a journal with one record of each type; the last is an INTENT. Return its bytes."""
    with open_journal(path) as journal:
        journal.released(
            journal.intent(DIGEST, [Change(1, ADDRESS), Change(2, OTHER)], 1000), [b"\1" * 96]
        )
        journal.failed(journal.intent(DIGEST, [Change(3, ADDRESS)], 0), "E_PIN_REFUSED")
        journal.intent(DIGEST, [Change(1, ADDRESS), Change(4, OTHER)], 0)
    return path.read_bytes()


def refusal(path: Path, **options: Any) -> str:
    """Open the journal, which must be refused; return what is said."""
    with pytest.raises(JournalError) as refused:
        open_journal(path, **options)
    assert (refused.value.code, refused.value.exit_status) == ("E_JOURNAL", 8)
    return refused.value.message


def bindings(journal: Journal, upto: int = 10) -> dict[int, ExecutionAddress]:
    return {v: bound for v in range(upto) if (bound := journal.address_of(v)) is not None}


ALL = {1: ADDRESS, 2: OTHER, 3: ADDRESS, 4: OTHER}


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        assert bindings(journal) == ALL
        assert journal.sequence == 6
        assert not journal.torn
    assert path.read_bytes() == raw
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_what_formats_md_says(path: Path) -> None:
    head = bytes(32).hex()
    types = []
    for number, line in enumerate(written(path).splitlines()):
        record = json.loads(line)
        assert canonical(record) == line
        assert (record["seq"], record["prev"], record["ts"]) == (number, head, NOW)
        head = record.pop("head")
        assert head == hashlib.sha256(canonical(record)).hexdigest()
        types.append((record["type"], sorted(record["body"])))
    intent = ("INTENT", ["approved", "changes", "count", "kind", "request", "uid"])
    assert types == [
        (
            "OPENED",
            [
                *("certificate", "epoch", "genesis_validators_root", "group"),
                *("index", "network", "recovered", "version"),
            ],
        ),
        intent,
        (
            "RELEASED",
            ["anchored_on", "count", "intent", "partials_sha256", "unsealed_milliseconds"],
        ),
        intent,
        ("FAILED", ["code", "intent"]),
        intent,
    ]
    with open_journal(path) as journal:
        assert journal.head.hex() == head


def test_only_new_bindings_are_written(path: Path) -> None:
    last = json.loads(written(path).splitlines()[-1])
    assert last["body"]["count"] == 2
    assert last["body"]["changes"] == [
        {"to_execution_address": OTHER.wire, "validator_indices": [4]}
    ]


@pytest.mark.case("R1", "journal asked to bind a validator to a second address")
def test_the_journal_itself_refuses_a_second_address(path: Path) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        with pytest.raises(JournalError, match="bound to another"):
            journal.intent(DIGEST, [Change(9, ADDRESS), Change(1, OTHER)], 0)
        assert bindings(journal) == ALL
    assert path.read_bytes() == raw


@pytest.mark.case("X203", "journal with any one byte changed")
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_no_byte_changes_unnoticed(path: Path, flip: int) -> None:
    raw = written(path)
    step = 1 if flip == 0x01 else 7  # every byte once; the other flips on a sample
    for position in range(0, len(raw), step):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ flip]) + raw[position + 1 :])
        refusal(path)
    assert len(list(path.parent.iterdir())) == 1  # nothing was set aside


@pytest.mark.case("X204", "journal with a record removed, doubled, swapped, written by hand")
@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:3], lines[4], lines[3], lines[5]],
        lambda lines: [*lines, b"{}"],
        lambda lines: [*lines, b""],
        lambda lines: [b"", *lines],
        lambda lines: [lines[0], *lines],
        lambda lines: [*lines[:5], lines[5].replace(b'{"body"', b'{"a":1,"body"')],
    ],
)
def test_a_chain_with_a_wrong_link_is_refused(
    path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = written(path).splitlines()
    path.write_bytes(b"\n".join(change(lines)) + b"\n")
    assert "damaged" in refusal(path)


def forged(path: Path, **changes: Any) -> None:
    """Append a record with a right chain and digest, whatever it says."""
    last = json.loads(path.read_bytes().splitlines()[-1])
    record = {"seq": last["seq"] + 1, "prev": last["head"], "ts": NOW} | changes
    head = hashlib.sha256(canonical(record)).hexdigest()
    with path.open("ab") as file:
        file.write(canonical(record | {"head": head}) + b"\n")


@pytest.mark.case("X205", "journal with a well-chained record of nonsense")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("OPENED", {"version": 2}),
        ("SIGNED", {}),
        ("INTENT", {}),
        ("RELEASED", RELEASED | {"intent": 99, "partials_sha256": "00" * 32}),
        ("RELEASED", RELEASED | {"intent": 1, "partials_sha256": "00" * 31}),
        ("RELEASED", RELEASED | {"intent": 1, "partials_sha256": "00" * 32, "anchored_on": "00"}),
        ("RELEASED", {"intent": 1, "count": 1, "partials_sha256": "00" * 32}),
        ("EPOCH", {"epoch": 1, "certificate": None}),
        ("EPOCH", {"epoch": 0, "certificate": None}),
        ("EPOCH", {"epoch": 2**32, "certificate": None}),
        ("EPOCH", {"epoch": 2}),
        ("EPOCH", {"epoch": 2, "certificate": "00"}),
        ("EPOCH", {"epoch": 2, "certificate": None, "more": 1}),
        ("POLICY", {"number": -1, "digest": "00" * 32}),
        ("POLICY", {"number": 0}),
        ("DENIED", {"request": "00" * 32, "uid": 0, "code": "no"}),
        ("DENIED", {"request": "00" * 32, "code": "E_NO"}),
        ("DRILLED", {"moment": -1, "device": "00" * 32}),
        ("DRILLED", {"moment": 1, "device": "00"}),
        ("IMPORTED", {"statements": [], "changes": [], "deposit_credentials": None}),
        ("IMPORTED", {"statements": STATEMENTS, "changes": [], "deposit_credentials": "00"}),
        ("FAILED", {"intent": 1, "code": "E_X", "clock": NOW + 1}),
        ("INTENT", ASKED | {"kind": "attestation", "changes": []}),
        ("INTENT", ASKED | {"kind": KIND_VOLUNTARY_EXIT, "changes": []}),
        ("INTENT", ASKED | {"kind": KIND_VOLUNTARY_EXIT, "exits": []}),
        ("INTENT", ASKED | {"kind": KIND_VOLUNTARY_EXIT, "exits": [{"validator_index": 1}]}),
        ("INTENT", ASKED | {"kind": KIND_DEPOSIT, "deposits": [{"amount_gwei": 1}]}),
        ("FAILED", {"intent": 1, "code": "because"}),
        ("FAILED", {"intent": 1, "code": "E_X", "more": 1}),
        *(
            ("INTENT", ASKED | {"kind": KIND_BLS_TO_EXECUTION_CHANGE, "changes": changes})
            for changes in (
                [{"to_execution_address": "0x" + "00" * 20, "validator_indices": [7]}],
                [{"to_execution_address": ADDRESS.wire, "validator_indices": [-1]}],
                [{"to_execution_address": OTHER.wire, "validator_indices": [1]}],
                [
                    {"to_execution_address": a.wire, "validator_indices": [7]}
                    for a in (ADDRESS, OTHER)
                ],
            )
        ),
    ],
)
def test_nonsense_is_refused_though_it_is_chained(
    path: Path, kind: str, body: dict[str, Any]
) -> None:
    written(path)
    forged(path, type=kind, body=body)
    assert "damaged" in (message := refusal(path)) or "two addresses" in message


@pytest.mark.case("X204", "journal with a record replaced by another, with a digest of its own")
def test_a_replaced_record_breaks_the_chain(path: Path) -> None:
    lines = written(path).splitlines()
    record = json.loads(lines[3])
    record["body"]["changes"][0]["to_execution_address"] = OTHER.wire
    del record["head"]
    head = hashlib.sha256(canonical(record)).hexdigest()
    lines[3] = canonical(record | {"head": head})
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert "damaged at line 5" in refusal(path)


def test_forging_as_above_does_work(path: Path) -> None:
    written(path)
    forged(path, type="FAILED", body={"intent": 5, "code": "E_WORKER"})
    with open_journal(path) as journal:
        assert journal.sequence == 7


@pytest.mark.case("H1", "journal whose last line was not written whole, cut at every byte")
def test_an_unfinished_last_line_is_set_aside(path: Path) -> None:
    raw = written(path)
    start = raw.rindex(b"\n", 0, -1) + 1
    for end in [start + 1, start + 2, *range(start + 3, len(raw) - 1, 11), len(raw) - 2]:
        path.write_bytes(raw[:end])
        with open_journal(path) as journal:
            assert journal.torn
            assert journal.sequence == 5
            assert bindings(journal) == {1: ADDRESS, 2: OTHER, 3: ADDRESS}
        assert path.read_bytes() == raw[:start]
        assert path.with_name("journal.jsonl.torn-5").read_bytes() == raw[start:end]


@pytest.mark.case("H2", "journal whose last line lacks only its newline: it counts")
def test_a_line_whole_but_for_its_end_counts(path: Path) -> None:
    raw = written(path)
    path.write_bytes(raw[:-1])
    with open_journal(path) as journal:
        assert bindings(journal) == ALL
        journal.failed(5, "E_WORKER")
    assert path.read_bytes().startswith(raw)
    with open_journal(path) as journal:
        assert journal.sequence == 7


@pytest.mark.case("H2", "journal whose last blocks came back as zeros after a power cut")
def test_a_tail_of_zeros_is_set_aside(path: Path) -> None:
    raw = written(path)
    path.write_bytes(raw + bytes(4096))
    with open_journal(path) as journal:
        assert journal.torn
        assert bindings(journal) == ALL
    assert path.read_bytes() == raw


@pytest.mark.case("F1", "empty journal: the power went before the first record")
@pytest.mark.parametrize("content", [b"", b'{"body":{"gene'])
def test_an_empty_journal_is_begun(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    with open_journal(path) as journal:
        assert journal.sequence == 1


@pytest.mark.case("F3", "journal with a line over the limit, and with no line at all")
@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n"])
def test_a_line_without_end_is_refused(path: Path, tail: bytes) -> None:
    written(path)
    with path.open("ab") as file:
        file.write(b"x" * (MAX_LINE_BYTES + 1) + tail)
    assert "damaged at line 7" in refusal(path)


@pytest.mark.case("X206", "journal of another share, group, network")
def test_anothers_journal_is_refused(path: Path) -> None:
    raw = written(path)
    assert "another index" in refusal(path, index=2)
    assert "another group" in refusal(path, group=SimulatedPool.new(network=HOODI).group)
    assert "another group" in refusal(path, group=replace(GROUP, role="approval"))
    assert path.read_bytes() == raw


def test_a_new_epoch_of_the_same_share_keeps_its_bindings(path: Path) -> None:
    written(path)
    with open_journal(path, group=SimulatedPool.new(epoch=2).group) as journal:
        assert bindings(journal) == ALL


@pytest.mark.case("K14", "two agents on one journal")
def test_one_process_has_the_journal(path: Path) -> None:
    with open_journal(path):
        assert "in use" in refusal(path)
        code = (
            "import fcntl, sys\n"
            f"file = open({str(path)!r}, 'rb+')\n"
            "try: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            "except BlockingIOError: sys.exit(42)\n"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 42
    open_journal(path).close()


@pytest.mark.case("F17", "journal that is a symlink, a folder, a FIFO, open to others")
def test_the_journal_is_a_private_file(path: Path) -> None:
    other = path.with_name("other")
    raw = written(other)
    path.symlink_to(other)
    refusal(path)
    path.unlink()
    path.mkdir()
    refusal(path)
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert "not a regular file" in refusal(path)
    path.unlink()
    for mode in (0o644, 0o660, 0o602):
        other.chmod(mode)
        assert "open to other users" in refusal(other)
    assert other.read_bytes() == raw
    refusal(path.parent / "missing" / "journal.jsonl")


@pytest.mark.case("F17", "journal that belongs to another user")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_journal_is_ours(path: Path) -> None:
    written(path)
    os.chown(path, 12345, -1)
    assert "open to other users" in refusal(path)


# A disk that says no


class Disk:
    """os.write and os.fsync as the journal sees them. Set a fault and it has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_error = self.fsync_error = self.truncate_error = 0
        self.short = 0  # bytes that still fit before write_error
        self.calls: list[str] = []
        self._write, self._fsync, self._truncate = os.write, os.fsync, os.ftruncate
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "ftruncate", self.ftruncate)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.calls.append("write")
        if not self.write_error:
            return self._write(descriptor, data)
        if self.short:
            count = self._write(descriptor, data[: self.short])
            self.short = 0
            return count
        raise OSError(self.write_error, os.strerror(self.write_error))

    def fsync(self, descriptor: int) -> None:
        self.calls.append("fsync")
        if self.fsync_error:
            raise OSError(self.fsync_error, os.strerror(self.fsync_error))
        self._fsync(descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self.calls.append("ftruncate")
        if self.truncate_error:
            raise OSError(self.truncate_error, os.strerror(self.truncate_error))
        self._truncate(descriptor, size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def intent_fails(journal: Journal) -> JournalError:
    with pytest.raises(JournalError) as failed:
        journal.intent(DIGEST, [Change(8, ADDRESS)], 0)
    assert failed.value.exit_status == 8
    assert journal.address_of(8) is None
    return failed.value


@pytest.mark.case("F21", "disk full, I/O error, read-only disk at the journal's write")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("short", [0, 1, 60])
def test_a_failed_write_leaves_no_half_line(path: Path, disk: Disk, error: int, short: int) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        disk.write_error, disk.short = error, short
        assert os.strerror(error).lower() in intent_fails(journal).message
        assert path.read_bytes() == raw
        disk.write_error = 0
        assert journal.intent(DIGEST, [Change(8, OTHER)], 0) == 6  # the failed one did not bind
    with open_journal(path) as journal:
        assert bindings(journal) == {**ALL, 8: OTHER}


@pytest.mark.case("F21", "disk full or I/O error at the journal's fsync")
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_what_is_not_durable_does_not_count(path: Path, disk: Disk, error: int) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        disk.fsync_error = error
        intent_fails(journal)
        disk.fsync_error = 0
    assert path.read_bytes() == raw
    with open_journal(path) as journal:
        assert bindings(journal) == ALL


@pytest.mark.case("X207", "disk that takes half a line and does not let go of it again")
def test_a_journal_that_cannot_be_mended_signs_no_more(path: Path, disk: Disk) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        disk.write_error, disk.short, disk.truncate_error = errno.ENOSPC, 60, errno.EIO
        intent_fails(journal)
        disk.write_error = disk.truncate_error = 0
        disk.calls.clear()
        assert "restart" in intent_fails(journal).hint
        assert disk.calls == []
    with open_journal(path) as journal:
        assert journal.torn
        assert bindings(journal) == ALL
    assert path.read_bytes() == raw


def test_every_record_is_on_the_disk_before_the_call_returns(path: Path, disk: Disk) -> None:
    with open_journal(path) as journal:
        assert disk.calls == ["write", "fsync", "fsync"]  # the record, the folder's entry
        for record in (
            lambda: journal.intent(DIGEST, [Change(1, ADDRESS)], 0),
            lambda: journal.released(1, [bytes(96)]),
            lambda: journal.failed(1, "E_WORKER"),
        ):
            disk.calls.clear()
            record()
            assert disk.calls == ["write", "fsync"]


@pytest.mark.case("F21", "disk full when an unfinished line is to be set aside at the start")
def test_a_full_disk_at_the_start_is_the_journals_trouble(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = written(path)[:-20]
    path.write_bytes(raw)

    def no_space(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", no_space)
        assert "no space left" in refusal(path)
    assert path.read_bytes() == raw
    with open_journal(path) as journal:
        assert journal.torn


@pytest.mark.case("X208", "journal moved, replaced, cut or written by others under the agent")
@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "cut", "emptied", "longer"])
def test_a_journal_changed_under_the_agent_signs_no_more(path: Path, how: str) -> None:
    raw = written(path)
    with open_journal(path) as journal:
        match how:
            case "moved":
                path.rename(path.with_name("backup"))
            case "removed":
                path.unlink()
            case "replaced":
                path.rename(path.with_name("backup"))
                path.write_bytes(raw)
            case "cut":
                path.write_bytes(raw[: raw.rindex(b"\n", 0, -1) + 1])
            case "emptied":
                path.write_bytes(b"")
            case "longer":
                path.write_bytes(raw + b"\n")
        assert "under the agent" in intent_fails(journal).message

"""The doctor's findings about a machine, its files and its token. Nothing is mended."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from signer.custody import doctor
from signer.custody.doctor import (
    Finding,
    clock_finding,
    core_finding,
    host_findings,
    memory_finding,
    ptrace_finding,
    swap_finding,
    worker_finding,
)
from signer.custody.doctor_files import Inspector, disk_finding, kind_of_disk
from signer.custody.doctor_token import matching_findings, module_finding, token_findings
from signer.custody.jobs.sources import TokenChoice
from signer.custody.orders import TokenRow
from signer.errors import WorkerError
from signer.hsm.profile import load_profile
from signer.hsm.profile_facts import ModulePlace

NOW = 1_800_000_000.0
NO_SWAP = "Filename\tType\tSize\tUsed\tPriority\n"
SWAP = NO_SWAP + "/dev/sda2 partition 8388604 0 -2\n/swapfile file 1 0 -3\n"
OURS = Inspector(os.geteuid())


def short(found: Finding) -> tuple[str, str]:
    assert found.state in ("ok", "warn", "bad", "skipped")
    assert found.what
    assert bool(found.fix) or found.state in ("ok", "skipped")
    return found.code, found.state


# The machine


@pytest.mark.case("H4", "swap on, memory lockable or not; core dumps possible")
@pytest.mark.parametrize(
    ("found", "state"),
    [
        (swap_finding((), NO_SWAP), "ok"),
        (swap_finding((), SWAP), "ok"),
        (swap_finding(("memory_not_locked",), NO_SWAP), "ok"),
        (swap_finding(("memory_not_locked",), SWAP), "bad"),
        (swap_finding((), None), "skipped"),
        (swap_finding((), ""), "ok"),
        (memory_finding(()), "ok"),
        (memory_finding(("memory_not_locked",)), "warn"),
        (core_finding((), "core"), "ok"),
        (core_finding((), "|/usr/lib/systemd/systemd-coredump"), "ok"),
        (core_finding(("dumpable",), "core"), "bad"),
        (core_finding(("dumpable",), "|/usr/bin/catcher"), "bad"),
        (core_finding(("dumpable",), None), "bad"),
        (worker_finding(()), "ok"),
        (worker_finding(("memory_not_locked", "dumpable")), "ok"),
        (worker_finding(("new_privileges",)), "warn"),
        (ptrace_finding("1\n"), "ok"),
        (ptrace_finding("2\n"), "ok"),
        (ptrace_finding("0\n"), "warn"),
        (ptrace_finding(None), "warn"),
    ],
)
def test_what_could_catch_a_share_is_bad(found: Finding, state: str) -> None:
    assert short(found)[1] == state


def test_swap_names_its_devices() -> None:
    found = swap_finding(("memory_not_locked",), SWAP)
    assert "/dev/sda2, /swapfile" in found.what


@pytest.mark.case("H5", "clock in 1970, before the journal's last INTENT, a little before it")
@pytest.mark.parametrize(
    ("now", "last", "state"),
    [
        (0.0, None, "bad"),
        (1_704_067_199.0, None, "bad"),
        (1_704_067_200.0, None, "ok"),
        (NOW, int(NOW) + 86400, "bad"),
        (NOW, int(NOW) + 61, "bad"),
        (NOW, int(NOW) + 60, "ok"),
        (NOW, int(NOW) - 86400, "ok"),
    ],
)
def test_a_clock_that_cannot_be_right_is_bad(now: float, last: int | None, state: str) -> None:
    assert short(clock_finding(now, last)) == ("D_CLOCK", state)


def test_this_machine_is_looked_at_through_a_real_worker() -> None:
    findings = host_findings(NOW)
    assert [found.code for found in findings] == [
        "D_WORKER", "D_CORE", "D_MEMLOCK", "D_SWAP", "D_PTRACE", "D_CLOCK",
    ]  # fmt: skip
    assert short(findings[0])[1] == "ok"
    assert short(findings[1])[1] == "ok"


def test_the_running_agents_lock_counts_more_than_ours() -> None:
    for locks, state in ((False, "warn"), (True, "ok")):
        (found,) = [f for f in host_findings(NOW, locks_memory=locks) if f.code == "D_MEMLOCK"]
        assert found.state == state


def test_a_worker_that_does_not_start_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise WorkerError("no more processes")

    monkeypatch.setattr(doctor, "run_worker", refuse)
    assert [short(found) for found in host_findings(NOW)] == [
        ("D_WORKER", "bad"), ("D_CLOCK", "ok"),
    ]  # fmt: skip


# Files


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    return folder


def file(place: Path, mode: int) -> Path:
    path = place / "file"
    path.write_text("x")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "state"), [(0o644, "ok"), (0o600, "ok"), (0o664, "bad"), (0o646, "bad")]
)
def test_a_public_file_may_be_read_and_not_changed(place: Path, mode: int, state: str) -> None:
    assert short(OURS.public_file("D_X", "policy", file(place, mode))) == ("D_X", state)


@pytest.mark.parametrize(
    ("mode", "state"), [(0o600, "ok"), (0o400, "ok"), (0o640, "bad"), (0o604, "bad")]
)
def test_a_secret_file_may_not_even_be_read(place: Path, mode: int, state: str) -> None:
    assert short(OURS.secret_file("D_X", "PIN file", file(place, mode)))[1] == state


@pytest.mark.case("F17", "doctor: PIN file that is a link, FIFO, folder, absent, another user's")
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "absent", "owner", "loop", "file/x"])
def test_what_is_no_private_file_is_bad(place: Path, kind: str) -> None:
    path = place / "pin"
    inspector = OURS
    if kind == "link":
        path.symlink_to(file(place, 0o600))
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(0o700)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "file/x":
        path = file(place, 0o600) / "x"
    elif kind == "owner":
        path = file(place, 0o600)
        if os.geteuid() == 0:
            os.chown(path, 12345, 0)
        else:
            inspector = Inspector(os.geteuid() + 1)
    assert short(inspector.secret_file("D_PIN_FILE", "PIN file", path))[1] == "bad"


def test_a_secret_file_is_not_opened(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(place, 0o600)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr(Path, "open", opened)
    assert OURS.secret_file("D_X", "PIN file", path).state == "ok"


@pytest.mark.case("X343", "a folder above that others may write to")
@pytest.mark.parametrize(
    ("mode", "state"),
    [(0o755, "ok"), (0o775, "warn"), (0o777, "bad"), (0o1777, "ok"), (0o757, "bad")],
)
def test_every_folder_above_counts(place: Path, mode: int, state: str) -> None:
    below = place / "a" / "b"
    below.mkdir(parents=True, mode=0o755)
    path = file(below, 0o644)
    place.chmod(mode)
    found = OURS.public_file("D_X", "policy", path)
    assert short(found)[1] == state
    assert state == "ok" or str(place) in found.what
    assert short(OURS.folder("D_X", "folder", below / "new", most=0o700, follow=True))[1] == state


@pytest.mark.case("X344", "a link on the way, in a folder that others may write to")
def test_the_folder_of_a_link_counts_too(place: Path, tmp_path: Path) -> None:
    path = file(place, 0o644)
    others = tmp_path / "others"
    others.mkdir()
    others.chmod(0o777)
    (others / "link").symlink_to(path)
    assert short(OURS.public_file("D_X", "policy", path))[1] == "ok"
    assert short(OURS.public_file("D_X", "policy", others / "link"))[1] == "bad"


@pytest.mark.parametrize(
    ("mode", "state"), [(0o700, "ok"), (0o750, "warn"), (0o755, "warn"), (0o770, "bad")]
)
def test_a_state_folder_has_a_mode(place: Path, mode: int, state: str) -> None:
    folder = place / "state"
    folder.mkdir()
    folder.chmod(mode)
    assert short(OURS.folder("D_X", "state folder", folder, most=0o700, follow=True))[1] == state


@pytest.mark.case("K12", "doctor: a socket folder that is a link, a file")
def test_a_socket_folder_is_a_folder(place: Path) -> None:
    link = place / "run"
    link.symlink_to(place)
    assert OURS.folder("D_X", "folder", link, most=0o755, follow=False).state == "bad"
    plain = file(place, 0o644)
    assert OURS.folder("D_X", "folder", plain, most=0o755, follow=False).state == "bad"
    assert OURS.folder("D_X", "folder", plain / "x", most=0o755, follow=False).state == "bad"


MOUNTS = (
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 22 0:25 / /var/lib rw - tmpfs tmpfs rw\n"
    "31 22 0:26 / /var/lib/keep rw shared:1 master:2 - xfs /dev/vdb rw\n"
    "32 22 0:27 / /my\\040disk rw - overlay overlay rw,lowerdir=/a - b\n"
    "33 22 0:28 / /net rw - nfs4 host:/x rw\n"
    "garbage\n\n34 22 0:29 / /short rw -\n"
)


@pytest.mark.case("H6", "journal on tmpfs, overlay, a network disk: warned")
@pytest.mark.parametrize(
    ("path", "kind", "state"),
    [
        ("/nowhere/state", "ext4", "ok"),
        ("/var/lib/nowhere", "tmpfs", "warn"),
        ("/var/lib/keep/x", "xfs", "ok"),
        ("/var/library", "ext4", "ok"),
        ("/my disk/x", "overlay", "warn"),
        ("/net/x", "nfs4", "warn"),
    ],
)
def test_disks_that_forget_are_warned_of(
    path: str, kind: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signer.custody.doctor_files._first_there", lambda path: path)
    assert kind_of_disk(Path(path), MOUNTS) == kind
    assert short(disk_finding(Path(path), MOUNTS)) == ("D_JOURNAL_DISK", state)


def test_the_real_list_of_mounts_is_read() -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert kind_of_disk(Path("/proc/self"), mounts) == "proc"
    assert kind_of_disk(Path("/"), mounts) is not None
    assert disk_finding(Path("/"), "").state == disk_finding(Path("/"), None).state == "skipped"


# The token


def row(**changes: object) -> TokenRow:
    values = {
        "label": "holder-1", "serial": "aa", "manufacturer": "M", "model": "N",
        "initialized": True, "pin_state": "ok", "profile": "softhsm2", "meant": True,
        "described_by": "softhsm2", "proven": True, "uri": "pkcs11:token=holder-1;serial=aa",
    }  # fmt: skip
    return TokenRow(**(values | changes))  # type: ignore[arg-type]


def choice(**changes: object) -> TokenChoice:
    values = {"profile": load_profile("softhsm2"), "serial": "aa"}
    return TokenChoice(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.case("T4", "doctor: token absent, two with one label, locked, of another kind")
@pytest.mark.parametrize(
    ("token", "rows", "expected"),
    [
        (choice(), [row(), row(meant=False)], {"D_TOKEN": "ok", "D_PIN_STATE": "ok"}),
        (choice(), [], {"D_TOKEN": "bad"}),
        (choice(), [row(meant=False)], {"D_TOKEN": "bad"}),
        (
            choice(serial=None, label="holder-1"),
            [row()],
            {"D_TOKEN": "ok", "D_TOKEN_SERIAL": "warn", "D_PIN_STATE": "ok"},
        ),
        (
            choice(serial=None, label="holder-1"),
            [row(), row()],
            {"D_TOKEN": "bad"},
        ),
        (choice(), [row(profile=None)], {"D_TOKEN": "bad", "D_PIN_STATE": "ok"}),
        (choice(), [row(initialized=False)], {"D_TOKEN": "bad", "D_PIN_STATE": "ok"}),
        (choice(), [row(pin_state="locked")], {"D_TOKEN": "ok", "D_PIN_STATE": "bad"}),
        (choice(), [row(pin_state="final try")], {"D_TOKEN": "ok", "D_PIN_STATE": "bad"}),
        (choice(), [row(pin_state="not set")], {"D_TOKEN": "ok", "D_PIN_STATE": "bad"}),
        (choice(), [row(pin_state="low")], {"D_TOKEN": "ok", "D_PIN_STATE": "warn"}),
    ],
)
def test_the_configured_token_is_judged(
    token: TokenChoice, rows: list[TokenRow], expected: dict[str, str]
) -> None:
    assert dict(short(found) for found in matching_findings(token, rows)) == expected


def test_a_token_that_proves_nothing_is_warned_of() -> None:
    profile = dataclasses.replace(load_profile("softhsm2"), provenance="unproven", ceremony=False)
    found = matching_findings(choice(profile=profile), [row(proven=False)])[0]
    assert short(found) == ("D_TOKEN", "warn")
    assert "serial=aa'; UNPROVEN: " in found.what
    assert "UNPROVEN" not in matching_findings(choice(), [row()])[0].what


@pytest.mark.case("X871", "doctor: the profile is another device's, and which one is this one's")
def test_the_right_profile_is_named() -> None:
    (found, *_) = matching_findings(choice(), [row(profile=None, described_by="yubihsm2")])
    assert (short(found), found.fix) == (("D_TOKEN", "bad"), "token.profile: yubihsm2")
    (found, *_) = matching_findings(choice(), [row(profile=None, described_by=None)])
    assert found.fix == "take the profile of this device"


def test_tokens_are_named_by_what_goes_into_the_configuration() -> None:
    ours, other = "'pkcs11:token=holder-1;serial=aa'", "'pkcs11:token=x;serial=bb'"
    rows = [row(), row(uri=other[1:-1]), row(uri=None)]
    (many,) = matching_findings(choice(), rows)
    assert f"3 tokens match: {ours}, {other}" in many.what
    (none,) = matching_findings(choice(), [row(meant=False), row(meant=False, uri=None)])
    assert none.what == f"the configured token is not there; present: {ours}"
    found = matching_findings(choice(serial=None, label="holder-1"), [row()])
    assert found[0].what == f"exactly one token matches: {ours}"
    assert found[1].fix == f"set token.uri instead: {ours}"


@pytest.mark.case("T8", "doctor: module missing, not ELF, writable by others")
def test_a_module_that_others_can_change_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    assert short(module_finding(path)) == ("D_MODULE", "bad")
    path.write_bytes(b"no ELF")
    path.chmod(0o755)
    findings = token_findings(choice(module=str(path)))
    assert [short(found) for found in findings] == [("D_MODULE", "ok"), ("D_TOKEN", "bad")]
    path.chmod(0o777)
    findings = token_findings(choice(module=str(path)))
    assert [short(found) for found in findings] == [("D_MODULE", "bad"), ("D_TOKEN", "skipped")]


def test_a_profile_without_a_module_here_is_bad() -> None:
    profile = dataclasses.replace(
        load_profile("softhsm2"), modules=(ModulePlace(Path("/nowhere.so"), "us"),)
    )
    (found,) = token_findings(choice(profile=profile))
    assert short(found) == ("D_MODULE", "bad")


def test_a_mode_of_a_folder_is_checked_as_it_is_on_disk(place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o755  # else the cases above prove nothing

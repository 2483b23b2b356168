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
from signer.custody.doctor_device import Wanted
from signer.custody.doctor_files import Inspector, disk_finding, kind_of_disk
from signer.custody.doctor_module import (
    missing_module,
    module_finding,
    places_on,
    this_system,
)
from signer.custody.doctor_token import (
    every_finding,
    matching_findings,
    no_token,
    plugged_findings,
    token_findings,
)
from signer.custody.jobs.sources import TokenChoice
from signer.custody.orders import TokenRow
from signer.errors import WorkerError
from signer.hsm.node import Person
from signer.hsm.profile import load_profile, profile_names
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


# Modules, and tokens that no configuration names

WANTED = Wanted(person=Person.of(os.geteuid()))
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'


@pytest.mark.case("T8", "doctor: module missing, not ELF, writable by others")
def test_a_module_that_others_can_change_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    assert short(module_finding(path)) == ("D_MODULE", "bad")
    findings = token_findings(choice(module=str(path)), WANTED)
    assert [short(f) for f in findings] == [("D_MODULE", "bad"), ("D_TOKEN", "skipped")]
    path.write_bytes(b"no ELF")
    for mode in (0o755, 0o777):
        path.chmod(mode)
        assert short(module_finding(path)) == ("D_MODULE", "bad")  # before a worker is asked
        findings = token_findings(choice(module=str(path)), WANTED)
        assert [short(f) for f in findings] == [("D_MODULE", "bad"), ("D_TOKEN", "skipped")]


@pytest.mark.case("X977", "doctor: module for another processor, library that is no PKCS#11 module")
def test_a_module_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    import _ctypes

    library = Path(_ctypes.__file__).read_bytes()
    path = tmp_path / "module.so"
    path.write_bytes(library)
    path.chmod(0o755)
    findings = token_findings(choice(module=str(path)), WANTED)
    assert [short(f) for f in findings] == [("D_MODULE", "bad"), ("D_TOKEN", "skipped")]
    assert "no PKCS#11 module" in findings[0].what
    other = 0xB7 if library[18] != 0xB7 else 0x3E
    path.write_bytes(library[:18] + bytes([other]) + library[19:])
    (found, _) = token_findings(choice(module=str(path)), WANTED)
    named = {0xB7: "aarch64", 0x3E: "x86-64"}
    assert f"another processor architecture ({named[other]}, 64 bits)" in found.what
    assert found.fix.startswith("install the package of its ")
    assert named[other] not in found.fix


@pytest.mark.case("X977", "doctor: module missing; where the distribution at hand has it")
@pytest.mark.parametrize(
    ("system", "paths"),
    [
        (DEBIAN, 3), (MINT, 3), ("ID=arch\n", 1), ("ID=fedora\n", 2), ("ID=plan9\n", 6), ("", 6),
        ("=\n\nID", 6),
    ],
)  # fmt: skip
def test_a_missing_module_is_in_a_package(system: str, paths: int) -> None:
    profile = load_profile("softhsm2")
    assert len(places_on(profile, system)) == paths
    found = missing_module(profile, None, system)
    assert short(found) == ("D_MODULE", "bad")
    assert "SoftHSM 2 (software, for tests only) is not installed" in found.what
    first = places_on(profile, system)[0]
    assert f"install it ({first.by}: {first.path}" in found.fix
    assert "--module" in found.fix


def test_every_profile_says_how_its_module_is_got() -> None:
    for name in profile_names():
        found = missing_module(load_profile(name), None, DEBIAN)
        assert short(found) == ("D_MODULE", "bad")
        assert "package" in found.fix or not load_profile(name).software
    named = missing_module(load_profile("softhsm2"), Path("/opt/x.so"), DEBIAN)
    assert "'/opt/x.so'" in named.what
    assert "package softhsm2" in named.fix


def test_this_system_says_what_it_is() -> None:
    assert "ID=" in this_system()


def test_a_profile_without_a_module_here_is_bad() -> None:
    profile = dataclasses.replace(
        load_profile("softhsm2"), modules=(ModulePlace(Path("/nowhere.so"), "us"),)
    )
    (found, token) = token_findings(choice(profile=profile), WANTED)
    assert (short(found), short(token)) == (("D_MODULE", "bad"), ("D_TOKEN", "skipped"))
    assert "us: /nowhere.so" in found.fix


def all_of(*rows: TokenRow, profile: str = "softhsm2") -> list[tuple[str, str]]:
    return [short(found) for found in every_finding(choice(profile=load_profile(profile)), rows)]


@pytest.mark.case("X978", "doctor without a configuration: tokens not ready, or another profile's")
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ["D_TOKEN bad"]),
        ([row()], ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE ok"]),
        ([row(initialized=False)], ["D_PROFILE ok", "D_TOKEN bad"]),
        (
            [row(), row(initialized=False)],
            ["D_PROFILE ok", "D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE ok"],
        ),
        ([row(pin_state="locked")], ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE bad"]),
        ([row(pin_state="final try")], ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE bad"]),
        ([row(pin_state="not set")], ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE bad"]),
        ([row(pin_state="low")], ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE warn"]),
        ([row(profile=None, described_by="yubihsm2")], ["D_PROFILE bad"]),
        ([row(profile=None, described_by=None)], ["D_PROFILE warn"]),
        (
            [row(profile=None, described_by="yubihsm2"), row()],
            ["D_PROFILE ok", "D_TOKEN ok", "D_PIN_STATE ok"],
        ),
        ([row(profile="generic", described_by="generic", initialized=False)],
         ["D_PROFILE warn", "D_TOKEN bad"]),
    ],
)  # fmt: skip
def test_without_a_configuration_every_token_is_judged(
    rows: list[TokenRow], expected: list[str]
) -> None:
    assert [f"{code} {state}" for code, state in all_of(*rows)] == expected


def test_what_to_do_with_a_token_that_is_not_ready() -> None:
    blank = every_finding(choice(), [row(initialized=False)])
    assert blank[1].fix == f"once: {load_profile('softhsm2').initialise}"
    (other,) = every_finding(choice(), [row(profile=None, described_by="yubihsm2")])
    assert other.fix == "--profile yubihsm2"
    steps = no_token(choice(profile=load_profile("opensc")), {})
    assert "polkit" in steps
    assert "set OPENSC_CONF" in steps
    assert no_token(choice(profile=load_profile("yubihsm2")), {"YUBIHSM_PKCS11_CONF": "x"}) == (
        "plug it in, or the card into its reader"
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[TokenRow]]:
    """What modules show, by the profile that is asked with; SoftHSM's file stands for all."""
    tokens: dict[str, list[TokenRow]] = {}

    def list_tokens(token: TokenChoice, *, seconds: float) -> list[TokenRow]:
        assert 10 <= seconds <= 60
        return tokens[token.profile.name]

    monkeypatch.setattr("signer.custody.doctor_token.list_tokens", list_tokens)
    monkeypatch.setattr("signer.custody.doctor_token.look_for_device", lambda wanted: [wanted])
    monkeypatch.setattr(
        "signer.custody.doctor_token.module_finding", lambda path: Finding("D_MODULE", "ok", "x")
    )
    return tokens


def test_a_module_alone_tells_the_profile(shown: dict[str, list[TokenRow]], tmp_path: Path) -> None:
    module = tmp_path / "opensc-pkcs11.so"
    module.touch()
    card = row(profile=None, described_by="opensc")
    shown |= {"nitrokey-hsm2": [card], "opensc": [dataclasses.replace(card, profile="opensc")]}
    wanted, *findings = plugged_findings(None, str(module), WANTED)
    assert [short(f) for f in findings] == [
        ("D_MODULE", "ok"), ("D_PROFILE", "ok"), ("D_TOKEN", "ok"), ("D_PIN_STATE", "ok"),
    ]  # fmt: skip
    assert "profile 'opensc' describes" in findings[1].what
    assert (wanted.profile.name, wanted.module, wanted.reached) == ("opensc", module, True)  # type: ignore[attr-defined]
    findings = plugged_findings("nitrokey-hsm2", str(module), WANTED)[1:]
    assert [short(f) for f in findings] == [("D_MODULE", "ok"), ("D_PROFILE", "bad")]
    shown["generic"] = []
    unknown = tmp_path / "vendor.so"
    unknown.touch()
    wanted, *findings = plugged_findings(None, str(unknown), WANTED)
    assert [short(f) for f in findings] == [("D_MODULE", "ok"), ("D_TOKEN", "bad")]
    assert not wanted.reached  # type: ignore[attr-defined]


def test_with_a_configuration_one_token_is_meant(
    shown: dict[str, list[TokenRow]], tmp_path: Path
) -> None:
    module = tmp_path / "m.so"
    module.touch()
    shown["softhsm2"] = [row(), row(meant=False, pin_state="locked")]
    findings = token_findings(choice(module=str(module)), WANTED)[1:]
    assert [short(f) for f in findings] == [
        ("D_MODULE", "ok"), ("D_TOKEN", "ok"), ("D_PIN_STATE", "ok"),
    ]  # fmt: skip
    assert findings[1].what.startswith("exactly one token matches: ")


def test_a_mode_of_a_folder_is_checked_as_it_is_on_disk(place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o755  # else the cases above prove nothing

"""What is plugged in, by a folder that looks like sysfs and by umockdev's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signer.hsm.udev import load_rules
from signer.hsm.usb import UsbDevice, kind_of, usb_devices
from tests.conftest import unavailable
from tests.simulators import udev

NODES = Path("/dev/bus/usb")


def plug(
    sysfs: Path, name: str, vendor: str, product: str, *, number: str = "7", interface: str = "ff"
) -> Path:
    """Put a device and its one interface into a folder like /sys/bus/usb/devices."""
    folder = sysfs / name
    (folder / f"{name}:1.0").mkdir(parents=True)
    for attribute, value in (
        ("idVendor", vendor), ("idProduct", product), ("busnum", "1"), ("devnum", number),
        (f"{name}:1.0/bInterfaceClass", interface),
    ):  # fmt: skip
        (folder / attribute).write_text(f"{value}\n")
    (sysfs / f"{name}:1.0").symlink_to(folder / f"{name}:1.0")
    return folder


def device(ids: str, *, ccid: bool = False) -> UsbDevice:
    vendor, product = ids.split(":")
    return UsbDevice(vendor=vendor, product=product, node=NODES / "001/007", ccid=ccid)


def test_devices_are_found_with_their_nodes(tmp_path: Path) -> None:
    plug(tmp_path, "1-2", "1050", "0407", number="12", interface="0b")
    plug(tmp_path, "1-1.4", "1050", "0030", number="3")
    assert usb_devices(tmp_path) == (
        UsbDevice(vendor="1050", product="0030", node=NODES / "001/003"),
        UsbDevice(vendor="1050", product="0407", node=NODES / "001/012", ccid=True),
    )


def test_no_bus_is_not_an_empty_one(tmp_path: Path) -> None:
    assert usb_devices(tmp_path) == ()
    assert usb_devices(tmp_path / "absent") is None


@pytest.mark.case("X972", "sysfs with attributes absent, empty, not hex, binary, out of range")
@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("idVendor", None), ("idProduct", b""), ("idVendor", b"10 50"), ("idProduct", b"\xff\xfe"),
        ("idVendor", b"1050/.."), ("busnum", b"../.."), ("devnum", b"-1"), ("devnum", b"1234"),
        ("busnum", None),
    ],
)  # fmt: skip
def test_what_is_no_device_is_passed_over(
    tmp_path: Path, attribute: str, value: bytes | None
) -> None:
    plug(tmp_path, "1-1", "1050", "0030")
    odd = plug(tmp_path, "1-2", "1050", "0030", number="8")
    assert len(usb_devices(tmp_path) or ()) == 2
    (odd / attribute).unlink()
    if value is not None:
        (odd / attribute).write_bytes(value)
    assert [found.node.name for found in usb_devices(tmp_path) or ()] == ["007"]


@pytest.mark.parametrize(
    ("found", "title", "profile", "pcsc"),
    [
        (device("1050:0030"), "YubiHSM 2", "yubihsm2", False),
        (device("1050:0407"), "YubiKey", "yubikey-piv", True),
        (device("20a0:4230"), "Nitrokey HSM", "nitrokey-hsm2", True),
        (device("08e6:3437", ccid=True), "smart card reader", "opensc", True),
        (device("1050:0030", ccid=True), "YubiHSM 2", "yubihsm2", False),
    ],
)
def test_a_known_device_has_a_profile(
    found: UsbDevice, title: str, profile: str, pcsc: bool
) -> None:
    kind = kind_of(found)
    assert kind is not None
    assert (kind.title, kind.profile, kind.pcsc) == (title, profile, pcsc)


def test_a_keyboard_is_none_of_ours() -> None:
    assert kind_of(device("046d:c31c")) is None


def test_every_rule_has_the_name_of_a_profile() -> None:
    from signer.hsm.profile import profile_names

    assert {rule.name for rule in load_rules().rules} <= set(profile_names())


def test_sysfs_is_read_as_umockdev_makes_it(tmp_path: Path) -> None:
    """The form of the real one: links, folders of interfaces, names of attributes."""
    if shutil.which("umockdev-run") is None:
        unavailable("no umockdev-run on this machine")
    yubikey = udev.UsbDevice(
        vendor="1050", product="0407", interfaces=":0b0000:",
        path=f"{udev.PORT}/1-2:1.0", kind="usb_interface",
    )  # fmt: skip
    (tmp_path / "device").write_text(yubikey.description())
    code = "from signer.hsm.usb import usb_devices; print(*usb_devices(), sep='\\n')"
    done = subprocess.run(
        ["umockdev-run", "--device", tmp_path / "device", "--", sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    expected = UsbDevice(vendor="1050", product="0407", node=NODES / "001/007", ccid=True)
    assert done.stdout == f"{expected}\n", done.stderr

"""udev's verdict on USB devices that are not there, with our rules file among the machine's stock.

`umockdev` makes the device, `udevadm test` of systemd 252 (Debian 12) says what the rules would do.
All of it in a mount name space of its own: as root, or as anybody whom the kernel gives one.
"""

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from signer.hsm.udev import RULES_NAME
from tests.conftest import unavailable

ROOT = Path(__file__).resolve().parents[2]
SYSUSERS = ROOT / "deploy" / "sysusers.d" / "signer.conf"
SCRIPT = Path(__file__).with_name("udev.sh")
PORT = "/devices/pci0000:00/0000:00:14.0/usb1/1-2"
OURS = f"/run/udev/rules.d/{RULES_NAME}"


@dataclass(frozen=True, kw_only=True)
class UsbDevice:
    """What a plugged device tells the kernel."""

    vendor: str  # as sysfs's idVendor
    product: str
    interfaces: str  # class, subclass and protocol of each, as udev's ID_USB_INTERFACES
    path: str = PORT
    kind: str = "usb_device"  # or usb_interface, a part of one

    def description(self) -> str:
        """Return it in umockdev's format; of an interface also the device above it."""
        product = f"PRODUCT={self.vendor.lstrip('0')}/{self.product.lstrip('0')}/200"
        lines = [
            f"P: {PORT}",
            "N: bus/usb/001/007",
            *("E: SUBSYSTEM=usb", "E: DEVTYPE=usb_device", "E: DEVNAME=/dev/bus/usb/001/007"),
            *(f"E: {product}", "E: BUSNUM=001", "E: DEVNUM=007", "E: MAJOR=189", "E: MINOR=6"),
            f"E: ID_USB_INTERFACES={self.interfaces}",
            *(f"A: idVendor={self.vendor}", f"A: idProduct={self.product}"),
            *("A: busnum=1", "A: devnum=7", ""),
        ]
        if self.kind == "usb_interface":
            lines += [
                f"P: {self.path}",
                *("E: SUBSYSTEM=usb", f"E: DEVTYPE={self.kind}", f"E: {product}"),
                *("E: INTERFACE=255/0/0", f"A: bInterfaceClass={self.interfaces[1:3]}", ""),
            ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What udev would do with the device's node."""

    group: str | None  # its name; None leaves it to root
    mode: str | None
    tags: frozenset[str]
    applied: tuple[str, ...]  # what our file did, as udev says it
    complaints: tuple[str, ...]  # what udev says of our file when it reads it


@functools.cache
def _name_space() -> tuple[str, ...] | None:
    for command in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        probe = [*command, "mount", "-t", "tmpfs", "tmpfs", "/run"]
        if subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0:
            return command
    return None


def judge(
    rules: str, device: UsbDevice, folder: Path, *, action: str = "add", with_group: bool = True
) -> Verdict:
    """Ask udev what it does with `device` when `rules` is our file.

    Groups are this machine's, and if `with_group` those of deploy/sysusers.d.
    """
    for program in ("umockdev-run", "udevadm", "systemd-sysusers", "unshare"):
        if shutil.which(program) is None:
            unavailable(f"no {program} on this machine")
    inside = _name_space()
    if inside is None:
        unavailable("no mount name space to be had, not even as root")
    for name in ("rules.d", "etc"):
        (folder / name).mkdir()
    (folder / "rules.d" / RULES_NAME).write_text(rules)
    (folder / "device").write_text(device.description())
    for name in ("passwd", "group"):
        lines = Path("/etc", name).read_text().splitlines(keepends=True)
        theirs = [line for line in lines if not line.startswith("signer")]
        (folder / "etc" / name).write_text("".join(theirs))
    done = subprocess.run(
        [*inside, "sh", SCRIPT, folder, action, device.path, *([SYSUSERS] if with_group else [])],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert f"Reading rules file: {OURS}\n" in said, said[-2000:]
    groups = {
        line.split(":")[2]: line.split(":")[0]
        for line in (folder / "etc" / "group").read_text().splitlines()
    }
    gids = re.findall(r"^\S+: \S+:\d+ GROUP (\d+)$", said, re.MULTILINE)
    modes = re.findall(r"^\S+: \S+:\d+ MODE (\d+)$", said, re.MULTILINE)
    tags = re.search(r"^TAGS=(.*)$", said, re.MULTILINE)
    ours = [line for line in said.splitlines() if OURS in line]
    applied = [line for line in ours if re.match(r"\S+: /", line)]  # after the device's name
    return Verdict(
        group=groups.get(gids[-1]) if gids else None,
        mode=modes[-1] if modes else None,
        tags=frozenset(tags[1].strip(":").split(":")) if tags else frozenset(),
        applied=tuple(applied),
        complaints=tuple(
            line for line in ours if line not in applied and line != f"Reading rules file: {OURS}"
        ),
    )

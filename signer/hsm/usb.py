"""What is plugged in by USB, as the kernel shows it, and which of it we know.

Reads sysfs, opens no device. A device that needs a udev rule of ours is known by that rule; the
others are known by the ids in udev/README.md, which says where each is from.
"""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from signer.hsm.udev import load_rules

SYSFS = Path("/sys/bus/usb/devices")
NODES = Path("/dev/bus/usb")
_SMART_CARD = "0b"  # USB's class of CCID readers, and of tokens that are one
_ID = re.compile(r"[0-9a-f]{4}")
_MOST_DEVICES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbDevice:
    """One device on the bus."""

    vendor: str  # four hex digits, lower case
    product: str
    node: Path  # what a process would have to open
    ccid: bool = False  # one of its interfaces is a smart card reader's

    @property
    def ids(self) -> str:
        """As lsusb writes them."""
        return f"{self.vendor}:{self.product}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of device that we know."""

    title: str
    profile: str  # the device profile to begin with
    ids: tuple[str, ...]
    pcsc: bool = True  # pcscd opens it; else whoever uses it does, by a rule of ours


KINDS = (
    Kind("YubiKey", "yubikey-piv", ("1050:0404", "1050:0405", "1050:0406", "1050:0407")),
    Kind("YubiKey NEO", "yubikey-piv", ("1050:0111", "1050:0112", "1050:0115", "1050:0116")),
    Kind("Nitrokey HSM", "nitrokey-hsm2", ("20a0:4230",)),
    Kind("Nitrokey", "opensc", ("20a0:4108", "20a0:4109", "20a0:4211", "20a0:42b2")),
    Kind("SmartCard-HSM stick", "nitrokey-hsm2", ("04e6:5816", "04e6:5817")),
    Kind("Identiv reader", "opensc",
         ("04e6:5116", "04e6:511f", "04e6:5814", "04e6:5815", "04e6:581d")),
    Kind("Feitian ePass2003", "opensc", ("096e:0807",)),
    Kind("Gnuk, Librem Key or CanoKey", "opensc", ("234b:0000", "316d:4c4b", "20a0:42d4")),
)  # fmt: skip
_ANY_CARD = Kind("smart card reader", "opensc", ())


def usb_devices(sysfs: Path = SYSFS, nodes: Path = NODES) -> tuple[UsbDevice, ...] | None:
    """Return the devices on the bus, by their nodes; None where the kernel shows no bus."""
    found = []
    try:
        folders = sorted(sysfs.iterdir())[:_MOST_DEVICES]
    except OSError:
        return None
    for folder in folders:
        vendor, product = (_word(folder / name) for name in ("idVendor", "idProduct"))
        bus, number = (_word(folder / name) for name in ("busnum", "devnum"))
        if not (_ID.fullmatch(vendor) and _ID.fullmatch(product)):
            continue  # an interface, or a device that just went
        if not (re.fullmatch("[0-9]{1,3}", bus) and re.fullmatch("[0-9]{1,3}", number)):
            continue
        node = nodes / f"{int(bus):03}" / f"{int(number):03}"
        found.append(UsbDevice(vendor=vendor, product=product, node=node, ccid=_is_ccid(folder)))
    return tuple(sorted(found, key=lambda device: device.node))


def kind_of(device: UsbDevice) -> Kind | None:
    """Return what `device` is known as; None if we have nothing to do with such a one."""
    if (rule := load_rules().rule_for(device.vendor, device.product)) is not None:
        return Kind(rule.title, rule.name, (device.ids,), pcsc=False)
    known = next((kind for kind in KINDS if device.ids in kind.ids), None)
    return known or (_ANY_CARD if device.ccid else None)


def _is_ccid(folder: Path) -> bool:
    """Look at the interfaces below a device: folders such as `1-2:1.0`."""
    with contextlib.suppress(OSError):
        return any(
            _word(interface / "bInterfaceClass") == _SMART_CARD
            for interface in folder.glob(f"{folder.name}:*")
        )
    return False


def _word(path: Path) -> str:
    """Return the line that an attribute holds; empty where there is none."""
    with contextlib.suppress(OSError, UnicodeError), path.open("rb") as file:
        return file.read(64).decode("ascii").strip()
    return ""

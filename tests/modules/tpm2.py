"""tpm2-pkcs11 on a TPM in software, behind a resource manager on a bus of its own.

Without the resource manager every failed call would leave an object in the TPM until it is full.
1.9.0 makes keys for ECDH and has no ECDH; a key is only ever made by the TPM; wrong PINs are
counted by the TPM, which says nothing of it and then locks every key in it.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.modules.processes import daemon, run
from tests.modules.under_test import ModuleUnderTest

MODULE = Path("/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so")
LABEL = "tpm"
PIN = "1234"
SO_PIN = "12345678"


@contextlib.contextmanager
def tpm2(folder: Path) -> Iterator[ModuleUnderTest]:
    """A new TPM, a bus, a resource manager, a store and a token in it."""
    place = folder / "tpm2"
    for name in ("state", "store"):
        (place / name).mkdir(parents=True, mode=0o700)
    environment = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={place}/bus",
        "TPM2_PKCS11_STORE": f"{place}/store",
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_LOG_LEVEL": "0",
        "TSS2_LOG": "all+none",
    }
    with contextlib.ExitStack() as stack:
        for command, ready in _daemons(place):
            log = place / f"{command[0]}.log"
            stack.enter_context(daemon(command, ready, log, environment=environment))
        tool = ("pkcs11-tool", "--module", str(MODULE))
        run(*tool, "--init-token", "--slot-index", "0", "--label", LABEL, "--so-pin", SO_PIN,
            environment=environment)  # fmt: skip
        run(*tool, "--token-label", LABEL, "--login", "--login-type", "so", "--so-pin", SO_PIN,
            "--init-pin", "--pin", PIN, environment=environment)  # fmt: skip
        yield ModuleUnderTest(
            name="tpm2",
            path=MODULE,
            environment=environment,
            label=LABEL,
            pin=PIN,
            so_pin=SO_PIN,
            profile_name="tpm2-swtpm",
            abilities=frozenset(
                {
                    "ecdsa-p256",
                    "rsa-oaep-sha256",
                    "rsa-oaep-sha1",
                    "data-objects",
                    "provenance",
                    "only-token",
                    "locks-pin",
                }
            ),
            tries=3,
        )


def _daemons(place: Path) -> list[tuple[list[str], Callable[[], bool]]]:
    """Return what has to run, in order, and how it is seen that it does."""
    tpm = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={place}/state"]
    tpm += [
        "--server",
        f"type=unixio,path={place}/tpm",
        "--ctrl",
        f"type=unixio,path={place}/tpm.ctrl",
    ]
    tpm += ["--flags", "not-need-init,startup-clear"]
    bus = [
        "dbus-daemon",
        "--session",
        "--nofork",
        "--nopidfile",
        f"--address=unix:path={place}/bus",
    ]
    manager = ["tpm2-abrmd", "--allow-root", "--session", f"--tcti=swtpm:path={place}/tpm"]
    bus_of = f"--bus=unix:path={place}/bus"
    owner = ["dbus-send", bus_of, "--print-reply", "--dest=org.freedesktop.DBus", "/"]
    owner += ["org.freedesktop.DBus.GetNameOwner", "string:com.intel.tss2.Tabrmd"]
    return [
        (tpm, (place / "tpm").exists),
        (bus, (place / "bus").exists),
        (manager, lambda: subprocess.run(owner, capture_output=True, check=False).returncode == 0),
    ]

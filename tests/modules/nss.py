"""NSS's software token, as browsers have it. Debian 12 has 3.87.

Its module is initialised with a text that names the folder. It shows a second token, for what has
no key, that has the same serial number. It never says LOCAL, keeps no data objects, and counts no
wrong PINs.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.modules.processes import run
from tests.modules.under_test import ModuleUnderTest

MODULE = Path("/usr/lib/x86_64-linux-gnu/libsoftokn3.so")
LABEL = "NSS Certificate DB"  # NSS's own, in every folder
PIN = "123456"


@contextlib.contextmanager
def nss(folder: Path) -> Iterator[ModuleUnderTest]:
    """A folder of its own, with a password."""
    place = folder / "nss"
    place.mkdir(mode=0o700)
    pin_file = place / "password"
    pin_file.write_text(PIN + "\n")
    run("certutil", "-N", "-d", f"sql:{place}", "-f", str(pin_file))
    yield ModuleUnderTest(
        name="nss",
        path=MODULE,
        environment={
            "NSS_LIB_PARAMS": f"configdir='sql:{place}' certPrefix='' keyPrefix='' secmod='' flags="
        },
        label=LABEL,
        pin=PIN,
        so_pin="",
        profile_name="nss-softokn",
        abilities=frozenset(
            {
                "ecdsa-p256",
                "ecdh-p256",
                "rsa-oaep-sha256",
                "rsa-oaep-sha1",
                "aes-256-gcm",
                "foreign-keys",
                "imports-keys",
                "open-public-objects",
            }
        ),
    )

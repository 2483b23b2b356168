"""A SoftHSM token behind p11-kit's server, reached by its client over a socket.

Debian 12's 0.24.1 hides every mechanism whose parameter it cannot pass on: ECDH, AES-GCM and all
that wraps a key. RSA-OAEP it passes.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from signer.testing.softhsm import SO_PIN, SoftHSM, module_path
from tests.modules.processes import daemon
from tests.modules.under_test import ModuleUnderTest

MODULE = Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so")
LABEL = "remote"
PIN = "1234"


@contextlib.contextmanager
def p11_kit(folder: Path) -> Iterator[ModuleUnderTest]:
    """A server of ours with a token of ours, in a private folder."""
    token = SoftHSM.create(folder / "p11-kit", LABEL, pin=PIN)
    socket = token.folder / "socket"
    command = ["p11-kit", "server", "--foreground", "--name", str(socket)]
    command += ["--provider", str(module_path()), "pkcs11:"]
    log = token.folder / "server.log"
    with daemon(command, socket.exists, log, environment=token.environment):
        yield ModuleUnderTest(
            name="p11-kit",
            path=MODULE,
            environment={"P11_KIT_SERVER_ADDRESS": f"unix:path={socket}"},
            label=LABEL,
            pin=PIN,
            so_pin=SO_PIN,
            profile_name="softhsm2-p11-kit",
            abilities=frozenset(
                {
                    "ecdsa-p256",
                    "rsa-oaep-sha1",
                    "data-objects",
                    "provenance",
                    "own-serial",
                    "only-token",
                    "foreign-keys",
                    "imports-keys",
                    "open-public-objects",
                    "tells-pin-count",
                    "twin-objects",
                }
            ),
        )

"""opencryptoki's software token, whose daemon needs root and keeps one token for the machine.

Debian 12's 3.8.1 has RSA and AES-CBC; no elliptic curves, no AES-GCM. It locks on the third wrong
PIN and says so by its flags. A token that is not ours is not touched.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from signer.hsm.module import load_module
from tests.modules.processes import NotReadyError, daemon, run
from tests.modules.under_test import ModuleUnderTest

MODULE = Path("/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0")
LABEL = "signer-lockout"
FACTORY_SO_PIN, SO_PIN, FIRST_PIN, PIN = "87654321", "76543210", "12345", "123456"
FILES = Path("/var/lib/opencryptoki/swtok")
_TOOL = ("pkcs11-tool", "--module", str(MODULE))
_LOCK_SECONDS = 60
_PARKED_AT = 800  # a descriptor's number that no test comes near
_parked: list[bool] = []  # whether it was done in this process


@contextlib.contextmanager
def opencryptoki(folder: Path) -> Iterator[ModuleUnderTest]:
    """A daemon of ours, and a token with other PINs than the factory's."""
    with _alone():
        why = _missing()
        if why:
            raise NotReadyError(why)
        _forget_ours()
        try:
            with _daemon(folder / "pkcsslotd.log"):
                _set_up()
                _park()
                yield ModuleUnderTest(
                    name="opencryptoki",
                    path=MODULE,
                    environment={},
                    label=LABEL,
                    pin=PIN,
                    so_pin=SO_PIN,
                    profile_name="opencryptoki-3-8",
                    abilities=frozenset(
                        {
                            "rsa-oaep-sha256",
                            "rsa-oaep-sha1",
                            "data-objects",
                            "provenance",
                            "own-serial",
                            "only-token",
                            "imports-keys",
                            "open-public-objects",
                            "locks-pin",
                            "tells-pin-count",
                            "twin-objects",
                        }
                    ),
                    tries=3,
                )
        finally:
            _forget_ours()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other test on this machine uses the one daemon."""
    path = Path(tempfile.gettempdir()) / "signer-opencryptoki.lock"
    with path.open("w") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotReadyError("another test keeps opencryptoki's daemon") from None
                time.sleep(0.1)
        yield


def _park() -> None:
    """Let the module take its lock's descriptor where nobody else has one.

    3.8.1 opens /run/lock/opencryptoki/LCK..APIlock at the first C_Initialize of a process, and
    closes that number at every C_Finalize: from the second on somebody else's file.
    """
    if _parked:
        return
    _parked.append(True)
    placeholders = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while placeholders[-1] < _PARKED_AT:
            placeholders.append(os.open(os.devnull, os.O_RDONLY))
        load_module(MODULE).close()
    finally:
        for descriptor in placeholders:
            os.close(descriptor)


def _missing() -> str:
    """Return why it cannot run here, or nothing."""
    if not MODULE.exists() or shutil.which("pkcsslotd") is None:
        return "opencryptoki is not installed"
    if os.geteuid() != 0:
        return "opencryptoki's daemon needs root"
    if _running():
        return "somebody else's opencryptoki daemon runs here"
    token = FILES / "NVTOK.DAT"
    label = token.read_bytes()[:32].strip(b"\0 ").decode() if token.exists() else ""
    if label not in ("", "IBM OS PKCS#11", LABEL):  # the second is an uninitialised one
        return "this machine's opencryptoki token is somebody else's"
    return ""


def _forget_ours() -> None:
    """Remove the token's files, if it is ours: nothing else brings its factory PINs back."""
    if (FILES / "NVTOK.DAT").exists() and LABEL.encode() in (FILES / "NVTOK.DAT").read_bytes():
        for file in (*FILES.glob("NVTOK.DAT"), *FILES.glob("MK_*")):
            file.unlink()


@contextlib.contextmanager
def _daemon(log: Path) -> Iterator[None]:
    """Run the daemon. After one was ended the next start only cleans up, so it is tried again."""
    with contextlib.ExitStack() as stack:
        for last in (False, False, True):
            try:
                stack.enter_context(daemon(["pkcsslotd", "-f"], _answers, log))
                break
            except NotReadyError:
                if last:
                    raise
        yield


def _answers() -> bool:
    done = subprocess.run(
        [*_TOOL, "--list-slots"], capture_output=True, text=True, timeout=30, check=False
    )
    return "Slot 0" in done.stdout


def _set_up() -> None:
    """Initialise the token as pkcs11-tool can: the factory's SO PIN has to be changed first."""
    for arguments in (
        ("--init-token", "--label", LABEL, "--so-pin", FACTORY_SO_PIN),
        ("--login", "--login-type", "so", "--so-pin", FACTORY_SO_PIN, "--change-pin",
         "--new-pin", SO_PIN),
        ("--login", "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--pin", FIRST_PIN),
        ("--login", "--pin", FIRST_PIN, "--change-pin", "--new-pin", PIN),
    ):  # fmt: skip
        run(*_TOOL, "--slot", "3", *arguments)


def _running() -> bool:
    for place in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if place.read_text().strip() == "pkcsslotd":
                return True
    return False

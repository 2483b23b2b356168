"""PIN lockout on a token that really locks: opencryptoki's software token.

SoftHSM never locks. This one says FINAL_TRY after two wrong PINs and locks on the third. Its daemon
needs root and keeps one token for the whole machine, so a token that is not ours is not touched.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.errors import PinError, PinFinalTryError, PinLockedError
from signer.hsm.discovery import (
    TokenInfo,
    TokenSelector,
    find_token,
    profile_for,
    require_profile,
)
from signer.hsm.module import Module, load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import DeviceProfile
from signer.hsm.session import open_session
from tests.conftest import unavailable
from tests.token_suite.conftest import FixedPin

MODULE = Path("/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0")
LABEL = "signer-lockout"
FACTORY_SO_PIN, SO_PIN, FIRST_PIN, PIN = "87654321", "76543210", "12345", "123456"
FILES = Path("/var/lib/opencryptoki/swtok")


def tool(*arguments: str) -> str:
    """Run pkcs11-tool on the one slot."""
    done = subprocess.run(
        ["pkcs11-tool", "--module", str(MODULE), *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def missing() -> str:
    """Return why it cannot run here, or nothing."""
    if not MODULE.exists() or shutil.which("pkcsslotd") is None:
        return "opencryptoki is not installed"
    if shutil.which("pkcs11-tool") is None:
        return "opensc's pkcs11-tool is not installed"
    if os.geteuid() != 0:
        return "opencryptoki's daemon needs root"
    if running():
        return "somebody else's opencryptoki daemon runs here"
    token = FILES / "NVTOK.DAT"
    label = token.read_bytes()[:32].strip(b"\0 ").decode() if token.exists() else ""
    if label not in ("", "IBM OS PKCS#11", LABEL):  # the second is an uninitialised one
        return "this machine's opencryptoki token is somebody else's"
    return ""


@pytest.fixture
def module() -> Iterator[Module]:
    """Yield the module with a fresh token of ours, user PIN set; CI must have it."""
    why = missing()
    if why:
        unavailable(why)
    forget_ours()
    try:
        start()
        set_up()
        with load_module(MODULE) as loaded:
            yield loaded
    finally:
        stop()
        forget_ours()


def forget_ours() -> None:
    """Remove the token's files, if it is ours: nothing else brings its factory PINs back."""
    if (FILES / "NVTOK.DAT").exists() and LABEL.encode() in (FILES / "NVTOK.DAT").read_bytes():
        for file in (*FILES.glob("NVTOK.DAT"), *FILES.glob("MK_*")):
            file.unlink()


def start() -> None:
    """Run the daemon. After one was ended the next start only cleans up, so it is tried again."""
    deadline = time.monotonic() + 30
    while "Slot 0" not in tool("-L"):
        assert time.monotonic() < deadline, tool("-L")
        if not running():
            subprocess.run(["pkcsslotd"], check=False, timeout=30)
        time.sleep(0.3)


def stop() -> None:
    """End the daemon, which we started."""
    for pid in running():
        os.kill(pid, 15)
    deadline = time.monotonic() + 10
    while running() and time.monotonic() < deadline:
        time.sleep(0.05)


def set_up() -> None:
    """Initialise the token as pkcs11-tool can: the factory's SO PIN has to be changed first."""
    for arguments in (
        ("--init-token", "--label", LABEL, "--so-pin", FACTORY_SO_PIN),
        ("--login", "--login-type", "so", "--so-pin", FACTORY_SO_PIN, "--change-pin",
         "--new-pin", SO_PIN),
        ("--login", "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--pin", FIRST_PIN),
        ("--login", "--pin", FIRST_PIN, "--change-pin", "--new-pin", PIN),
    ):  # fmt: skip
        said = tool("--slot", "3", *arguments)
        assert "success" in said, said


def running() -> set[int]:
    """Return the daemon's processes."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            if place.read_text().strip() == "pkcsslotd":
                found.add(int(place.parent.name))
        except OSError:
            continue
    return found


def login(module: Module, pin: FixedPin, *, final_try: bool = False) -> None:
    """Log in once, and out."""
    with open_session(module, token(module), profile(module), pin, final_try=final_try):
        return


def profile(module: Module) -> DeviceProfile:
    """Return the packaged profile of this token; its version decides which."""
    found = profile_for(token(module), MODULE)
    assert found is not None
    assert found.name in ("opencryptoki", "opencryptoki-3-8")
    require_profile(token(module), found)
    assert (found.pin_tries, found.pin_lock) == (3, "flags")
    return found


def token(module: Module) -> TokenInfo:
    return find_token(module, TokenSelector(LABEL))


def refuse(module: Module, error: type[PinError], *, final_try: bool = False) -> FixedPin:
    """Offer a wrong PIN, which must end so; return the source, to see whether it was read."""
    source = FixedPin(b"99999")
    with pytest.raises(error) as caught:
        login(module, source, final_try=final_try)
    assert type(caught.value) is error
    return source


@pytest.mark.case("T1", "wrong PIN, then at FINAL_TRY, then LOCKED, on a token that locks")
def test_the_last_try_is_not_spent_unless_a_person_says_so(module: Module) -> None:
    login(module, FixedPin(PIN.encode()))
    assert not token(module).count_low
    refuse(module, PinError)
    assert token(module).count_low
    refuse(module, PinError)
    assert token(module).final_try
    for _ in range(3):
        assert refuse(module, PinFinalTryError).asked == 0
    assert token(module).final_try
    assert not token(module).locked
    login(module, FixedPin(PIN.encode()), final_try=True)  # he knew it: the count begins anew
    assert not token(module).final_try
    for _ in range(2):
        refuse(module, PinError)
    assert refuse(module, PinError, final_try=True).asked == 1
    assert token(module).locked
    for final_try in (False, True):
        assert refuse(module, PinLockedError, final_try=final_try).asked == 0


@pytest.mark.case("T14", "SO PIN given as user PIN: one try, and no more")
def test_an_so_pin_is_a_wrong_pin(module: Module, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_text(SO_PIN)
    with (
        pytest.raises(PinError) as caught,
        open_session(module, token(module), profile(module), PinFile(path)),
    ):
        pass
    assert caught.value.code == "E_PIN_REFUSED"
    assert not token(module).final_try
    login(module, FixedPin(PIN.encode()))

"""Tokens for the suite: real SoftHSM ones in a folder of their own, and one in memory."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from pkcs11 import exceptions
from pkcs11.constants import TokenFlag

from signer.hsm.discovery import TokenSelector, find_token, list_tokens
from signer.hsm.module import Module, load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import DeviceProfile, load_profile
from signer.hsm.session import TokenSession, open_session
from signer.secret import SecretBytes
from tests.conftest import unavailable

SO_PIN = "12345678"
USER_PIN = "1234"


@dataclasses.dataclass
class SoftHsm:
    """SoftHSM with a token folder of its own, and a copy of the module: its own instance."""

    folder: Path
    module: Path
    profile: DeviceProfile

    def add_token(self, label: str) -> None:
        command = ["softhsm2-util", "--init-token", "--free", "--label", label]
        command += ["--so-pin", SO_PIN, "--pin", USER_PIN]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def pin_file(self, pin: bytes = USER_PIN.encode()) -> PinFile:
        path = self.folder / f"pin-{len(list(self.folder.iterdir()))}"
        path.touch(mode=0o600)
        path.write_bytes(pin)
        return PinFile(path)

    def load(self) -> Module:
        return load_module(self.module)

    def session(
        self, module: Module, label: str | None = None
    ) -> AbstractContextManager[TokenSession]:
        """Log in to the token `label` with the right PIN."""
        token = find_token(module, TokenSelector(label))
        return open_session(module, token, self.profile, self.pin_file())


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """Return SoftHSM without a token; CI must have it, elsewhere the test is skipped."""
    profile = load_profile("softhsm2")
    module = next((path for path in profile.module_paths if path.is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        unavailable("SoftHSM (softhsm2) is not installed")
    folder = tmp_path / "softhsm"
    (folder / "tokens").mkdir(parents=True, mode=0o700)
    config = folder / "softhsm2.conf"
    config.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n"
        "log.level = ERROR\nslots.removable = false\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    copy = Path(shutil.copy(module, folder / "module.so"))
    return SoftHsm(folder, copy, profile)


@pytest.fixture
def softhsm_module(softhsm: SoftHsm) -> Iterator[Module]:
    """Yield the module with one token, `desk`."""
    softhsm.add_token("desk")
    with softhsm.load() as module:
        yield module


class FakeSession:
    """A session handle that counts."""

    def __init__(self, token: "FakeModule") -> None:
        self._module = token
        self.handle = 7

    def close(self) -> None:
        self._module.open_sessions -= 1


class FakeToken:
    """What `Slot.get_token` answers: a snapshot of the fake's plain attributes."""

    def __init__(self, module: "FakeModule") -> None:
        self._module = module
        self.label = module.label
        self.serial = module.serial
        self.manufacturer_id = "SoftHSM project"
        self.model = "SoftHSM v2"
        self.flags = module.flags

    def open(self, rw: bool = False) -> FakeSession:
        self._module.open_sessions += 1
        return FakeSession(self._module)


class FakeModule:
    """One token in memory, changed by plain assignment. Counts what is done to it."""

    path = Path("/nowhere/fake.so")

    def __init__(self) -> None:
        self.label = "desk"
        self.serial = b"0001"
        self.flags = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED
        self.pin = USER_PIN.encode()
        self.typed_on_pad = USER_PIN.encode()
        self.flags_after_refusal = TokenFlag(0)
        self.login_error: exceptions.PKCS11Error | None = None
        self.tries: list[bytes] = []
        self.open_sessions = 0
        self.logged_in = False

    def slots(self) -> list[Any]:
        return [self]

    def get_token(self) -> FakeToken:
        return FakeToken(self)

    def login(self, session: int, pin: SecretBytes | None) -> None:
        self.tries.append(self.typed_on_pad if pin is None else pin.expose().tobytes())
        if self.login_error is not None:
            raise self.login_error
        if self.tries[-1] != self.pin:
            self.flags |= self.flags_after_refusal
            raise exceptions.PinIncorrect
        self.logged_in = True

    def logout(self, session: int) -> None:
        self.logged_in = False

    def as_module(self) -> Module:
        return cast(Module, self)


@dataclasses.dataclass
class FixedPin:
    """A PIN source that counts how often it was asked."""

    pin: bytes = USER_PIN.encode()
    asked: int = 0

    def read(self, token: str) -> SecretBytes:
        self.asked += 1
        return SecretBytes(self.pin)


@dataclasses.dataclass
class FakeDesk:
    """A fake token, a PIN and the way to log in with it."""

    module: FakeModule
    pin: FixedPin
    profile: DeviceProfile

    def open(self) -> AbstractContextManager[TokenSession]:
        module = self.module.as_module()
        return open_session(module, list_tokens(module)[0], self.profile, self.pin)


@pytest.fixture
def fake_desk() -> FakeDesk:
    return FakeDesk(FakeModule(), FixedPin(), load_profile("softhsm2"))


@pytest.fixture
def fixed_random() -> Callable[[int], bytes]:
    """Return a source that never repeats, the same in each run."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(size, "big")

    return random_bytes

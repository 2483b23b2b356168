"""Tokens for the suite: one on each module of the catalogue, SoftHSM's own, and one in memory.

A test that takes `bench` runs on every module. It says what it needs of one with the mark `needs`,
in the order in which it comes to need it. On a module that cannot do it the same test runs as well:
then our code must refuse, with the code that REFUSALS has for what is lacking first, and leave the
token as it was.
"""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from signer.errors import ModuleError, SignerError
from signer.hsm import pairs
from signer.hsm.discovery import TokenSelector, find_token, list_tokens
from signer.hsm.module import Module, load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import DeviceProfile, load_profile
from signer.hsm.session import TokenSession, open_session
from signer.secret import SecretBytes
from tests.conftest import unavailable
from tests.modules.bench import Bench, told
from tests.modules.catalogue import MODULES
from tests.modules.device import UNKNOWN, of_options
from tests.modules.memory import MemoryModule
from tests.modules.processes import NotReadyError
from tests.modules.under_test import REFUSALS, ModuleUnderTest

DEVICE = "device"
SO_PIN = "12345678"
USER_PIN = "1234"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a module on each one; with --device, on that device alone.

    A test that names its modules itself runs on those.
    """
    named = metafunc.config.getoption("--device") is not None
    chosen = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "under" in metafunc.fixturenames and "under" not in chosen:
        names = [DEVICE] if named else list(MODULES)
        if metafunc.definition.get_closest_marker("other_process"):
            names = [name for name in names if name != "memory"]
        metafunc.parametrize("under", names, indirect=True, scope="module")
    if "fresh_under" in metafunc.fixturenames:
        metafunc.parametrize("fresh_under", list(MODULES), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Write each test's module down, and leave out what is not for a device of somebody's."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        for name in ("under", "fresh_under"):
            if chosen is not None and name in chosen.params:
                item.user_properties.append(("module", chosen.params[name]))
    if config.getoption("--device") is not None:
        meant = [item for item in items if for_a_device(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in meant])
        items[:] = meant


def for_a_device(item: pytest.Item) -> bool:
    """Tell whether a test may run on a device that is not ours."""
    needed = {ability for mark in item.iter_markers("needs") for ability in mark.args}
    asks = ("module", DEVICE) in item.user_properties
    return asks and not needed & UNKNOWN and item.get_closest_marker("ours_only") is None


def started(name: str, config: pytest.Config) -> Iterator[ModuleUnderTest]:
    """Yield the module `name` of the catalogue, running; CI must have it."""
    if name == DEVICE:
        with of_options(config.getoption) as under:
            yield under
        return
    # Not below pytest's folder: the path of a unix socket has room for 107 bytes. In memory, where
    # that can be: a token waits for its disk at every change.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="signer-", dir=place) as folder,
        contextlib.ExitStack() as stack,
    ):
        try:
            under = stack.enter_context(MODULES[name](Path(folder)))
        except (NotReadyError, ModuleError, FileNotFoundError) as error:
            unavailable(f"module {name}: {error}")
        stack.enter_context(told(under.environment))
        yield under


@pytest.fixture(scope="module")
def under(request: pytest.FixtureRequest) -> Iterator[ModuleUnderTest]:
    """Yield each module, started once for a file's tests."""
    yield from started(request.param, request.config)


@pytest.fixture
def fresh_under(request: pytest.FixtureRequest) -> Iterator[ModuleUnderTest]:
    """Yield each module, started for this test alone: its token may end locked."""
    yield from started(request.param, request.config)


def bench_of(under: ModuleUnderTest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(under, folder)
    # Half a minute less for the whole suite. Tests of SoftHSM alone keep the preference, 3072.
    monkeypatch.setattr(pairs, "_PREFERRED_BITS", (2048,))
    return bench


@pytest.fixture
def bench(
    under: ModuleUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """Yield a module with an empty token; what the test leaves on it is removed."""
    bench = bench_of(under, tmp_path, monkeypatch)
    try:
        yield bench
    finally:
        bench.close()
        bench.wipe()
        bench.close()


@pytest.fixture
def fresh_bench(
    fresh_under: ModuleUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """Yield a module of this test's own."""
    bench = bench_of(fresh_under, tmp_path, monkeypatch)
    yield bench
    bench.close()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Where the module lacks what the test needs, have it end in the right refusal."""
    found = [pyfuncitem.funcargs.get(name) for name in ("bench", "fresh_bench")]
    bench = next((one for one in found if isinstance(one, Bench)), None)
    if bench is None:
        return (yield)
    needed = [ability for mark in pyfuncitem.iter_markers("needs") for ability in mark.args]
    lacking = bench.lacking(needed)
    result = None
    if not lacking:
        result = yield
    else:
        before = bench.contents()
        try:
            yield
        except SignerError as error:
            if error.code not in REFUSALS[lacking[0]]:
                raise
        else:
            pytest.fail(f"{bench.under.name} has no {lacking[0]}, and nothing was refused")
        if bench.contents() != before:
            pytest.fail(f"{bench.under.name} has no {lacking[0]}, and the token was changed")
        bench.unsupported += lacking
    if bench.unsupported:
        pyfuncitem.user_properties.append(("unsupported", bench.unsupported[0]))
    return result


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

    module: MemoryModule
    pin: FixedPin
    profile: DeviceProfile

    def open(self) -> AbstractContextManager[TokenSession]:
        module = self.module.as_module()
        return open_session(module, list_tokens(module)[0], self.profile, self.pin)


@pytest.fixture
def fake_desk() -> FakeDesk:
    return FakeDesk(MemoryModule(), FixedPin(), load_profile("softhsm2"))


@pytest.fixture
def fixed_random() -> Callable[[int], bytes]:
    """Return a source that never repeats, the same in each run."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(size, "big")

    return random_bytes

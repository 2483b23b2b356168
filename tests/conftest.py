"""What every test may ask for."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from signer.errors import ModuleError
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from signer.testing.softhsm import SoftHSM, module_path

SECOND_ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"  # allowed by the pool's policy
VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "vectors"


def unavailable(why: str) -> NoReturn:
    """Skip a test whose means this machine lacks; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}: it must be there in CI")
    pytest.skip(why)


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Return a reader of `../shared/vectors`; missing vectors fail in CI and skip elsewhere."""
    if not VECTORS.is_dir():
        unavailable("no ../shared/vectors on this machine")

    def read(name: str) -> Any:
        return json.loads((VECTORS / name).read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="session")
def softhsm_here() -> None:
    """Skip what needs SoftHSM where it is not installed; in CI that is a failure."""
    try:
        module_path()
    except ModuleError as error:
        unavailable(error.message)


@pytest.fixture(scope="session")
def provisioned(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Return a pool of 5 tokens with a key split 3 of 5, no agent running. Copy it: see `pool`."""
    pool = Pool.with_tokens(
        tmp_path_factory.mktemp("pool") / "p", ["Ada", "Ben", "Cy", "Di", "Eve"]
    )
    pool.write_policy([TEST_ADDRESS, SECOND_ADDRESS])
    pool.split(3)
    return pool


@pytest.fixture
def pool(provisioned: Pool, tmp_path: Path) -> Iterator[Pool]:
    """Yield a copy of the provisioned pool that the test may do anything to."""
    with copy_of(provisioned, tmp_path / "p") as copied:
        yield copied


def copy_of(pool: Pool, folder: Path) -> Pool:
    """Copy a pool's files and tokens; SoftHSM's configuration and journals' marks name places."""
    shutil.copytree(pool.folder, folder)
    copied = type(pool)(folder)
    for holder in pool.holders:
        place = folder / holder.folder.name
        token = SoftHSM(place / "token", holder.token.label)
        config = token.config.read_text().replace(str(holder.token.folder), str(token.folder))
        token.config.write_text(config)
        for mark in place.glob("*.journal"):
            mark.write_text(mark.read_text().replace(str(pool.folder), str(folder)))
        copied.holders.append(Holder(holder.index, holder.name, place, token))
    return copied


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", action="store_true", help="list the bad inputs tried, run nothing")
    device = parser.getgroup("device", "the token suite on a device of yours, instead of on ours")
    device.addoption("--device", metavar="SERIAL", help="the one token that may be touched")
    device.addoption("--device-module", metavar="PATH", help="its PKCS#11 module")
    device.addoption("--device-profile", metavar="NAME", help="its device profile")
    device.addoption("--device-pin-file", metavar="PATH", help="a private file with its user PIN")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--cases"):
        return
    cases = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        for mark in item.iter_markers("case"):
            number, words = mark.args
            cases.add((number[0], int(number[1:]), words, test))
    for letter, number, words, test in sorted(cases):
        print(f"{letter}{number}  {words}  ({test})")
    items[:] = []

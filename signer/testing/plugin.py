"""The pytest plugin: SoftHSM tokens, whole pools and a token that misbehaves, for your own tests.

Installed with this package, so its fixtures are there without an import. It imports nothing of the
program before a fixture is used. docs/testing-your-own.md tells how it is used.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from signer.testing.hostile.token import HostileToken
    from signer.testing.mint import TokenMint
    from signer.testing.running import RunningPool
    from signer.testing.softhsm import SoftHSM


@pytest.fixture(scope="session")
def softhsm_mint(tmp_path_factory: pytest.TempPathFactory) -> "TokenMint":
    """What makes the tokens; you rarely want it itself.

    A machine without SoftHSM fails the test (E_MODULE): a test that silently did not run is worse.
    """
    from signer.testing.mint import TokenMint

    return TokenMint(tmp_path_factory.mktemp("mint") / "pattern")


@pytest.fixture
def softhsm_tokens(
    softhsm_mint: "TokenMint", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Callable[..., SoftHSM]":
    """Make SoftHSM tokens of this test alone: `softhsm_tokens("ada")`, as often as you like.

    With `keys=True` the token gets a holder's two keys. SOFTHSM2_CONF names the latest token; each
    has a copy of the module of its own, `token.module`.
    """

    def make(label: str = "token", *, keys: bool = False) -> "SoftHSM":
        token = softhsm_mint.token(tmp_path / f"softhsm-{label}", label)
        if keys:
            from signer.testing.provision import make_keys

            make_keys(token)
        monkeypatch.setenv("SOFTHSM2_CONF", str(token.config))
        return token

    return make


@pytest.fixture
def hostile_token(softhsm_mint: "TokenMint", tmp_path: Path) -> "HostileToken":
    """Return a token with a holder's keys behind a module that misbehaves when told to."""
    from signer.testing.hostile.token import HostileToken
    from signer.testing.provision import make_keys

    token = softhsm_mint.token(tmp_path / "hostile-softhsm", "hostile")
    make_keys(token)
    return HostileToken.in_front_of(token, tmp_path / "hostile")


@pytest.fixture
def signer_pool(softhsm_mint: "TokenMint") -> "Iterator[Callable[..., RunningPool]]":
    """Make pools with a split key and running agents: `signer_pool(3, 5)`; `hostile={2}` for more.

    All of it ends with the test.
    """
    from signer.testing.running import RunningPool

    pools: list[RunningPool] = []
    # Not under tmp_path, whose length is the test's name: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="signer-pool-") as folder:

        def make(t: int = 3, n: int = 5, **options: object) -> RunningPool:
            place = Path(os.path.realpath(folder)) / str(len(pools))
            pools.append(RunningPool.make(place, softhsm_mint, t, n, **options))  # type: ignore[arg-type]
            return pools[-1]

        try:
            yield make
        finally:
            for pool in pools:
                pool.close()

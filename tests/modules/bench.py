"""A module under test as a test sees it: loaded, its token empty, and what it says of itself."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pkcs11.constants import Attribute
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Key, Session

from signer.hsm.discovery import TokenInfo, TokenSelector, find_token
from signer.hsm.module import Module
from signer.hsm.pin import PinFile
from signer.hsm.profile import DeviceProfile
from signer.hsm.provenance import read_attributes
from signer.hsm.session import TokenSession, open_session
from signer.hsm.translate import translated
from signer.recipient import HPKE_P256
from tests.modules.under_test import SEALING, ModuleUnderTest

OUR_LABELS = ("id-sign", "epoch-kex", "signer-journal")
_SHOWN = (Attribute.CLASS, Attribute.LABEL, Attribute.ID, Attribute.EC_POINT, Attribute.MODULUS)


class Bench:
    """One test's hold of a module."""

    def __init__(self, under: ModuleUnderTest, folder: Path) -> None:
        self.under = under
        self.unsupported: list[str] = []  # abilities whose absence the test asserted
        self._folder = folder
        self._module: Module | None = None
        self._open: TokenSession | None = None
        self.profile: DeviceProfile = under.profile

    @property
    def label(self) -> str:
        return self.under.label

    @property
    def module(self) -> Module:
        """The module, loaded when it is first asked for and after `close`."""
        if self._module is None:
            self._module = self.under.load(self.under.path)
        return self._module

    def seal_by(self, method: str) -> None:
        """Have the profile seal by `method`, whatever it says of the module."""
        ceremony = self.profile.ceremony and method == HPKE_P256
        self.profile = dataclasses.replace(self.profile, seal_methods=(method,), ceremony=ceremony)

    def demand_provenance(self) -> None:
        """Have the profile demand proof of where keys were made, whatever it says of the module."""
        self.profile = dataclasses.replace(self.profile, provenance="strict")

    def can(self, ability: str) -> bool:
        """Tell whether the module has an ability; a test that asks has two sides to assert."""
        if ability not in self.under.abilities:
            self.unsupported.append(ability)
            return False
        return True

    def lacking(self, abilities: Sequence[str]) -> list[str]:
        """Return those of `abilities` that the module has not, in order.

        `own-method` is the one to which the profile seals.
        """
        method = SEALING[self.profile.seal]
        needed = [method if ability == "own-method" else ability for ability in abilities]
        return [ability for ability in needed if ability not in self.under.abilities]

    def token(self) -> TokenInfo:
        """Return the token of ours as it is now."""
        return find_token(self.module, TokenSelector(self.label, self.under.serial))

    def pin_file(self, pin: str | None = None) -> PinFile:
        """Return a private file with the right PIN, or another."""
        path = self._folder / f"pin-{len(list(self._folder.iterdir()))}"
        path.touch(mode=0o600)
        path.write_text(self.under.pin if pin is None else pin)
        return PinFile(path)

    @contextlib.contextmanager
    def session(self) -> Iterator[TokenSession]:
        """Log in with the right PIN."""
        with open_session(self.module, self.token(), self.profile, self.pin_file()) as session:
            self._open = session
            try:
                yield session
            finally:
                self._open = None

    @contextlib.contextmanager
    def public_session(self) -> Iterator[Any]:
        """Open a session that may write, as anybody can who does not know the PIN."""
        token = self.token()
        with (
            contextlib.closing(token.slot.get_token().open(rw=True)) as session,
            translated("changing public objects", token.describe()),
        ):
            yield session

    def contents(self) -> list[tuple[str, ...]]:
        """Return what is on the token, the holder logged in, in words that can be compared."""
        with contextlib.ExitStack() as stack:
            session = self._open or stack.enter_context(self.session())
            read = [read_attributes(thing, _SHOWN) for thing in ours_on(session)]
        return sorted(tuple(repr(one.get(key)) for key in _SHOWN) for one in read)

    def wipe(self) -> None:
        """Destroy every key and anchor on the token, which were all made by tests."""
        with self.session() as session, session.writable() as writable:
            for thing in ours_on(session, writable):
                with contextlib.suppress(PKCS11Error):  # some remove both halves of a pair at once
                    thing.destroy()
            if self.contents():
                raise RuntimeError(f"{self.under.name}: the token cannot be emptied")

    def close(self) -> None:
        """Finalise the module."""
        if self._module is not None:
            self._module.close()
        self._module = self._open = None


def ours_on(session: TokenSession, writable: Session | None = None) -> list[Any]:
    """Return the keys on a token, and what has a label of ours; a card's certificates are not."""
    things = list((writable or session.session).get_objects({Attribute.TOKEN: True}))
    labels = [read_attributes(thing, (Attribute.LABEL,)).get(Attribute.LABEL) for thing in things]
    return [
        thing
        for thing, label in zip(things, labels, strict=True)
        if isinstance(thing, Key) or label in OUR_LABELS
    ]


@contextlib.contextmanager
def told(environment: Mapping[str, str]) -> Iterator[None]:
    """Set what a module reads in this process's environment, for the time of the block."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

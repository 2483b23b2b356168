"""A logged-in session on one token, in a `with` block.

The token's flags are read anew before the PIN is, and a PIN is tried once. Whatever happens, the
session ends closed and the token logged out.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Session

from signer.errors import PinError, PinFinalTryError, PinLockedError, TokenError, TokenRemovedError
from signer.hsm.discovery import TokenInfo
from signer.hsm.module import Module
from signer.hsm.pin import PinPad, PinSource
from signer.hsm.profile import DeviceProfile
from signer.hsm.translate import translated
from signer.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class TokenSession:
    """A token that knows its user, until the block ends."""

    module: Module
    token: TokenInfo
    profile: DeviceProfile
    session: Session

    def doing(self, action: str) -> contextlib.AbstractContextManager[None]:
        """Return the block in which pkcs11's errors become ours, about this `action`."""
        return translated(action, self.token.describe())

    @contextlib.contextmanager
    def writable(self) -> Iterator[Session]:
        """Open a second session, that may write; the login counts for it too."""
        with self.doing("opening a session"):
            session = self.session.token.open(rw=True)
        try:
            yield session
        finally:
            with contextlib.suppress(PKCS11Error):
                session.close()


@contextlib.contextmanager
def open_session(
    module: Module,
    token: TokenInfo,
    profile: DeviceProfile,
    pin_source: PinSource,
    *,
    final_try: bool = False,
) -> Iterator[TokenSession]:
    """Log in to `token` with the PIN of `pin_source`, once, and log out at the end.

    With `final_try` a person has said that the token's last try may be spent.

    Raises:
        TokenError: the token is not initialised, has no user PIN, or does not answer.
        TokenRemovedError: another token is in the slot now.
        PinLockedError: locked; the PIN was not asked for.
        PinFinalTryError: one wrong PIN would lock it; the PIN was not asked for.
        PinError: E_PIN_EMPTY, E_PIN_LENGTH (not tried), E_PIN_REFUSED (tried once).
    """
    name = token.describe()
    with translated("reading the state", name):
        now = TokenInfo.read(token.slot)
    if (now.label, now.serial) != (token.label, token.serial):
        raise TokenRemovedError(f"{name} is gone: its slot now holds {now.describe()}")
    _require_usable(now, profile, final_try=final_try)
    on_pad = isinstance(pin_source, PinPad)
    if on_pad and not now.protected_auth:
        raise PinError(f"{name} has no PIN pad", hint="name another source of the PIN")
    with translated("opening a session", name):
        session = token.slot.get_token().open()
    try:
        if on_pad:
            _login(module, session, now, None, profile)
        else:
            with pin_source.read(name) as pin:
                _require_length(pin, profile)
                _login(module, session, now, pin, profile)
        try:
            yield TokenSession(module, now, profile, session)
        finally:
            module.logout(handle_of(session))
    finally:
        with contextlib.suppress(PKCS11Error):
            session.close()


def handle_of(session: Session) -> int:
    """Return the PKCS#11 handle of `session`; the wrapper has it and its stubs do not."""
    return int(session.handle)  # type: ignore[attr-defined]


def _require_usable(token: TokenInfo, profile: DeviceProfile, *, final_try: bool) -> None:
    if not token.initialized:
        raise TokenError(
            f"{token.describe()} cannot be used yet", hint=f"run: {profile.initialise}"
        )
    if token.locked:
        raise PinLockedError(
            f"the user PIN of {token.describe()} is locked; nothing was tried",
            hint="unlock it with the SO PIN and the vendor's tool",
        )
    if token.final_try and not final_try:
        raise PinFinalTryError(
            f"one wrong PIN more would lock {token.describe()}; nothing was tried",
            hint="make sure of the PIN; then a person may spend it at the desk: --final-try",
        )
    if not token.user_pin_set:
        raise TokenError(
            f"{token.describe()} has no user PIN yet",
            hint="set one with the SO PIN and the vendor's tool",
        )


def _require_length(pin: SecretBytes, profile: DeviceProfile) -> None:
    if not len(pin):
        raise PinError("the PIN is empty", code="E_PIN_EMPTY")
    if not profile.pin_min <= len(pin) <= profile.pin_max:
        raise PinError(
            f"the PIN is not of {profile.pin_min} to {profile.pin_max} bytes; it was not tried",
            code="E_PIN_LENGTH",
        )


def _login(
    module: Module,
    session: Session,
    token: TokenInfo,
    pin: SecretBytes | None,
    profile: DeviceProfile,
) -> None:
    """Try the PIN, exactly once; None is one typed on the device."""
    name = token.describe()
    try:
        with translated("logging in", name):
            module.login(handle_of(session), pin)
    except PinError as error:
        if error.code != "E_PIN_REFUSED":
            raise
        raise PinError(
            f"{name} refused the PIN{_tries_left(token, profile)}; it was tried once",
            hint="make sure of the PIN before you try again",
            code="E_PIN_REFUSED",
        ) from None


def _tries_left(token: TokenInfo, profile: DeviceProfile) -> str:
    """Return what the token says of its counter after a refused PIN; it never says a number.

    Of a kind that locks without a flag before, that is said.
    """
    try:
        now = TokenInfo.read(token.slot)
    except (PKCS11Error, UnicodeError):
        return ""
    if now.locked:
        return " and is locked now"
    if now.final_try:
        return " and locks on the next wrong one"
    if now.count_low:
        return " and counts few tries left"
    if profile.pin_lock != "silent":
        return ""
    many = "" if profile.pin_tries is None else f" after {profile.pin_tries} in a row"
    return f", and its kind locks{many} without a warning"

"""Which tokens are there, and the one that is meant.

A token is chosen by what it calls itself, never by its slot number alone, which changes. Exactly
one must match.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pkcs11.constants import TokenFlag
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Slot

from signer.errors import (
    TokenAmbiguousError,
    TokenNotFoundError,
    TokenRemovedError,
    UnknownTokenError,
)
from signer.hsm.module import Module
from signer.hsm.profile import DeviceProfile, load_profile, profile_names
from signer.hsm.translate import translated
from signer.hsm.uri import uri_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """What a token said of itself when it was asked; flags change, the rest does not."""

    label: str
    serial: str
    manufacturer: str
    model: str
    initialized: bool
    user_pin_set: bool
    count_low: bool  # a wrong PIN was given since the last right one
    final_try: bool  # one wrong PIN more locks it
    locked: bool
    protected_auth: bool  # the PIN is typed on the device
    slot: Slot = field(repr=False, compare=False)

    @classmethod
    def read(cls, slot: Slot) -> Self:
        """Ask the token in `slot`.

        Raises:
            PKCS11Error: or UnicodeError, of a token that does not answer in order.
        """
        token = slot.get_token()
        flags = token.flags
        return cls(
            label=token.label,
            serial=token.serial.decode("utf-8", "replace").strip("\0 "),
            manufacturer=token.manufacturer_id,
            model=token.model,
            initialized=bool(flags & TokenFlag.TOKEN_INITIALIZED),
            user_pin_set=bool(flags & TokenFlag.USER_PIN_INITIALIZED),
            count_low=bool(flags & TokenFlag.USER_PIN_COUNT_LOW),
            final_try=bool(flags & TokenFlag.USER_PIN_FINAL_TRY),
            locked=bool(flags & TokenFlag.USER_PIN_LOCKED),
            protected_auth=bool(flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH),
            slot=slot,
        )

    @property
    def slot_id(self) -> int:
        """The slot it is in now."""
        return int(self.slot.slot_id)

    def describe(self) -> str:
        """Return the token's name for messages, safe to print."""
        name = ascii(self.label) if self.initialized else "not initialised"
        return f"token {name} (serial {ascii(self.serial)[1:-1] or 'none'})"


@dataclass(frozen=True, slots=True)
class TokenSelector:
    """Which token is meant; without any of it, the only one there is."""

    label: str | None = None
    serial: str | None = None  # empty: one that has none
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None

    def matches(self, token: TokenInfo) -> bool:
        """Tell whether `token` is meant; one not initialised is meant only by its serial."""
        for wanted, there in (
            (self.serial, token.serial),
            (self.manufacturer, token.manufacturer),
            (self.model, token.model),
        ):
            if wanted not in (None, there):
                return False
        if self.slot_id is not None and self.slot_id != token.slot_id:
            return False
        if self.label is not None:
            return token.initialized and token.label == self.label
        return token.initialized or bool(self.serial)

    def describe(self) -> str:
        """Return the choice in words."""
        parts = [
            f"{name} {value!a}"
            for name, value in (
                ("label", self.label),
                ("serial", self.serial),
                ("manufacturer", self.manufacturer),
                ("model", self.model),
                ("slot id", self.slot_id),
            )
            if value is not None
        ]
        return " and ".join(parts) or "any label"


def list_tokens(module: Module) -> tuple[TokenInfo, ...]:
    """Return every token that answers. A slot that does not is passed over.

    Raises:
        TokenError: the module itself does not answer.
    """
    try:
        slots = _slots(module)
    except TokenRemovedError:  # one was unplugged while they were listed
        slots = _slots(module)
    tokens = []
    for slot in slots:
        try:
            tokens.append(TokenInfo.read(slot))
        except (PKCS11Error, UnicodeError):
            continue
    return tuple(tokens)


def _slots(module: Module) -> list[Slot]:
    with translated("listing tokens", f"module {str(module.path)!r}"):
        return module.slots()


def find_token(module: Module, selector: TokenSelector) -> TokenInfo:
    """Return the one token that `selector` means.

    Raises:
        TokenNotFoundError: none; says which are there, by their URIs.
        TokenAmbiguousError: several; says their URIs.
    """
    tokens = list_tokens(module)
    found = [token for token in tokens if selector.matches(token)]
    if len(found) == 1:
        return found[0]
    if found:
        raise TokenAmbiguousError(
            f"{len(found)} tokens have {selector.describe()}: {names_of(found)}",
            hint="choose one by its URI, with --token, or by its --serial",
        )
    raise TokenNotFoundError(
        f"no token has {selector.describe()}; present: {names_of(tokens) or 'none'}",
        hint="plug it in, or see `signer token list`",
    )


def names_of(tokens: Iterable[TokenInfo]) -> str:
    """Return the URIs of `tokens`, quoted for a shell; in words what no URI can name."""
    uris = ((token, uri_of(token)) for token in tokens)
    return ", ".join(token.describe() if uri is None else shlex.quote(uri) for token, uri in uris)


def profile_for(token: TokenInfo, module: Path | None = None) -> DeviceProfile | None:
    """Return the packaged profile that describes `token` most precisely; None if none does.

    Several can describe it equally well, as SoftHSM is the same token when it is reached through
    p11-kit: then the one that names the file of `module`, else the first by name.
    """
    covering = [
        profile
        for profile in map(load_profile, profile_names())
        if profile.match.covers(token.manufacturer, token.model)
    ]

    def rank(profile: DeviceProfile) -> tuple[tuple[int, int], bool]:
        files = {path.name for path in profile.module_paths}
        return profile.match.precision, module is not None and module.name in files

    return max(covering, key=rank, default=None)  # the first of equals


def require_profile(token: TokenInfo, profile: DeviceProfile) -> None:
    """Check that `profile` describes `token`, before anything is done to it.

    One that names no device in full is for those that no other describes: with it, a token that
    is known to prove or to protect nothing would pass for an unknown one.

    Raises:
        UnknownTokenError: it does not, or a packaged one does more precisely. The token was left
            unchanged.
    """
    covered = profile.match.covers(token.manufacturer, token.model)
    if covered and profile.match.names_a_device:  # the usual case: no other profile is read
        return
    best = profile_for(token)
    if covered and (best is None or best.match.precision <= profile.match.precision):
        return
    raise UnknownTokenError(
        f"{token.describe()} is {token.model!a} by {token.manufacturer!a}, which profile "
        f"{profile.name!r} does not describe{' best' if covered else ''}; it was left unchanged",
        hint=f"no profile describes it; there are: {', '.join(profile_names())}"
        if best is None
        else f"the profile of this kind of token: --profile {best.name}",
    )

"""The one token that an order is about, open for the time of the order; and secrets for it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import PinError, TokenKeyError, WorkerError
from signer.hsm.discovery import TokenInfo, TokenSelector, find_token, require_profile
from signer.hsm.module import Module, load_module, locate_module
from signer.hsm.pin import (
    PinCredential,
    PinDescriptor,
    PinFile,
    PinPad,
    PinPipe,
    PinPrompt,
    PinSource,
    prompt_secret,
    read_secret_file,
)
from signer.hsm.profile import DeviceProfile
from signer.hsm.public_view import public_keys
from signer.hsm.receiving import RECEIVING_LABEL
from signer.hsm.session import TokenSession, open_session
from signer.secret import SecretBytes


@contextlib.contextmanager
def module_of(choice: TokenChoice) -> Iterator[tuple[Module, DeviceProfile]]:
    """Yield the loaded module that `choice` names, and its profile."""
    path = locate_module(choice.profile) if choice.module is None else Path(choice.module)
    with load_module(path) as module:
        yield module, choice.profile


def selector_of(choice: TokenChoice) -> TokenSelector:
    """Return which token `choice` means."""
    return TokenSelector(
        label=choice.label,
        serial=choice.serial,
        manufacturer=choice.manufacturer,
        model=choice.model,
        slot_id=choice.slot_id,
    )


@contextlib.contextmanager
def session_on(
    choice: TokenChoice, pin: SecretSource, *, among: Sequence[bytes] = ()
) -> Iterator[TokenSession]:
    """Yield a logged-in session on the one token that `choice` means.

    Args:
        choice: which token.
        pin: where its PIN is read, once, and only if this is the token the PIN is for.
        among: receiving keys, of which the token must show one before the PIN is tried.
    """
    with module_of(choice) as (module, profile):
        token = find_token(module, selector_of(choice))
        require_profile(token, profile)
        _require_meant(token, pin, among, profile.seal)
        source = pin_source(pin)
        with open_session(module, token, profile, source, final_try=pin.final_try) as session:
            yield session


def _require_meant(
    token: TokenInfo, pin: SecretSource, among: Sequence[bytes], method: str
) -> None:
    """Spend no try of a token that this PIN is not for.

    Raises:
        PinError: E_PIN_SERIAL, the source is bound to another token.
        TokenKeyError: it shows other keys than those of the card or the envelope that is meant.
    """
    if pin.serial is not None and pin.serial != token.serial:
        raise PinError(
            f"this PIN is for the token with serial {pin.serial!a}, not for {token.describe()}; "
            "it was not tried",
            hint="plug in the right token; if it was replaced, `signer agent unlatch` forgets it",
            code="E_PIN_SERIAL",
        )
    if not among or not token.initialized:
        return
    shown = public_keys(token, RECEIVING_LABEL, method)
    if shown and not shown & set(among):
        raise TokenKeyError(
            f"{token.describe()} is not the one that is meant: it shows no receiving key of the "
            "card or envelope that this is about; no PIN was tried",
            hint="plug in the token of that card, or one that the share was sealed to",
        )


def read_secret(source: SecretSource, *, what: str, max_bytes: int) -> SecretBytes:
    """Return a secret that is no PIN: a mnemonic, a passphrase, a password."""
    if source.file is not None:
        return read_secret_file(Path(source.file), what=what, max_bytes=max_bytes)
    return prompt_secret(_terminal(source), f"{what}: ", max_bytes=max_bytes)


def pin_source(source: SecretSource) -> PinSource:
    """Return what reads the PIN where the order says."""
    if source.file is not None:
        return PinFile(Path(source.file))
    if source.credential is not None:
        return PinCredential(Path(source.credential))
    if source.descriptor is not None:
        return PinDescriptor(source.descriptor)
    if source.pipe is not None:
        return PinPipe(source.pipe)
    if source.pinentry is not None:
        from signer.hsm.pinentry import PinEntry

        return PinEntry(Path(source.pinentry), dict(source.display))
    return PinPad() if source.pad else PinPrompt(_terminal(source))


def _terminal(source: SecretSource) -> int:
    if source.terminal is None:
        raise WorkerError("the order names no source for a secret")
    return source.terminal

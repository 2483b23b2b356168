"""The one token that an order is about, open for the time of the order; and secrets for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import WorkerError
from signer.hsm.discovery import TokenSelector, find_token, require_profile
from signer.hsm.module import Module, load_module, locate_module
from signer.hsm.pin import PinFile, PinPrompt, PinSource, prompt_secret, read_secret_file
from signer.hsm.profile import DeviceProfile
from signer.hsm.session import TokenSession, open_session
from signer.secret import SecretBytes


@contextlib.contextmanager
def module_of(choice: TokenChoice) -> Iterator[tuple[Module, DeviceProfile]]:
    """Yield the loaded module that `choice` names, and its profile."""
    path = locate_module(choice.profile) if choice.module is None else Path(choice.module)
    with load_module(path) as module:
        yield module, choice.profile


@contextlib.contextmanager
def session_on(choice: TokenChoice, pin: SecretSource) -> Iterator[TokenSession]:
    """Yield a logged-in session on the one token that `choice` means."""
    with module_of(choice) as (module, profile):
        token = find_token(module, TokenSelector(choice.label, choice.serial))
        require_profile(token, profile)
        with open_session(module, token, profile, _pin_source(pin)) as session:
            yield session


def read_secret(source: SecretSource, *, what: str, max_bytes: int) -> SecretBytes:
    """Return a secret that is no PIN: a mnemonic, a passphrase, a password."""
    if source.file is not None:
        return read_secret_file(Path(source.file), what=what, max_bytes=max_bytes)
    return prompt_secret(_terminal(source), f"{what}: ", max_bytes=max_bytes)


def _pin_source(source: SecretSource) -> PinSource:
    if source.file is not None:
        return PinFile(Path(source.file))
    return PinPrompt(_terminal(source))


def _terminal(source: SecretSource) -> int:
    if source.terminal is None:
        raise WorkerError("the order names no source for a secret")
    return source.terminal

"""Where a whole key comes from, as options say it, and how a worker is told."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from signer.custody.jobs.key_source import KeySource
from signer.custody.jobs.sources import SecretSource
from signer.custody.orders import terminal
from signer.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions:
    """Where the key comes from, as the options say it."""

    mnemonic_file: Path | None
    ask_mnemonic: bool
    passphrase_file: Path | None
    key_index: int | None
    keystore: Path | None
    password_file: Path | None

    @property
    def given(self) -> bool:
        """Whether any of the options was used."""
        return any((self.mnemonic_file, self.ask_mnemonic, self.passphrase_file, self.keystore,
                    self.password_file)) or self.key_index is not None  # fmt: skip

    def require_one_source(self) -> None:
        """Refuse none and several, and options that belong to another source.

        Raises:
            UsageError: it is not clear which key is meant.
        """
        sources = (self.mnemonic_file is not None, self.ask_mnemonic, self.keystore is not None)
        if sources.count(True) != 1:
            raise UsageError("give one of --mnemonic-file, --mnemonic, --keystore")
        if self.keystore is None and self.password_file is not None:
            raise UsageError("--password-file is a keystore's; a mnemonic has --passphrase-file")
        if self.keystore is not None and (self.passphrase_file or self.key_index is not None):
            raise UsageError("--passphrase-file and --key-index are a mnemonic's, not a keystore's")

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[KeySource, tuple[int, ...]]]:
        """Yield where a worker reads the key, and the descriptors it needs for that."""
        with contextlib.ExitStack() as stack:
            secrets = _Secrets(stack)
            source = KeySource(
                mnemonic=None if self.keystore else secrets.source(self.mnemonic_file, "mnemonic"),
                passphrase=secrets.source(self.passphrase_file, "passphrase")
                if self.passphrase_file
                else None,
                key_index=self.key_index or 0,
                keystore=None if self.keystore is None else str(self.keystore.absolute()),
                password=secrets.source(self.password_file, "password") if self.keystore else None,
            )
            yield source, secrets.terminals


class _Secrets:
    """Hands out where the worker reads secrets; opens the terminal once, if it is needed."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.terminals: tuple[int, ...] = ()

    def source(self, file: Path | None, what: str) -> SecretSource:
        if file is not None:
            return SecretSource(file=str(file.absolute()))
        if not self.terminals:
            opened = self._stack.enter_context(terminal(f"the {what}", f"--{what}-file FILE"))
            self.terminals = (opened,)
        return SecretSource(terminal=self.terminals[0])

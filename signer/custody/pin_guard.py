"""What the agent remembers of PINs, without seeing one: which were refused, and for which token.

A token locks after a few wrong PINs. An agent whose PIN file is wrong would spend them all on the
next requests, and whoever may ask could make it. So a source that was refused is not used again
until it changes (a file is written anew) or a person says so, also after a restart. And a PIN is
for one token: with the first success the source is bound to that token's serial number.

A PIN that a person gives at this moment is never held back: he is there.
"""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from signer.custody.jobs.sources import SecretSource
from signer.errors import ConfigError, InputError, PinError
from signer.files import read_file, write_over
from signer.strict import Fields, canonical, parse_object

MAX_BYTES = 64 * 1024
_MOST = 8  # sources that are remembered
_SERIAL = r"[^\x00\n]{1,32}"  # what an order may name; a token without one cannot be bound to
_REFUSED = "the token refused this agent's PIN before; it is not tried again"


@dataclass(slots=True)
class PinGuard:
    """Keeps what it knows in the file at `path`; without one only as long as it lives."""

    path: Path | None = None
    _bound: dict[str, str] = field(default_factory=dict)  # source: serial of its token
    _refused: dict[str, str | None] = field(default_factory=dict)  # source: identity of its file

    @classmethod
    def open(cls, path: Path) -> "PinGuard":
        """Read what was remembered.

        Raises:
            ConfigError: the file is not what this program wrote.
        """
        guard = cls(path)
        if not os.path.lexists(path):
            return guard
        what = f"PIN guard {str(path)!r}"
        try:
            raw = read_file(path, what="PIN guard", max_bytes=MAX_BYTES)
            fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
            fields.constant("type", "signer-pin-guard")
            fields.constant("version", 1)
            bound = fields.array("bound", low=0, high=_MOST)
            entries = fields.array("refused", low=0, high=_MOST)
            fields.done()
            for entry in bound:
                pair = Fields(entry, what)
                source, serial = pair.take("source"), pair.take("serial")
                pair.done()
                guard._bound[_text(source, what, 4200)] = _text(serial, what, 64)
            for entry in entries:
                refused = Fields(entry, what)
                source, identity = refused.take("source"), refused.take("identity")
                refused.done()
                guard._refused[_text(source, what, 4200)] = (
                    None if identity is None else _text(identity, what, 128)
                )
        except InputError as error:
            raise ConfigError(
                error.message,
                hint="look at the token's PIN counter first; then remove the file to begin anew",
            ) from None
        return guard

    def ready(self, source: SecretSource) -> SecretSource:
        """Return `source`, bound to the token it is for, if it may be used.

        Raises:
            PinError: E_PIN_REFUSED, the token refused it and nobody changed it since.
        """
        if not source.unattended:
            return source
        if source.name in self._refused and self._refused[source.name] == _identity(source):
            raise PinError(
                _REFUSED,
                hint="correct it; or, if it is right, the holder runs `signer agent unlatch`",
                code="E_PIN_REFUSED",
            )
        if source.serial is not None:
            return source
        return replace(source, serial=self._bound.get(source.name))

    def refused(self, source: SecretSource) -> None:
        """Remember that the token refused the PIN of `source`."""
        if source.unattended:
            others = {name: was for name, was in self._refused.items() if name != source.name}
            latest = list(others.items())[1 - _MOST :]
            self._refused = {**dict(latest), source.name: _identity(source)}
            self._keep()

    def accepted(self, source: SecretSource, serial: str) -> None:
        """Remember that the token with this serial took the PIN of `source`."""
        if not source.unattended:
            return
        bind = source.name not in self._bound and re.fullmatch(_SERIAL, serial) is not None
        if not bind and source.name not in self._refused:
            return
        if bind:
            latest = list(self._bound.items())[1 - _MOST :]
            self._bound = {**dict(latest), source.name: serial}
        self._refused.pop(source.name, None)
        self._keep()

    def release(self) -> None:
        """A person looked: forget what was refused, and which token a PIN is for."""
        self._refused.clear()
        self._bound.clear()
        self._keep()

    def _keep(self) -> None:
        if self.path is None:
            return
        value: dict[str, Any] = {
            "type": "signer-pin-guard",
            "version": 1,
            "bound": [
                {"source": source, "serial": serial} for source, serial in self._bound.items()
            ],
            "refused": [
                {"source": source, "identity": identity}
                for source, identity in self._refused.items()
            ],
        }
        write_over(self.path, canonical(value) + b"\n", mode=0o600)


def _identity(source: SecretSource) -> str | None:
    """Return what changes when a person writes the source anew; its content is not read."""
    path = source.file or source.credential
    try:
        if path is not None:
            status = Path(path).stat()
        elif source.descriptor is not None:
            status = os.fstat(source.descriptor)
        else:
            return None
    except OSError:
        return None
    return f"{status.st_dev}.{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"


def _text(value: Any, what: str, most: int) -> str:
    return Fields({"text": value}, what).string("text", pattern=r"[^\x00\n]+", max_length=most)

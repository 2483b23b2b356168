"""Which token, and where a secret is read: what most orders have in common."""

from dataclasses import dataclass
from typing import Any, Self

from signer.hsm.profile import DeviceProfile
from signer.strict import Fields

_PATH = r"/[^\x00\n]+"
_MAX_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where the worker reads a secret: a 0600 file, or a terminal handed to it as a descriptor."""

    file: str | None = None  # absolute
    terminal: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"file": self.file, "terminal": self.terminal}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a source from `fields`: exactly one of its two kinds."""
        file, terminal = optional_path(fields, "file"), fields.take("terminal")
        fields.done()
        if (file is None) == (terminal is None) or type(terminal) not in (int, type(None)):
            fields.fail("terminal", "or 'file' must be given, not both")
        return cls(file=file, terminal=terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChoice:
    """Which token: a device profile, its module, and the one token that matches."""

    profile: DeviceProfile
    module: str | None = None  # absolute; else the first of the profile's paths that exists
    label: str | None = None
    serial: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "profile": self.profile.to_json(),
            "module": self.module,
            "label": self.label,
            "serial": self.serial,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a choice from `fields`."""
        choice = cls(
            profile=DeviceProfile.take(fields.nested("profile")),
            module=optional_path(fields, "module"),
            label=_optional(fields, "label", r"[^\x00\n]{1,32}"),
            serial=_optional(fields, "serial", r"[^\x00\n]{1,32}"),
        )
        fields.done()
        return choice


def optional_source(fields: Fields, name: str) -> SecretSource | None:
    """Take a secret's source, or null."""
    value = fields.take(name)
    return None if value is None else SecretSource.parse(Fields(value, name))


def source_json(source: SecretSource | None) -> dict[str, Any] | None:
    """Return the JSON of a source that may be absent."""
    return None if source is None else source.to_json()


def optional_path(fields: Fields, name: str) -> str | None:
    """Take an absolute path, or null."""
    return _optional(fields, name, _PATH, _MAX_PATH)


def _optional(fields: Fields, name: str, pattern: str, max_length: int = 128) -> str | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).string(name, pattern=pattern, max_length=max_length)

"""Which token, and where a secret is read: what most orders have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from signer.hsm.profile import DeviceProfile
from signer.hsm.uri import TokenUri
from signer.strict import MAX_INTEGER, Fields

_PATH = r"/[^\x00\n]+"
_MAX_PATH = 4096
DISPLAY_VARIABLES = (
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "GPG_TTY",
    "TERM",
    "LANG",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where the worker reads a secret. Exactly one of the first seven says where.

    Descriptors are inherited by the worker. `terminal`, `pipe`, `pinentry` and `pad` mean that a
    person is there; the others are read with nobody looking.
    """

    file: str | None = None  # absolute; 0600 and ours
    credential: str | None = None  # absolute; in a folder that systemd made for us
    descriptor: int | None = None  # of a file that can be read again
    terminal: int | None = None
    pipe: int | None = None  # read to its end, once
    pinentry: str | None = None  # absolute path of the program
    pad: bool = False  # the token's own PIN pad
    display: Mapping[str, str] = field(default_factory=dict)  # environment of pinentry
    serial: str | None = None  # of the only token this is for
    final_try: bool = False  # whether the token's last try may be spent

    @property
    def unattended(self) -> bool:
        """Whether nobody needs to be there."""
        return any(x is not None for x in (self.file, self.credential, self.descriptor))

    @property
    def chosen(self) -> bool:
        """Whether it says where; one that does not stands for the terminal still to be opened."""
        return self.name != "nothing"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that a worker must inherit for it."""
        numbers = (self.descriptor, self.terminal, self.pipe)
        return tuple(number for number in numbers if number is not None)

    @property
    def name(self) -> str:
        """What people and the PIN guard call it."""
        if self.file is not None:
            return f"file {self.file}"
        if self.credential is not None:
            return f"credential {self.credential}"
        if self.pinentry is not None:
            return f"pinentry {self.pinentry}"
        return next(
            name
            for name, there in (
                ("descriptor", self.descriptor is not None),
                ("terminal", self.terminal is not None),
                ("pipe", self.pipe is not None),
                ("PIN pad", self.pad),
                ("nothing", True),
            )
            if there
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "file": self.file,
            "credential": self.credential,
            "descriptor": self.descriptor,
            "terminal": self.terminal,
            "pipe": self.pipe,
            "pinentry": self.pinentry,
            "pad": self.pad,
            "display": dict(self.display),
            "serial": self.serial,
            "final_try": self.final_try,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a source from `fields`: exactly one of its kinds."""
        source = cls(
            file=optional_path(fields, "file"),
            credential=optional_path(fields, "credential"),
            descriptor=_descriptor(fields, "descriptor"),
            terminal=_descriptor(fields, "terminal"),
            pipe=_descriptor(fields, "pipe"),
            pinentry=optional_path(fields, "pinentry"),
            pad=fields.boolean("pad"),
            display=display_variables(fields.nested("display")),
            serial=_optional(fields, "serial", r"[^\x00\n]{1,32}"),
            final_try=fields.boolean("final_try"),
        )
        fields.done()
        kinds = (source.file, source.credential, source.pinentry, *source.descriptors)
        if sum(kind is not None for kind in kinds) + source.pad != 1:
            fields.fail("file", "or one other kind of source must be given, not several")
        if source.final_try and source.unattended:
            fields.fail("final_try", "is for a person to say, not for a source that needs nobody")
        return source


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChoice:
    """Which token: a device profile, its module, and the one token that matches."""

    profile: DeviceProfile
    module: str | None = None  # absolute; else the first of the profile's paths that exists
    label: str | None = None
    serial: str | None = None  # empty: of a token that has none
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None

    @classmethod
    def by_uri(cls, profile: DeviceProfile, uri: TokenUri, module: str | None) -> Self:
        """Return the choice of the token that `uri` names, behind `module`."""
        return cls(
            profile=profile,
            module=module,
            label=uri.label,
            serial=uri.serial,
            manufacturer=uri.manufacturer,
            model=uri.model,
            slot_id=uri.slot_id,
        )

    @property
    def uri(self) -> str:
        """What is known of the token, as a URI without module and PIN file."""
        return str(
            TokenUri(
                label=self.label,
                serial=self.serial,
                manufacturer=self.manufacturer,
                model=self.model,
                slot_id=self.slot_id,
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "profile": self.profile.to_json(),
            "module": self.module,
            "label": self.label,
            "serial": self.serial,
            "manufacturer": self.manufacturer,
            "model": self.model,
            "slot_id": self.slot_id,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a choice from `fields`."""
        choice = cls(
            profile=DeviceProfile.take(fields.nested("profile")),
            module=optional_path(fields, "module"),
            label=_optional(fields, "label", r"[^\x00\n]{1,32}"),
            serial=_optional(fields, "serial", r"[^\x00\n]{0,32}"),
            manufacturer=_optional(fields, "manufacturer", r"[^\x00\n]{0,32}"),
            model=_optional(fields, "model", r"[^\x00\n]{0,16}"),
            slot_id=_number(fields, "slot_id"),
        )
        fields.done()
        if choice.slot_id is not None and all(
            text is None
            for text in (choice.label, choice.serial, choice.manufacturer, choice.model)
        ):
            fields.fail("slot_id", "alone names no token")
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


def display_variables(fields: Fields) -> dict[str, str]:
    """Take pinentry's environment: which display or terminal it asks on."""
    variables = {
        name: fields.string(name, pattern=r"[ -~]{0,256}", max_length=256)
        for name in DISPLAY_VARIABLES
        if fields.has(name)
    }
    fields.done()
    return variables


def _descriptor(fields: Fields, name: str) -> int | None:
    value = fields.take(name)
    if value is not None and (type(value) is not int or value < 0):
        fields.fail(name, "must be a descriptor or null")
    return value if type(value) is int else None


def _number(fields: Fields, name: str) -> int | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).integer(name, low=0, high=MAX_INTEGER)


def _optional(fields: Fields, name: str, pattern: str, max_length: int = 128) -> str | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).string(name, pattern=pattern, max_length=max_length)

"""Device profiles: what a kind of token is called, where its module is, what it may do.

A profile is data (hsm_profiles/*.yaml, also in the wheel), so a new device needs no code. One that
holds a field we do not know, or a field twice, is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signer.errors import ProfileError, SchemaError
from signer.strict import Fields

MAX_BYTES = 16 * 1024
NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,31}"
SEAL_METHODS = ("hpke-p256",)
KEY_BACKUPS = ("possible", "impossible")
ANCHORS = ("token", "host", "none")
TOUCHES = ("none", "login", "use")
VERIFIED = ("run here", "documented")
MAX_PIN_BYTES = 255

_PRINTABLE = r"[ -~]+"
_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "profiles", _HERE.parent.parent / "hsm_profiles")  # wheel, source checkout


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One kind of token. hsm_profiles/README.md explains each field."""

    name: str
    title: str
    manufacturer: str  # CK_TOKEN_INFO.manufacturerID, trailing blanks removed
    model: str  # CK_TOKEN_INFO.model, likewise
    module_paths: tuple[Path, ...]  # absolute; the first that exists is taken
    environment: tuple[str, ...]  # variables that the module reads and a worker must inherit
    initialise: str  # the command that initialises a token
    seal: str  # one of SEAL_METHODS
    ceremony: bool  # it has the raw ECDH and the raw ECDSA that a ceremony needs
    key_backup: str  # one of KEY_BACKUPS: whether the vendor lets keys be cloned or wrapped out
    software: bool  # it protects nothing: for tests and rehearsals
    pin_min: int  # bytes
    pin_max: int  # bytes
    journal_anchor: str  # one of ANCHORS: what remembers how far a journal had come
    touch: str  # one of TOUCHES: when a finger on the device is needed
    verified: str  # one of VERIFIED
    notes: str

    def to_json(self) -> dict[str, Any]:
        """Return the profile as the object that its file holds."""
        return {
            "version": 1,
            "name": self.name,
            "title": self.title,
            "match": {"manufacturer": self.manufacturer, "model": self.model},
            "module_paths": [str(path) for path in self.module_paths],
            "environment": list(self.environment),
            "initialise": self.initialise,
            "seal": self.seal,
            "ceremony": self.ceremony,
            "key_backup": self.key_backup,
            "software": self.software,
            "pin": {"min_length": self.pin_min, "max_length": self.pin_max},
            "provenance": "strict",
            "journal_anchor": self.journal_anchor,
            "touch": self.touch,
            "verified": self.verified,
            "notes": self.notes,
        }

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read the bytes of a profile's file.

        Raises:
            ProfileError: naming `what` and the field.
        """
        # A worker gets its profile in the order; it is spared the YAML library, 12 ms to import.
        from signer.strict_yaml import parse_yaml_object

        try:
            return cls.take(Fields(parse_yaml_object(raw, what=what, max_bytes=MAX_BYTES), what))
        except SchemaError as error:
            raise ProfileError(error.message, hint=error.hint) from None

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take a profile's object apart.

        Raises:
            SchemaError: a field missing, unknown or out of range.
        """
        fields.constant("version", 1)
        match, pin = fields.nested("match"), fields.nested("pin")
        profile = cls(
            name=fields.string("name", pattern=NAME_PATTERN, max_length=32),
            title=fields.string("title", pattern=_PRINTABLE),
            manufacturer=match.string("manufacturer", pattern=_PRINTABLE, max_length=32),
            model=match.string("model", pattern=_PRINTABLE, max_length=16),
            module_paths=tuple(
                Path(path) for path in _strings(fields, "module_paths", r"/[ -~]+", low=1)
            ),
            environment=tuple(_strings(fields, "environment", r"[A-Z][A-Z0-9_]*", low=0)),
            initialise=fields.string("initialise", pattern=_PRINTABLE, max_length=256),
            seal=fields.choice("seal", SEAL_METHODS),
            ceremony=fields.boolean("ceremony"),
            key_backup=fields.choice("key_backup", KEY_BACKUPS),
            software=fields.boolean("software"),
            pin_min=pin.integer("min_length", low=1, high=MAX_PIN_BYTES),
            pin_max=pin.integer("max_length", low=1, high=MAX_PIN_BYTES),
            journal_anchor=fields.choice("journal_anchor", ANCHORS),
            touch=fields.choice("touch", TOUCHES),
            verified=fields.choice("verified", VERIFIED),
            notes=fields.string("notes", pattern=r"[ -~\n]*", max_length=4096),
        )
        # No looser rule exists: a token that cannot prove where its keys come from is not used.
        fields.constant("provenance", "strict")
        for part in (match, pin, fields):
            part.done()
        if profile.pin_min > profile.pin_max:
            pin.fail("max_length", f"must be at least min_length, {profile.pin_min}")
        return profile


def load_profile(name: str) -> DeviceProfile:
    """Return the packaged profile `name`, or the one in the file that `name` is the path of.

    Raises:
        ProfileError: none of that name, or a file that is no profile.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        return _read(Path(name))
    known = _packaged()
    if name not in known:
        raise ProfileError(
            f"no device profile is called {name[:40]!r}",
            hint=f"known: {', '.join(sorted(known))}; or give the path of a YAML file",
        )
    profile = _read(known[name])
    if profile.name != name:
        raise ProfileError(f"{known[name].name}: field 'name' must be {name!r}")
    return profile


def require_ceremony(profile: DeviceProfile) -> None:
    """Refuse a kind of token that cannot take part in a ceremony.

    Raises:
        ProfileError: E_PROFILE, naming what it lacks.
    """
    if not profile.ceremony:
        raise ProfileError(
            f"{profile.title} cannot take part in a ceremony: its profile {profile.name!r} says "
            "that it lacks raw ECDH (CKM_ECDH1_DERIVE with CKD_NULL) or raw ECDSA (CKM_ECDSA)",
            hint="take a token whose profile says `ceremony: true`",
        )


def profile_names() -> tuple[str, ...]:
    """Return the names of the packaged profiles."""
    return tuple(sorted(_packaged()))


def _packaged() -> dict[str, Path]:
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise ProfileError("the device profiles are missing from this installation")
    return {path.stem: path for path in folder.glob("*.yaml")}


def _read(path: Path) -> DeviceProfile:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ProfileError(f"device profile {str(path)!r}: {reason}") from None
    return DeviceProfile.parse(raw, path.name)


def _strings(fields: Fields, name: str, pattern: str, *, low: int) -> list[str]:
    """Take a list of up to 16 different strings that match `pattern`."""
    entries = fields.array(name, low=low, high=16)
    numbered = Fields(
        {str(number): entry for number, entry in enumerate(entries, 1)}, f"{fields.what}: {name}"
    )
    values = [
        numbered.string(str(number), pattern=pattern, max_length=256)
        for number in range(1, len(entries) + 1)
    ]
    if len(set(values)) != len(values):
        fields.fail(name, "has an entry twice")
    return values

"""Device profiles: what a kind of token is called, where its module is, what it may do.

A profile is data (hsm_profiles/*.yaml, also in the wheel), so a new device needs no code. One that
holds a field we do not know, or a field twice, is refused; so is one that contradicts itself, or
that does not say for each fact how it is known.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from signer.errors import ProfileError, SchemaError
from signer.hsm.profile_facts import (
    ANCHORS,
    KEY_BACKUPS,
    LOCKS,
    LOGINS,
    MAX_DATA_BYTES,
    MAX_OBJECTS,
    MAX_PIN_BYTES,
    MAX_SESSIONS,
    MAX_TRIES,
    PRINTABLE,
    PROVENANCES,
    QUIRKS,
    SEAL_METHODS,
    TOUCHES,
    Evidence,
    Match,
    ModulePlace,
    take_choices,
    take_limit,
    take_strings,
)
from signer.strict import Fields

VERSION = 2
MAX_BYTES = 16 * 1024
NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,31}"
CEREMONY_SEAL = "hpke-p256"  # what a ceremony's shares travel under

_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "profiles", _HERE.parent.parent / "hsm_profiles")  # wheel, source checkout


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One kind of token. hsm_profiles/README.md explains each field."""

    name: str
    title: str
    match: Match
    modules: tuple[ModulePlace, ...]  # the first that exists is taken; maybe none is known
    environment: tuple[str, ...]  # variables that the module reads and a worker must inherit
    initialise: str  # the command that initialises a token
    seal_methods: tuple[str, ...]  # of SEAL_METHODS, best first
    allow_weak: bool  # `pin-protected` is among them, which seals nothing
    ceremony: bool  # it has the raw ECDH and the raw ECDSA that a ceremony needs
    provenance: str  # one of PROVENANCES: whether the module can prove where a key was made
    key_backup: str  # one of KEY_BACKUPS: whether the vendor lets keys be cloned or wrapped out
    software: bool  # it protects nothing: for tests and rehearsals
    pin_min: int  # bytes
    pin_max: int  # bytes
    pin_tries: int | None  # wrong PINs until it locks; None: it never does, or nobody says
    pin_lock: str  # one of LOCKS: whether its flags tell of a lock before it is there
    max_sessions: int | None  # None: no limit is known
    login: str  # one of LOGINS: what one login counts for
    data_objects: bool  # whether private data objects can be stored
    max_data_bytes: int | None  # of one of them
    max_objects: int | None
    journal_anchor: str  # one of ANCHORS: what remembers how far a journal had come
    touch: str  # one of TOUCHES: when a finger on the device is needed
    quirks: tuple[str, ...]  # of QUIRKS
    evidence: tuple[Evidence, ...]  # one for each of FACTS, in that order
    notes: str

    @property
    def module_paths(self) -> tuple[Path, ...]:
        """Where the module may be, absolute; the first that exists is taken."""
        return tuple(place.path for place in self.modules)

    @property
    def seal(self) -> str:
        """The best of its methods, one of SEAL_METHODS."""
        return self.seal_methods[0]

    @property
    def proven(self) -> bool:
        """Whether its tokens can prove that a key was made on them."""
        return self.provenance == "strict"

    @property
    def verified(self) -> str:
        """`run here` if every fact was; else `documented`."""
        every = all(entry.verified == "run here" for entry in self.evidence)
        return "run here" if every else "documented"

    def to_json(self) -> dict[str, Any]:
        """Return the profile as the object that its file holds."""
        return {
            "version": VERSION,
            "name": self.name,
            "title": self.title,
            "match": {"manufacturer": self.match.manufacturer, "model": self.match.model},
            "modules": [{"path": str(place.path), "by": place.by} for place in self.modules],
            "environment": list(self.environment),
            "initialise": self.initialise,
            "seal": list(self.seal_methods),
            "allow_weak": self.allow_weak,
            "ceremony": self.ceremony,
            "provenance": self.provenance,
            "key_backup": self.key_backup,
            "software": self.software,
            "pin": {
                "min_length": self.pin_min,
                "max_length": self.pin_max,
                "tries": self.pin_tries,
                "lock": self.pin_lock,
            },
            "sessions": {"max": self.max_sessions, "login": self.login},
            "objects": {
                "data_objects": self.data_objects,
                "max_data_bytes": self.max_data_bytes,
                "max_objects": self.max_objects,
            },
            "journal_anchor": self.journal_anchor,
            "touch": self.touch,
            "quirks": list(self.quirks),
            "evidence": {
                entry.fact: {"verified": entry.verified, "source": entry.source}
                for entry in self.evidence
            },
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
            SchemaError: a field missing, unknown or out of range, or two that contradict.
        """
        fields.constant("version", VERSION)
        pin, sessions, objects = (fields.nested(name) for name in ("pin", "sessions", "objects"))
        profile = cls(
            name=fields.string("name", pattern=NAME_PATTERN, max_length=32),
            title=fields.string("title", pattern=PRINTABLE),
            match=Match.take(fields.nested("match")),
            modules=ModulePlace.take_all(fields),
            environment=take_strings(fields, "environment", r"[A-Za-z_][A-Za-z0-9_]*"),
            initialise=fields.string("initialise", pattern=PRINTABLE, max_length=256),
            seal_methods=take_choices(fields, "seal", SEAL_METHODS, low=1),
            allow_weak=fields.boolean("allow_weak"),
            ceremony=fields.boolean("ceremony"),
            provenance=fields.choice("provenance", PROVENANCES),
            key_backup=fields.choice("key_backup", KEY_BACKUPS),
            software=fields.boolean("software"),
            pin_min=pin.integer("min_length", low=1, high=MAX_PIN_BYTES),
            pin_max=pin.integer("max_length", low=1, high=MAX_PIN_BYTES),
            pin_tries=take_limit(pin, "tries", high=MAX_TRIES),
            pin_lock=pin.choice("lock", LOCKS),
            max_sessions=take_limit(sessions, "max", high=MAX_SESSIONS),
            login=sessions.choice("login", LOGINS),
            data_objects=objects.boolean("data_objects"),
            max_data_bytes=take_limit(objects, "max_data_bytes", high=MAX_DATA_BYTES),
            max_objects=take_limit(objects, "max_objects", high=MAX_OBJECTS),
            journal_anchor=fields.choice("journal_anchor", ANCHORS),
            touch=fields.choice("touch", TOUCHES),
            quirks=take_choices(fields, "quirks", QUIRKS),
            evidence=Evidence.take_all(fields),
            notes=fields.string("notes", pattern=r"[ -~\n]*", max_length=4096),
        )
        for part in (pin, sessions, objects, fields):
            part.done()
        profile._require_consistent(fields)
        return profile

    def _require_consistent(self, fields: Fields) -> None:
        """Refuse two fields that cannot both be true."""
        if self.pin_min > self.pin_max:
            fields.fail("pin", f"has a 'max_length' below its 'min_length', {self.pin_min}")
        if self.pin_lock == "never" and self.pin_tries is not None:
            fields.fail("pin", "has 'tries' although its 'lock' is never")
        if ("pin-protected" in self.seal_methods) != self.allow_weak:
            fields.fail("allow_weak", "must be true exactly where 'seal' has pin-protected")
        if {"rsa-oaep-sha1", "rsa-oaep-sha256"} <= {*self.seal_methods}:
            fields.fail("seal", "has rsa-oaep-sha1 although rsa-oaep-sha256 works")
        if self.ceremony and CEREMONY_SEAL not in self.seal_methods:
            fields.fail("ceremony", f"cannot be true without {CEREMONY_SEAL} in 'seal'")
        if self.ceremony and not self.proven:
            fields.fail("ceremony", "cannot be true where 'provenance' is unproven")
        if self.journal_anchor == "token" and not self.data_objects:
            fields.fail("journal_anchor", "cannot be token where 'data_objects' is false")
        if self.max_data_bytes is not None and not self.data_objects:
            fields.fail("objects", "has 'max_data_bytes' although 'data_objects' is false")


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

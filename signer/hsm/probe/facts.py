"""What a module, a slot and a token say of themselves, before anybody logs in. Pure."""

from dataclasses import dataclass
from typing import Any, Self

from signer.strict import MAX_INTEGER, Fields

MAX_MECHANISMS = 512
MECHANISM_PATTERN = r"CKM_[A-Z0-9_]{1,60}|0x[0-9a-f]{1,16}"
_VERSION = r"[0-9]{1,3}\.[0-9]{1,3}"
_PRINTABLE = r"[ -~]*"
TOKEN_FLAGS = (
    "CKF_RNG",
    "CKF_WRITE_PROTECTED",
    "CKF_LOGIN_REQUIRED",
    "CKF_USER_PIN_INITIALIZED",
    "CKF_PROTECTED_AUTHENTICATION_PATH",
    "CKF_DUAL_CRYPTO_OPERATIONS",
    "CKF_TOKEN_INITIALIZED",
    "CKF_USER_PIN_COUNT_LOW",
    "CKF_USER_PIN_FINAL_TRY",
    "CKF_USER_PIN_LOCKED",
    "CKF_USER_PIN_TO_BE_CHANGED",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """CK_INFO, CK_SLOT_INFO and CK_TOKEN_INFO, without label and serial number.

    A label may hold the serial number, as a YubiKey's does, or a holder's name.
    """

    manufacturer: str
    model: str
    serial_sha256: bytes  # of the serial number as text, as cards have it
    serial_empty: bool  # there is none, or zeros only
    hardware: str  # version of the token, `1.2`
    firmware: str
    library: str  # what the module calls itself
    library_version: str
    cryptoki: str
    hardware_slot: bool  # CKF_HW_SLOT: the module says it is a device
    flags: tuple[str, ...]  # of TOKEN_FLAGS
    max_sessions: int | None  # 0: no limit; None: the token does not tell
    max_rw_sessions: int | None
    open_sessions: int | None
    pin_min: int  # bytes
    pin_max: int
    total_private: int | None  # bytes for private objects
    free_private: int | None
    mechanisms: tuple[str, ...]  # names, or numbers of those that have none; sorted

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "manufacturer": self.manufacturer,
            "model": self.model,
            "serial_sha256": self.serial_sha256.hex(),
            "serial_empty": self.serial_empty,
            "hardware": self.hardware,
            "firmware": self.firmware,
            "library": self.library,
            "library_version": self.library_version,
            "cryptoki": self.cryptoki,
            "hardware_slot": self.hardware_slot,
            "flags": list(self.flags),
            "max_sessions": self.max_sessions,
            "max_rw_sessions": self.max_rw_sessions,
            "open_sessions": self.open_sessions,
            "pin_min": self.pin_min,
            "pin_max": self.pin_max,
            "total_private": self.total_private,
            "free_private": self.free_private,
            "mechanisms": list(self.mechanisms),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take them from `fields`.

        Raises:
            SchemaError: they are none.
        """
        facts = cls(
            manufacturer=fields.string("manufacturer", pattern=_PRINTABLE, max_length=32),
            model=fields.string("model", pattern=_PRINTABLE, max_length=16),
            serial_sha256=fields.hex_bytes("serial_sha256", 32),
            serial_empty=fields.boolean("serial_empty"),
            hardware=fields.string("hardware", pattern=_VERSION),
            firmware=fields.string("firmware", pattern=_VERSION),
            library=fields.string("library", pattern=_PRINTABLE, max_length=80),
            library_version=fields.string("library_version", pattern=_VERSION),
            cryptoki=fields.string("cryptoki", pattern=_VERSION),
            hardware_slot=fields.boolean("hardware_slot"),
            flags=tuple(_names(fields, "flags", len(TOKEN_FLAGS), r"CKF_[A-Z_]{1,40}")),
            max_sessions=_count(fields, "max_sessions"),
            max_rw_sessions=_count(fields, "max_rw_sessions"),
            open_sessions=_count(fields, "open_sessions"),
            pin_min=fields.integer("pin_min", low=0, high=MAX_INTEGER),
            pin_max=fields.integer("pin_max", low=0, high=MAX_INTEGER),
            total_private=_count(fields, "total_private"),
            free_private=_count(fields, "free_private"),
            mechanisms=tuple(_names(fields, "mechanisms", MAX_MECHANISMS, MECHANISM_PATTERN)),
        )
        fields.done()
        if not set(facts.flags) <= set(TOKEN_FLAGS):
            fields.fail("flags", "has a flag that is not known")
        return facts


def _names(fields: Fields, name: str, most: int, pattern: str) -> list[str]:
    """Take a list of different texts in ascending order."""
    entries = fields.array(name, low=0, high=most)
    numbered = Fields(
        {str(at): entry for at, entry in enumerate(entries)}, f"{fields.what}: {name}"
    )
    texts = [numbered.string(str(at), pattern=pattern, max_length=64) for at in range(len(entries))]
    if texts != sorted(set(texts)):
        fields.fail(name, "must be in ascending order, none of it twice")
    return texts


def _count(fields: Fields, name: str) -> int | None:
    value = fields.take(name)
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_INTEGER):
        fields.fail(name, "must be a number, or null")
    return value

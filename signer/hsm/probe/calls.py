"""Calls that only a probe makes, past the wrapper: it shows no limits, states or counts.

Structures are those of PKCS#11 2.40 sections 3.1 to 3.4, where CK_ULONG is a machine word.
"""

import ctypes
import hashlib
from typing import Any

from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import Mechanism

from signer.hsm.cryptoki import UNAVAILABLE, ObjectAttribute, Pointer, Ulong
from signer.hsm.discovery import TokenInfo
from signer.hsm.module import Module
from signer.hsm.probe.facts import MAX_MECHANISMS, TokenFacts
from signer.strict import MAX_INTEGER

_HW_SLOT = 0x04
_FLAGS = {
    0x01: "CKF_RNG",
    0x02: "CKF_WRITE_PROTECTED",
    0x04: "CKF_LOGIN_REQUIRED",
    0x08: "CKF_USER_PIN_INITIALIZED",
    0x100: "CKF_PROTECTED_AUTHENTICATION_PATH",
    0x200: "CKF_DUAL_CRYPTO_OPERATIONS",
    0x400: "CKF_TOKEN_INITIALIZED",
    0x10000: "CKF_USER_PIN_COUNT_LOW",
    0x20000: "CKF_USER_PIN_FINAL_TRY",
    0x40000: "CKF_USER_PIN_LOCKED",
    0x80000: "CKF_USER_PIN_TO_BE_CHANGED",
}
# Numbers of functions in CK_FUNCTION_LIST, from 0.
_GET_INFO, _GET_TOKEN_INFO, _GET_MECHANISM_LIST, _GET_SESSION_INFO = 2, 6, 7, 15
_FIND_INIT, _FIND, _FIND_FINAL = 26, 27, 28
_USER_STATES = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_CKA_TOKEN = 1
_FOUND_AT_ONCE, _MOST_FOUND = 64, 4096


class _Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte)]

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class _Info(ctypes.Structure):
    """CK_INFO."""

    _fields_ = [
        ("cryptoki", _Version),
        ("manufacturer", ctypes.c_char * 32),
        ("flags", Ulong),
        ("description", ctypes.c_char * 32),
        ("version", _Version),
    ]


class _TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO."""

    _fields_ = [
        ("texts", ctypes.c_char * 96),
        ("flags", Ulong),
        ("max_sessions", Ulong),
        ("sessions", Ulong),
        ("max_rw_sessions", Ulong),
        ("rw_sessions", Ulong),
        ("max_pin", Ulong),
        ("min_pin", Ulong),
        ("total_public", Ulong),
        ("free_public", Ulong),
        ("total_private", Ulong),
        ("free_private", Ulong),
        ("hardware", _Version),
        ("firmware", _Version),
        ("time", ctypes.c_char * 16),
    ]


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO."""

    _fields_ = [("slot", Ulong), ("state", Ulong), ("flags", Ulong), ("device", Ulong)]


class Calls:
    """The functions of one module, by their place in its list."""

    def __init__(self, module: Module) -> None:
        self._list = module.functions_at

    def _call(self, number: int, *arguments: Any) -> None:
        """Call a function with machine words.

        Raises:
            PKCS11Error: what it returned, in hexadecimal; FunctionNotSupported's if it is NULL.
        """
        word = ctypes.sizeof(Pointer)
        address = Pointer.from_address(self._list + word * (number + 1)).value
        words = (Pointer,) * len(arguments)
        value = 0x54 if not address else ctypes.CFUNCTYPE(Ulong, *words)(address)(*arguments)
        if value:
            raise PKCS11Error(f"return value {value:#x}")

    def facts(self, token: TokenInfo) -> TokenFacts:
        """Return what module, slot and token say of themselves; the mechanisms are still absent.

        Raises:
            PKCS11Error: one of them does not answer.
        """
        library, info = _Info(), _TokenInfo()
        self._call(_GET_INFO, ctypes.addressof(library))
        self._call(_GET_TOKEN_INFO, token.slot_id, ctypes.addressof(info))
        name = b" ".join((library.manufacturer.strip(b" \0"), library.description.strip(b" \0")))
        return TokenFacts(
            manufacturer=_plain(token.manufacturer, 32),
            model=_plain(token.model, 16),
            serial_sha256=hashlib.sha256(token.serial.encode()).digest(),
            serial_empty=not token.serial.strip("0"),
            hardware=str(info.hardware),
            firmware=str(info.firmware),
            library=_plain(name.decode("latin-1"), 80),
            library_version=str(library.version),
            cryptoki=str(library.cryptoki),
            hardware_slot=bool(token.slot.flags & _HW_SLOT),
            flags=tuple(sorted(name for bit, name in _FLAGS.items() if info.flags & bit)),
            max_sessions=_told(info.max_sessions),
            max_rw_sessions=_told(info.max_rw_sessions),
            open_sessions=_told(info.sessions),
            pin_min=min(info.min_pin, MAX_INTEGER),
            pin_max=min(info.max_pin, MAX_INTEGER),
            total_private=_told(info.total_private),
            free_private=_told(info.free_private),
            mechanisms=(),
        )

    def mechanisms(self, slot: int) -> tuple[str, ...]:
        """Return the names of the mechanisms that the token lists, sorted.

        Raises:
            PKCS11Error: it does not answer.
        """
        count = Ulong()
        self._call(_GET_MECHANISM_LIST, slot, None, ctypes.addressof(count))
        numbers = (Ulong * min(count.value, MAX_MECHANISMS))()
        count.value = len(numbers)
        if count.value:
            at = ctypes.addressof(numbers)
            self._call(_GET_MECHANISM_LIST, slot, at, ctypes.addressof(count))
        return tuple(sorted({_mechanism(number) for number in numbers[: count.value]}))

    def logged_in(self, session: int) -> bool:
        """Tell whether a session counts as logged in.

        Raises:
            PKCS11Error: the module does not answer.
        """
        info = _SessionInfo()
        self._call(_GET_SESSION_INFO, session, ctypes.addressof(info))
        return info.state in _USER_STATES

    def count_token_objects(self, session: int) -> int:
        """Count the objects that stay on the token, as far as the session sees them.

        Raises:
            PKCS11Error: the module does not answer.
        """
        true = ctypes.c_ubyte(1)
        search = ObjectAttribute(_CKA_TOKEN, ctypes.addressof(true), 1)
        self._call(_FIND_INIT, session, ctypes.addressof(search), 1)
        handles, found, total = (Ulong * _FOUND_AT_ONCE)(), Ulong(1), 0
        try:
            while found.value and total < _MOST_FOUND:
                at = ctypes.addressof(handles)
                self._call(_FIND, session, at, len(handles), ctypes.addressof(found))
                total += found.value
        finally:
            self._call(_FIND_FINAL, session)
        return total


def _told(value: int) -> int | None:
    """Return a number of CK_TOKEN_INFO; None where it says that it does not tell."""
    return None if value == UNAVAILABLE or value > MAX_INTEGER else value


def _mechanism(number: int) -> str:
    try:
        return f"CKM_{Mechanism(number).name.lstrip('_')}"
    except ValueError:
        return f"{number:#x}"


def _plain(text: str, most: int) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:most]

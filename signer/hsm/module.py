"""A loaded PKCS#11 module.

python-pkcs11 0.10 calls `C_Initialize(NULL)`, which tells SoftHSM, OpenSC and others that one
thread will ever call them, and then releases the GIL around each call: two threads crash the
process. `Module` initialises with CKF_OS_LOCKING_OK instead, and with the text that NSS needs.

Some calls go past the wrapper as well, because it would make Python objects that cannot be wiped
of a PIN, a shared secret or a seed: `login`, `logout`, `read_secret`, `decrypt`, `encrypt` and
`random`.
"""

import atexit
import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pkcs11 import _pkcs11, exceptions
from pkcs11.constants import Attribute
from pkcs11.types import Slot

from signer.errors import ModuleError
from signer.hsm.cryptoki import (
    ALREADY_INITIALIZED,
    ARGUMENTS_BAD,
    BEGIN_ERRORS,
    BUFFER_TOO_SMALL,
    CKF_OS_LOCKING_OK,
    CKU_USER,
    CRYPT_ERRORS,
    LOGIN_ERRORS,
    OK,
    RANDOM_ERRORS,
    UNAVAILABLE,
    FunctionList,
    InitializeArgs,
    MechanismStruct,
    ObjectAttribute,
    Pointer,
    Ulong,
    check,
)
from signer.hsm.library import refuse, require_loadable
from signer.hsm.module_file import require_unchangeable
from signer.hsm.profile import DeviceProfile
from signer.hsm.translate import name_of
from signer.secret import SecretBytes

# NSS's module is told its folder by a text in the reserved field. From 3.110 on it reads this
# variable itself; before, it answers CKR_ARGUMENTS_BAD to an initialisation without the text.
INIT_STRING_VARIABLE = "NSS_LIB_PARAMS"
_INIT_STRING_NEEDS = "configdir="
_POINTERS = 3  # in the wrapper's HasFuncList


class _Library(_pkcs11.lib):
    """The wrapper's library, initialised for several threads."""

    def __new__(cls, path: str, told: Sequence[int]) -> Self:
        return super().__new__(cls, path)  # type: ignore[call-arg]

    def __init__(self, path: str, told: Sequence[int]) -> None:
        self._path = path
        self._initialized_by: int | None = None
        self.functions = FunctionList.from_address(self._list_address(told))
        try:
            super().__init__(path)
        except BaseException:
            self.finalize()
            raise

    def _list_address(self, told: Sequence[int]) -> int:
        """Return where the wrapper's own function list is, which its calls and ours then share.

        `told` is what the module answered when it was asked twice. Most have one list. p11-kit's
        client and proxy make a new instance for each who asks, so there the wrapper's counts.
        """
        if len(set(told)) == 1:
            return told[0]
        # In python-pkcs11 0.10 the class below `lib`, HasFuncList, is an object and three pointers,
        # of which the first is CK_FUNCTION_LIST_PTR.
        start, pointer = object.__basicsize__, ctypes.sizeof(Pointer)
        if _pkcs11.lib.__mro__[1].__basicsize__ != start + _POINTERS * pointer:
            refuse(Path(self._path), "p11-kit is not usable with this python-pkcs11")
        return Pointer.from_address(id(self) + start).value or told[0]

    def initialize(self) -> None:
        """Initialise with locking; the wrapper's own constructor calls this."""
        args = InitializeArgs(flags=CKF_OS_LOCKING_OK)
        value = self.functions.C_Initialize(ctypes.addressof(args))
        if value == ARGUMENTS_BAD and (told := os.environ.get(INIT_STRING_VARIABLE)):
            if _INIT_STRING_NEEDS not in told:  # it would crash
                refuse(Path(self._path), f"{INIT_STRING_VARIABLE} names no {_INIT_STRING_NEEDS}")
            text = ctypes.create_string_buffer(os.fsencode(told))
            args.reserved = ctypes.addressof(text)
            value = self.functions.C_Initialize(ctypes.addressof(args))
        if value == ALREADY_INITIALIZED:  # by others, perhaps without locking
            refuse(Path(self._path), "this process uses it already")
        check(value, {})
        self._initialized_by = os.getpid()

    def finalize(self) -> None:
        """Finalise once, and only in the process that initialised."""
        if self._initialized_by == os.getpid():
            self._initialized_by = None
            self.functions.C_Finalize(None)


class Module:
    """A PKCS#11 module, initialised. Use it in a `with` block, or it is finalised at exit."""

    def __init__(self, path: Path, library: _Library) -> None:
        self.path = path
        self._functions: Any = library.functions
        self._library = library
        atexit.register(self.close)

    @property
    def functions_at(self) -> int:
        """Address of CK_FUNCTION_LIST, for calls that neither the wrapper nor this class has."""
        return ctypes.addressof(self._functions)

    def slots(self) -> list[Slot]:
        """Return the slots that hold a token."""
        return self._library.get_slots(token_present=True)

    def login(self, session: int, pin: SecretBytes | None) -> None:
        """Log the user in on the session with handle `session`: one try, no copy of the PIN.

        Without a PIN it is typed on the token's own pad (PKCS#11 v2.40, C_Login).

        Raises:
            PKCS11Error: the class that the wrapper would raise.
        """
        if pin is None:
            check(self._functions.C_Login(session, CKU_USER, None, 0), LOGIN_ERRORS)
            return
        view = pin.expose()
        buffer = (ctypes.c_char * len(view)).from_buffer(view)
        check(
            self._functions.C_Login(session, CKU_USER, ctypes.addressof(buffer), len(view)),
            LOGIN_ERRORS,
        )

    def logout(self, session: int) -> None:
        """Log the user out. Every session of this process on the token is logged out with it."""
        self._functions.C_Logout(session)

    def read_secret(self, session: int, key: int, max_bytes: int) -> SecretBytes:
        """Return CKA_VALUE of object `key`, of whatever length up to `max_bytes`.

        Raises:
            PKCS11Error: the value is not readable, or longer.
        """
        with SecretBytes.zeros(max_bytes) as secret:
            view = secret.expose()
            buffer = (ctypes.c_char * max_bytes).from_buffer(view)
            attribute = ObjectAttribute(Attribute.VALUE, ctypes.addressof(buffer), max_bytes)
            check(
                self._functions.C_GetAttributeValue(session, key, ctypes.byref(attribute), 1),
                {0x11: exceptions.AttributeSensitive, BUFFER_TOO_SMALL: exceptions.DataLenRange},
            )
            if attribute.length == UNAVAILABLE or attribute.length > max_bytes:
                raise exceptions.DataLenRange
            return SecretBytes(view[: attribute.length])

    def decrypt(
        self, session: int, key: int, mechanism: int, parameters: ctypes.Structure, data: bytes
    ) -> SecretBytes:
        """Return what `data` decrypts to, up to the length of `data`.

        Raises:
            PKCS11Error: the token refused, or cannot.
        """
        self._begin(self._functions.C_DecryptInit, session, key, mechanism, parameters)
        with SecretBytes.zeros(len(data)) as secret:
            view = secret.expose()
            given = (ctypes.c_char * len(data)).from_buffer_copy(data)
            buffer = (ctypes.c_char * len(view)).from_buffer(view)
            size = Ulong(len(view))
            value = self._functions.C_Decrypt(
                session, ctypes.addressof(given), len(data), ctypes.addressof(buffer),
                ctypes.byref(size),
            )  # fmt: skip
            check(value, CRYPT_ERRORS)
            if size.value > len(view):
                raise exceptions.DataLenRange
            return SecretBytes(view[: size.value])

    def encrypt(
        self, session: int, key: int, mechanism: int, parameters: ctypes.Structure,
        secret: SecretBytes, size: int,
    ) -> bytes:  # fmt: skip
        """Return the `size` bytes that `secret` encrypts to.

        Raises:
            PKCS11Error: the token refused, cannot, or gave another length.
        """
        self._begin(self._functions.C_EncryptInit, session, key, mechanism, parameters)
        view = secret.expose()
        given = (ctypes.c_char * len(view)).from_buffer(view)
        buffer = ctypes.create_string_buffer(size)
        length = Ulong(size)
        value = self._functions.C_Encrypt(
            session, ctypes.addressof(given), len(view), ctypes.addressof(buffer),
            ctypes.byref(length),
        )  # fmt: skip
        check(value, CRYPT_ERRORS)
        if length.value != size:
            raise exceptions.DataLenRange
        return buffer.raw

    def _begin(
        self, begin: Any, session: int, key: int, mechanism: int, parameters: ctypes.Structure
    ) -> None:
        asked = MechanismStruct(mechanism, ctypes.addressof(parameters), ctypes.sizeof(parameters))
        check(begin(session, ctypes.byref(asked), key), BEGIN_ERRORS)

    def random(self, session: int, count: int) -> SecretBytes:
        """Return `count` bytes of the token's generator.

        Raises:
            PKCS11Error: RandomNoRNG or FunctionNotSupported: it has none; or it failed.
        """
        if not self._functions.C_GenerateRandom:  # NULL, against the standard
            raise exceptions.FunctionNotSupported
        secret = SecretBytes.zeros(count)
        buffer = (ctypes.c_char * count).from_buffer(secret.expose())
        value = self._functions.C_GenerateRandom(session, ctypes.addressof(buffer), count)
        if value != OK:
            secret.wipe()
        check(value, RANDOM_ERRORS)
        return secret

    def close(self) -> None:
        """Finalise the module: all its sessions end, the token forgets the login."""
        self._library.finalize()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def locate_module(profile: DeviceProfile) -> Path:
    """Return the first module of `profile` that is there.

    Raises:
        ModuleError: none is.
    """
    for path in profile.module_paths:
        if path.is_file():
            return path
    if not profile.modules:
        raise ModuleError(
            f"profile {profile.name!r} knows no place of a PKCS#11 module",
            hint="name it with --module, or token.module of the agent's configuration",
        )
    raise ModuleError(
        f"the PKCS#11 module of {profile.title} is not installed",
        hint=f"install it (looked for {profile.module_paths[0]} and "
        f"{len(profile.modules) - 1} other places), or name it with --module",
    )


def load_module(path: Path) -> Module:
    """Load and initialise the PKCS#11 module at the absolute `path`.

    Raises:
        ModuleError: it is not there, others can change it, no library for this machine, no PKCS#11
            module, or in use by this process already.
    """
    require_loadable(path)
    require_unchangeable(path)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        refuse(path, f"cannot be loaded ({type(error).__name__})", hint="try `ldd` on it")
    told = _function_lists(library, path)
    try:
        return Module(path, _Library(str(path), told))
    except (exceptions.PKCS11Error, UnicodeError) as error:
        refuse(
            path,
            f"cannot be initialised ({name_of(error)})",
            hint="see that the variables its profile names under `environment` are set",
        )


def _function_lists(library: ctypes.CDLL, path: Path) -> list[int]:
    """Ask the module for its function list, twice; return the addresses."""
    try:
        get_function_list = library.C_GetFunctionList
    except AttributeError:
        refuse(path, "a library, but no PKCS#11 module")
    told = []
    for _ in range(2):
        pointer = Pointer()
        if get_function_list(ctypes.byref(pointer)) != OK or pointer.value is None:
            refuse(path, "gives no PKCS#11 function list")
        told.append(pointer.value)
    return told

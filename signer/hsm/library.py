"""A look at a module's file before it is loaded, because loading runs it.

A file that is cut short would not make dlopen fail but kill the process (SIGBUS), and one for
another processor gives an error that nobody understands. So the ELF headers are read here.
"""

import stat
import struct
import sys
from pathlib import Path
from typing import NoReturn

from signer.errors import ModuleError

_HEADER_BYTES = 64
_PT_LOAD = 1
_PACKAGE_AGAIN = "install its package again"
_MACHINES = {0x03: "x86", 0x28: "arm", 0x3E: "x86-64", 0xB7: "aarch64", 0xF3: "riscv"}  # e_machine
# By EI_CLASS: e_phoff and its offset, the offset of e_phentsize and e_phnum, and of p_offset and
# p_filesz in a program header (elf(5)).
_LAYOUTS = {1: ("I", 28, 42, 4, 16), 2: ("Q", 32, 54, 8, 32)}


def require_loadable(path: Path) -> None:
    """Check that `path` is a whole shared library for this machine that not anybody can change.

    Raises:
        ModuleError: it is not.
    """
    if not path.is_absolute():
        refuse(path, "a module is named by its absolute path")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            refuse(path, "not a file")
        if status.st_mode & stat.S_IWOTH:
            refuse(path, "anybody can change it", hint="chmod o-w, after a check of what is in it")
        if sys.platform == "linux":
            _require_elf(path, status.st_size)
    except OSError as error:
        refuse(path, (error.strerror or type(error).__name__).lower())


def refuse(path: Path, why: str, *, hint: str = "") -> NoReturn:
    """Raise `ModuleError` about the module at `path`."""
    raise ModuleError(f"PKCS#11 module {str(path)!r}: {why}", hint=hint)


def _require_elf(path: Path, size: int) -> None:
    with Path(sys.executable).open("rb") as file:
        ours = file.read(_HEADER_BYTES)
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:4] != b"\x7fELF":
            refuse(path, "not a shared library", hint=_PACKAGE_AGAIN)
        # EI_CLASS and EI_DATA (word size, byte order), then e_machine
        if (header[4:6], header[18:20]) != (ours[4:6], ours[18:20]):
            refuse(
                path,
                f"built for another processor architecture ({_machine(header)}) than this Python "
                f"({_machine(ours)})",
                hint=f"install the package of its {_machine(ours)} build",
            )
        order = "<" if header[5] == 1 else ">"
        word, start_at, count_at, offset_at, length_at = _LAYOUTS[header[4]]
        (start,) = struct.unpack_from(order + word, header, start_at)
        entry, count = struct.unpack_from(order + "HH", header, count_at)
        if entry < length_at + struct.calcsize(word):
            refuse(path, "not a shared library", hint=_PACKAGE_AGAIN)
        file.seek(start)
        table = file.read(entry * count)
    if len(table) < entry * count:
        refuse(path, "cut short", hint=_PACKAGE_AGAIN)
    for at in range(0, len(table), entry):
        (kind,) = struct.unpack_from(order + "I", table, at)
        (offset,) = struct.unpack_from(order + word, table, at + offset_at)
        (length,) = struct.unpack_from(order + word, table, at + length_at)
        if kind == _PT_LOAD and offset + length > size:
            refuse(path, "cut short", hint=_PACKAGE_AGAIN)


def _machine(header: bytes) -> str:
    """Return what an ELF header says that it was built for."""
    number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return f"{_MACHINES.get(number, hex(number))}, {'32' if header[4] == 1 else '64'} bits"

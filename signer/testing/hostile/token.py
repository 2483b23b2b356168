"""A SoftHSM token that misbehaves as a test tells it, through a PKCS#11 module of its own.

The module is real, so every program that takes a module's path can be tried: our agent, another's
library. What it shall do stands in a file beside it that it reads before each call.
"""

import fcntl
import os
import shutil
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Self

from signer.testing.hostile.build import built_module
from signer.testing.softhsm import SoftHSM, module_path

ANY = "*"  # every function that is about a slot or a session
FOREVER = 0
_CERTAIN = 65536
_MOST_RULES = 64
_WRONG_PINS_AT = 16  # in the module's `state`: after two words of 64 bits


class Ckr(IntEnum):
    """Return values that a token in trouble gives; PKCS#11 v2.40, pkcs11t.h."""

    HOST_MEMORY = 0x02
    GENERAL_ERROR = 0x05
    FUNCTION_FAILED = 0x06
    ATTRIBUTE_TYPE_INVALID = 0x12
    DATA_INVALID = 0x20
    DEVICE_ERROR = 0x30
    DEVICE_MEMORY = 0x31
    DEVICE_REMOVED = 0x32
    FUNCTION_CANCELED = 0x50
    FUNCTION_NOT_SUPPORTED = 0x54
    KEY_HANDLE_INVALID = 0x60
    KEY_FUNCTION_NOT_PERMITTED = 0x68
    MECHANISM_INVALID = 0x70
    OBJECT_HANDLE_INVALID = 0x82
    OPERATION_ACTIVE = 0x90
    PIN_INCORRECT = 0xA0
    PIN_LEN_RANGE = 0xA2
    PIN_EXPIRED = 0xA3
    PIN_LOCKED = 0xA4
    SESSION_CLOSED = 0xB0
    SESSION_COUNT = 0xB1
    SESSION_HANDLE_INVALID = 0xB3
    TOKEN_NOT_PRESENT = 0xE0
    TOKEN_NOT_RECOGNIZED = 0xE1
    TOKEN_WRITE_PROTECTED = 0xE2
    USER_NOT_LOGGED_IN = 0x101
    VENDOR_DEFINED = 0x80000001


@dataclass(frozen=True, slots=True)
class Rule:
    """When one kind of fault happens."""

    function: str  # "C_Sign", or ANY
    action: str  # return, after, delay, crash, unplug, wrongpin, truncate, garble
    argument: int = 0
    chance: float = 1.0  # of each call that it is about
    skip: int = 0  # so many calls first pass
    times: int = FOREVER  # so many at most

    def line(self) -> str:
        """Return the line that tells the module."""
        when = f"{round(self.chance * _CERTAIN)} {self.skip} {self.times}"
        return f"rule {self.function} {when} {self.action} {self.argument}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One that happened."""

    function: str
    action: str
    argument: int


STORM: tuple[tuple[str, str, int], ...] = (
    ("C_GetTokenInfo", "return", Ckr.DEVICE_ERROR),
    ("C_OpenSession", "return", Ckr.SESSION_COUNT),
    ("C_Login", "return", Ckr.FUNCTION_FAILED),
    ("C_FindObjectsInit", "return", Ckr.DEVICE_ERROR),
    ("C_FindObjects", "truncate", 0),
    ("C_GetAttributeValue", "truncate", 16),
    ("C_CreateObject", "return", Ckr.DEVICE_MEMORY),
    ("C_CreateObject", "after", Ckr.DEVICE_ERROR),
    ("C_DeriveKey", "return", Ckr.VENDOR_DEFINED),
    ("C_DeriveKey", "unplug", 700),
    ("C_DeriveKey", "crash", signal.SIGSEGV),
    ("C_GetTokenInfo", "crash", signal.SIGABRT),
    ("C_Sign", "return", Ckr.DEVICE_REMOVED),
    ("C_Sign", "truncate", 63),
    ("C_Sign", "garble", 0),
    (ANY, "unplug", 1500),
    (ANY, "delay", 300),
)


@dataclass(slots=True)
class HostileToken:
    """A token behind a hostile module. It behaves until it is told otherwise."""

    token: SoftHSM
    folder: Path
    rules: list[Rule] = field(default_factory=list)
    seed: int = 0
    tries: int = 3  # wrong PINs that lock it
    unplugged: bool = False
    _unplugs: int = 0
    _generation: int = 0

    @classmethod
    def in_front_of(cls, token: SoftHSM, folder: Path, *, seed: int = 0) -> Self:
        """Put a module into the new `folder`; whoever uses the token by it meets the faults.

        Raises:
            ModuleError: SoftHSM or a C compiler is not installed.
        """
        folder.mkdir(mode=0o700)
        hostile = cls(token, folder, seed=seed)
        shutil.copyfile(built_module(), hostile.module)
        hostile.module.chmod(0o755)
        shutil.copyfile(module_path(), hostile._behind)
        hostile._behind.chmod(0o755)
        hostile.tell()
        return hostile

    @property
    def module(self) -> Path:
        """The PKCS#11 module. It needs no environment: it knows its token."""
        return self.folder / "module.so"

    @property
    def label(self) -> str:
        """The token's label."""
        return self.token.label

    @property
    def pin_file(self) -> Path:
        """A 0600 file with the user PIN."""
        return self.token.pin_file

    @property
    def faults(self) -> list[Fault]:
        """The faults that happened so far, in order."""
        try:
            lines = (self.folder / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        words = [line.split() for line in lines]
        return [Fault(function, action, int(number)) for function, action, number in words]

    # What it shall do

    def fail(self, function: str, value: int, *, done: bool = False, skip: int = 0,
             times: int = FOREVER, chance: float = 1.0) -> None:  # fmt: skip
        """Have `function` give the CKR `value`; with `done`, after it was carried out."""
        self.add(Rule(function, "after" if done else "return", value, chance, skip, times))

    def delay(self, function: str, seconds: float, *, skip: int = 0, times: int = FOREVER,
              chance: float = 1.0) -> None:  # fmt: skip
        """Have `function` take `seconds` more."""
        self.add(Rule(function, "delay", round(1000 * seconds), chance, skip, times))

    def truncate(self, function: str, most: int, *, skip: int = 0, times: int = FOREVER,
                 chance: float = 1.0) -> None:  # fmt: skip
        """Have what `function` gives cut to `most` bytes; for C_FindObjects, to `most` objects."""
        self.add(Rule(function, "truncate", most, chance, skip, times))

    def garble(self, function: str, *, skip: int = 0, times: int = FOREVER,
               chance: float = 1.0) -> None:  # fmt: skip
        """Have a bit flipped in what `function` gives."""
        self.add(Rule(function, "garble", 0, chance, skip, times))

    def crash(self, function: str, number: int = signal.SIGSEGV, *, skip: int = 0,
              times: int = FOREVER, chance: float = 1.0) -> None:  # fmt: skip
        """Have the process that calls `function` die by a signal."""
        self.add(Rule(function, "crash", number, chance, skip, times))

    def refuse_pin(self, *, skip: int = 0, times: int = FOREVER, chance: float = 1.0) -> None:
        """Have even the right PIN refused and counted as a wrong one."""
        self.add(Rule("C_Login", "wrongpin", 0, chance, skip, times))

    def unplug_during(self, function: str, seconds: float, *, skip: int = 0, times: int = 1,
                      chance: float = 1.0) -> None:  # fmt: skip
        """Have the token unplugged by a call of `function`, and plugged in after `seconds`."""
        self.add(Rule(function, "unplug", round(1000 * seconds), chance, skip, times))

    def unplug(self) -> None:
        """Pull it. Sessions of before are gone for good."""
        self.unplugged = True
        self._unplugs += 1
        self.tell()

    def plug(self) -> None:
        """Put it back."""
        self.unplugged = False
        self.tell()

    def lock_after(self, tries: int) -> None:
        """Have so many wrong PINs lock it."""
        self.tries = tries
        self.tell()

    def unlock(self) -> None:
        """Forget the wrong PINs."""
        with (self.folder / "state").open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(_WRONG_PINS_AT)
            file.write(struct.pack("=Q", 0))

    def storm(self, seed: int, *, chance: float = 0.02,
              kinds: Sequence[tuple[str, str, int]] = STORM) -> None:  # fmt: skip
        """Have faults of every kind happen by chance. The same calls meet the same faults.

        `chance` is of each call of a kind's function; a tenth of it for a kind about ANY function.
        """
        self.seed = seed
        self.rules = [
            Rule(*kind, chance=chance / 10 if kind[0] == ANY else chance) for kind in kinds
        ]
        self.tell()

    def calm(self) -> None:
        """Behave, and be plugged in."""
        self.rules, self.unplugged = [], False
        self.tell()

    def add(self, rule: Rule) -> None:
        """Add a rule; of several that a call meets the first one counts."""
        self.rules.append(rule)
        self.tell()

    def tell(self) -> None:
        """Write the orders; every program that uses the module obeys from its next call on."""
        if len(self.rules) > _MOST_RULES:
            raise ValueError(f"a hostile token takes {_MOST_RULES} rules")
        self._generation += 1
        lines = [
            "signer-hostile 1",
            f"generation {self._generation}",
            f"target {self._behind}",
            f"config {self.token.config}",
            f"seed {self.seed}",
            f"tries {self.tries}",
            f"unplugs {self._unplugs}",
            f"unplugged {self.unplugged:d}",
            *(rule.line() for rule in self.rules),
        ]
        new = self.folder / f"orders-{os.getpid()}"
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.folder / "orders")

    @property
    def _behind(self) -> Path:
        return self.folder / "behind.so"

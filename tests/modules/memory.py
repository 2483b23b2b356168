"""A token in memory that does all that ours can ask of one, changed by plain assignment."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from ctypes import Structure
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

from pkcs11 import exceptions
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.mechanisms import KeyType, Mechanism

from signer.hsm.module import Module
from signer.secret import SecretBytes
from tests.modules.memory_objects import (
    KINDS,
    MemoryObject,
    MemoryPrivateKey,
    Template,
    aes_key,
    ec_pair,
    rsa_pair,
)
from tests.modules.under_test import REFUSALS, ModuleUnderTest

PIN = "1234"
SO_PIN = "12345678"
_COUNT = TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED
MECHANISMS = {
    Mechanism.EC_KEY_PAIR_GEN,
    Mechanism.ECDSA,
    Mechanism.ECDH1_DERIVE,
    Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    Mechanism.RSA_PKCS_OAEP,
    Mechanism.AES_KEY_GEN,
    Mechanism.AES_GCM,
}


class MemoryModule:
    """One token in memory, and its slot and module. Counts what is done to it."""

    path = Path("/nowhere/fake.so")

    def __init__(self) -> None:
        self.label = "desk"
        self.serial = b"0001"
        self.flags = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED
        self.pin = PIN.encode()
        self.typed_on_pad = PIN.encode()
        self.flags_after_refusal = TokenFlag(0)
        self.login_error: exceptions.PKCS11Error | None = None
        self.locks_after = 0  # wrong PINs; 0 is never
        self.wrong = 0
        self.tries: list[bytes] = []
        self.open_sessions = 0
        self.logged_in = False
        self.objects: dict[int, MemoryObject] = {}
        self._handles = 0

    # What a module does

    def slots(self) -> list[Any]:
        return [self]

    def login(self, session: int, pin: SecretBytes | None) -> None:
        self.tries.append(self.typed_on_pad if pin is None else pin.expose().tobytes())
        if self.login_error is not None:
            raise self.login_error
        if self.flags & TokenFlag.USER_PIN_LOCKED and self.locks_after:
            raise exceptions.PinLocked
        if self.tries[-1] != self.pin:
            self.flags |= self.flags_after_refusal
            self._count_wrong()
            raise exceptions.PinIncorrect
        self.wrong = 0
        if self.locks_after:
            self.flags &= ~_COUNT
        self.logged_in = True

    def logout(self, session: int) -> None:
        self.logged_in = False

    def read_secret(self, session: int, key: int, max_bytes: int) -> SecretBytes:
        return SecretBytes(self.objects[key][Attribute.VALUE][:max_bytes])

    def decrypt(
        self, session: int, key: int, mechanism: int, parameters: Structure, data: bytes
    ) -> SecretBytes:
        return SecretBytes(self.objects[key].decrypt(data, mechanism, parameters))

    def encrypt(
        self,
        session: int,
        key: int,
        mechanism: int,
        parameters: Structure,
        secret: SecretBytes,
        size: int,
    ) -> bytes:
        return self.objects[key].encrypt(secret.expose().tobytes(), mechanism, parameters)

    def random(self, session: int, count: int) -> SecretBytes:
        return SecretBytes(os.urandom(count))

    def close(self) -> None:
        self.logged_in = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def as_module(self) -> Module:
        return cast(Module, self)

    # What a slot does

    def get_token(self) -> "MemoryToken":
        return MemoryToken(self)

    def get_mechanisms(self) -> set[Mechanism]:
        return set(MECHANISMS)

    def get_mechanism_info(self, mechanism: Mechanism) -> SimpleNamespace:
        return SimpleNamespace(min_key_length=1024, max_key_length=2048)

    def add(self, attributes: Template) -> MemoryObject:
        """Put an object on it."""
        self._handles += 1
        kind = KINDS.get(attributes[Attribute.CLASS], MemoryObject)
        made = kind(attributes, self._handles, self.objects.__delitem__)
        if isinstance(made, MemoryPrivateKey):
            made.derived = self.add
        self.objects[self._handles] = made
        return made

    def _count_wrong(self) -> None:
        self.wrong += 1
        if self.locks_after:
            self.flags |= TokenFlag.USER_PIN_COUNT_LOW
        if self.wrong == self.locks_after - 1:
            self.flags |= TokenFlag.USER_PIN_FINAL_TRY
        if self.wrong == self.locks_after:
            self.flags |= TokenFlag.USER_PIN_LOCKED


class MemoryToken:
    """What `Slot.get_token` answers: a snapshot of the module's plain attributes."""

    def __init__(self, module: MemoryModule) -> None:
        self._module = module
        self.label = module.label
        self.serial = module.serial
        self.manufacturer_id = "SoftHSM project"
        self.model = "SoftHSM v2"
        self.flags = module.flags

    def open(self, rw: bool = False) -> "MemorySession":
        self._module.open_sessions += 1
        return MemorySession(self._module, self)


class MemorySession:
    """A session; it sees private objects while somebody is logged in."""

    handle = 7

    def __init__(self, module: MemoryModule, token: MemoryToken) -> None:
        self._module = module
        self.token = token

    def close(self) -> None:
        self._module.open_sessions -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_objects(self, template: Template | None = None) -> Iterator[MemoryObject]:
        for found in list(self._module.objects.values()):
            hidden = found.attributes[Attribute.PRIVATE] and not self._module.logged_in
            if not hidden and found.matches(template or {}):
                yield found

    def create_object(self, template: Template) -> MemoryObject:
        if template.get(Attribute.PRIVATE, False) and not self._module.logged_in:
            raise exceptions.UserNotLoggedIn
        kept = dict(template)
        if kept[Attribute.CLASS] is ObjectClass.PRIVATE_KEY:
            told = (Attribute.LOCAL, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
            kept |= dict.fromkeys(told, False)
        return self._module.add(kept)

    def create_domain_parameters(
        self, key_type: KeyType, parameters: Template, *, local: bool
    ) -> "MemoryParameters":
        return MemoryParameters(self, parameters[Attribute.EC_PARAMS])

    def generate_keypair(self, key_type: KeyType, bits: int, *, id: bytes, label: str, store: bool,
                         capabilities: MechanismFlag, public_template: Template | None = None,
                         private_template: Template | None = None) -> tuple[Any, Any]:  # fmt: skip
        common = {Attribute.ID: id, Attribute.LABEL: label, Attribute.TOKEN: store}
        pair = rsa_pair(bits, common, capabilities, public_template, private_template)
        return self._keep(pair)

    def generate_key(self, key_type: KeyType, bits: int, *, id: bytes, label: str, store: bool,
                     capabilities: MechanismFlag, template: Template) -> MemoryObject:  # fmt: skip
        common = {Attribute.ID: id, Attribute.LABEL: label, Attribute.TOKEN: store}
        return self._module.add(aes_key(bits, common, capabilities, template))

    def _keep(self, pair: tuple[Template, Template]) -> tuple[Any, Any]:
        if not self._module.logged_in:
            raise exceptions.UserNotLoggedIn
        return self._module.add(pair[0]), self._module.add(pair[1])


class MemoryParameters:
    """A curve, on which pairs are made."""

    def __init__(self, session: MemorySession, params: bytes) -> None:
        self._session, self._params = session, params

    def generate_keypair(self, *, id: bytes, label: str, store: bool, capabilities: MechanismFlag,
                         public_template: Template | None = None,
                         private_template: Template | None = None) -> tuple[Any, Any]:  # fmt: skip
        common = {Attribute.ID: id, Attribute.LABEL: label, Attribute.TOKEN: store}
        pair = ec_pair(self._params, common, capabilities, public_template, private_template)
        return self._session._keep(pair)


@contextlib.contextmanager
def memory(folder: Path) -> Iterator[ModuleUnderTest]:
    """The fake: it can all, locks on the third wrong PIN, and needs nothing."""
    module = MemoryModule()
    module.locks_after = 3
    environment: Mapping[str, str] = {}
    yield ModuleUnderTest(
        name="memory",
        path=module.path,
        environment=environment,
        label=module.label,
        pin=PIN,
        so_pin=SO_PIN,
        profile_name="softhsm2",
        abilities=frozenset(REFUSALS),
        tries=3,
        own_profile=False,
        load=lambda _: module.as_module(),
    )

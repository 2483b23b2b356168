"""Throw-away keys on a token, made when a step first asks for them and gone with the bench.

They are session objects (CKA_TOKEN false), made in a session that may not write, so that the token
itself keeps none. Only where somebody asked for it are they token objects, with a label of this
probe's, and destroyed by it.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pkcs11.constants import DEFAULT, Attribute, MechanismFlag
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import KeyType, Mechanism
from pkcs11.types import Key, Session

from signer.hsm.probe.calls import Calls
from signer.hsm.provenance import P256_PARAMS
from signer.hsm.session import TokenSession
from signer.recipient import KEY_ID_BYTES, RSA_BITS

KINDS = ("derive", "sign", "aes", "rsa")
LABEL_PREFIX = "signer-probe-"
_USES = {
    "derive": MechanismFlag.DERIVE,
    "sign": MechanismFlag.SIGN | MechanismFlag.VERIFY,
    "aes": MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
    "rsa": MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
}
_USAGES = (
    Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN, Attribute.VERIFY, Attribute.WRAP,
    Attribute.UNWRAP, Attribute.DERIVE,
)  # fmt: skip
_UNNAMED = dict.fromkeys(_USAGES, DEFAULT)  # of a public key no usage is named, as in `make_pair`
CLOSED = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
OPEN = {Attribute.PRIVATE: True, Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}

MOST_TRIES = 9
_MOST_SECONDS = 0.7  # of one step's tries


class StayedError(Exception):
    """The token made a token object where a session object was asked for. It was destroyed."""


class UnusableError(Exception):
    """A key that was made for a use says that it is not for it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A key, or a pair of them."""

    key_id: bytes
    private: Key
    public: Key | None
    explicit: (
        bool  # whether it was made with the private usages named, as `signer token setup` does
    )


@dataclass(slots=True)
class Bench:
    """A logged-in token with what a probe made on it. Use it in a `with` block."""

    session: TokenSession
    label: str
    store: bool  # whether keys are token objects
    logged_in: bool = True
    _made: dict[str, Made] = field(default_factory=dict)
    _writer: Session | None = None

    @property
    def handles(self) -> Session:
        """The session that keys are made in."""
        if not self.store:
            return self.session.session
        if self._writer is None:
            self._writer = self.session.token.slot.get_token().open(rw=True)
        return self._writer

    @property
    def calls(self) -> Calls:
        """The module's own functions."""
        return Calls(self.session.module)

    def key(self, kind: str) -> Made:
        """Return the throw-away key of `kind`, made now if it is not there.

        Raises:
            PKCS11Error: the token does not make it.
            StayedError: it made a token object of it.
        """
        if kind not in self._made:
            self._made[kind] = self.make(kind, CLOSED)
        return self._made[kind]

    def key_that(self, kind: str, does: str) -> Made:
        """Return the key of `kind`, of which the wrapper says that it `does` something.

        Raises:
            PKCS11Error: as `key`; StayedError.
            UnusableError: its usage attribute is not true, whatever was asked for.
        """
        made = self.key(kind)
        if not hasattr(made.private, does):
            raise UnusableError
        return made

    def make(self, kind: str, protection: dict[Attribute, Any]) -> Made:
        """Make a key of `kind` as the program does; if that is refused, with no usage named.

        Raises:
            PKCS11Error: neither is taken; StayedError.
        """
        try:
            return self._generate(kind, protection, explicit=True)
        except PKCS11Error as first:
            try:
                return self._generate(kind, protection, explicit=False)
            except PKCS11Error:
                raise first from None

    def _generate(self, kind: str, protection: dict[Attribute, Any], *, explicit: bool) -> Made:
        key_id = os.urandom(KEY_ID_BYTES)
        unnamed = {} if explicit else _UNNAMED
        common: dict[str, Any] = {
            "id": key_id, "label": self.label, "store": self.store, "capabilities": _USES[kind],
        }  # fmt: skip
        if kind == "aes":
            template = unnamed | protection
            key = self.handles.generate_key(KeyType.AES, 256, template=template, **common)
            return self._kept(Made(key_id, key, None, explicit))
        common |= {"public_template": _UNNAMED, "private_template": unnamed | protection}
        if kind == "rsa":
            pair = self.handles.generate_keypair(KeyType.RSA, self._rsa_bits(), **common)
        else:
            parameters = self.handles.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMS}, local=True
            )
            pair = parameters.generate_keypair(**common)
        return self._kept(Made(key_id, pair[1], pair[0], explicit))

    def _kept(self, made: Made) -> Made:
        """Return what was made, unless the token stored what it was not to store."""
        halves = [key for key in (made.private, made.public) if key is not None]
        if not self.store and any(_is_stored(key) for key in halves):
            for key in halves:
                key.destroy()
            raise StayedError
        return made

    def bring(self, template: dict[Attribute, Any]) -> Any:
        """Create a private session object from `template` and return it.

        Raises:
            PKCS11Error: the token does not take it; StayedError.
        """
        common = {Attribute.TOKEN: False, Attribute.PRIVATE: True, Attribute.LABEL: self.label}
        found = self.handles.create_object(common | template)
        if _is_stored(found):
            found.destroy()
            raise StayedError
        return found

    def _rsa_bits(self) -> int:
        """Return the smallest size that a share is sealed to and that the token makes."""
        try:
            info = self.session.token.slot.get_mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN)
        except PKCS11Error:
            return RSA_BITS[0]
        low = info.min_key_length or 0
        return next((bits for bits in RSA_BITS if bits >= low), RSA_BITS[0])

    def renew(self) -> None:
        """Take another session, and make keys anew when they are asked for.

        Raises:
            PKCS11Error: there is no other.
        """
        fresh = self.session.token.slot.get_token().open()
        self.session = replace(self.session, session=fresh)
        self._made.clear()
        self._writer = None  # it may have an operation that is not ended too

    def sweep(self) -> None:
        """Destroy every object with this probe's label, of an earlier worker's too.

        Where keys are session objects, no token object is ever touched.
        """
        self._made.clear()
        search = {Attribute.LABEL: self.label, Attribute.TOKEN: self.store}
        for key in list(self.handles.get_objects(search)):
            with contextlib.suppress(PKCS11Error):
                key.destroy()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.logged_in:
            with contextlib.suppress(PKCS11Error, ValueError):
                self.sweep()
        if self._writer is not None:
            with contextlib.suppress(PKCS11Error):
                self._writer.close()


def timed(action: Callable[[], Any], tries: int = MOST_TRIES) -> tuple[int, ...]:
    """Do `action` up to so many times and for a short time; return the microseconds of each."""
    times: list[int] = []
    end = time.monotonic() + _MOST_SECONDS
    while len(times) < tries and (not times or time.monotonic() < end):
        start = time.perf_counter_ns()
        action()
        times.append((time.perf_counter_ns() - start) // 1000)
    return tuple(times)


def _is_stored(key: Any) -> bool:
    return key[Attribute.TOKEN] is True

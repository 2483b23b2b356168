"""What a worker is told to do, and the bytes of that order.

An order is one JSON object on the worker's standard input: `{"version": 1, "job": kind, …}`. It
holds paths of secrets, never a secret. Agent and command line build orders; only the worker, in its
own process, carries them out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.messages.card import NAME_PATTERN
from signer.messages.group_file import MAX_EPOCH, ROLES
from signer.messages.networks import Network
from signer.messages.request import MAX_ITEMS
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

MAX_ORDER_BYTES = 64 * 1024 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024
_MAX_TEXT = 16 * 1024 * 1024
_PATH = r"/[^\x00\n]{0,4095}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where the worker reads a secret: a 0600 file, or a terminal handed to it as a descriptor."""

    file: str | None = None  # absolute
    terminal: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"file": self.file, "terminal": self.terminal}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a source from `fields`: exactly one of its two kinds."""
        file, terminal = _optional_path(fields, "file"), fields.take("terminal")
        fields.done()
        if (file is None) == (terminal is None) or type(terminal) not in (int, type(None)):
            fields.fail("terminal", "or 'file' must be given, not both")
        return cls(file=file, terminal=terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChoice:
    """Which token: a device profile, its module, and the one token that matches."""

    profile: str  # a packaged profile's name, or the absolute path of a YAML file
    module: str | None = None  # absolute; else the first of the profile's paths that exists
    label: str | None = None
    serial: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "profile": self.profile,
            "module": self.module,
            "label": self.label,
            "serial": self.serial,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a choice from `fields`."""
        choice = cls(
            profile=fields.string("profile", pattern=r"[^\x00\n]+", max_length=4096),
            module=_optional_path(fields, "module"),
            label=_optional(fields, "label", r"[^\x00\n]{1,32}"),
            serial=_optional(fields, "serial", r"[^\x00\n]{1,32}"),
        )
        fields.done()
        return choice


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTokens:
    """List the tokens that a module shows. Needs no PIN."""

    kind: ClassVar[str] = "list_tokens"
    token: TokenChoice

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"token": self.token.to_json()}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(token=TokenChoice.parse(fields.nested("token")))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUpToken:
    """Make the two keys of a holder on his token, where they are absent."""

    kind: ClassVar[str] = "set_up_token"
    token: TokenChoice
    pin: SecretSource

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"token": self.token.to_json(), "pin": self.pin.to_json()}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCard:
    """Write the holder's card and sign it on the token."""

    kind: ClassVar[str] = "make_card"
    token: TokenChoice
    pin: SecretSource
    name: str
    created: int

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "name": self.name,
            "created": self.created,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            name=fields.string("name", pattern=NAME_PATTERN, max_length=64),
            created=fields.integer("created", low=0, high=2**53 - 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitKey:
    """Split an existing key: from a mnemonic at an index, or from a keystore."""

    kind: ClassVar[str] = "split_key"
    mnemonic: SecretSource | None = None
    passphrase: SecretSource | None = None  # of the mnemonic (BIP-39), if it has one
    key_index: int = 0  # i of m/12381/3600/i/0
    keystore: str | None = None  # absolute path; a keystore is no secret by itself
    password: SecretSource | None = None  # of the keystore
    threshold: int
    cards: tuple[str, ...]  # the texts of the holders' cards, in index order
    network: Network
    role: str
    policy_digest: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "mnemonic": _source_json(self.mnemonic),
            "passphrase": _source_json(self.passphrase),
            "key_index": self.key_index,
            "keystore": self.keystore,
            "password": _source_json(self.password),
            "threshold": self.threshold,
            "cards": list(self.cards),
            "network": self.network.to_json(),
            "role": self.role,
            "policy_digest": self.policy_digest.hex(),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(
            mnemonic=_optional_source(fields, "mnemonic"),
            passphrase=_optional_source(fields, "passphrase"),
            key_index=fields.integer("key_index", low=0, high=2**31 - 1),
            keystore=_optional_path(fields, "keystore"),
            password=_optional_source(fields, "password"),
            threshold=fields.integer("threshold", low=-(2**31), high=2**31),
            cards=tuple(_texts(fields, "cards")),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            policy_digest=fields.hex_bytes("policy_digest", 32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyShare:
    """Unseal a share and prove it against the group file."""

    kind: ClassVar[str] = "verify_share"
    token: TokenChoice
    pin: SecretSource
    group: str  # the group file's text
    envelope: str  # the envelope's text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "group": self.group,
            "envelope": self.envelope,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            group=_text(fields, "group"),
            envelope=_text(fields, "envelope"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignBatch:
    """Sign the items of a request that the custodian's policy and journal let through.

    Network, role, group public key, epoch, index, public share and policy are what the envelope's
    associated data binds: with any of them changed the envelope does not open.
    """

    kind: ClassVar[str] = "sign_batch"
    token: TokenChoice
    pin: SecretSource
    network: Network
    role: str
    group_public_key: bytes
    epoch: int
    index: int
    public_share: bytes
    policy: dict[str, Any]
    envelope: str
    request: str
    skip: frozenset[int]  # positions in the request that are not to be signed
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "token": self.token.to_json(),
            "pin": self.pin.to_json(),
            "network": self.network.to_json(),
            "role": self.role,
            "group_public_key": self.group_public_key.hex(),
            "epoch": self.epoch,
            "index": self.index,
            "public_share": self.public_share.hex(),
            "policy": self.policy,
            "envelope": self.envelope,
            "request": self.request,
            "skip": sorted(self.skip),
            "threads": self.threads,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        return cls(
            token=TokenChoice.parse(fields.nested("token")),
            pin=SecretSource.parse(fields.nested("pin")),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            group_public_key=fields.hex_bytes("group_public_key", 48),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            public_share=fields.hex_bytes("public_share", 48),
            policy=_object(fields, "policy"),
            envelope=_text(fields, "envelope"),
            request=_text(fields, "request"),
            skip=frozenset(_positions(fields, "skip")),
            threads=fields.integer("threads", low=1, high=64),
        )


Job = ListTokens | SetUpToken | MakeCard | SplitKey | VerifyShare | SignBatch

_PARSERS: dict[str, Callable[[Fields], Job]] = {
    job.kind: job.parse
    for job in (ListTokens, SetUpToken, MakeCard, SplitKey, VerifyShare, SignBatch)
}


def order_bytes(job: Job) -> bytes:
    """Return the bytes of the order that asks for `job`."""
    return canonical({"version": 1, "job": job.kind, **job.to_json()})


def parse_order(raw: bytes) -> Job:
    """Read an order strictly.

    Raises:
        SchemaError: not an order of this version.
    """
    fields = Fields(parse_object(raw, what="order", max_bytes=MAX_ORDER_BYTES), "order")
    fields.constant("version", 1)
    job = _PARSERS[fields.choice("job", tuple(_PARSERS))](fields)
    fields.done()
    return job


def _source_json(source: SecretSource | None) -> dict[str, Any] | None:
    return None if source is None else source.to_json()


def _optional_source(fields: Fields, name: str) -> SecretSource | None:
    value = fields.take(name)
    return None if value is None else SecretSource.parse(Fields(value, name))


def _optional(fields: Fields, name: str, pattern: str, max_length: int = 128) -> str | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).string(name, pattern=pattern, max_length=max_length)


def _optional_path(fields: Fields, name: str) -> str | None:
    return _optional(fields, name, _PATH, 4096)


def _text(fields: Fields, name: str) -> str:
    value = fields.take(name)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        fields.fail(name, "must be a text")
    return value


def _texts(fields: Fields, name: str) -> list[str]:
    entries = fields.array(name, low=0, high=2**16)
    if not all(isinstance(entry, str) and len(entry) <= _MAX_TEXT for entry in entries):
        fields.fail(name, "must be a list of texts")
    return entries


def _object(fields: Fields, name: str) -> dict[str, Any]:
    value = fields.take(name)
    if not isinstance(value, dict):
        fields.fail(name, "must be an object")
    return value


def _positions(fields: Fields, name: str) -> list[int]:
    entries = fields.array(name, low=0, high=MAX_ITEMS)
    if not all(type(entry) is int and 0 <= entry < MAX_ITEMS for entry in entries):
        fields.fail(name, "must be a list of positions")
    return entries

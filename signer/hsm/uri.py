"""Tokens by PKCS#11 URI (RFC 7512): what a URI may say here, and the URI of a token that is there.

A URI of ours names one token, where its module is and which file has its PIN. What it would say
beyond that is refused, not passed over: a URI that is obeyed in part could mean another token. A
PIN never stands in one, for others can read a command line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol, Self
from urllib.parse import quote, unquote_to_bytes

from signer.errors import SchemaError
from signer.strict import MAX_INTEGER

MAX_CHARACTERS = 1024
_SCHEME = "pkcs11:"
# Bytes of the fields of CK_TOKEN_INFO, in the order in which p11-kit prints them.
_FIELDS = {"model": 16, "manufacturer": 32, "serial": 16, "token": 32}
_PATH = (*_FIELDS, "slot-id")
_QUERY = ("module-path", "pin-source")
_OF_OBJECTS = ("id", "object", "type")
_NOT_SUPPORTED = (
    "library-description",
    "library-manufacturer",
    "library-version",
    "module-name",
    "slot-description",
    "slot-manufacturer",
)
# RFC 7512, section 2.3: pk11-pchar and pk11-qchar.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})*")
_FILE = re.compile(r"file:(?://)?(/[^/%][^%]*)")  # a percent sign left would be decoded by some
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Named(Protocol):
    """What a token calls itself."""

    @property
    def label(self) -> str:
        """Its label; empty, or without meaning, if it is not initialised."""

    @property
    def serial(self) -> str:
        """Its serial number; empty if it has none."""

    @property
    def manufacturer(self) -> str:
        """Who made it."""

    @property
    def model(self) -> str:
        """What it is."""

    @property
    def initialized(self) -> bool:
        """Whether it has a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """A URI of one token. None is what it does not say."""

    label: str | None = None
    serial: str | None = None  # empty: of a token that has none
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None  # never alone: it is another after each start of some modules
    module: str | None = None  # absolute path
    pin_file: str | None = None  # absolute path

    @classmethod
    def parse(cls, text: str, what: str) -> Self:
        """Read a URI; `what` is where it stands, for messages.

        Raises:
            SchemaError: no URI of a token, or one that says what cannot be held to. It never quotes
                a value.
        """
        path, query = parse_attributes(text, what)
        for name in path:
            _require_taken(name, _PATH, _QUERY, "behind a", what)
        for name in query:
            _require_taken(name, _QUERY, _PATH, "before the", what)
        texts = {name: _text(path, name, what) for name in _FIELDS}
        if texts["token"] == "":
            _refuse(what, "'token' is empty; a token that is chosen by its label has one")
        if not path.keys() & _FIELDS.keys():
            if "slot-id" in path:
                _refuse(what, "'slot-id' alone names no token: slot ids change; add 'serial'")
            _refuse(what, "it names no token: 'token' or 'serial' is missing")
        return cls(
            label=texts["token"],
            serial=texts["serial"],
            manufacturer=texts["manufacturer"],
            model=texts["model"],
            slot_id=_slot_id(path, what),
            module=_module(query, what),
            pin_file=_pin_file(query, what),
        )

    def __str__(self) -> str:
        """Return the path of it: neither module nor PIN file, which are this machine's."""
        parts = [
            (name, value)
            for name, value in (
                ("model", self.model),
                ("manufacturer", self.manufacturer),
                ("serial", self.serial),
                ("token", self.label),
                ("slot-id", None if self.slot_id is None else str(self.slot_id)),
            )
            if value is not None
        ]
        return _SCHEME + ";".join(
            f"{name}={quote(value, '', errors='replace')}" for name, value in parts
        )


def is_uri(text: str) -> bool:
    """Tell whether `text` is meant as a URI: a label that begins so is named by one."""
    return text[: len(_SCHEME)].lower() == _SCHEME


def uri_of(token: Named) -> str | None:
    """Return the URI of `token`, as `p11tool --list-token-urls` prints it.

    Without what no URI can say: names with control characters. None: it has neither label nor
    serial then, and cannot be chosen.
    """
    label = token.label if token.initialized and token.label else None
    uri = TokenUri(
        label=_sayable("token", label),
        serial=_sayable("serial", token.serial),
        manufacturer=_sayable("manufacturer", token.manufacturer),
        model=_sayable("model", token.model),
    )
    return str(uri) if uri.label or uri.serial else None


def parse_attributes(text: str, what: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Take a URI apart by the grammar of RFC 7512, whatever it is of.

    Returns:
        The attributes of path and query, decoded.

    Raises:
        SchemaError: no such URI, an attribute that stands twice, or one that is a PIN.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(what, f"it has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
    if not is_uri(text):
        _refuse(what, f"it does not begin with {_SCHEME}")
    path, _, query = text[len(_SCHEME) :].partition("?")
    seen: set[str] = set()
    return (
        _attributes(path, ";", _PATH_VALUE, seen, what),
        _attributes(query, "&", _QUERY_VALUE, seen, what),
    )


def _attributes(
    text: str, separator: str, allowed: re.Pattern[str], seen: set[str], what: str
) -> dict[str, bytes]:
    found = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name.lower().startswith("pin-value"):
            raise SchemaError(
                f"{what}: a PIN never stands in a URI, where others can read it",
                hint="change that PIN; name the file that has it: pin-source=file:/path",
            )
        if not part:
            _refuse(what, f"it has one {separator!r} too many")
        if not equals or _NAME.fullmatch(name) is None:
            _refuse(what, "it has a part that is no attribute: write name=value")
        shown = ascii(name[:40])
        if name in seen:
            _refuse(what, f"{shown} stands twice")
        seen.add(name)
        if allowed.fullmatch(value) is None:
            if separator == ";" and name in _QUERY:  # its value has a '/' that only a query may
                _refuse(what, f"{shown} belongs behind a '?'")
            _refuse(what, f"{shown} has a character that must be percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _require_taken(
    name: str, here: tuple[str, ...], there: tuple[str, ...], side: str, what: str
) -> None:
    """Refuse an attribute that a token's URI does not have in this component."""
    if name in here:
        return
    shown = ascii(name[:40])
    if name in there:
        _refuse(what, f"{shown} belongs {side} '?'")
    if name in _OF_OBJECTS:
        _refuse(what, f"{shown} is of an object, and a token is meant: leave it out")
    if name in _NOT_SUPPORTED:
        _refuse(what, f"{shown} is not supported: name the token by 'token' and 'serial'")
    _refuse(what, f"{shown} is no attribute of RFC 7512; a vendor's own are not supported")


def _text(attributes: Mapping[str, bytes], name: str, what: str) -> str | None:
    """Return a text without control characters, or None if it is not there."""
    raw = attributes.get(name)
    if raw is None:
        return None
    if len(raw) > _FIELDS.get(name, MAX_CHARACTERS):
        _refuse(what, f"{name!r} has {len(raw)} bytes, a token's has at most {_FIELDS[name]}")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        _refuse(what, f"{name!r} is not UTF-8")
    if _CONTROL.search(text) is not None:
        _refuse(what, f"{name!r} has a control character")
    return text


def _slot_id(path: Mapping[str, bytes], what: str) -> int | None:
    text = _text(path, "slot-id", what)
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,16}", text) is None or int(text) > MAX_INTEGER:
        _refuse(what, f"'slot-id' must be a number, at most {MAX_INTEGER}")
    return int(text)


def _module(query: Mapping[str, bytes], what: str) -> str | None:
    path = _text(query, "module-path", what)
    if path is not None and not path.startswith("/"):
        _refuse(what, "'module-path' must be an absolute path")
    return path


def _pin_file(query: Mapping[str, bytes], what: str) -> str | None:
    source = _text(query, "pin-source", what)
    if source is None:
        return None
    match = _FILE.fullmatch(source)
    if match is None:
        _refuse(what, "'pin-source' must be file:/path, absolute; no program and nothing else")
    return match[1]


def _sayable(name: str, value: str | None) -> str | None:
    """Return `value` if `TokenUri.parse` takes it."""
    try:
        return None if value is None else _text({name: value.encode()}, name, "")
    except (SchemaError, UnicodeEncodeError):
        return None


def _refuse(what: str, why: str) -> NoReturn:
    raise SchemaError(f"{what}: the URI cannot be used: {why}")

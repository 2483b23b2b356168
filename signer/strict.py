"""The one way this program reads JSON, and the one canonical way it writes it.

`parse_object` refuses what a lenient parser lets through: more bytes than the format allows, bytes
that are not UTF-8, a byte-order mark, duplicate keys, floats, NaN, integers of 2**53 or more, deep
nesting. `Fields` then takes an object apart field by field and refuses one that is left over.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from signer.errors import SchemaError

MAX_DEPTH = 8  # levels of nesting
MAX_BRACKETS = 250_000  # arrays and objects; a request has at most two for a validator
MAX_INTEGER = 2**53 - 1  # what every JSON reader keeps exact

_HEX = re.compile(r"[0-9a-f]*\Z")
# Possessive, and an unfinished string is one too: no byte is looked at twice, whatever comes.
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return `value` as canonical JSON, what digests are over: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def parse_object(
    raw: bytes, *, what: str, max_bytes: int, max_brackets: int = MAX_BRACKETS
) -> dict[str, Any]:
    """Parse one JSON object from `raw`, at most `max_bytes` long and of so many arrays and objects.

    Raises:
        SchemaError: anything but one well-formed object within the limits above.
    """
    if len(raw) > max_bytes:
        raise SchemaError(f"{what}: {len(raw)} bytes, at most {max_bytes} are allowed")
    if not raw.strip():
        raise SchemaError(f"{what}: empty")
    _limit_depth(raw, what, max_brackets)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=lambda pairs: _no_duplicates(pairs, what),
            parse_int=lambda text: _bounded_int(text, what),
            parse_float=lambda text: _refuse(what, f"{text[:20]!r} is not an integer"),
            parse_constant=lambda text: _refuse(what, f"{text!r} is not JSON"),
        )
    except UnicodeDecodeError as error:
        raise SchemaError(f"{what}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise SchemaError(f"{what}: not JSON at line {error.lineno}, {error.msg.lower()}") from None
    if not isinstance(value, dict):
        raise SchemaError(f"{what}: a JSON object is expected")
    return value


def encode_base64(raw: bytes) -> str:
    """Return standard base64 with padding, the only text that `parse_base64` takes for `raw`."""
    return base64.b64encode(raw).decode()


def parse_base64(value: Any, what: str, *, max_bytes: int) -> bytes:
    """Decode standard base64 with padding and nothing else: one text for one byte string.

    Raises:
        SchemaError: anything else.
    """
    too_long = f"{what} must be base64 of at most {max_bytes} bytes"
    if not isinstance(value, str) or len(value) > 4 * (max_bytes // 3 + 1):
        raise SchemaError(too_long)
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise SchemaError(f"{what} is not base64") from None
    if len(raw) > max_bytes:
        raise SchemaError(too_long)
    if encode_base64(raw) != value:
        raise SchemaError(f"{what} is not canonical base64")
    return raw


def _limit_depth(raw: bytes, what: str, max_brackets: int) -> None:
    """Bound the nesting before the recursive parser sees it. Strings are passed over."""
    opened = raw.count(b"[") + raw.count(b"{")
    if opened <= MAX_DEPTH:
        return
    if opened > max_brackets:  # in strings too: nothing of ours has as many
        raise SchemaError(f"{what}: more than {max_brackets} arrays and objects")
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        byte = match[0]
        if byte in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise SchemaError(f"{what}: nested deeper than {MAX_DEPTH} levels")
        elif byte in (b"]", b"}"):
            depth -= 1


def _no_duplicates(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise SchemaError(f"{what}: field {_first_twice(pairs)[:40]!r} stands twice")
    return value


def _first_twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return ""


def _bounded_int(text: str, what: str) -> int:
    if text == "-0" or len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        _refuse(what, f"integer {text[:20]} is out of range")
    return int(text)


def _refuse(what: str, why: str) -> NoReturn:
    raise SchemaError(f"{what}: {why}")


class Fields:
    """An object of a known format, taken apart field by field.

    Call a getter once for each field the format has, then `done()`: what nobody took is unknown
    and refused. Every getter raises `SchemaError` naming `what` and the field.
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise SchemaError(f"{what}: an object is expected")
        self._left = dict(value)
        self.what = what

    def fail(self, name: str, why: str) -> NoReturn:
        """Raise `SchemaError` about field `name`."""
        raise SchemaError(f"{self.what}: field {name!r} {why}")

    def take(self, name: str) -> Any:
        """Take field `name` whatever its type; it must be there."""
        try:
            return self._left.pop(name)
        except KeyError:
            raise SchemaError(f"{self.what}: field {name!r} is missing") from None

    def has(self, name: str) -> bool:
        """Tell whether field `name` is there and not taken yet."""
        return name in self._left

    def constant(self, name: str, expected: str | int) -> None:
        """Take field `name`, which must be exactly `expected` (a version, a type)."""
        value = self.take(name)
        if type(value) is not type(expected) or value != expected:
            self.fail(name, f"must be {expected!r}, not {str(value)[:40]!r}")

    def integer(self, name: str, *, low: int, high: int) -> int:
        """Take an integer in low..high; a bool is not one."""
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            self.fail(name, f"must be an integer from {low} to {high}")
        return value

    def string(self, name: str, *, pattern: str, max_length: int = 128) -> str:
        """Take a string that matches `pattern` from end to end."""
        value = self.take(name)
        if not isinstance(value, str) or len(value) > max_length:
            self.fail(name, f"must be a string of at most {max_length} characters")
        if re.fullmatch(pattern, value) is None:
            self.fail(name, "has characters or a form that is not allowed")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Take a string that is one of `allowed`."""
        value = self.take(name)
        if not isinstance(value, str) or value not in allowed:
            self.fail(name, f"must be one of {', '.join(allowed)}")
        return value

    def boolean(self, name: str) -> bool:
        """Take true or false."""
        value = self.take(name)
        if type(value) is not bool:
            self.fail(name, "must be true or false")
        return value

    def hex_bytes(self, name: str, size: int) -> bytes:
        """Take exactly `size` bytes written as lower-case hex, no 0x."""
        return parse_hex(self.take(name), size, f"{self.what}: field {name!r}")

    def packed(self, name: str, *, of: str, size: int, high: int) -> tuple[bytes, ...]:
        """Take 1 to `high` byte strings of `size` bytes each, written as one in base64."""
        raw = parse_base64(self.take(name), f"{self.what}: field {name!r}", max_bytes=size * high)
        if not raw or len(raw) % size:
            self.fail(name, f"must be {of} of {size} bytes")
        return tuple(raw[at : at + size] for at in range(0, len(raw), size))

    def array(self, name: str, *, low: int, high: int) -> list[Any]:
        """Take a list with low..high entries."""
        value = self.take(name)
        if not isinstance(value, list) or not low <= len(value) <= high:
            self.fail(name, f"must be a list of {low} to {high} entries")
        return value

    def nested(self, name: str) -> "Fields":
        """Take an object, to be taken apart in turn."""
        return Fields(self.take(name), f"{self.what}: {name}")

    def done(self) -> None:
        """Refuse what was not taken."""
        if self._left:
            name = min(self._left)
            raise SchemaError(f"{self.what}: unknown field {name[:40]!r}")


def parse_hex(value: Any, size: int, what: str) -> bytes:
    """Return `size` bytes from lower-case hex without 0x.

    Raises:
        SchemaError: another type, length, case or character.
    """
    if not isinstance(value, str) or len(value) != 2 * size or _HEX.match(value) is None:
        raise SchemaError(f"{what} must be {size} bytes of lower-case hex")
    return bytes.fromhex(value)

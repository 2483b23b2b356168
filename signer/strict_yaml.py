"""The one way this program reads YAML: a plain object of strings, integers, booleans and lists.

YAML lets a file mean what nobody who reads it would think. So this reader refuses anchors, aliases
and merge keys (the billion laughs), tags, duplicate keys, several documents, floats and dates, and
the readings of YAML 1.1 that surprise: `no` for false, `012` for ten, `1:30` for ninety. Whoever
means such a text writes it in quotes. Only `0x…` is the text it looks like, so an address
needs no quotes. Take the result apart with `signer.strict.Fields`.
"""

import re
from typing import Any

import yaml

from signer.errors import SchemaError
from signer.strict import MAX_DEPTH, MAX_INTEGER

_PREFIX = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")
_HIDDEN_LINE = re.compile("\r(?!\n)|[\x85\u2028\u2029]")  # a new line to YAML, not to an editor
_PLAIN = {"true": True, "false": False, "null": None, "": None}


def parse_yaml_object(text_bytes: bytes, *, what: str, max_bytes: int) -> dict[str, Any]:
    """Parse one YAML mapping from `text_bytes`, at most `max_bytes` long.

    Raises:
        SchemaError: anything but one mapping within the limits above.
    """
    if len(text_bytes) > max_bytes:
        raise SchemaError(f"{what}: {len(text_bytes)} bytes, at most {max_bytes} are allowed")
    if not text_bytes.strip():
        raise SchemaError(f"{what}: empty")
    try:
        text = text_bytes.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{what}: not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise SchemaError(f"{what}: starts with a byte-order mark")
    if hidden := _HIDDEN_LINE.search(text):
        line = text.count("\n", 0, hidden.start()) + 1
        raise SchemaError(f"{what}: line {line} holds a character that hides a line's end")
    try:
        _limit_structure(text, what)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = getattr(error.problem_mark, "line", 0) + 1
        raise SchemaError(f"{what}: not YAML at line {line}, {error.problem}") from None
    except yaml.YAMLError:
        raise SchemaError(f"{what}: not YAML, it holds characters that are not allowed") from None
    if not isinstance(node, yaml.MappingNode):
        raise SchemaError(f"{what}: a YAML mapping (name: value) is expected")
    return _mapping(node, what)


def _limit_structure(text: str, what: str) -> None:
    """Refuse by the event stream, which does not recurse, what composing would pay dearly for."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = getattr(event.start_mark, "line", 0) + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise SchemaError(f"{what}: line {line} starts a second document")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise SchemaError(f"{what}: line {line} has an anchor or an alias, which is refused")
        elif getattr(event, "tag", None) is not None:
            raise SchemaError(f"{what}: line {line} has a tag, which is refused")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise SchemaError(f"{what}: nested deeper than {MAX_DEPTH} levels at line {line}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _value(node: yaml.Node, what: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, what)
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, what) for entry in node.value]
    return _scalar(node, what)


def _mapping(node: yaml.MappingNode, what: str) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.tag != f"{_PREFIX}str":
            raise SchemaError(f"{what}: line {line} has a field name that is not a plain string")
        key = key_node.value
        if key in value:
            raise SchemaError(f"{what}: field {key[:40]!r} stands twice, again at line {line}")
        value[key] = _value(value_node, what)
    return value


def _scalar(node: yaml.Node, what: str) -> Any:
    text: str = node.value
    if node.tag == f"{_PREFIX}str" or text.startswith("0x"):
        return text
    if node.tag in (f"{_PREFIX}bool", f"{_PREFIX}null") and text in _PLAIN:
        return _PLAIN[text]
    if node.tag == f"{_PREFIX}int" and _INTEGER.fullmatch(text) and text != "-0":
        value = int(text)
        if abs(value) <= MAX_INTEGER:
            return value
    line = node.start_mark.line + 1
    raise SchemaError(
        f"{what}: line {line} has {text[:40]!r}, which YAML does not read as text",
        hint="numbers are whole and below 2^53, booleans are true or false; put text in quotes",
    )

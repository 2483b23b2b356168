import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import SchemaError
from signer.strict import MAX_DEPTH, MAX_INTEGER, Fields, canonical, encode_base64, parse_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def parse(raw: bytes, max_bytes: int = 10**6) -> dict[str, object]:
    return parse_object(raw, what="thing", max_bytes=max_bytes)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_what_is_written_is_read_back_or_too_deep(value: dict[str, object]) -> None:
    raw = canonical(value)
    if depth(value) > MAX_DEPTH:
        with pytest.raises(SchemaError, match="nested deeper"):
            parse(raw)
        return
    assert parse(raw) == value
    assert canonical(parse(raw)) == raw
    assert parse(json.dumps(value, indent=3, ensure_ascii=False).encode()) == value


@pytest.mark.case("F8", "JSON: float, exponent, minus zero, NaN, Infinity")
@pytest.mark.parametrize("text", ["1.0", "1e3", "-0", "NaN", "Infinity", "-Infinity", "1E400"])
def test_numbers_that_are_not_integers(text: str) -> None:
    with pytest.raises(SchemaError):
        parse(b'{"a": ' + text.encode() + b"}")


@pytest.mark.case("F9", "JSON: integers of 2^53, 2^64, 5,000 digits")
@pytest.mark.parametrize("text", [str(2**53), str(-(2**53)), str(2**64), "1" + "0" * 5000])
def test_integers_that_some_readers_would_round(text: str) -> None:
    with pytest.raises(SchemaError, match="out of range"):
        parse(b'{"a": ' + text.encode() + b"}")
    assert parse(b'{"a": %d}' % MAX_INTEGER) == {"a": MAX_INTEGER}


@pytest.mark.case("F6", "JSON: duplicate key, at the top and nested, spelled with escapes")
@pytest.mark.parametrize(
    "raw", [b'{"a": 1, "a": 1}', b'{"b": {"a": 1, "a": 2}}', b'{"a": 1, "\\u0061": 2}']
)
def test_a_key_stands_once(raw: bytes) -> None:
    with pytest.raises(SchemaError, match="stands twice"):
        parse(raw)


@pytest.mark.case("F5", "JSON: byte-order mark, UTF-16, invalid UTF-8, NUL, trailing bytes")
@pytest.mark.parametrize(
    "raw",
    [b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a": "\xff"}', b'{"a": "\x00"}',
     b"{}\x00", b"{} {}", b"{},", b"[]", b"1", b"null", b'"{}"', b"", b" \n", b"{'a': 1}"],
)  # fmt: skip
def test_what_is_no_plain_json_object(raw: bytes) -> None:
    with pytest.raises(SchemaError):
        parse(raw)


@pytest.mark.case("F11", "JSON: nesting of 10,000, brackets in strings, strings without an end")
def test_depth_is_bounded_before_the_parser_recurses() -> None:
    for raw in (b"[" * 10_000, b'{"a":' * 10_000, b'{"a":' * 9 + b"1" + b"}" * 9):
        with pytest.raises(SchemaError):
            parse(raw)
    assert parse(b'{"a": "' + b"[{" * 5000 + b'"}') == {"a": "[{" * 5000}
    assert parse(b'{"a": "' + b'\\"[' * 5000 + b'"}') == {"a": '"[' * 5000}


@pytest.mark.case("K7", "JSON: a parser's worst cases at 8 MiB")
@pytest.mark.parametrize(
    "raw",
    [
        b"[]" * 9 + b'"' + b'\\"' * 4_000_000,
        b"[]" * 9 + b'"' * 8_000_000,
        b"[" * 8_000_000,
        b"{" + b",".join(b'"%x":1' % n for n in range(400_000)) + b',"z":1,"z":2}',
        b"[]" * 9 + b"\\" * 8_000_000,
    ],
    ids=["escaped quotes", "quotes", "brackets", "last field twice", "backslashes"],
)
def test_reading_takes_time_in_proportion(raw: bytes) -> None:
    started = time.process_time()
    with pytest.raises(SchemaError):
        parse(raw, 10**7)
    assert time.process_time() - started < 20  # quadratic time would be hours


def test_size_is_looked_at_first() -> None:
    with pytest.raises(SchemaError, match="11 bytes, at most 10"):
        parse(b"x" * 11, 10)


def test_fields_are_taken_once_and_all_of_them() -> None:
    fields = Fields({"a": 1, "b": "x", "c": None}, "thing")
    assert fields.integer("a", low=1, high=1) == 1
    with pytest.raises(SchemaError, match="'a' is missing"):
        fields.take("a")
    with pytest.raises(SchemaError, match="unknown field 'b'"):
        fields.done()
    assert fields.has("b")
    assert fields.string("b", pattern="x") == "x"
    assert fields.take("c") is None
    fields.done()


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 3])
def test_an_integer_is_one_and_in_range(value: object) -> None:
    with pytest.raises(SchemaError, match="from 1 to 2"):
        Fields({"a": value}, "thing").integer("a", low=1, high=2)


@pytest.mark.case("F10", "hex: upper case, odd, 0x, white space, short, long, no string")
@pytest.mark.parametrize("value", ["AB", "a", "0xab", "ab ", "", "abcd", 5, None, "ａb", "ab\n"])
def test_hex_has_one_form(value: object) -> None:
    with pytest.raises(SchemaError):
        Fields({"a": value}, "thing").hex_bytes("a", 1)
    assert Fields({"a": "ab"}, "thing").hex_bytes("a", 1) == b"\xab"


@pytest.mark.parametrize("value", ["x\n", "\nx", "X", "xx", 5, None])
def test_a_pattern_holds_from_end_to_end(value: object) -> None:
    with pytest.raises(SchemaError):
        Fields({"a": value}, "thing").string("a", pattern="x")


@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=4))
def test_what_is_packed_is_read_back_in_its_order(items: list[bytes]) -> None:
    fields = Fields({"p": encode_base64(b"".join(items))}, "thing")
    assert fields.packed("p", of="codes", size=3, high=4) == tuple(items)


@pytest.mark.parametrize("raw", [b"", b"12", b"1234", b"123" * 5])
def test_packed_items_are_whole_and_some_and_not_too_many(raw: bytes) -> None:
    with pytest.raises(SchemaError, match=r"^thing: field 'p'"):
        Fields({"p": encode_base64(raw)}, "thing").packed("p", of="codes", size=3, high=4)


def test_other_getters() -> None:
    fields = Fields({"k": 1, "c": "b", "t": True, "l": [1], "o": {"x": 1}, "v": "1"}, "thing")
    with pytest.raises(SchemaError, match="must be 1"):
        fields.constant("v", 1)
    fields.constant("k", 1)
    assert fields.choice("c", ("a", "b")) == "b"
    assert fields.boolean("t") is True
    assert fields.array("l", low=1, high=1) == [1]
    assert fields.nested("o").integer("x", low=0, high=1) == 1
    fields.done()
    for bad in ({"k": True}, {"k": "1"}, {"k": 2}):
        with pytest.raises(SchemaError):
            Fields(bad, "thing").constant("k", 1)
    for name, value in (("c", "z"), ("c", 1)):
        with pytest.raises(SchemaError):
            Fields({name: value}, "thing").choice(name, ("a",))
    for length in (0, 3):
        with pytest.raises(SchemaError):
            Fields({"l": [1] * length}, "thing").array("l", low=1, high=2)
    others: list[object] = [1, [], None]
    for other in others:
        with pytest.raises(SchemaError):
            Fields({"o": other}, "thing").nested("o")
    with pytest.raises(SchemaError):
        Fields({"t": 1}, "thing").boolean("t")

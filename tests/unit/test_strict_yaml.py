import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import SchemaError
from signer.strict_yaml import parse_yaml_object


def parse(text: str | bytes, max_bytes: int = 4096) -> dict[str, Any]:
    raw = text.encode() if isinstance(text, str) else text
    return parse_yaml_object(raw, what="pool.yaml", max_bytes=max_bytes)


def test_reads_a_plain_object() -> None:
    text = """
    # a comment
    name: desk
    port: 9000
    below: -3
    open: true
    shut: false
    nothing: null
    empty:
    quoted: "no"
    folded: >-
      two
      lines
    list: [1, "1", {deep: x}]
    """
    assert parse(text) == {
        "name": "desk",
        "port": 9000,
        "below": -3,
        "open": True,
        "shut": False,
        "nothing": None,
        "empty": None,
        "quoted": "no",
        "folded": "two lines",
        "list": [1, "1", {"deep": "x"}],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "empty", marks=pytest.mark.case("F1", "YAML: empty")),
        pytest.param(" \n\n", "empty", marks=pytest.mark.case("F1", "YAML: blank")),
        pytest.param("# only\n", "mapping", marks=pytest.mark.case("F1", "YAML: comments only")),
        pytest.param(b"a: \x00b", "not allowed", marks=pytest.mark.case("F4", "YAML: NUL")),
        pytest.param(
            b"\xef\xbb\xbfa: 1", "byte-order", marks=pytest.mark.case("F5", "YAML: byte-order mark")
        ),
        pytest.param(b"a: \xff", "UTF-8", marks=pytest.mark.case("X153", "YAML: not UTF-8")),
        pytest.param(
            "a: 1\nb: 2\na: 3", "'a' stands twice", marks=pytest.mark.case("F6", "YAML: key twice")
        ),
        pytest.param(
            "x: {a: 1, a: 1}", "'a' stands twice", marks=pytest.mark.case("F6", "YAML: deep twice")
        ),
        pytest.param("a: &x 1\nb: *x", "anchor", marks=pytest.mark.case("X154", "YAML: alias")),
        pytest.param("a: &x 1", "anchor", marks=pytest.mark.case("X154", "YAML: anchor alone")),
        pytest.param("<<: {a: 1}", "field name", marks=pytest.mark.case("X154", "YAML: merge key")),
        pytest.param("a: !!str 1", "tag", marks=pytest.mark.case("X155", "YAML: a tag")),
        pytest.param(
            "a: !!python/object/apply:os.system [x]",
            "tag",
            marks=pytest.mark.case("X155", "YAML: a tag that would run code"),
        ),
        pytest.param("1: a", "field name", marks=pytest.mark.case("X156", "YAML: integer as key")),
        pytest.param("no: a", "field name", marks=pytest.mark.case("X156", "YAML: boolean as key")),
        pytest.param("[a]: b", "field name", marks=pytest.mark.case("X156", "YAML: list as key")),
        pytest.param("a: 1.5", "'1.5'", marks=pytest.mark.case("F8", "YAML: float")),
        pytest.param("a: 1.0e+3", "1.0e", marks=pytest.mark.case("F8", "YAML: exponent")),
        pytest.param("a: .nan", "nan", marks=pytest.mark.case("F8", "YAML: not a number")),
        pytest.param("a: -0", "-0", marks=pytest.mark.case("F8", "YAML: minus zero")),
        pytest.param(
            f"a: {2**53}", "below 2", marks=pytest.mark.case("F9", "YAML: integer of 2^53")
        ),
        pytest.param(
            f"a: {'9' * 400}", "below 2", marks=pytest.mark.case("F9", "YAML: 400 digits")
        ),
        pytest.param("a: 2026-01-01", "quotes", marks=pytest.mark.case("X157", "YAML: date")),
        pytest.param("a: yes", "'yes'", marks=pytest.mark.case("X157", "YAML: yes for true")),
        pytest.param("a: NO", "'NO'", marks=pytest.mark.case("X157", "YAML: Norway")),
        pytest.param("a: 012", "'012'", marks=pytest.mark.case("X157", "YAML: octal")),
        pytest.param("a: 1_000", "'1_000'", marks=pytest.mark.case("X157", "YAML: underscore")),
        pytest.param("a: 12:30", "'12:30'", marks=pytest.mark.case("X157", "YAML: sexagesimal")),
        pytest.param("a: ~", "'~'", marks=pytest.mark.case("X157", "YAML: tilde for null")),
        pytest.param(
            "a: 1\n---\nb: 2", "second", marks=pytest.mark.case("X158", "YAML: documents")
        ),
        pytest.param("- a", "mapping", marks=pytest.mark.case("X158", "YAML: a list")),
        pytest.param("a", "mapping", marks=pytest.mark.case("X158", "YAML: a word")),
        pytest.param("a: [1", "line 1", marks=pytest.mark.case("X158", "YAML: unclosed")),
        pytest.param("a: 1\n\tb: 2", "line 2", marks=pytest.mark.case("X158", "YAML: a tab")),
        pytest.param(
            "a: " + "[" * 8 + "]" * 8, "deeper", marks=pytest.mark.case("F11", "YAML: 9 levels")
        ),
    ],
)
def test_refuses(text: str | bytes, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(text)
    assert words in caught.value.line()
    assert "\n" not in caught.value.line()
    assert "pool.yaml" in caught.value.message


def test_depth_that_is_allowed() -> None:
    assert parse("a: " + "[" * 7 + "]" * 7)


@pytest.mark.case("F3", "YAML: one byte too many")
def test_size_limit() -> None:
    assert parse("a: 1", max_bytes=4) == {"a": 1}
    with pytest.raises(SchemaError, match="at most 3"):
        parse("a: 1", max_bytes=3)


@pytest.mark.case("F11", "YAML: nested 10,000 deep, and the billion laughs")
def test_bombs_end_at_once() -> None:
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    started = time.monotonic()
    for bomb in ("a: " + "[" * 10_000, "a: " + "{a: " * 10_000, laughs):
        with pytest.raises(SchemaError):
            parse(bomb, max_bytes=100_000)
    assert time.monotonic() - started < 5


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: f"a: {text}".encode()))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = parse(raw)
    except SchemaError as error:
        line = error.line()
    else:
        line = "read"
        assert isinstance(value, dict)
    assert "\n" not in line


def test_a_plain_address_is_the_text_it_looks_like() -> None:
    value = parse_yaml_object(
        b"a: 0x52908400098527886E0F7030069857D2E4169EE7", what="f", max_bytes=99
    )
    assert value == {"a": "0x52908400098527886E0F7030069857D2E4169EE7"}


@pytest.mark.case("R10", "line that an editor does not show: after a CR, NEL, LS or PS")
@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028", "\u2029"])
def test_no_line_is_hidden_in_a_comment(end: str) -> None:
    with pytest.raises(SchemaError, match="line 2 holds a character"):
        parse(f"a: 1\nb: 2 # cold wallet{end}c: 3\n")
    assert parse("a: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}

"""PKCS#11 URIs of tokens: what is taken, what is refused and why, and that ours come back."""

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import SchemaError
from signer.hsm.uri import MAX_CHARACTERS, TokenUri, is_uri, parse_attributes, uri_of

# RFC 7512, section 3, without its line breaks: what each says, and why it is no token's URI here.
_SOFTTOKEN = (
    "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;"
    "model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
    "?pin-source=file:/etc/token_pin"
)
VECTORS: list[tuple[str, dict[str, bytes], dict[str, bytes], str]] = [
    ("pkcs11:", {}, {}, "names no token"),
    (
        "pkcs11:object=my-pubkey;type=public",
        {"object": b"my-pubkey", "type": b"public"}, {}, "'object' is of an object",
    ),
    (
        "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
        {"object": b"my-key", "type": b"private"}, {"pin-source": b"file:/etc/token"},
        "'object' is of an object",
    ),
    (
        _SOFTTOKEN,
        {
            "token": b"The Software PKCS#11 Softtoken", "manufacturer": b"Snake Oil, Inc.",
            "model": b"1.0", "object": b"my-certificate", "type": b"cert",
            "id": bytes.fromhex("69953e5cf4bdec91"), "serial": b"",
        },
        {"pin-source": b"file:/etc/token_pin"}, "'object' is of an object",
    ),
    (
        "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
        {"object": b"my-sign-key", "type": b"private"}, {"module-name": b"mypkcs11"},
        "'object' is of an object",
    ),
    (
        "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
        {"object": b"my-sign-key", "type": b"private"},
        {"module-path": b"/mnt/libmypkcs11.so.1"}, "'object' is of an object",
    ),
    (
        "pkcs11:slot-description=Sun%20Metaslot",
        {"slot-description": b"Sun Metaslot"}, {}, "'slot-description' is not supported",
    ),
    (
        "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;"
        "library-description=Soft%20Token%20Library;library-version=1.23",
        {
            "library-manufacturer": b"Snake Oil, Inc.",
            "library-description": b"Soft Token Library", "library-version": b"1.23",
        },
        {}, "'library-manufacturer' is not supported",
    ),
    (
        "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;"
        "id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
        {
            "token": b"My token% created by Joe", "library-version": b"3",
            "id": bytes.fromhex("010203baddcafe040506"),
        },
        {}, "'library-version' is not supported",
    ),
    (
        "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
        {"token": b"A name with a substring %;", "object": b"my-certificate", "type": b"cert"},
        {}, "'object' is of an object",
    ),
    (
        "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;"
        "object=my-certificate;type=cert",
        {
            "token": "Name with a small A with acute: á".encode(), "object": b"my-certificate",
            "type": b"cert",
        },
        {}, "'object' is of an object",
    ),
    (
        "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a"
        "?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
        {
            "token": b"my-token", "object": b"my-certificate", "type": b"cert",
            "vendor-aaa": b"value-a",
        },
        {"pin-source": b"file:/etc/token_pin", "vendor-bbb": b"value-b"},
        "'object' is of an object",
    ),
]  # fmt: skip


def refused(text: str) -> str:
    with pytest.raises(SchemaError) as error:
        TokenUri.parse(text, "--token")
    assert error.value.message.isascii()
    assert error.value.line().isprintable()
    return error.value.line()


@pytest.mark.case("X920", "RFC 7512's own examples: of objects, libraries, slots, with a vendor's")
@pytest.mark.parametrize(("text", "path", "query", "why"), VECTORS)
def test_the_rfcs_examples(
    text: str, path: dict[str, bytes], query: dict[str, bytes], why: str
) -> None:
    assert parse_attributes(text, "uri") == (path, query)
    assert why in refused(text)


def test_the_rfcs_token_without_its_object() -> None:
    text = _SOFTTOKEN.replace("object=my-certificate;type=cert;", "")
    text = text.replace("id=%69%95%3E%5C%F4%BD%EC%91;", "")
    assert TokenUri.parse(text, "uri") == TokenUri(
        label="The Software PKCS#11 Softtoken",
        manufacturer="Snake Oil, Inc.",
        model="1.0",
        serial="",
        pin_file="/etc/token_pin",
    )


@pytest.mark.case("X921", "a PIN in a URI, in its place or not, well formed or not")
@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc."
        "?pin-value=the-pin",
        "pkcs11:token=a;pin-value=the-pin",
        "pkcs11:token=a?pin-value:the-pin",
        "pkcs11:token=a?PIN-value=the-pin",
        "PKCS11:token=a?pin-value=the-pin",
        "pkcs11:token=a?module-path=/m&pin-valuethe-pin",
        "pkcs11:token=a?the-pin",
        "pkcs11:token=a?pin-source=the-pin",
        "pkcs11:token=a?pin-source=|the-pin",
        "pkcs11:token=a;the pin",
    ],
)
def test_a_pin_stands_in_no_uri_and_in_no_message(text: str) -> None:
    line = refused(text)
    assert "the-pin" not in line
    assert "the pin" not in line
    if "pin-value" in text.lower():
        assert "a PIN never stands in a URI" in line
        assert "change that PIN" in line


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("pkcs11:token=ada;serial=1234abcd", TokenUri(label="ada", serial="1234abcd")),
        ("PKCS11:serial=1", TokenUri(serial="1")),
        ("pkcs11:token=ada?", TokenUri(label="ada")),
        ("pkcs11:model=%53oft", TokenUri(model="Soft")),
        ("pkcs11:token=a;slot-id=0", TokenUri(label="a", slot_id=0)),
        ("pkcs11:slot-id=9007199254740991;serial=s", TokenUri(serial="s", slot_id=2**53 - 1)),
        ("pkcs11:token=:[]@!$'()*+,=&~", TokenUri(label=":[]@!$'()*+,=&~")),
        ("pkcs11:token=pkcs11:x", TokenUri(label="pkcs11:x")),
        ("pkcs11:token=a?module-path=/m/%25x?y", TokenUri(label="a", module="/m/%x?y")),
        ("pkcs11:token=a?pin-source=file:/p", TokenUri(label="a", pin_file="/p")),
        ("pkcs11:token=a?pin-source=file:///p/q", TokenUri(label="a", pin_file="/p/q")),
        ("pkcs11:token=a?pin-source=file%3A%2Fp%26", TokenUri(label="a", pin_file="/p&")),
        ("pkcs11:token=" + "%C3%A1" * 16, TokenUri(label="á" * 16)),
    ],
)
def test_what_is_taken(text: str, uri: TokenUri) -> None:
    assert TokenUri.parse(text, "uri") == uri


@pytest.mark.case(
    "X922", "URI of no token, with an attribute twice, misplaced, a vendor's, mangled"
)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with pkcs11:"),
        ("token=ada", "does not begin with pkcs11:"),
        ("pkcs11", "does not begin with pkcs11:"),
        ("pkcs11:?pin-source=file:/p", "names no token"),
        ("pkcs11:slot-id=3", "slot ids change"),
        ("pkcs11:token=", "'token' is empty"),
        ("pkcs11:token=a;", "one ';' too many"),
        ("pkcs11:;token=a", "one ';' too many"),
        ("pkcs11:token=a?module-path=/m&", "one '&' too many"),
        ("pkcs11:token", "write name=value"),
        ("pkcs11:=ada", "write name=value"),
        ("pkcs11:to%6ben=ada", "write name=value"),
        ("pkcs11: token=ada", "write name=value"),
        ("pkcs11:token=a;token=a", "'token' stands twice"),
        ("pkcs11:token=a?pin-source=file:/p&pin-source=file:/p", "'pin-source' stands twice"),
        ("pkcs11:token=a;module-path=/m", "'module-path' belongs behind a '?'"),
        ("pkcs11:token=a?serial=1", "'serial' belongs before the '?'"),
        ("pkcs11:Token=a", "'Token' is no attribute of RFC 7512"),
        ("pkcs11:token=a;vendor-aaa=b", "a vendor's own are not supported"),
        ("pkcs11:token=a?vendor-bbb=b", "a vendor's own are not supported"),
        ("pkcs11:token=a;id=%01", "'id' is of an object"),
        ("pkcs11:token=a;object=b", "'object' is of an object"),
        ("pkcs11:token=a;type=private", "'type' is of an object"),
        ("pkcs11:token=a;slot-description=b", "'slot-description' is not supported"),
        ("pkcs11:token=a;slot-manufacturer=b", "'slot-manufacturer' is not supported"),
        ("pkcs11:token=a;library-version=1", "'library-version' is not supported"),
        ("pkcs11:token=a?module-name=softhsm2", "'module-name' is not supported"),
        ("pkcs11:token=a b", "percent-encoded"),
        ("pkcs11:token=a/b", "percent-encoded"),
        ("pkcs11:token=á", "percent-encoded"),
        ("pkcs11:token=a#b", "percent-encoded"),
        ("pkcs11:token=a%", "percent-encoded"),
        ("pkcs11:token=a%4", "percent-encoded"),
        ("pkcs11:token=a%4g", "percent-encoded"),
        ("pkcs11:token=a?module-path=/m;n", "percent-encoded"),
        ("pkcs11:token=a\n", "percent-encoded"),
        ("pkcs11:token=%C3%28", "'token' is not UTF-8"),
        ("pkcs11:serial=%FF", "'serial' is not UTF-8"),
        ("pkcs11:token=a%00", "'token' has a control character"),
        ("pkcs11:token=a%1B%5B31m", "'token' has a control character"),
        ("pkcs11:token=a%C2%85", "'token' has a control character"),
        ("pkcs11:token=a?module-path=/m%0A", "'module-path' has a control character"),
        ("pkcs11:token=" + "a" * 33, "'token' has 33 bytes"),
        ("pkcs11:token=" + "%C3%A1" * 17, "'token' has 34 bytes"),
        ("pkcs11:manufacturer=" + "a" * 33, "'manufacturer' has 33 bytes"),
        ("pkcs11:model=" + "a" * 17, "'model' has 17 bytes"),
        ("pkcs11:serial=" + "a" * 17, "'serial' has 17 bytes"),
        ("pkcs11:token=a;slot-id=-1", "'slot-id' must be a number"),
        ("pkcs11:token=a;slot-id=", "'slot-id' must be a number"),
        ("pkcs11:token=a;slot-id=0x1", "'slot-id' must be a number"),
        ("pkcs11:token=a;slot-id=9007199254740992", "'slot-id' must be a number"),
        ("pkcs11:token=a;slot-id=" + "9" * 900, "'slot-id' must be a number"),
        ("pkcs11:token=a?module-path=m.so", "'module-path' must be an absolute path"),
        ("pkcs11:token=a?pin-source=/p", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=file:p", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=file://host/p", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=file:/", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=file:/a%2520b", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=|/usr/lib/pinomatic", "'pin-source' must be file:/path"),
        ("pkcs11:token=a?pin-source=https:/p", "'pin-source' must be file:/path"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    line = refused(text)
    assert line.startswith("E_SCHEMA: --token: ")
    assert why in line


@pytest.mark.case("X923", "URI of 1,025 characters")
def test_a_uri_has_1024_characters_at_most() -> None:
    text = "pkcs11:token=a?module-path=/"
    longest = text + "m" * (MAX_CHARACTERS - len(text))
    assert len(str(TokenUri.parse(longest, "uri").module)) == MAX_CHARACTERS - len(text) + 1
    assert "1025 characters" in refused(longest + "m")


def test_what_is_a_uri_and_what_a_label() -> None:
    assert all(map(is_uri, ("pkcs11:", "pkcs11:token=a", "Pkcs11:x")))
    assert not any(map(is_uri, ("", "pkcs11", "pkcs11 :a", " pkcs11:a", "ada")))


@dataclass(frozen=True)
class Shown:
    """A token as it calls itself."""

    label: str = "ada"
    serial: str = "1f2e3d4c5b6a7988"
    manufacturer: str = "SoftHSM project"
    model: str = "SoftHSM v2"
    initialized: bool = True


@pytest.mark.parametrize(
    ("token", "uri"),
    [
        (
            Shown(),
            "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=1f2e3d4c5b6a7988;"
            "token=ada",
        ),
        (
            Shown(label="a;b/á%", serial="", manufacturer="", model="m&?"),
            "pkcs11:model=m%26%3F;manufacturer=;serial=;token=a%3Bb%2F%C3%A1%25",
        ),
        (Shown(initialized=False, manufacturer="M", model="N"),
         "pkcs11:model=N;manufacturer=M;serial=1f2e3d4c5b6a7988"),
        (Shown(label="a\x1b[31m", manufacturer="M", model="N"),
         "pkcs11:model=N;manufacturer=M;serial=1f2e3d4c5b6a7988"),
        (Shown(serial="\ufffd" * 16, manufacturer="M", model="N"),
         "pkcs11:model=N;manufacturer=M;token=ada"),
        (Shown(initialized=False, serial=""), None),
        (Shown(label="", serial=""), None),
        (Shown(label="a\n", serial="\x00"), None),
    ],
)  # fmt: skip
def test_the_uri_of_a_token(token: Shown, uri: str | None) -> None:
    assert uri_of(token) == uri


PIECES = ["%F0", "%00", "%C3%A1", "%", "a", "é", "\x00", "=", ";", "&", "?", "/", ":", "serial"]
PRINTABLE = st.characters(exclude_categories=("Cc", "Cs"))


def texts(most: int, least: int = 0) -> st.SearchStrategy[str]:
    """Return texts that fit into so many bytes."""
    fits = st.text(PRINTABLE, min_size=least, max_size=most)
    return fits.filter(lambda text: len(text.encode()) <= most)


@given(
    st.builds(
        TokenUri,
        label=texts(32, 1),
        serial=st.none() | texts(16),
        manufacturer=st.none() | texts(32),
        model=st.none() | texts(16),
        slot_id=st.none() | st.integers(0, 2**53 - 1),
    )
)
def test_what_is_printed_says_the_same_again(uri: TokenUri) -> None:
    printed = str(uri)
    assert TokenUri.parse(printed, "uri") == uri
    assert len(printed) <= MAX_CHARACTERS
    assert not set(printed) & set("'\" \\\n$`")  # single quotes around it do for shell and YAML


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=40), st.text(max_size=20),
       st.booleans())  # fmt: skip
def test_whatever_a_token_calls_itself_its_uri_is_taken(
    label: str, serial: str, manufacturer: str, model: str, initialized: bool
) -> None:
    token = Shown(label, serial, manufacturer, model, initialized)
    printed = uri_of(token)
    if printed is None:
        return
    uri = TokenUri.parse(printed, "uri")
    for said, own in (
        (uri.serial, serial), (uri.manufacturer, manufacturer), (uri.model, model),
        (uri.label, label if initialized else None),
    ):  # fmt: skip
        assert said in (None, own)
    assert uri.label or uri.serial


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_no_text_does_more_than_be_refused(rest: str) -> None:
    for before in ("", "token=", "token=a;slot-id=", "token=a?", "token=a?pin-source=file:/"):
        text = f"pkcs11:{before}{rest}"
        with contextlib.suppress(SchemaError):
            assert str(TokenUri.parse(text, "uri")).isprintable()

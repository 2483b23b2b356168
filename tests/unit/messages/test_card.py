"""What a card of version 2 says besides two keys. What every card must hold: test_group_file."""

import base64
import json
from dataclasses import fields
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import CardError, GroupFileError, SchemaError, SignerError
from signer.messages.card import (
    ATTESTATION_KINDS,
    MAX_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATES,
    MAX_PAYLOAD_BYTES,
    UNPROVEN,
    Attestation,
    Card,
    CardBody,
)
from signer.messages.group_file import refuse_shared_keys
from signer.strict import canonical
from tests.simulators.holders import make_card


def new_point() -> bytes:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return b"\4" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


FULL = make_card(
    "Ada",
    kex_backup=new_point(),
    key_backup="possible",
    software=True,
    attestation=Attestation("yubico-piv", (b"\x30\x03one", b"\x30\x03two")),
)


def payload_of(card: Card) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(card.signed.payload)
    return value


def parse(**changes: Any) -> CardBody:
    return CardBody.parse(canonical(payload_of(FULL) | changes), "card")


def parse_token(**changes: Any) -> CardBody:
    return parse(token=payload_of(FULL)["token"] | changes)


@pytest.mark.parametrize("card", [FULL, make_card("Ben")], ids=["full", "plain"])
def test_a_card_comes_out_as_it_went_in(card: Card) -> None:
    again = Card.parse_file(canonical(card.to_json()), "card")
    assert again == card
    assert again.digest == card.digest
    assert again.body.to_payload() == card.signed.payload


def test_keys_by_their_names() -> None:
    assert list(FULL.body.keys) == ["id_sign", "kex", "kex_backup"]
    assert list(make_card("Ben").body.keys) == ["id_sign", "kex"]


def test_two_cards_of_the_same_keys_differ_by_their_nonce() -> None:
    keys = {name: getattr(FULL.body, name) for name in ("kex", "kex_backup")}
    nonces = [bytes([value]) * 32 for value in (1, 2)]
    digests = {make_card("Ada", epoch_nonce=nonce, **keys).digest for nonce in nonces}
    assert len(digests) == 2


@pytest.mark.case("P13", "card of version 1")
@pytest.mark.parametrize("version", [1, 3, "2", 2.0, True])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(SchemaError):
        parse(version=version)


@pytest.mark.case("F7", "card with any field missing, or with one more")
def test_cards_have_exactly_their_fields() -> None:
    value = payload_of(FULL)
    assert CardBody.parse(canonical(value), "card") == FULL.body
    for name in value:
        fewer = {key: entry for key, entry in value.items() if key != name}
        with pytest.raises(SchemaError, match=f"'{name}' is missing"):
            CardBody.parse(canonical(fewer), "card")
    for name in value["token"]:
        fewer = {key: entry for key, entry in value["token"].items() if key != name}
        with pytest.raises(SchemaError, match=f"'{name}' is missing"):
            CardBody.parse(canonical(value | {"token": fewer}), "card")
    with pytest.raises(SchemaError, match="unknown"):
        parse(colour="red")
    with pytest.raises(SchemaError, match="unknown"):
        parse_token(colour="red")


@pytest.mark.case("P4", "card whose backup key is its receiving or its identity key")
@pytest.mark.parametrize("role", ["kex", "id_sign"])
def test_the_backup_key_is_another_one(role: str) -> None:
    body = FULL.body
    keys = {"id_sign": body.id_sign, "kex": body.kex}
    with pytest.raises(CardError, match=f"both {role} and kex_backup"):
        make_card("Ada", kex_backup=keys[role], **keys)


@pytest.mark.case("P5", "backup key at infinity, off the curve, compressed, of P-384")
@pytest.mark.parametrize(
    "point",
    [bytes(65), b"\4" + bytes(64), b"\4" + b"\x11" * 64, b"\2" + b"\x11" * 64],
    ids=["infinity", "zero", "off the curve", "compressed head"],
)
def test_the_backup_key_is_a_point(point: bytes) -> None:
    with pytest.raises(CardError, match="kex_backup is not a point"):
        make_card("Ada", kex_backup=point)


@pytest.mark.case("P5", "backup key of another length, upper case, or no text")
@pytest.mark.parametrize("value", ["02" + "11" * 32, "04" + "11" * 96, "", "04" + "AB" * 64, 0, {}])
def test_the_backup_key_has_one_form(value: Any) -> None:
    with pytest.raises((CardError, SchemaError), match="kex_backup"):
        parse(kex_backup=value)


@pytest.mark.case("P4", "two cards share a key, one of them as a backup")
@pytest.mark.parametrize("role", ["id_sign", "kex", "kex_backup"])
def test_a_backup_key_is_nobody_elses(role: str) -> None:
    taken = FULL.body.keys[role]
    other = make_card("Ben", kex_backup=taken)
    for cards in ((FULL, other), (other, FULL)):
        with pytest.raises(GroupFileError, match="same key"):
            refuse_shared_keys(cards, "group file")
    refuse_shared_keys((FULL, make_card("Ben", kex_backup=new_point())), "group file")


def test_a_card_of_a_token_that_proves_nothing_claims_nothing() -> None:
    card = make_card("Ada", proven=False, profile="nss-softokn")
    assert payload_of(card)["token"]["keys"] is None
    again = Card.parse_file(canonical(card.to_json()), "card")
    assert (again, again.body.proven) == (card, False)
    assert again.body.profile_words == "nss-softokn UNPROVEN"
    assert make_card("Ada").body.profile_words == "softhsm2"
    assert UNPROVEN.startswith("UNPROVEN: ")


@pytest.mark.case("X873", "card whose claims are neither all made nor left out")
@pytest.mark.parametrize("keys", [False, True, 0, "", "unproven", [], {}])
def test_claims_are_made_whole_or_not_at_all(keys: Any) -> None:
    with pytest.raises(SchemaError, match="keys"):
        parse_token(keys=keys)


@pytest.mark.case("X873", "card that claims a little less than all")
@pytest.mark.parametrize("claim", ["local", "always_sensitive", "never_extractable", "extractable"])
def test_no_claim_is_made_in_part(claim: str) -> None:
    said = payload_of(FULL)["token"]["keys"]
    with pytest.raises(CardError, match=f"not made on the token .{claim}"):
        parse_token(keys=said | {claim: not said[claim]})
    for value in (None, int(said[claim])):
        with pytest.raises(SchemaError, match=claim):
            parse_token(keys=said | {claim: value})


WRONG_WORDS: dict[str, list[Any]] = {
    "key_backup": [True, None, "", "no", "POSSIBLE", ["possible"]],
    "software": [0, 1, None, "false", []],
    "ceremony": [0, 1, None, "true", {}],
}


@pytest.mark.case("X600", "card: words about its token of another kind")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, wrong in WRONG_WORDS.items() for value in wrong]
)
def test_words_about_the_token(name: str, value: Any) -> None:
    with pytest.raises(SchemaError, match=name):
        parse_token(**{name: value})


@pytest.mark.case("X601", "card: epoch nonce missing, of another length")
@pytest.mark.parametrize("nonce", [None, "", "00" * 31, "00" * 33, "0x" + "00" * 31, 7])
def test_epoch_nonces_are_32_bytes(nonce: Any) -> None:
    with pytest.raises(SchemaError, match="epoch_nonce"):
        parse(epoch_nonce=nonce)


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


ONE = encoded(b"\x30\x03one")


@pytest.mark.case("X602", "attestation: of no known kind, empty, too many, too large, not base64")
@pytest.mark.parametrize(
    "attestation",
    [
        {},
        [],
        "yubihsm",
        {"kind": "none", "certificates": [ONE]},
        {"kind": "yubihsm"},
        {"kind": "yubihsm", "certificates": []},
        {"kind": "yubihsm", "certificates": [ONE] * (MAX_CERTIFICATES + 1)},
        {"kind": "yubihsm", "certificates": [""]},
        {"kind": "yubihsm", "certificates": [encoded(bytes(MAX_CERTIFICATE_BYTES + 1))]},
        {"kind": "yubihsm", "certificates": [encoded(bytes(MAX_CERTIFICATE_BYTES * 2))]},
        {"kind": "yubihsm", "certificates": [ONE + "\n"]},
        {"kind": "yubihsm", "certificates": [ONE.rstrip("=")[:-1] + "-"]},
        {"kind": "yubihsm", "certificates": [[ONE]]},
        {"kind": "yubihsm", "certificates": ONE},
        {"kind": "yubihsm", "certificates": [ONE], "verified": True},
    ],
)
def test_attestations_have_one_form(attestation: Any) -> None:
    with pytest.raises(SchemaError, match="attestation"):
        parse(attestation=attestation)


@pytest.mark.parametrize("kind", ATTESTATION_KINDS)
def test_the_largest_card_fits(kind: str) -> None:
    attestation = Attestation(kind, (bytes(MAX_CERTIFICATE_BYTES),) * MAX_CERTIFICATES)
    card = make_card("A" * 64, kex_backup=new_point(), attestation=attestation,
                     manufacturer="~" * 64, model="\\" * 64, profile="p" * 32)  # fmt: skip
    assert len(card.signed.payload) <= MAX_PAYLOAD_BYTES
    raw = canonical(card.to_json()) + b"\n"
    assert len(raw) <= MAX_BYTES
    assert Card.parse_file(raw, "card") == card


@pytest.mark.parametrize("claim", ["epoch_nonce", "key_backup", "software", "ceremony", "proven"])
def test_no_claim_is_made_by_leaving_it_out(claim: str) -> None:
    said = {f.name: getattr(FULL.body, f.name) for f in fields(FULL.body) if f.name != claim}
    with pytest.raises(TypeError, match=claim):
        CardBody(**said)


RAW = canonical(FULL.to_json())


@pytest.mark.case("F15", "card with any one bit changed")
@given(place=st.integers(0, 8 * len(RAW) - 1))
def test_no_bit_of_a_card_may_change(place: int) -> None:
    changed = bytearray(RAW)
    changed[place // 8] ^= 1 << place % 8
    with pytest.raises(SignerError):
        Card.parse_file(bytes(changed), "card")

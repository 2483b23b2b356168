import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.errors import (
    CardError,
    EncodingError,
    GroupFileError,
    NetworkError,
    SchemaError,
    SignerError,
    ThresholdParameterError,
)
from signer.messages.card import Card, CardBody, fingerprint
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.networks import HOODI
from signer.strict import canonical
from tests.simulators.holders import SimulatedPool, make_card, sign_with

POOL = SimulatedPool.new(2, 3)
GROUP = POOL.group
# bls12-381-tests, deserialization_fails_not_in_G1
G1_OUTSIDE_THE_GROUP = "8123456789abcdef" + "0123456789abcdef" * 5


def group_with(**changes: Any) -> bytes:
    value = GROUP.to_json() | changes
    return canonical({name: field for name, field in value.items() if field is not ...})


def parse(**changes: Any) -> GroupFile:
    return GroupFile.parse(group_with(**changes))


def test_a_group_file_comes_out_as_it_went_in() -> None:
    again = GroupFile.parse(GROUP.to_bytes())
    assert again == GROUP
    assert again.digest == GROUP.digest
    assert again.group_id == GROUP.group_id


def test_the_group_id_covers_network_role_and_key_but_not_the_epoch() -> None:
    assert SimulatedPool.new(2, 3, epoch=2, seed=9).group.group_id == GROUP.group_id
    assert SimulatedPool.new(2, 3, network=HOODI).group.group_id != GROUP.group_id
    assert SimulatedPool.new(2, 3, role="validator").group.group_id != GROUP.group_id


def test_withdrawal_credentials_are_those_of_the_deposit_cli(vectors: Any) -> None:
    key = vectors("deposit-cli/inputs.json")["withdrawal_keys"][0]
    assert "0x" + GROUP.withdrawal_credentials.hex() == key["withdrawal_credentials"]


@pytest.mark.case("P1", "group file with t of 0, 1, n + 1, 65536")
@pytest.mark.parametrize("t", [0, 1, 4, 2**16])
def test_thresholds_that_make_no_sense_are_refused(t: int) -> None:
    with pytest.raises((ThresholdParameterError, GroupFileError)):
        parse(threshold=t)


@pytest.mark.case("P2", "group file with n of 0, 1, 101")
@pytest.mark.parametrize("n", [0, 1, 101])
def test_holder_counts_that_make_no_sense_are_refused(n: int) -> None:
    with pytest.raises(ThresholdParameterError):
        parse(holders_count=n)


@pytest.mark.case("P3", "group file with index 0, a gap, a duplicate, text")
@pytest.mark.parametrize("indices", [[0, 1, 2], [1, 2, 4], [1, 1, 2], [1, 2, "3"], [2, 1, 3]])
def test_indices_run_from_1_to_n(indices: list[Any]) -> None:
    holders = [
        {"index": index, "card": card.to_json()}
        for index, card in zip(indices, GROUP.cards, strict=True)
    ]
    with pytest.raises((GroupFileError, SchemaError)):
        parse(holders=holders)


@pytest.mark.case("P4", "one card, or one key, for two holders")
def test_no_key_stands_twice() -> None:
    first = GROUP.cards[0]
    twice = [{"index": i, "card": first.to_json()} for i in (1, 2, 3)]
    with pytest.raises(GroupFileError, match="same key"):
        parse(holders=twice)


@pytest.mark.case("C1", "verification vector with t - 1, t + 1 commitments")
@pytest.mark.parametrize("count", [1, 3])
def test_the_vector_has_exactly_t_commitments(count: int) -> None:
    entries = [bytes(entry).hex() for entry in GROUP.vector.commitments] * 2
    with pytest.raises(GroupFileError, match="commitments"):
        parse(verification_vector=entries[:count])


@pytest.mark.case("C3", "verification vector with infinity or a point outside the group")
@pytest.mark.parametrize("bad", ["c0" + "00" * 47, G1_OUTSIDE_THE_GROUP, "00" * 48, "ff" * 48])
@pytest.mark.parametrize("place", [0, 1])
def test_commitments_are_points_of_the_group(bad: str, place: int) -> None:
    entries = [bytes(entry).hex() for entry in GROUP.vector.commitments]
    entries[place] = bad
    with pytest.raises(EncodingError) as caught:
        parse(verification_vector=entries)
    assert ("outside the prime-order group" in caught.value.message) == (
        bad == G1_OUTSIDE_THE_GROUP
    )


def test_the_group_public_key_is_the_vectors_first_entry() -> None:
    with SecretScalar.from_big_endian(bytearray(31) + b"\5") as other:
        key = public_key(other)
    with pytest.raises(GroupFileError, match="first entry"):
        parse(group_public_key=bytes(key).hex())
    entries = [bytes(entry).hex() for entry in GROUP.vector.commitments]
    with pytest.raises(GroupFileError):
        parse(verification_vector=entries[::-1])


@pytest.mark.case("P6", "group file whose id belongs to other constants")
@pytest.mark.parametrize(
    "changes", [{"group": "00" * 32}, {"role": "approval"}, {"network": HOODI.to_json()}]
)
def test_the_id_belongs_to_the_constants(changes: dict[str, Any]) -> None:
    with pytest.raises(GroupFileError, match="group id"):
        parse(**changes)


@pytest.mark.case("P7", "group file that brings a network called mainnet")
def test_a_group_file_cannot_bring_its_own_mainnet() -> None:
    with pytest.raises(NetworkError):
        parse(network=GROUP.network.to_json() | {"chain_id": 5})


@pytest.mark.case("P9", "group file with a role missing, unknown, another origin or version")
@pytest.mark.parametrize(
    "changes",
    [
        {"role": ...},
        {"role": "owner"},
        {"origin": "dkg"},
        {"version": 1},
        {"version": 2},
        {"version": 4},
        {"amendments": ...},
        {"amendments": None},
        {"amendments": [1]},
        {"amendments": [{}] * 65},
        {"epoch": 0},
        {"policy_digest": "00"},
        {"holders": []},
        {"verification_vector": []},
        {"extra": True},
    ],
)
def test_malformed_group_files_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((SchemaError, GroupFileError)):
        parse(**changes)


@pytest.mark.case("F2", "group file cut off at every eighth")
def test_a_group_file_cut_off_anywhere_is_refused() -> None:
    raw = GROUP.to_bytes()
    for eighth in range(8):
        with pytest.raises(SchemaError):
            GroupFile.parse(raw[: len(raw) * eighth // 8])


@pytest.mark.case("F15", "group file with one byte changed")
def test_a_changed_byte_is_noticed_or_changes_the_fingerprint() -> None:
    raw = GROUP.to_bytes()
    for place in range(0, len(raw) - 1, 97):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            group = GroupFile.parse(changed)
        except SignerError:
            continue
        assert fingerprint(group.digest) != fingerprint(GROUP.digest)


# Cards


CARD = make_card("Ada")


def card_with(**changes: Any) -> dict[str, Any]:
    return CARD.to_json() | changes


def signed_again(**changes: Any) -> dict[str, Any]:
    """A card with another payload, signed by the key it names."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    point = b"\4" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    value = json.loads(CARD.signed.payload) | {"id_sign": point.hex()} | changes
    payload = canonical(value)
    signed = SignedFile(CARD.signed.payload_type, payload, _key_id(point), sign_with(key, payload))
    return signed.to_json()


def _key_id(point: bytes) -> bytes:
    from signer.messages.dsse import key_id_of

    return key_id_of(point)


def test_a_card_comes_out_as_it_went_in() -> None:
    assert Card.parse(CARD.to_json()) == CARD
    assert Card.parse(signed_again()).body.name == "Ada"


@pytest.mark.case("F15", "card with its payload altered and its signature kept")
def test_an_altered_card_does_not_verify() -> None:
    payload = CARD.signed.payload.replace(b"Ada", b"Eve")
    with pytest.raises(CardError, match="does not verify"):
        Card.parse(card_with(payload=base64.b64encode(payload).decode()))


@pytest.mark.case("F14", "card's bytes under another payload type")
def test_another_payload_type_is_refused() -> None:
    with pytest.raises(SchemaError):
        Card.parse(card_with(payloadType="application/vnd.signer.roster.v1+json"))


@pytest.mark.case("F13", "card with no signature, two, or an unknown key id")
def test_a_card_has_one_signature_by_its_own_key() -> None:
    entry = CARD.to_json()["signatures"][0]
    for signatures in ([], [entry, entry]):
        with pytest.raises(SchemaError):
            Card.parse(card_with(signatures=signatures))
    with pytest.raises(CardError):
        Card.parse(card_with(signatures=[entry | {"keyid": "00" * 32}]))


@pytest.mark.case("F16", "card signature with r = 0, s = 0, r >= n, DER instead of raw")
def test_signatures_that_are_none_are_refused() -> None:
    r, s = CARD.signed.signature[:32], CARD.signed.signature[32:]
    for bad in (
        bytes(32) + s,
        r + bytes(32),
        b"\xff" * 32 + s,
        r + b"\xff" * 32,
        r[:-1] + s + r[-1:],
    ):
        entry = {"keyid": CARD.signed.key_id.hex(), "sig": base64.b64encode(bad).decode()}
        with pytest.raises(CardError):
            Card.parse(card_with(signatures=[entry]))
    for bad in (b"\x30" + CARD.signed.signature, b"", r):
        entry = {"keyid": CARD.signed.key_id.hex(), "sig": base64.b64encode(bad).decode()}
        with pytest.raises(SchemaError):
            Card.parse(card_with(signatures=[entry]))


@pytest.mark.case("F12", "base64 with white space, other alphabet, no padding")
def test_base64_has_one_form() -> None:
    good = CARD.to_json()["payload"]
    bad = [good + "\n", " " + good, good.rstrip("=") + "A", good + "=", "-_-_", 5, None]
    for payload in bad:
        with pytest.raises((SchemaError, CardError)):
            Card.parse(card_with(payload=payload))


@pytest.mark.case("P5", "card with a point at infinity, off the curve, compressed, of P-384")
@pytest.mark.parametrize(
    "point", ["00" * 65, "04" + "00" * 64, "04" + "11" * 64, "02" + "11" * 32, "04" + "11" * 96]
)
@pytest.mark.parametrize("role", ["id_sign", "kex"])
def test_keys_are_points_of_p256(point: str, role: str) -> None:
    with pytest.raises((CardError, SchemaError)):
        Card.parse(signed_again(**{role: point}))


@pytest.mark.case("P4", "card that gives one key for identity and receiving")
def test_identity_and_receiving_key_differ() -> None:
    body = CARD.body
    with pytest.raises(CardError):
        make_card("Ada", kex=body.id_sign, id_sign=body.id_sign)


@pytest.mark.case("T6", "card of a key that was not made on the token, or may leave it")
@pytest.mark.parametrize(
    "attribute", ["local", "always_sensitive", "never_extractable", "extractable"]
)
def test_a_card_of_a_weak_key_is_refused(attribute: str) -> None:
    token = json.loads(CARD.signed.payload)["token"]
    token["keys"][attribute] = not token["keys"][attribute]
    with pytest.raises(CardError, match=attribute):
        Card.parse(signed_again(token=token))


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "a" * 65, "Ádá", "../x"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(SchemaError):
        CardBody.parse(canonical(json.loads(CARD.signed.payload) | {"name": name}), "card")

import dataclasses
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.errors import EncodingError, SchemaError, SealError, SignerError
from signer.sealing.envelope import (
    ROLES,
    Binding,
    Envelope,
    key_fingerprint,
)
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes

SHARE = bytes(range(32))
BINDING = Binding(
    group=b"\x11" * 32,
    epoch=3,
    index=2,
    public_share=b"\x22" * 48,
    role="withdrawal",
    policy_digest=b"\x33" * 32,
    holders=b"\x44" * 32,
    certificate=b"\x55" * 32,
)


class Token:
    """A token's receiving key in memory; counts how often it was used."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.point = self._key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        self.used = 0

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        """The token's step of opening an envelope."""
        return self.ecdh(enc)

    def ecdh(self, peer: bytes) -> SecretBytes:
        self.used += 1
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), peer)
        return SecretBytes(self._key.exchange(ec.ECDH(), loaded))


TOKEN, SPARE, STRANGER = Token(), Token(), Token()


def sealed(*tokens: Token) -> Envelope:
    recipients = [token.point for token in tokens or (TOKEN, SPARE)]
    return seal_share(SecretBytes(SHARE), BINDING, recipients, os.urandom)


ENVELOPE = sealed()
RAW = ENVELOPE.to_bytes()


def opened(envelope: Envelope, token: Token = TOKEN, expected: Binding = BINDING) -> bytes:
    with unseal_share(envelope, expected, token.point, token.unlock) as share:
        return share.expose().tobytes()


def edited(**changes: Any) -> bytes:
    return json.dumps(json.loads(RAW) | changes).encode()


def edited_slot(**changes: Any) -> bytes:
    slots = json.loads(RAW)["slots"]
    return edited(slots=[slots[0] | changes, slots[1]])


def test_both_tokens_open_it_after_a_trip_through_a_file() -> None:
    envelope = Envelope.parse(RAW)
    assert envelope == ENVELOPE
    assert envelope.recipients == (TOKEN.point, SPARE.point)
    assert opened(envelope, TOKEN) == opened(envelope, SPARE) == SHARE


def test_share_is_in_neither_file_nor_repr() -> None:
    assert SHARE.hex() not in RAW.decode()
    assert SHARE.hex() not in repr(ENVELOPE)
    assert "redacted" in repr(unseal_share(ENVELOPE, BINDING, TOKEN.point, TOKEN.unlock))


@settings(max_examples=30, deadline=None)
@given(
    share=st.binary(min_size=32, max_size=32),
    group=st.binary(min_size=32, max_size=32),
    epoch=st.integers(0, 2**53 - 1),
    index=st.integers(1, 2**16 - 1),
    role=st.sampled_from(ROLES),
    count=st.integers(1, 3),
)
def test_round_trip(
    share: bytes, group: bytes, epoch: int, index: int, role: str, count: int
) -> None:
    binding = dataclasses.replace(BINDING, group=group, epoch=epoch, index=index, role=role)
    tokens = (TOKEN, SPARE, STRANGER)[:count]
    points = [token.point for token in tokens]
    envelope = seal_share(SecretBytes(share), binding, points, os.urandom)
    again = Envelope.parse(envelope.to_bytes())
    assert again == envelope
    assert again.to_bytes() == envelope.to_bytes()
    for token in tokens:
        assert opened(again, token, binding) == share


OTHERS: list[tuple[str, Any]] = [
    ("group", b"\x12" * 32),
    ("epoch", 4),
    ("index", 1),
    ("public_share", b"\x23" * 48),
    ("role", "validator"),
    ("policy_digest", b"\x34" * 32),
    ("holders", b"\x45" * 32),
    ("certificate", bytes(32)),
    ("recovered", True),
]


@pytest.mark.case(
    "X164", "envelope of another group, epoch, index, public share, role, policy, holders"
)
@pytest.mark.parametrize(("field", "value"), OTHERS)
def test_other_binding_is_named(field: str, value: Any) -> None:
    used = TOKEN.used
    expected = dataclasses.replace(BINDING, **{field: value})
    with pytest.raises(SealError, match=f"'{field}'") as caught:
        opened(ENVELOPE, expected=expected)
    assert caught.value.code == "E_ENVELOPE"
    assert TOKEN.used == used


@pytest.mark.case("X165", "envelope edited to the binding that is expected")
@pytest.mark.parametrize(("field", "value"), OTHERS)
def test_edited_binding_does_not_open(field: str, value: Any) -> None:
    """The field alone is no protection: the associated data must hold each one."""
    forged = dataclasses.replace(BINDING, **{field: value})
    with pytest.raises(SealError) as caught:
        opened(dataclasses.replace(ENVELOPE, binding=forged), expected=forged)
    assert caught.value.code == "E_UNSEAL"


def test_bindings_all_have_a_test() -> None:
    assert [name for name, _ in OTHERS] == [field.name for field in dataclasses.fields(Binding)]


@pytest.mark.case("X166", "envelope for another token: says for which it is")
def test_wrong_token() -> None:
    with pytest.raises(SealError) as caught:
        opened(ENVELOPE, STRANGER)
    assert caught.value.code == "E_ENVELOPE"
    for token in (TOKEN, SPARE, STRANGER):
        assert key_fingerprint(token.point) in caught.value.message


@pytest.mark.case("X166", "slot relabelled with this token's key")
def test_relabelled_slot() -> None:
    moved = dataclasses.replace(ENVELOPE.slots[0], recipient=STRANGER.point)
    with pytest.raises(SealError) as caught:
        opened(Envelope(BINDING, (moved,)), STRANGER)
    assert caught.value.code == "E_UNSEAL"


@pytest.mark.case("X166", "slots with their contents swapped")
def test_swapped_slots() -> None:
    first, second = ENVELOPE.slots
    swapped = (
        dataclasses.replace(first, enc=second.enc, ciphertext=second.ciphertext),
        dataclasses.replace(second, enc=first.enc, ciphertext=first.ciphertext),
    )
    for token in (TOKEN, SPARE):
        with pytest.raises(SealError) as caught:
            opened(Envelope(BINDING, swapped), token)
        assert caught.value.code == "E_UNSEAL"


@pytest.mark.case("X167", "every single bit of enc and of the ciphertext flipped")
@pytest.mark.parametrize("field", ["enc", "ciphertext"])
def test_every_bit_counts(field: str) -> None:
    slot = ENVELOPE.slots[0]
    good: bytes = getattr(slot, field)
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        changes: dict[str, Any] = {field: bytes(flipped)}
        bad = dataclasses.replace(slot, **changes)
        with pytest.raises(SealError) as caught:
            opened(Envelope(BINDING, (bad,)))
        assert caught.value.code == "E_UNSEAL"


@pytest.mark.case("X167", "every single bit of the envelope's file flipped")
def test_every_bit_of_the_file() -> None:
    small = sealed(TOKEN).to_bytes()
    for bit in range(8 * len(small)):
        flipped = bytearray(small)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            parsed = Envelope.parse(bytes(flipped))
        except SignerError:
            continue
        if parsed.to_bytes() == small:  # the final newline became another blank
            assert bit // 8 == len(small) - 1
            continue
        with pytest.raises(SealError):
            opened(parsed)


@pytest.mark.case("F2", "envelope: truncated at every 1/8")
def test_truncated() -> None:
    for eighth in range(8):
        with pytest.raises(SchemaError):
            Envelope.parse(RAW[: len(RAW) * eighth // 8])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", marks=pytest.mark.case("F1", "envelope: empty")),
        pytest.param(b" " * 70_000, marks=pytest.mark.case("F3", "envelope: over 64 KiB")),
        pytest.param(RAW + b" " * 65_536, marks=pytest.mark.case("F3", "envelope: padded")),
        pytest.param(RAW + b"\x00", marks=pytest.mark.case("F4", "envelope: NUL at the end")),
        pytest.param(
            RAW.replace(b"11", b"1\x00", 1), marks=pytest.mark.case("F4", "envelope: NUL inside")
        ),
        pytest.param(
            b"\xef\xbb\xbf" + RAW, marks=pytest.mark.case("F5", "envelope: byte-order mark")
        ),
        pytest.param(
            b'{"epoch":3,' + RAW[1:], marks=pytest.mark.case("F6", "envelope: field twice")
        ),
        pytest.param(edited(note="x"), marks=pytest.mark.case("F7", "envelope: unknown field")),
        pytest.param(
            edited_slot(note="x"), marks=pytest.mark.case("F7", "envelope: unknown field in a slot")
        ),
        pytest.param(edited(epoch=3.0), marks=pytest.mark.case("F8", "envelope: float epoch")),
        pytest.param(
            RAW.replace(b'"epoch":3', b'"epoch":3e0'),
            marks=pytest.mark.case("F8", "envelope: exponent"),
        ),
        pytest.param(
            RAW.replace(b'"epoch":3', b'"epoch":-0'),
            marks=pytest.mark.case("F8", "envelope: minus zero"),
        ),
        pytest.param(edited(index=True), marks=pytest.mark.case("F8", "envelope: true for 1")),
        pytest.param(edited(index="2"), marks=pytest.mark.case("F8", "envelope: text for 2")),
        pytest.param(edited(epoch=2**53), marks=pytest.mark.case("F9", "envelope: epoch 2^53")),
        pytest.param(edited(epoch=2**64), marks=pytest.mark.case("F9", "envelope: epoch 2^64")),
        pytest.param(edited(epoch=-1), marks=pytest.mark.case("F9", "envelope: epoch -1")),
        pytest.param(edited(index=0), marks=pytest.mark.case("P3", "envelope: share index 0")),
        pytest.param(edited(index=2**16), marks=pytest.mark.case("P3", "envelope: index 2^16")),
        pytest.param(
            edited(group="AA" * 32), marks=pytest.mark.case("F10", "envelope: upper-case hex")
        ),
        pytest.param(edited(group="0x" + "1" * 62), marks=pytest.mark.case("F10", "envelope: 0x")),
        pytest.param(edited(group="1" * 63), marks=pytest.mark.case("F10", "envelope: odd hex")),
        pytest.param(edited(group="1" * 66), marks=pytest.mark.case("F10", "envelope: 33 bytes")),
        pytest.param(
            edited_slot(ciphertext="11" * 47),
            marks=pytest.mark.case("F10", "envelope: ciphertext of 47 bytes"),
        ),
        pytest.param(
            b'{"a":' + b"[" * 10_000, marks=pytest.mark.case("F11", "envelope: nested 10,000 deep")
        ),
        pytest.param(edited(version=3), marks=pytest.mark.case("P13", "envelope: version 3")),
        pytest.param(edited(version=5), marks=pytest.mark.case("P13", "envelope: version 5")),
        pytest.param(edited(recovered=0), marks=pytest.mark.case("F8", "envelope: 0 for false")),
        pytest.param(edited(type="card"), marks=pytest.mark.case("F14", "envelope: other type")),
        pytest.param(edited(role="admin"), marks=pytest.mark.case("P9", "envelope: unknown role")),
        pytest.param(
            edited_slot(method="rot13"), marks=pytest.mark.case("X168", "envelope: unknown method")
        ),
        pytest.param(edited(slots=[]), marks=pytest.mark.case("X168", "envelope: no slot")),
        pytest.param(edited(slots=[1] * 5), marks=pytest.mark.case("X168", "envelope: five slots")),
        pytest.param(edited(slots=["x"]), marks=pytest.mark.case("X168", "envelope: slot is text")),
        pytest.param(b"[]", marks=pytest.mark.case("X168", "envelope: a JSON array")),
        pytest.param(
            b"\x1f\x8b\x08\x00" + b"0" * 60, marks=pytest.mark.case("F20", "envelope: gzip")
        ),
    ],
)
def test_refuses(raw: bytes) -> None:
    with pytest.raises(SchemaError, match="envelope") as caught:
        Envelope.parse(raw)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("field", sorted(json.loads(RAW)))
def test_every_field_is_required(field: str) -> None:
    value = json.loads(RAW)
    del value[field]
    with pytest.raises(SchemaError, match=f"'{field}' is missing"):
        Envelope.parse(json.dumps(value).encode())


@pytest.mark.case("X168", "envelope: two slots for one token key")
def test_slot_twice() -> None:
    slot = json.loads(RAW)["slots"][0]
    with pytest.raises(SealError) as caught:
        Envelope.parse(edited(slots=[slot, slot]))
    assert caught.value.code == "E_ENVELOPE"


@pytest.mark.case("P4", "sealing to nobody, to five, to one twice")
@pytest.mark.parametrize(
    "points", [[], [TOKEN.point] * 2, [bytes([4, number]) for number in range(5)]]
)
def test_recipients(points: list[bytes]) -> None:
    with pytest.raises(SealError) as caught:
        seal_share(SecretBytes(SHARE), BINDING, points, os.urandom)
    assert caught.value.code == "E_ENVELOPE"


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()


@pytest.mark.case("P5", "sealing to infinity, off the curve, a compressed point, a P-384 point")
@pytest.mark.parametrize(
    "point",
    [
        b"\x00",
        b"",
        b"\x04" + bytes(64),
        TOKEN.point[:-1] + bytes([TOKEN.point[-1] ^ 1]),
        b"\x02" + TOKEN.point[1:33],
        b"\x06" + TOKEN.point[1:],
        TOKEN.point + b"\x00",
        b"\x04" + b"\xff" * 64,
        P384.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
    ],
    ids=range(9),
)
def test_bad_recipient_point(point: bytes) -> None:
    with pytest.raises(EncodingError):
        seal_share(SecretBytes(SHARE), BINDING, [point], os.urandom)


def test_share_length_is_ours_to_get_right() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal_share(SecretBytes(SHARE[:31]), BINDING, [TOKEN.point], os.urandom)


@pytest.mark.case("C25", "random source repeats itself while an envelope is sealed")
def test_repeating_random_source() -> None:
    with pytest.raises(SealError, match="random source"):
        seal_share(
            SecretBytes(SHARE), BINDING, [TOKEN.point, SPARE.point], lambda size: b"\x07" * size
        )


@pytest.mark.case("T7", "ECDH result of another length reaches no key schedule")
@pytest.mark.parametrize("size", [0, 31, 33, 48])
def test_ecdh_length(size: int) -> None:
    with pytest.raises(SealError, match=f"gave {size} bytes"):
        unseal_share(ENVELOPE, BINDING, TOKEN.point, lambda enc, aad: SecretBytes(bytes(size)))


def test_what_the_token_gave_is_wiped() -> None:
    given: list[SecretBytes] = []

    def ecdh(enc: bytes, aad: bytes) -> SecretBytes:
        given.append(TOKEN.ecdh(enc))
        return given[-1]

    unseal_share(ENVELOPE, BINDING, TOKEN.point, ecdh).wipe()
    with pytest.raises(ValueError, match="wiped"):
        given[0].expose()


def test_sealing_is_a_function_of_its_randomness() -> None:
    def source() -> Callable[[int], bytes]:
        counter = itertools.count(1)
        return lambda size: next(counter).to_bytes(size, "big")

    first, second = (
        seal_share(SecretBytes(SHARE), BINDING, [TOKEN.point, SPARE.point], source())
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    "changes",
    [
        {"group": b""},
        {"public_share": bytes(32)},
        {"index": 0},
        {"epoch": -1},
        {"role": "x"},
        {"holders": b""},
    ],
)
def test_binding_of_our_own_making(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="binding"):
        dataclasses.replace(BINDING, **changes)

import copy
import os
import pickle

import pytest

from signer.bls.encoding import PublicKey, Signature, UncheckedSignature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign
from signer.errors import EncodingError

INFINITY_G1 = b"\xc0" + bytes(47)
INFINITY_G2 = b"\xc0" + bytes(95)


@pytest.fixture(scope="module")
def scalar() -> SecretScalar:
    return SecretScalar.random(os.urandom)


def point_outside_group(kind: type[PublicKey] | type[UncheckedSignature], size: int) -> bytes:
    """Return the first point of the curve with a small x; its order is the curve's, not r."""
    for x in range(1, 100):
        data = b"\x80" + x.to_bytes(size - 1, "big")
        try:
            kind(data)
        except EncodingError as error:
            if "outside" in error.message:
                return data
        else:
            return data
    raise AssertionError("no point")


def test_points_are_their_bytes(scalar: SecretScalar) -> None:
    key, signature = public_key(scalar), sign(scalar, b"m")
    assert PublicKey(bytes(key)) == key == bytes(key)
    assert Signature(memoryview(signature)) == signature
    assert {key: 1}[PublicKey(bytes(key))] == 1
    assert key[:32] == bytes(key)[:32]
    assert PublicKey(key) is key
    assert Signature(signature) is signature


def test_repr_is_short(scalar: SecretScalar) -> None:
    key = public_key(scalar)
    assert repr(key) == str(key) == f"PublicKey({key.hex()[:8]}…{key.hex()[-8:]})"


def test_copies_go_through_the_check(scalar: SecretScalar) -> None:
    signature = sign(scalar, b"m")
    for twin in (copy.deepcopy(signature), pickle.loads(pickle.dumps(signature))):
        assert type(twin) is Signature
        assert twin == signature
        assert twin.affine == signature.affine


@pytest.mark.case("X106", "points of every wrong length")
@pytest.mark.parametrize("size", [0, 1, 47, 49, 95, 96, 97, 192])
def test_length_of_a_public_key(size: int) -> None:
    with pytest.raises(EncodingError, match=f"{size} bytes, 48 expected"):
        PublicKey(b"\x80" + bytes(size - 1) if size else b"")


@pytest.mark.case("S4", "95, 97 and 192 bytes")
@pytest.mark.parametrize("size", [0, 48, 95, 97, 192])
@pytest.mark.parametrize("kind", [Signature, UncheckedSignature])
def test_length_of_a_signature(size: int, kind: type[Signature]) -> None:
    with pytest.raises(EncodingError, match=f"{size} bytes, 96 expected"):
        kind(b"\x80" + bytes(size - 1) if size else b"")


@pytest.mark.case("S2", "infinity as public key and as signature")
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (PublicKey, INFINITY_G1),
        (Signature, INFINITY_G2),
        (UncheckedSignature, INFINITY_G2),
        (PublicKey, b"\xe0" + bytes(47)),
        (Signature, b"\xe0" + bytes(95)),
        (Signature, b"\xc0" + bytes(94) + b"\x01"),
    ],
)
def test_infinity(kind: type[Signature], data: bytes) -> None:
    with pytest.raises(EncodingError, match="infinity"):
        kind(data)


@pytest.mark.case("S3", "points of the curve outside the group")
def test_outside_the_group() -> None:
    with pytest.raises(EncodingError, match="outside the prime-order group"):
        PublicKey(point_outside_group(PublicKey, 48))
    data = point_outside_group(UncheckedSignature, 96)
    point = UncheckedSignature(data)
    assert point == data
    for check in (point.checked, lambda: Signature(data)):
        with pytest.raises(EncodingError, match="outside the prime-order group"):
            check()


@pytest.mark.case("X107", "x not below p, flags missing")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x9f" + b"\xff" * 95, "not a canonical"),
        (b"\x00" + bytes(94) + b"\x01", "not a canonical"),
    ],
)
def test_not_a_point(data: bytes, why: str) -> None:
    with pytest.raises(EncodingError, match=why) as caught:
        UncheckedSignature(data)
    assert caught.value.code == "E_POINT"


@pytest.mark.case("X117", "points off the curve")
def test_off_the_curve_says_so() -> None:
    """About every second x is on no point; the messages must tell such from malformed bytes."""
    messages = set()
    for x in range(1, 20):
        try:
            UncheckedSignature(b"\x80" + x.to_bytes(95, "big"))
        except EncodingError as error:
            messages.add(error.message)
    assert messages == {"signature: the point is not on the curve"}


def test_a_number_is_no_point() -> None:
    with pytest.raises(TypeError):
        PublicKey(48)  # type: ignore[arg-type]


def test_an_affine_infinity_becomes_no_public_key() -> None:
    with pytest.raises(EncodingError, match="infinity"):
        PublicKey.from_affine(bytes(96))

import os
import random

import pytest

from signer.bls import scheme as module
from signer.bls.encoding import Signature, UncheckedSignature
from signer.bls.points import g1_polynomial_at, g2_multi_multiply
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import (
    hash_many,
    hash_to_g2,
    public_key,
    sign,
    sign_many,
    verify,
    verify_batch,
)
from signer.errors import EncodingError, EngineError

# A point of order 13 on the curve of G2: (r · h₂ / 169) · (the point with x = 5 + u), by py_ecc.
ORDER_13 = bytes.fromhex(
    "a0a3faa5930a2d3532eff5f8014d935c0f0144fedbe864906314ce154a76cbb2"
    "eb49852b9b58090c06db44b84301daef12495cb1d0edd684373c68feea4cbfd8"
    "90de88b5c24707af95f987975a5d00b5c45cc993880a674350a86f464b58ed6b"
)


@pytest.fixture(scope="module")
def scalar() -> SecretScalar:
    return SecretScalar.random(os.urandom)


def negated(signature: bytes) -> bytes:
    return bytes([signature[0] ^ 0x20]) + bytes(signature[1:])


def shifted(signature: Signature, by: UncheckedSignature) -> Signature:
    """Return signature + by without any check, as an attacker's memory would hold it."""
    affine = g2_multi_multiply([signature.affine, by.affine], b"\x01\x01", 8)
    assert affine is not None
    return Signature.from_affine(affine)


def test_sign_many_is_sign(scalar: SecretScalar) -> None:
    messages = [b"", b"a", os.urandom(32), os.urandom(1000)]
    signatures, points = sign_many(scalar, messages)
    assert signatures == [sign(scalar, message) for message in messages]
    assert points == [hash_to_g2(message) for message in messages] == hash_many(messages)
    assert all(Signature(bytes(entry)).affine == entry.affine for entry in signatures)


def test_nothing_to_sign(scalar: SecretScalar) -> None:
    assert sign_many(scalar, []) == ([], [])


def test_verify_only_the_right_one(scalar: SecretScalar) -> None:
    key, signature = public_key(scalar), sign(scalar, b"message")
    assert verify(key, b"message", signature)
    assert not verify(key, b"massage", signature)
    assert not verify(key, b"message", sign(scalar, b"message", b"another-tag"))
    assert not verify(key, b"message", Signature(negated(signature)))
    with SecretScalar.random(os.urandom) as other:
        assert not verify(public_key(other), b"message", signature)
        assert not verify(key, b"message", sign(other, b"message"))


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("count", [1, 2, 3, 33, 64])
def test_batch_accepts_all_right_and_nothing_else(
    scalar: SecretScalar, count: int, bits: int
) -> None:
    key = public_key(scalar)
    signatures, points = sign_many(scalar, [os.urandom(32) for _ in range(count)])
    assert verify_batch(key, points, signatures, os.urandom, bits)
    for position in {0, count // 2, count - 1}:
        spoilt = list(signatures)
        spoilt[position] = sign(scalar, b"other")
        assert not verify_batch(key, points, spoilt, os.urandom, bits)


@pytest.mark.case("S7", "σ₁ + Δ and σ₂ - Δ, which a plain sum lets through")
def test_batch_is_no_plain_sum(scalar: SecretScalar) -> None:
    key = public_key(scalar)
    signatures, points = sign_many(scalar, [b"1", b"2"])
    delta = UncheckedSignature(sign(scalar, b"delta"))
    pair = [
        shifted(signatures[0], delta),
        shifted(signatures[1], UncheckedSignature(negated(delta))),
    ]
    sums = [g2_multi_multiply([s.affine for s in both], b"\1\1", 8) for both in (pair, signatures)]
    assert sums[0] == sums[1]
    assert not verify_batch(key, points, pair, os.urandom)


@pytest.mark.case("S3", "a signature shifted by a point of order 13")
def test_order_13_is_refused_before_a_batch_could_miss_it(scalar: SecretScalar) -> None:
    point = UncheckedSignature(ORDER_13)
    assert g2_multi_multiply([point.affine], b"\x0d", 8) is None
    with pytest.raises(EncodingError, match="outside"):
        Signature(bytes(shifted(sign(scalar, b"m"), point)))


def test_batch_looks_at_the_group_of_the_sum(
    scalar: SecretScalar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never takes a point outside the group to the pairing, whatever that would say."""
    monkeypatch.setattr(module, "pairings_equal", lambda *_: True)
    signatures, points = sign_many(scalar, [b"1", b"2"])
    spoilt = [shifted(signatures[0], UncheckedSignature(ORDER_13)), signatures[1]]
    assert not verify_batch(public_key(scalar), points, spoilt, lambda size: b"\x01" * size)


@pytest.mark.case("X109", "coefficients from a random source of zeros")
@pytest.mark.parametrize("width", [0, 1])
def test_batch_with_a_broken_random_source(scalar: SecretScalar, width: int) -> None:
    signatures, points = sign_many(scalar, [b"1", b"2"])
    with pytest.raises(EngineError, match="random source"):
        verify_batch(public_key(scalar), points, signatures, lambda size: bytes(size * width))


def test_batch_needs_as_many_messages_as_signatures(scalar: SecretScalar) -> None:
    signatures, points = sign_many(scalar, [b"1", b"2"])
    with pytest.raises(ValueError, match="do not go with"):
        verify_batch(public_key(scalar), points[:1], signatures, os.urandom)


@pytest.mark.parametrize("bits", [8, 12, 64, 177, 255])
def test_multi_multiplication(scalar: SecretScalar, bits: int) -> None:
    """Σ kᵢ·(s·H) = s·((Σ kᵢ)·H): the right side by SecretScalar's arithmetic."""
    rng = random.Random(bits)
    point, width = hash_to_g2(b"m"), (bits + 7) // 8
    factors = [rng.randrange(1, 2**bits) for _ in range(20)]
    scalars = b"".join(factor.to_bytes(width, "little") for factor in factors)
    total = g2_multi_multiply([point] * 20, scalars, bits)
    assert total is not None
    expected = sum(factors) % GROUP_ORDER
    key = SecretScalar.from_big_endian(bytearray(expected.to_bytes(32, "big")))
    assert Signature.from_affine(total) == sign(key, b"m")


def test_multi_multiplication_to_infinity(scalar: SecretScalar) -> None:
    signature = sign(scalar, b"m")
    pair = [signature.affine, Signature(negated(signature)).affine]
    assert g2_multi_multiply(pair, b"\x05\x05", 8) is None


def test_multi_multiplication_of_nothing() -> None:
    with pytest.raises(ValueError, match="0 points"):
        g2_multi_multiply([], b"", 8)


def test_polynomial_in_the_exponent_to_infinity(scalar: SecretScalar) -> None:
    key = public_key(scalar)
    minus_one = SecretScalar.from_big_endian(bytearray((GROUP_ORDER - 1).to_bytes(32, "big")))
    minus_key = public_key(scalar.multiply(minus_one))
    assert g1_polynomial_at([key.affine, minus_key.affine], 1) is None

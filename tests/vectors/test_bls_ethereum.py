"""ethereum/bls12-381-tests."""

from collections.abc import Callable
from typing import Any

import pytest

from signer.bls.encoding import PublicKey, Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import hash_to_g2, sign, verify
from signer.errors import EncodingError

Vectors = Callable[[str], Any]

_HASH_DST = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"  # RFC 9380, J.10.1
_P = int(
    "1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF"
    "6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB",
    16,
)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def verdict(pubkey: str, message: str, signature: str) -> bool:
    try:
        return verify(PublicKey(unhex(pubkey)), unhex(message), Signature(unhex(signature)))
    except EncodingError:
        return False


def test_sign(vectors: Vectors) -> None:
    cases = vectors("bls12-381-tests/sign.json")
    for name, case in cases.items():
        message = unhex(case["input"]["message"])
        key = memoryview(unhex(case["input"]["privkey"]))
        if case["output"] is None:
            with pytest.raises(EncodingError) as caught:
                SecretScalar.from_big_endian(key)
            assert caught.value.code == "E_SCALAR", name
            continue
        with SecretScalar.from_big_endian(key) as scalar:
            assert sign(scalar, message) == unhex(case["output"]), name
    assert len(cases) == 10


def test_verify(vectors: Vectors) -> None:
    cases = vectors("bls12-381-tests/verify.json")
    for name, case in cases.items():
        assert verdict(**case["input"]) is case["output"], name
    assert {case["output"] for case in cases.values()} == {True, False}


def test_batch_verify(vectors: Vectors) -> None:
    for name, case in vectors("bls12-381-tests/batch_verify.json").items():
        columns = case["input"]
        rows = zip(columns["pubkeys"], columns["messages"], columns["signatures"], strict=True)
        assert all(verdict(*row) for row in rows) is case["output"], name


@pytest.mark.parametrize(
    ("file", "field", "kind"),
    [("deserialization_G1", "pubkey", PublicKey), ("deserialization_G2", "signature", Signature)],
)
def test_deserialization(
    vectors: Vectors, file: str, field: str, kind: type[PublicKey] | type[Signature]
) -> None:
    """What the vectors accept we accept, except infinity, which is nobody's key or signature."""
    for name, case in vectors(f"bls12-381-tests/{file}.json").items():
        data = unhex(case["input"][field])
        if case["output"] and "infinity" not in name:
            assert kind(data) == data, name
        else:
            with pytest.raises(EncodingError) as caught:
                kind(data)
            assert caught.value.code == "E_POINT", name


def test_hash_to_g2(vectors: Vectors) -> None:
    for name, case in vectors("bls12-381-tests/hash_to_G2.json").items():
        x0, x1 = (int(part, 16) for part in case["output"]["x"].split(","))
        y0, y1 = (int(part, 16) for part in case["output"]["y"].split(","))
        larger = (y1, y0) > ((_P - y1) % _P, (_P - y0) % _P)
        flags = 1 << 383 | larger << 381
        expected = (x1 | flags).to_bytes(48, "big") + x0.to_bytes(48, "big")
        point = hash_to_g2(case["input"]["msg"].encode(), _HASH_DST)
        assert Signature.from_affine(point) == expected, name

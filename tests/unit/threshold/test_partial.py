import os
import threading

import pytest

from signer.bls.encoding import Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign, sign_many
from signer.errors import InputError, SelfCheckError
from signer.threshold import partial as module
from signer.threshold.partial import sign_partials, verify_partial

ROOT = bytes(range(32))


@pytest.fixture(scope="module")
def scalar() -> SecretScalar:
    return SecretScalar.random(os.urandom)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 15, 33, 70])
def test_signs_every_root_in_order(scalar: SecretScalar, count: int, threads: int) -> None:
    roots = [os.urandom(32) for _ in range(count)]
    partials = sign_partials(
        scalar, roots, public_key(scalar), random_bytes=os.urandom, threads=threads
    )
    assert partials == [sign(scalar, root) for root in roots]


def test_threads_share_the_work(scalar: SecretScalar, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks: list[tuple[int, int]] = []

    def remember(key: SecretScalar, roots: list[bytes], dst: bytes) -> object:
        chunks.append((threading.get_ident(), len(roots)))
        return sign_many(key, roots, dst)

    monkeypatch.setattr(module, "sign_many", remember)
    roots = [os.urandom(32) for _ in range(50)]
    sign_partials(scalar, roots, public_key(scalar), random_bytes=os.urandom, threads=2)
    assert [size for _, size in chunks] == [25, 25]
    assert threading.get_ident() not in {thread for thread, _ in chunks}


@pytest.mark.case("X120", "a share that is not the one of the expected public share")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [1, 40])
def test_wrong_share(scalar: SecretScalar, count: int, threads: int) -> None:
    with SecretScalar.random(os.urandom) as other:
        roots = [os.urandom(32) for _ in range(count)]
        with pytest.raises(SelfCheckError) as caught:
            sign_partials(
                other, roots, public_key(scalar), random_bytes=os.urandom, threads=threads
            )
    assert caught.value.code == "E_SELFCHECK"


@pytest.mark.case("X121", "a processor that errs in one signature of many")
@pytest.mark.parametrize("position", [0, 17, 39])
def test_one_faulty_signature(
    scalar: SecretScalar, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_affine = Signature.from_affine
    made: list[Signature] = []

    def fault(affine: bytes) -> Signature:
        made.append(from_affine(affine))
        return sign_other if len(made) == position + 1 else made[-1]

    sign_other = sign(scalar, b"a fault")
    monkeypatch.setattr(Signature, "from_affine", fault)
    roots = [os.urandom(32) for _ in range(40)]
    with pytest.raises(SelfCheckError):
        sign_partials(scalar, roots, public_key(scalar), random_bytes=os.urandom)


def test_verify_partial(scalar: SecretScalar) -> None:
    partial = sign(scalar, ROOT)
    assert verify_partial(public_key(scalar), ROOT, bytes(partial)) == partial


def bad_partials(scalar: SecretScalar) -> dict[str, tuple[bytes, str]]:
    good = bytes(sign(scalar, ROOT))
    outside = next(
        data
        for x in range(1, 50)
        if code_of(scalar, data := b"\x80" + x.to_bytes(95, "big")) == "E_PARTIAL_SUBGROUP"
    )
    other = SecretScalar.random(os.urandom)
    return {
        "S2 infinity": (b"\xc0" + bytes(95), "E_PARTIAL_ENCODING"),
        "S3 outside the group": (outside, "E_PARTIAL_SUBGROUP"),
        "S4 95 bytes": (good[:-1], "E_PARTIAL_ENCODING"),
        "S4 97 bytes": (good + b"\0", "E_PARTIAL_ENCODING"),
        "S4 uncompressed": (bytes([good[0] & 0x1F]) + good[1:] + bytes(96), "E_PARTIAL_ENCODING"),
        "S4 empty": (b"", "E_PARTIAL_ENCODING"),
        "S5 other root": (bytes(sign(scalar, b"other")), "E_PARTIAL_INVALID"),
        "S5 other tag": (bytes(sign(scalar, ROOT, b"another-tag")), "E_PARTIAL_INVALID"),
        "S6 other key": (bytes(sign(other, ROOT)), "E_PARTIAL_INVALID"),
        "S8 negated": (bytes([good[0] ^ 0x20]) + good[1:], "E_PARTIAL_INVALID"),
        "S9 a point of G1": (bytes(public_key(scalar)), "E_PARTIAL_ENCODING"),
        "S9 two points of G1": (bytes(public_key(scalar)) * 2, "E_PARTIAL_ENCODING"),
        "S9 x not below p": (b"\x9f" + b"\xff" * 95, "E_PARTIAL_ENCODING"),
    }


def code_of(scalar: SecretScalar, partial: bytes) -> str:
    try:
        verify_partial(public_key(scalar), ROOT, partial)
    except InputError as error:
        return error.code
    return "good"


@pytest.mark.case("S2", "infinity")
@pytest.mark.case("S3", "outside the group")
@pytest.mark.case("S4", "95, 97, 192 bytes, none")
@pytest.mark.case("S5", "of another root or tag")
@pytest.mark.case("S6", "by another key")
@pytest.mark.case("S8", "negated")
@pytest.mark.case("S9", "points of G1")
def test_bad_partials_and_their_reasons(scalar: SecretScalar) -> None:
    for name, (partial, code) in bad_partials(scalar).items():
        assert code_of(scalar, partial) == code, name


@pytest.mark.case("S5", "any one bit flipped")
def test_any_bit_flip(scalar: SecretScalar) -> None:
    good = bytes(sign(scalar, ROOT))
    for bit in range(0, 768, 31):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert code_of(scalar, bytes(flipped)) != "good"

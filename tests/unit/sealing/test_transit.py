import itertools
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.errors import EncodingError, SealError
from signer.sealing.hpke import Sealed
from signer.sealing.transit import (
    ephemeral_scalar,
    open_in_transit,
    open_with_scalar,
    seal_in_transit,
)
from signer.secret import SecretBytes

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SHARE, SEED = bytes(range(32)), b"\x05" * 32
INFO, AAD = b"signer/deal/v1\x00" + b"\x11" * 32 + b"\x00\x01\x00\x02", b"\x22" * 32


class Token:
    """A token's receiving key in memory."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.point = self.key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )

    def ecdh(self, peer: bytes) -> SecretBytes:
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), peer)
        return SecretBytes(self.key.exchange(ec.ECDH(), loaded))


TOKEN, OTHER = Token(), Token()


def sealed(seed: bytes = SEED, info: bytes = INFO, aad: bytes = AAD) -> Sealed:
    return seal_in_transit(TOKEN.point, SecretBytes(SHARE), info, aad, SecretBytes(seed))


def scalar_of(seed: bytes) -> bytes:
    with ephemeral_scalar(SecretBytes(seed)) as scalar:
        return scalar.expose().tobytes()


def code_of(attempt: Callable[..., SecretBytes], *arguments: object) -> str:
    with pytest.raises(SealError) as caught:
        attempt(*arguments)
    assert SHARE.hex() not in caught.value.line()
    return caught.value.code


def test_the_token_opens_it_and_the_scalar_opens_it() -> None:
    secret = sealed()
    with open_in_transit(TOKEN.point, secret, INFO, AAD, TOKEN.ecdh) as opened:
        assert opened.expose() == SHARE
    with open_with_scalar(scalar_of(SEED), secret, TOKEN.point, INFO, AAD) as opened:
        assert opened.expose() == SHARE


def test_it_is_hpke() -> None:
    """The implementation of `cryptography` has no associated data, so none here."""
    suite = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    secret = sealed(aad=b"")
    assert suite.decrypt(secret.enc + secret.ciphertext, TOKEN.key, INFO) == SHARE


def test_the_same_again_and_never_the_same_twice() -> None:
    assert sealed() == sealed()
    assert sealed(seed=b"\x06" * 32).enc != sealed().enc
    seed = SecretBytes(SEED)
    seal_in_transit(TOKEN.point, SecretBytes(SHARE), INFO, AAD, seed)
    assert seed.expose() == SEED


def test_scalar_is_that_of_enc() -> None:
    """RFC 9180 A.3.1: ikmE and skEm."""
    seed = bytes.fromhex("4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e")
    assert scalar_of(seed).hex() == (
        "4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb"
    )


@pytest.mark.case("C9", "sealed with the right key and other info, or other associated data")
@pytest.mark.parametrize("open_it", ["token", "scalar"])
def test_bound_to_every_byte(open_it: str) -> None:
    def attempt(recipient: bytes, secret: Sealed, info: bytes, aad: bytes) -> SecretBytes:
        if open_it == "token":
            return open_in_transit(recipient, secret, info, aad, TOKEN.ecdh)
        return open_with_scalar(scalar_of(SEED), secret, recipient, info, aad)

    secret = sealed()
    for place in range(len(INFO)):
        bent = INFO[:place] + bytes([INFO[place] ^ 1]) + INFO[place + 1 :]
        assert code_of(attempt, TOKEN.point, secret, bent, AAD) == "E_UNSEAL"
    for bent in (b"", AAD[:-1], AAD[:-1] + b"\x23"):
        assert code_of(attempt, TOKEN.point, secret, INFO, bent) == "E_UNSEAL"
    for place in range(len(secret.ciphertext)):
        body = bytearray(secret.ciphertext)
        body[place] ^= 0x80
        broken = Sealed(secret.enc, bytes(body))
        assert code_of(attempt, TOKEN.point, broken, INFO, AAD) == "E_UNSEAL"
    for cut in (b"", secret.ciphertext[:15], secret.ciphertext[:-1]):
        broken = Sealed(secret.enc, cut)
        assert code_of(attempt, TOKEN.point, broken, INFO, AAD) == "E_UNSEAL"
    assert code_of(attempt, OTHER.point, secret, INFO, AAD) == "E_UNSEAL"


def test_what_is_said_speaks_of_ceremonies() -> None:
    with pytest.raises(SealError, match="ceremony, dealer or recipient") as caught:
        open_in_transit(TOKEN.point, sealed(), INFO, b"", TOKEN.ecdh)
    assert "envelope" not in caught.value.line()


@pytest.mark.case("C18", "an opening with a wrong scalar, zero, the order, or another recipient's")
@pytest.mark.parametrize(
    "scalar",
    [
        bytes(32),
        ORDER.to_bytes(32, "big"),
        b"\xff" * 32,
        (1).to_bytes(32, "big"),
        (int.from_bytes(scalar_of(SEED), "big") ^ 1).to_bytes(32, "big"),
        scalar_of(b"\x06" * 32),
        SEED,
        scalar_of(SEED)[:31],
        scalar_of(SEED) + b"\x00",
        b"",
    ],
)
def test_wrong_scalar(scalar: bytes) -> None:
    code = code_of(open_with_scalar, scalar, sealed(), TOKEN.point, INFO, AAD)
    assert code == "E_OPENING"


@pytest.mark.case("C18", "the scalar negated: its ECDH is the same, its point is not")
def test_negated_scalar() -> None:
    negated = (ORDER - int.from_bytes(scalar_of(SEED), "big")).to_bytes(32, "big")
    assert code_of(open_with_scalar, negated, sealed(), TOKEN.point, INFO, AAD) == "E_OPENING"


@pytest.mark.case("X643", "an ephemeral key that is no point: nobody can open it, nor its dealer")
def test_enc_that_is_no_point() -> None:
    scalar = scalar_of(SEED)
    for enc in (b"", bytes(65), b"\x04" + bytes(64), sealed().enc[:-1]):
        broken = Sealed(enc, sealed().ciphertext)
        assert code_of(open_with_scalar, scalar, broken, TOKEN.point, INFO, AAD) == "E_OPENING"
        assert code_of(open_in_transit, TOKEN.point, broken, INFO, AAD, TOKEN.ecdh) == "E_UNSEAL"


@pytest.mark.case("C18", "two recipients' openings and ciphertexts crossed")
def test_one_opening_opens_one_ciphertext() -> None:
    for ours, theirs in itertools.permutations((SEED, b"\x06" * 32)):
        secret = sealed(seed=theirs)
        code = code_of(open_with_scalar, scalar_of(ours), secret, TOKEN.point, INFO, AAD)
        assert code == "E_OPENING"


@pytest.mark.case("P5", "a recipient that is no point of P-256")
@pytest.mark.parametrize("point", [b"", bytes(65), b"\x02" + b"\x11" * 32, b"\x04" + b"\x11" * 64])
def test_recipient_that_is_no_point(point: bytes) -> None:
    with pytest.raises(EncodingError):
        seal_in_transit(point, SecretBytes(SHARE), INFO, AAD, SecretBytes(SEED))
    with pytest.raises(EncodingError):
        open_with_scalar(scalar_of(SEED), sealed(), point, INFO, AAD)


def test_a_seed_has_a_length() -> None:
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            sealed(seed=os.urandom(size))
        with pytest.raises(ValueError, match="32 bytes"):
            ephemeral_scalar(SecretBytes(os.urandom(size)))


def test_a_token_that_computes_short_is_no_bad_dealer() -> None:
    with pytest.raises(SealError, match="token's ECDH gave 31 bytes"):
        open_in_transit(TOKEN.point, sealed(), INFO, AAD, lambda _: SecretBytes(b"\x01" * 31))

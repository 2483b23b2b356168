"""HPKE against the numbers of RFC 9180 and against the implementation in `cryptography`."""

import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.sealing import ephemeral, hpke
from signer.secret import SecretBytes

# RFC 9180 A.3.1 (DHKEM(P-256, HKDF-SHA256), AES-128-GCM, base mode). The KEM is ours, the AEAD is
# not, so what is above the shared secret is compared with `cryptography` below.
IKM_E = bytes.fromhex("4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e")
SK_E = bytes.fromhex("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb")
PK_E = bytes.fromhex(
    "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9"
    "8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
)
IKM_R = bytes.fromhex("668b37171f1072f3cf12ea8a236a45df23fc13b82af3609ad1e354f6ef817550")
SK_R = bytes.fromhex("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2")
PK_R = bytes.fromhex(
    "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a82"
    "6a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0"
)
SHARED = bytes.fromhex("c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8")

SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize(("seed", "private", "public"), [(IKM_E, SK_E, PK_E), (IKM_R, SK_R, PK_R)])
def test_derive_key_pair(seed: bytes, private: bytes, public: bytes) -> None:
    with SecretBytes(seed) as secret:
        key = ephemeral.derive_key_pair(secret)
    assert key.private_numbers().private_value.to_bytes(32, "big") == private
    assert point_of(key) == public


def test_shared_secret() -> None:
    with SecretBytes(IKM_R) as seed:
        recipient = ephemeral.derive_key_pair(seed)
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), PK_E)
    with (
        SecretBytes(recipient.exchange(ec.ECDH(), peer)) as dh,
        hpke.shared_secret(dh, PK_E, PK_R) as shared,
    ):
        assert shared.expose() == SHARED


def test_seal_uses_the_derived_ephemeral_key() -> None:
    sealed = hpke.seal(PK_R, b"", b"", SecretBytes(b"share"), lambda size: IKM_E[:size])
    assert sealed.enc == PK_E


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_cryptography_opens_what_we_seal(plain: bytes, info: bytes) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = hpke.seal(point_of(key), info, b"", SecretBytes(plain), os.urandom)
    assert SUITE.decrypt(sealed.enc + sealed.ciphertext, key, info) == plain


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_we_open_what_cryptography_seals(plain: bytes, info: bytes) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    message = SUITE.encrypt(plain, key.public_key(), info)

    def ecdh(peer: bytes) -> SecretBytes:
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), peer)
        return SecretBytes(key.exchange(ec.ECDH(), loaded))

    with hpke.open_sealed(message[:65], message[65:], point_of(key), info, b"", ecdh) as opened:
        assert opened.expose() == plain


def test_associated_data_is_not_ignored() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = hpke.seal(point_of(key), b"", b"not empty", SecretBytes(b"share"), os.urandom)
    with pytest.raises(InvalidTag):
        SUITE.decrypt(sealed.enc + sealed.ciphertext, key, b"")

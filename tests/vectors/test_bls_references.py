"""Two implementations that share no code with each other: py_ecc (pure Python) and blspy."""

import random
import sys

import pytest
from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.ciphersuites import G2ProofOfPossession

from signer.bls.encoding import PublicKey, Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign, verify

if sys.version_info >= (3, 13):
    pytest.importorskip("blspy")
import blspy


def scalar_of(number: int) -> SecretScalar:
    return SecretScalar.from_big_endian(bytearray(number.to_bytes(32, "big")))


@pytest.mark.slow
def test_py_ecc_makes_and_accepts_the_same() -> None:
    rng = random.Random(20)
    number = rng.randrange(1, 2**254)
    message = rng.randbytes(32)
    with scalar_of(number) as scalar:
        key, signature = public_key(scalar), sign(scalar, message)
    assert bytes(key) == bytes(G2ProofOfPossession.SkToPk(number))
    assert bytes(signature) == bytes(G2ProofOfPossession.Sign(number, message))
    theirs = BLSPubkey(bytes(key)), BLSSignature(bytes(signature))
    assert G2ProofOfPossession.Verify(theirs[0], message, theirs[1])
    assert not G2ProofOfPossession.Verify(theirs[0], message[::-1], theirs[1])


def test_blspy_makes_and_accepts_the_same() -> None:
    rng = random.Random(21)
    for _ in range(20):
        secret, message = rng.randrange(1, 2**254).to_bytes(32, "big"), rng.randbytes(32)
        with SecretScalar.from_big_endian(bytearray(secret)) as scalar:
            key, signature = public_key(scalar), sign(scalar, message)
        peer = blspy.PrivateKey.from_bytes(secret)
        theirs = bytes(blspy.PopSchemeMPL.sign(peer, message))
        assert key == bytes(peer.get_g1())
        assert signature == theirs
        assert verify(PublicKey(bytes(peer.get_g1())), message, Signature(theirs))
        assert blspy.PopSchemeMPL.verify(
            blspy.G1Element.from_bytes(bytes(key)),
            message,
            blspy.G2Element.from_bytes(bytes(signature)),
        )

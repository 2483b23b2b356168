"""Sealing under a wrapped key: to an RSA key, and what a recipient may look like."""

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import EncodingError, SchemaError, SealError
from signer.recipient import (
    AES_256_GCM,
    RSA_OAEP_SHA1,
    RSA_OAEP_SHA256,
    aes_recipient,
    method_of,
    parse_recipient,
    rsa_modulus,
    rsa_recipient,
)
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.sealing.wrapped import oaep_wrap, open_wrapped, seal_wrapped
from signer.secret import SecretBytes

KEY = rsa.generate_private_key(65537, 2048)
MODULUS = KEY.public_key().public_numbers().n.to_bytes(256)
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    RSA_OAEP_SHA256: hashes.SHA256,
    RSA_OAEP_SHA1: hashes.SHA1,
}
SHARE = bytes(range(1, 33))
BINDING = Binding(
    group=bytes(32), epoch=1, index=1, public_share=bytes(48), role="withdrawal",
    policy_digest=bytes(32), holders=bytes(32), certificate=bytes(32),
)  # fmt: skip


class Token:
    """An RSA key in memory, behind the step that a token does."""

    def __init__(self, method: str) -> None:
        self.hashed = HASHES[method]
        self.recipient = rsa_recipient(MODULUS, method)

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        oaep = padding.OAEP(padding.MGF1(self.hashed()), self.hashed(), None)
        return SecretBytes(KEY.decrypt(enc, oaep))

    def envelope(self) -> Envelope:
        sealed = seal_share(SecretBytes(SHARE), BINDING, [self.recipient], os.urandom)
        return Envelope.parse(sealed.to_bytes())


@pytest.mark.parametrize("method", sorted(HASHES))
def test_a_share_comes_back(method: str) -> None:
    token = Token(method)
    envelope = token.envelope()
    assert [slot.method for slot in envelope.slots] == [method]
    with unseal_share(envelope, BINDING, token.recipient, token.unlock) as share:
        assert bytes(share.expose()) == SHARE


@pytest.mark.case("X943", "one bit of a slot under a wrapped key changed")
def test_every_bit_counts() -> None:
    token = Token(RSA_OAEP_SHA256)
    raw = token.envelope().to_bytes()
    start = raw.index(b'"ciphertext":"') + len(b'"ciphertext":"')
    for position in range(start, start + 96, 5):
        digit = b"0" if raw[position : position + 1] != b"0" else b"1"
        flipped = raw[:position] + digit + raw[position + 1 :]
        with pytest.raises(SealError) as refused:
            unseal_share(Envelope.parse(flipped), BINDING, token.recipient, token.unlock)
        assert refused.value.code == "E_UNSEAL"


@pytest.mark.case("X943", "what was sealed for another purpose")
def test_what_it_is_for_counts_too() -> None:
    token = Token(RSA_OAEP_SHA256)
    sealed = seal_wrapped(
        token.recipient, b"one", b"", SecretBytes(SHARE), os.urandom, oaep_wrap(token.recipient)
    )
    with open_wrapped(sealed, token.recipient, b"one", b"", token.unlock) as share:
        assert bytes(share.expose()) == SHARE
    with pytest.raises(SealError):
        open_wrapped(sealed, token.recipient, b"other", b"", token.unlock)


@pytest.mark.case("X943", "the same key wrapped anew beside the old ciphertext")
def test_how_the_key_travelled_counts_too() -> None:
    token = Token(RSA_OAEP_SHA256)
    envelope = token.envelope()
    (slot,) = envelope.slots
    with token.unlock(slot.enc, b"") as kek:
        again = oaep_wrap(token.recipient)(kek, b"")
    changed = replace(envelope, slots=(replace(slot, enc=again),))
    with pytest.raises(SealError) as refused:
        unseal_share(changed, BINDING, token.recipient, token.unlock)
    assert refused.value.code == "E_UNSEAL"


@pytest.mark.case(
    "X944", "slot whose method is not its key's, or whose wrapped key has another size"
)
def test_a_slot_says_what_its_key_is() -> None:
    raw = Token(RSA_OAEP_SHA256).envelope().to_bytes()
    with pytest.raises(SchemaError, match="the recipient is a key for rsa-oaep-sha256"):
        Envelope.parse(raw.replace(b'"rsa-oaep-sha256"', b'"rsa-oaep-sha1"'))
    with pytest.raises(SchemaError, match="the recipient is a key for rsa-oaep-sha256"):
        Envelope.parse(raw.replace(b'"rsa-oaep-sha256"', b'"hpke-p256"'))
    with pytest.raises(SchemaError, match="256 bytes"):
        Envelope.parse(raw.replace(b'"enc":"', b'"enc":"00'))


@pytest.mark.case("X945", "wrapped key of another length")
@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_wrapped_key_has_32_bytes(size: int) -> None:
    token = Token(RSA_OAEP_SHA256)
    with pytest.raises(SealError) as refused:
        unseal_share(
            token.envelope(), BINDING, token.recipient, lambda enc, aad: SecretBytes(bytes(size))
        )
    assert refused.value.code == "E_UNSEAL"


# What a recipient looks like


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.parametrize("method", sorted(HASHES))
def test_an_rsa_key_is_its_public_key_info_with_the_hash_in_it(bits: int, method: str) -> None:
    public = rsa.generate_private_key(65537, bits).public_key()
    recipient = rsa_recipient(public.public_numbers().n.to_bytes(bits // 8), method)
    assert (method_of(recipient), rsa_modulus(recipient)) == (method, public.public_numbers().n)
    # The bit string is what `cryptography` writes; only the algorithm before it is another one.
    plain = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert recipient.endswith(plain[plain.index(b"\x03\x82") :])


@pytest.mark.case("X946", "recipient that is no point, no RSA key for OAEP, and no AES key")
@pytest.mark.parametrize(
    "recipient",
    [
        b"", b"\0" * 16, b"\0" * 18, b"\x04" + b"\x11" * 64,
        KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        rsa_recipient(MODULUS, RSA_OAEP_SHA1)[:-1] + b"\x03",  # exponent
        rsa_recipient(MODULUS, RSA_OAEP_SHA1).replace(MODULUS, MODULUS[:-1] + b"\0"),  # even
        rsa_recipient(MODULUS, RSA_OAEP_SHA1).replace(MODULUS, b"\x7f" + MODULUS[1:]),
        rsa_recipient(MODULUS, RSA_OAEP_SHA1) + b"\0",
    ],
)  # fmt: skip
def test_what_is_no_recipient(recipient: bytes) -> None:
    with pytest.raises(EncodingError):
        method_of(recipient)
    with pytest.raises((EncodingError, SchemaError)):
        parse_recipient(recipient.hex(), "x")


@pytest.mark.case("X946", "RSA modulus of another size, or even")
@pytest.mark.parametrize(
    "modulus", [b"", b"\xff" * 128, b"\xff" * 257, b"\x01" + MODULUS[1:], MODULUS[:-1] + b"\0"]
)
def test_moduli_that_are_not_used(modulus: bytes) -> None:
    with pytest.raises(EncodingError):
        rsa_recipient(modulus, RSA_OAEP_SHA256)


def test_an_aes_key_is_named() -> None:
    recipient = aes_recipient(bytes(range(16)))
    assert method_of(recipient) == AES_256_GCM
    assert parse_recipient(recipient.hex(), "x") == recipient
    with pytest.raises(SealError, match="only its own token"):
        seal_share(SecretBytes(SHARE), BINDING, [recipient], os.urandom)


@given(st.binary(max_size=700))
def test_anything_else_is_refused_in_order(raw: bytes) -> None:
    try:
        method_of(raw)
    except EncodingError:
        return
    assert len(raw) in (17, 65) or raw[:1] == b"\x30"

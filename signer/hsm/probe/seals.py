"""Known-answer tests of what shares are sealed by, and of signatures.

The token's step is done as the program does it. What it answers is compared with what
this host computes from the public half.
"""

import os
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import KeyType, Mechanism

from signer.errors import SignerError
from signer.hsm.keys import SIGNATURE_BYTES
from signer.hsm.pairs import plain_point, rsa_public
from signer.hsm.probe.bench import Bench, Made, timed
from signer.hsm.probe.steps import Seen
from signer.hsm.provenance import Provenance
from signer.hsm.receiving import ReceivingKey, ecdh_challenge, gcm_parameters, oaep_challenge
from signer.hsm.session import handle_of
from signer.recipient import AES_256_GCM, RSA_OAEP_SHA1, RSA_OAEP_SHA256, aes_recipient
from signer.secret import SecretBytes

_AAD, _OTHER_AAD = b"signer probe", b"signer prove"
_UNPROVEN = Provenance(proven=False)
_NONCE_BYTES = 12


def p256_keys(bench: Bench) -> Seen:
    """Make a pair to derive with, and one to sign with."""
    made = [bench.key(kind) for kind in ("derive", "sign")]
    return _made("p256-keys", made)


def aes_keys(bench: Bench) -> Seen:
    """Make an AES key of 256 bits."""
    return _made("aes-keys", [bench.key("aes")])


def rsa_keys(bench: Bench) -> Seen:
    """Make an RSA pair."""
    made = bench.key("rsa")
    assert made.public is not None  # noqa: S101 - a pair has two halves
    bits = 8 * len(bytes(made.public[Attribute.MODULUS]).lstrip(b"\0"))
    return _made("rsa-keys", [made], {"rsa_bits": bits})


def _made(step: str, keys: list[Made], facts: dict[str, int] | None = None) -> Seen:
    refused = not all(key.explicit for key in keys)
    words = "only if no usage is named false" if refused else ""
    all_facts = {"explicit_refused": refused} | (facts or {})
    return Seen(step=step, outcome="works", detail=words, facts=all_facts)


def hpke_p256(bench: Bench) -> Seen:
    """Do ECDH with a fresh point of the host's, by CKM_ECDH1_DERIVE with CKD_NULL."""
    made = bench.key_that("derive", "derive_key")
    key = _receiving(bench, "derive", point(made))
    return _compared("hpke-p256", key, ecdh_challenge(key.public_point))


def rsa_oaep_sha256(bench: Bench) -> Seen:
    """Decrypt what the host encrypted."""
    return _oaep(bench, RSA_OAEP_SHA256)


def rsa_oaep_sha1(bench: Bench) -> Seen:
    """Decrypt what the host encrypted, with SHA-1 as the hash."""
    return _oaep(bench, RSA_OAEP_SHA1)


def _oaep(bench: Bench, method: str) -> Seen:
    made = bench.key("rsa")
    assert made.public is not None  # noqa: S101 - a pair has two halves
    modulus = bytes(made.public[Attribute.MODULUS])
    exponent = bytes(made.public[Attribute.PUBLIC_EXPONENT])
    key = _receiving(bench, "rsa", rsa_public(modulus, exponent, method, "the key"))
    return _compared(method, key, oaep_challenge(key.public_point))


def _receiving(bench: Bench, kind: str, public: bytes) -> ReceivingKey:
    return ReceivingKey(public, _UNPROVEN, bench.key(kind).private, bench.session)


def _compared(step: str, key: ReceivingKey, challenge: tuple[bytes, SecretBytes]) -> Seen:
    enc, expected = challenge
    wrong = 0

    def once() -> None:
        nonlocal wrong
        with key.unlock(enc, b"") as answer:
            wrong += answer != expected

    with expected:
        times = timed(once)
    if wrong:
        return Seen(step=step, outcome="wrong", detail=f"{wrong} of {len(times)} results are false")
    return Seen(step=step, outcome="works", times=times)


def ecdsa_p256(bench: Bench) -> Seen:
    """Sign digests, and verify the signatures on the host."""
    made = bench.key_that("sign", "sign")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point(made))
    wrong = 0

    def once() -> None:
        nonlocal wrong
        digest = os.urandom(32)
        wrong += not verifies(public, digest, sign(made.private, digest))

    times = timed(once)
    if wrong:
        words = f"{wrong} of {len(times)} signatures are false"
        return Seen(step="ecdsa-p256", outcome="wrong", detail=words)
    return Seen(step="ecdsa-p256", outcome="works", times=times)


def sign(private: Any, digest: bytes) -> bytes:
    """Return the token's signature over `digest`."""
    return bytes(private.sign(digest, mechanism=Mechanism.ECDSA))


def verifies(public: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is r‖s of 64 bytes that the host takes."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    half = SIGNATURE_BYTES // 2
    r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
    try:
        public.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def aes_256_gcm(bench: Bench) -> Seen:
    """Wrap and unwrap on the token; with other data beside it, and changed, it must not unwrap."""
    made = bench.key("aes")
    key = ReceivingKey(aes_recipient(made.key_id), _UNPROVEN, made.private, bench.session)
    wrong: list[str] = []
    with SecretBytes(os.urandom(32)) as kek:
        wrapped = key.wrap(kek, _AAD)

        def once() -> None:
            with key.unlock(wrapped, _AAD) as answer:
                if answer != kek:
                    wrong.append("it does not open what it sealed")

        times = timed(once)
        if _opens(key, wrapped, _OTHER_AAD):
            wrong.append("wrong associated data is taken")
        if _opens(key, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), _AAD):
            wrong.append("a changed tag is taken")
    on_host = _same_as_host(bench)
    if on_host is False:
        wrong.append("it does not open what the host sealed")
    if wrong:
        return Seen(step=AES_256_GCM, outcome="wrong", detail=wrong[0])
    facts = {} if on_host is None else {"host_checked": True}
    words = "compared with the host's" if on_host else "opened what it sealed itself"
    return Seen(step=AES_256_GCM, outcome="works", detail=words, facts=facts, times=times)


def _opens(key: ReceivingKey, wrapped: bytes, aad: bytes) -> bool:
    try:
        key.unlock(wrapped, aad).wipe()
    except SignerError:
        return False
    return True


def _same_as_host(bench: Bench) -> bool | None:
    """Tell whether a key that both have gives the same; None if the token takes none."""
    plain, nonce, data = os.urandom(32), os.urandom(_NONCE_BYTES), os.urandom(32)
    template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: plain,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
    }
    module, session = bench.session.module, handle_of(bench.session.session)
    sealed = AESGCM(plain).encrypt(nonce, data, _AAD)
    try:
        key = bench.bring(template)
    except PKCS11Error:
        return None
    parameters = gcm_parameters(nonce, _AAD)
    try:
        with module.decrypt(session, key.handle, Mechanism.AES_GCM, parameters, sealed) as opened:
            return bool(opened.expose() == data)
    except PKCS11Error:
        return False
    finally:
        key.destroy()


def point(made: Made) -> bytes:
    """Return the public point of a pair, plain.

    Raises:
        PKCS11Error: the token does not tell it.
    """
    assert made.public is not None  # noqa: S101 - a pair has two halves
    return plain_point(bytes(made.public[Attribute.EC_POINT]))


TESTS: dict[str, Callable[[Bench], Seen]] = {
    "p256-keys": p256_keys,
    "hpke-p256": hpke_p256,
    "ecdsa-p256": ecdsa_p256,
    "aes-keys": aes_keys,
    "aes-256-gcm": aes_256_gcm,
    "rsa-keys": rsa_keys,
    "rsa-oaep-sha256": rsa_oaep_sha256,
    "rsa-oaep-sha1": rsa_oaep_sha1,
}

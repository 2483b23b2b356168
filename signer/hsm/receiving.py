"""The key on a token that opens what is sealed to its holder.

It does its own step only: ECDH with an ephemeral point, or the unwrapping of a key. What follows is
`signer.sealing`'s, for whom the step is a function.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pkcs11 import exceptions
from pkcs11.constants import Attribute
from pkcs11.mechanisms import KDF, MGF, KeyType, Mechanism

from signer.errors import EncodingError, MechanismError, ProvenanceError, SealError, TokenError
from signer.hsm.cryptoki import GcmParams, OaepParams
from signer.hsm.provenance import Provenance
from signer.hsm.session import TokenSession, handle_of
from signer.p256 import is_point
from signer.recipient import (
    AES_256_GCM,
    HPKE_P256,
    RSA_EXPONENT,
    RSA_OAEP_SHA1,
    method_of,
    rsa_modulus,
)
from signer.secret import SecretBytes

RECEIVING_LABEL = "epoch-kex"
SHARED_BYTES = 32  # x of the shared point; also a wrapped key

_NONCE_BYTES, _TAG_BYTES = 12, 16
_DATA_SPECIFIED = 1  # CKZ_DATA_SPECIFIED
_NOT_OFFERED = (exceptions.MechanismInvalid, exceptions.MechanismParamInvalid)
# What modules answer to bytes that they do not decrypt; SoftHSM 2.6 says CKR_GENERAL_ERROR, NSS of
# some CKR_ARGUMENTS_BAD.
_NOT_DECRYPTED = (
    exceptions.ArgumentsBad,
    exceptions.GeneralError,
    exceptions.FunctionFailed,
    exceptions.DataInvalid,
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
)


@dataclass(frozen=True, slots=True)
class ReceivingKey:
    """The key that envelopes are sealed to, on the token."""

    public_point: bytes  # as `signer.recipient` has it
    provenance: Provenance
    _private: Any = field(repr=False)
    _session: TokenSession = field(repr=False)

    @property
    def method(self) -> str:
        """How it is sealed to, one of `signer.recipient.METHODS`."""
        return method_of(self.public_point)

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        """Do the token's step of opening; return 32 bytes.

        Args:
            enc: what travelled beside the ciphertext.
            aad: associated data, for a token that decrypts with it itself.

        Raises:
            SealError: E_UNSEAL: the token does not unwrap it, or it is too long or too short.
            EncodingError: `enc` is no point of P-256, where it must be one.
            TokenError: the token refused, or gave a result of another length.
        """
        if self.method == HPKE_P256:
            return self.ecdh(enc)
        # Not shown to the token: modules differ in what they say of it.
        if len(enc) != self._wrapped_bytes:
            raise SealError(
                f"cannot unseal: a wrapped key of {len(enc)} bytes, {self._wrapped_bytes} are "
                f"expected for {self.method}",
                hint="take the envelope from your backup",
            )
        if self.method == AES_256_GCM:
            nonce, data = enc[:_NONCE_BYTES], enc[_NONCE_BYTES:]
            return self._decrypt(Mechanism.AES_GCM, gcm_parameters(nonce, aad), data)
        return self._decrypt(Mechanism.RSA_PKCS_OAEP, _oaep(self.method), enc)

    def ecdh(self, peer_point: bytes) -> SecretBytes:
        """Return the 32-byte x of this key times `peer_point`, an uncompressed P-256 point.

        Raises:
            EncodingError: `peer_point` is no such point; the token never saw it.
            TokenError: the token refused, or gave a result of another length.
        """
        if not is_point(peer_point):
            raise EncodingError("the peer's key is not a point of P-256")
        with self._session.doing("ECDH"):
            shared = self._private.derive_key(
                KeyType.GENERIC_SECRET,
                8 * SHARED_BYTES,
                capabilities=0,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, peer_point),
                template={
                    Attribute.SENSITIVE: False,
                    Attribute.EXTRACTABLE: True,
                    Attribute.PRIVATE: False,
                },
            )
            try:
                secret = self._session.module.read_secret(
                    handle_of(self._session.session), shared.handle, 4 * SHARED_BYTES
                )
            finally:
                shared.destroy()
        return self._of_size(secret, "an ECDH result")

    def wrap(self, kek: SecretBytes, aad: bytes) -> bytes:
        """Wrap a 32-byte key on the token: nonce, ciphertext, tag. For an AES key only."""
        if self.method != AES_256_GCM:
            raise ValueError(f"a key for {self.method} wraps nothing on its token")
        nonce = os.urandom(_NONCE_BYTES)
        with self._session.doing("wrapping a key"):
            wrapped = self._session.module.encrypt(
                handle_of(self._session.session), self._private.handle, Mechanism.AES_GCM,
                gcm_parameters(nonce, aad), kek, SHARED_BYTES + _TAG_BYTES,
            )  # fmt: skip
        return nonce + wrapped

    @property
    def wraps(self) -> dict[bytes, Callable[[SecretBytes, bytes], bytes]]:
        """This key's `wrap`, where sealing to it takes the token itself; for `seal_share`."""
        return {self.public_point: self.wrap} if self.method == AES_256_GCM else {}

    def require_own_point(self) -> None:
        """Have the token prove that `public_point` is this private key's.

        A public key object is not behind the PIN: whoever reaches the module can put his own in its
        place, and shares would be sealed to him. So before anybody is given the key, the token has
        to open what was made for it. An AES key has no public half, and opens what it wrapped.

        Raises:
            ProvenanceError: the public key is of another key.
            MechanismError: the token cannot use the key.
        """
        enc, expected = self._challenge()
        with expected:
            try:
                with self.unlock(enc, b"") as answer:
                    same = answer == expected
            except SealError:
                same = False
        if not same:
            raise ProvenanceError(
                f"key {RECEIVING_LABEL!r} on {self._session.token.describe()}: its public key "
                "object is of another key",
                hint="somebody changed the token: do not use it, tell the pool",
            )

    @property
    def _wrapped_bytes(self) -> int:
        """How long a wrapped key is; never asked where there is none, for HPKE."""
        if self.method == AES_256_GCM:
            return _NONCE_BYTES + SHARED_BYTES + _TAG_BYTES
        return rsa_modulus(self.public_point).bit_length() // 8

    def _challenge(self) -> tuple[bytes, SecretBytes]:
        """Return what `unlock` takes, and what it must give."""
        if self.method == HPKE_P256:
            return ecdh_challenge(self.public_point)
        if self.method != AES_256_GCM:
            return oaep_challenge(self.public_point)
        key = SecretBytes(os.urandom(SHARED_BYTES))
        return self.wrap(key, b""), key

    def _decrypt(self, mechanism: Mechanism, parameters: Any, data: bytes) -> SecretBytes:
        key = self._private.handle
        # In a session of its own: tpm2-pkcs11 keeps a decryption open that failed, and no call ends
        # it, so nothing could be decrypted in the same session any more.
        with self._session.writable() as session, self._session.doing("unwrapping a key"):
            try:
                secret = self._session.module.decrypt(
                    handle_of(session), key, mechanism, parameters, data
                )
            except _NOT_OFFERED as error:
                raise MechanismError(
                    f"{self._session.token.describe()} does not do {self.method} "
                    f"({type(error).__name__})",
                    hint="its profile names a method that the module does not have: choose another",
                ) from None
            except _NOT_DECRYPTED as error:
                raise SealError(
                    f"cannot unseal: {self._session.token.describe()} does not unwrap the key "
                    f"({type(error).__name__})",
                    hint="take the envelope from your backup, and check which token is plugged in",
                ) from None
        return self._of_size(secret, "a wrapped key")

    def _of_size(self, secret: SecretBytes, what: str) -> SecretBytes:
        if len(secret) != SHARED_BYTES:
            size = len(secret)
            secret.wipe()
            raise TokenError(
                f"{self._session.token.describe()} gave {what} of {size} bytes, "
                f"{SHARED_BYTES} are expected"
            )
        return secret


def _oaep(method: str) -> OaepParams:
    if method == RSA_OAEP_SHA1:
        return OaepParams(Mechanism.SHA_1, MGF.SHA1, _DATA_SPECIFIED, None, 0)
    return OaepParams(Mechanism.SHA256, MGF.SHA256, _DATA_SPECIFIED, None, 0)


def gcm_parameters(nonce: bytes, aad: bytes) -> GcmParams:
    """Return the parameters of AES-GCM as envelopes are wrapped: a tag of 16 bytes."""
    return GcmParams(nonce, len(nonce), 8 * len(nonce), aad, len(aad), 8 * _TAG_BYTES)


# Only cards and ceremonies prove a key; a worker that signs is spared these imports, 10 ms.


def ecdh_challenge(point: bytes) -> tuple[bytes, SecretBytes]:
    """Return a fresh point, and what ECDH with it must give."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    fresh = ec.generate_private_key(ec.SECP256R1())
    enc = fresh.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    claimed = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return enc, SecretBytes(fresh.exchange(ec.ECDH(), claimed))


def oaep_challenge(recipient: bytes) -> tuple[bytes, SecretBytes]:
    """Return a fresh key, wrapped for `recipient`, and the key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    hashed: Callable[[], hashes.HashAlgorithm] = hashes.SHA256
    if method_of(recipient) == RSA_OAEP_SHA1:
        hashed = hashes.SHA1
    key = rsa.RSAPublicNumbers(RSA_EXPONENT, rsa_modulus(recipient)).public_key()
    fresh = os.urandom(SHARED_BYTES)
    oaep = padding.OAEP(padding.MGF1(hashed()), hashed(), None)
    return key.encrypt(fresh, oaep), SecretBytes(fresh)

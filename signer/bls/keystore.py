"""EIP-2335 keystores: one BLS key encrypted under a password.

What a stranger may have written is read with limits, so that a keystore can neither be misread nor
make this machine work for hours. A keystore of a *signing* key is refused: who splits that one has
not moved the withdrawal key.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from signer.bls.eip2333 import parse_path
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.errors import EncodingError, KeystoreError
from signer.secret import SecretBytes, wipe_buffer
from signer.strict import Fields, parse_object

MAX_BYTES = 64 * 1024

_KEY_BYTES = 32
_MAX_SALT_BYTES = 128
_MAX_SCRYPT_MEMORY = 2**30  # bytes: 128·n·r; the usual n=2**18, r=8 takes a quarter of it
_MAX_SCRYPT_N = 2**20
_MAX_SCRYPT_P = 8
_MIN_PBKDF2_ROUNDS = 2  # one round stretches nothing: a broken tool, or a changed file
_MAX_PBKDF2_ROUNDS = 2**24
_KINDS = {4: "withdrawal", 5: "signing"}  # by the steps of the path (EIP-2334)
_TEXT = r"[^\x00-\x1f]*"
_CONTROL_CODES = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # C0, DEL, C1: EIP-2335 strips them


@dataclass(frozen=True, slots=True)
class Scrypt:
    """scrypt's parameters, within the limits above."""

    n: int
    r: int
    p: int
    salt: bytes

    def derive(self, password: bytearray) -> bytes:
        """Return the 32-byte decryption key."""
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=128 * self.r * (self.n + self.p + 2),
            dklen=_KEY_BYTES,
        )


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """PBKDF2-HMAC-SHA256's parameters, within the limits above."""

    rounds: int
    salt: bytes

    def derive(self, password: bytearray) -> bytes:
        """Return the 32-byte decryption key."""
        return hashlib.pbkdf2_hmac("sha256", password, self.salt, self.rounds, _KEY_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keystore:
    """A keystore that was read but not opened."""

    kdf: Scrypt | Pbkdf2
    checksum: bytes
    iv: bytes
    ciphertext: bytes
    path: str
    pubkey: bytes | None

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read version 4 of the format; `description`, `name` and `pubkey` may be absent.

        Raises:
            SchemaError: not this format.
            KeystoreError: a parameter that is unsafe or would cost too much.
        """
        fields = Fields(parse_object(raw, what="keystore", max_bytes=MAX_BYTES), "keystore")
        fields.constant("version", 4)
        fields.string("uuid", pattern=r"[0-9A-Fa-f-]*", max_length=64)
        path = fields.string("path", pattern=r"[0-9m/]*")
        pubkey = fields.hex_bytes("pubkey", 48) if fields.has("pubkey") else None
        for optional in ("description", "name"):
            if fields.has(optional):
                fields.string(optional, pattern=_TEXT, max_length=4096)
        crypto = fields.nested("crypto")
        kdf = _parse_kdf(crypto.nested("kdf"))
        checksum = crypto.nested("checksum")
        checksum.constant("function", "sha256")
        checksum.nested("params").done()
        digest = checksum.hex_bytes("message", 32)
        checksum.done()
        cipher = crypto.nested("cipher")
        cipher.constant("function", "aes-128-ctr")
        params = cipher.nested("params")
        iv = params.hex_bytes("iv", 16)
        params.done()
        ciphertext = cipher.hex_bytes("message", _KEY_BYTES)
        cipher.done()
        crypto.done()
        fields.done()
        return cls(kdf=kdf, checksum=digest, iv=iv, ciphertext=ciphertext, path=path, pubkey=pubkey)

    def require_path(self, *, signing: bool) -> None:
        """Refuse a keystore that says it holds another kind of key. An empty path says nothing.

        Args:
            signing: whether it should be a validator's signing key and not a withdrawal key.

        Raises:
            KeystoreError: the path is another kind of key's, or nobody's we know (E_KEY_PATH).
        """
        if self.path == "":
            return
        steps = parse_path(self.path)
        ours, other = ("signing", "withdrawal") if signing else ("withdrawal", "signing")
        known = steps[:2] == (12381, 3600) and not any(steps[3:]) and _KINDS.get(len(steps))
        if known == other:
            raise KeystoreError(
                f"keystore: {self.path} is a {other} key, not a {ours} key",
                hint="the withdrawal key's path has no last /0; derive it from the mnemonic",
                code="E_KEY_PATH",
            )
        if known != ours:
            raise KeystoreError(
                f"keystore: {self.path!r} is not the path of a {ours} key",
                hint=f"a {ours} key's path is m/12381/3600/i/0{'/0' if signing else ''}",
                code="E_KEY_PATH",
            )

    def decrypt(self, password: SecretBytes) -> SecretScalar:
        """Return the key.

        Raises:
            KeystoreError: the password is wrong (E_KEYSTORE_PASSWORD), or what is inside is no key
                or not the one of `pubkey`.
        """
        normalised = _normalise(password)
        try:
            derived = SecretBytes(self.kdf.derive(normalised))
        finally:
            wipe_buffer(normalised)
        with derived:
            check = hashlib.sha256(derived.expose()[16:])
            check.update(self.ciphertext)
            if check.digest() != self.checksum:
                raise KeystoreError(
                    "keystore: the password is wrong, or the file is damaged",
                    code="E_KEYSTORE_PASSWORD",
                )
            return self._open(derived)

    def _open(self, derived: SecretBytes) -> SecretScalar:
        plain = bytearray(_KEY_BYTES + 15)  # what update_into asks for: a block less one on top
        try:
            cipher = Cipher(algorithms.AES(derived.expose()[:16]), modes.CTR(self.iv))
            cipher.decryptor().update_into(self.ciphertext, plain)
            scalar = SecretScalar.from_big_endian(memoryview(plain)[:_KEY_BYTES])
        except EncodingError:
            raise KeystoreError("keystore: what is inside is not a BLS key") from None
        finally:
            wipe_buffer(plain)
        if self.pubkey is not None and public_key(scalar) != self.pubkey:
            scalar.wipe()
            raise KeystoreError("keystore: the key inside is not the one its pubkey names")
        return scalar


def open_keystore(raw: bytes, password: SecretBytes, *, signing: bool = False) -> SecretScalar:
    """Return the key in the keystore `raw`: a withdrawal key, or a validator's signing key.

    Raises:
        SchemaError: not a keystore.
        KeystoreError: wrong password (E_KEYSTORE_PASSWORD), another kind of key (E_KEY_PATH), or
            a keystore that is unsafe or contradicts itself (E_KEYSTORE).
    """
    keystore = Keystore.parse(raw)
    keystore.require_path(signing=signing)
    return keystore.decrypt(password)


def _parse_kdf(kdf: Fields) -> Scrypt | Pbkdf2:
    function = kdf.choice("function", ("scrypt", "pbkdf2"))
    kdf.constant("message", "")
    params = kdf.nested("params")
    kdf.done()
    _integer(params, "dklen", _KEY_BYTES, _KEY_BYTES)
    salt = bytes.fromhex(
        params.string("salt", pattern=r"(?:[0-9a-f]{2})+", max_length=2 * _MAX_SALT_BYTES)
    )
    if function == "pbkdf2":
        params.constant("prf", "hmac-sha256")
        rounds = _integer(params, "c", _MIN_PBKDF2_ROUNDS, _MAX_PBKDF2_ROUNDS)
        params.done()
        return Pbkdf2(rounds, salt)
    n = _integer(params, "n", 2, _MAX_SCRYPT_N)
    r = _integer(params, "r", 1, _MAX_SCRYPT_MEMORY)
    p = _integer(params, "p", 1, _MAX_SCRYPT_P)
    params.done()
    if n & (n - 1):
        raise KeystoreError("keystore: scrypt's n is not a power of two")
    if 128 * n * r > _MAX_SCRYPT_MEMORY:
        raise KeystoreError("keystore: scrypt would take more than 1 GiB of memory")
    return Scrypt(n, r, p, salt)


def _integer(params: Fields, name: str, low: int, high: int) -> int:
    value = params.integer(name, low=-(2**53), high=2**53)
    if not low <= value <= high:
        raise KeystoreError(f"keystore: {params.what} {name} must be in {low}..{high}")
    return value


def _normalise(password: SecretBytes) -> bytearray:
    try:
        text = unicodedata.normalize("NFKD", str(password.expose(), "utf-8"))
    except UnicodeDecodeError:
        raise KeystoreError("the password is not UTF-8", code="E_KEYSTORE_PASSWORD") from None
    return bytearray(_CONTROL_CODES.sub("", text).encode())

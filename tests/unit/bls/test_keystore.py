import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from signer.bls.keystore import MAX_BYTES, Keystore, open_keystore
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import public_key
from signer.errors import InputError, KeystoreError, SchemaError
from signer.secret import SecretBytes, wipe_buffer

KEY = (0x1234567).to_bytes(32, "big")
PASSWORD = "correct horse"
SALT, IV = bytes(range(32)), bytes(range(16))


def make(key: bytes = KEY, **kdf: Any) -> dict[str, Any]:
    """Write a keystore with a cheap key derivation."""
    if "c" in kdf:
        function, params = "pbkdf2", {"dklen": 32, "prf": "hmac-sha256", **kdf}
        derived = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, kdf["c"])
    else:
        function, params = "scrypt", {"dklen": 32, "n": 4, "r": 8, "p": 1, **kdf}
        derived = hashlib.scrypt(
            PASSWORD.encode(), salt=SALT, n=params["n"], r=params["r"], p=params["p"], dklen=32
        )
    encryptor = Cipher(algorithms.AES(derived[:16]), modes.CTR(IV)).encryptor()
    message = encryptor.update(key)
    checksum = hashlib.sha256(derived[16:32] + message).hexdigest()
    number = int.from_bytes(key, "big")
    keystore = {
        "crypto": {
            "kdf": {
                "function": function,
                "params": {**params, "salt": SALT.hex()},
                "message": "",
            },
            "checksum": {"function": "sha256", "params": {}, "message": checksum},
            "cipher": {
                "function": "aes-128-ctr",
                "params": {"iv": IV.hex()},
                "message": message.hex(),
            },
        },
        "description": "a test",
        "path": "m/12381/3600/5/0",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    }
    if 0 < number < GROUP_ORDER:
        keystore["pubkey"] = public_key(SecretScalar.from_big_endian(memoryview(key))).hex()
    return keystore


def opened(keystore: Any, password: str = PASSWORD) -> SecretScalar:
    return open_keystore(json.dumps(keystore).encode(), SecretBytes(password.encode()))


def holds_key(scalar: SecretScalar) -> bool:
    return scalar == SecretScalar.from_big_endian(memoryview(KEY))


def edited(change: Callable[[dict[str, Any]], Any], **kdf: Any) -> dict[str, Any]:
    keystore = make(**kdf)
    change(keystore)
    return keystore


@pytest.mark.parametrize("kdf", [{}, {"c": 2}, {"n": 2, "r": 1}, {"p": 8}])
def test_opens(kdf: dict[str, Any]) -> None:
    assert holds_key(opened(make(**kdf)))


@pytest.mark.parametrize(
    "change",
    [
        lambda k: k.pop("description"),
        lambda k: k.pop("pubkey"),
        lambda k: k.update(name="Büro, Tresor 2"),
        lambda k: k.update(path=""),
        lambda k: k.update(path="m/12381/3600/0/0"),
        lambda k: k.update(path="m/12381/3600/4294967295/0"),
    ],
)
def test_opens_what_is_found_in_the_wild(change: Callable[[dict[str, Any]], Any]) -> None:
    assert holds_key(opened(edited(change)))


@pytest.mark.parametrize(
    "typed",
    ["ｃｏｒｒｅｃｔ horse", "correct horse\n", "\x00correct\x7f\x85 ho\x1brse", "𝔠orrect horse"],
)
def test_the_password_is_normalised(typed: str) -> None:
    assert holds_key(opened(make(), typed))


@pytest.mark.case("F23", "wrong password")
@pytest.mark.parametrize("password", ["", "Correct horse", "correct horse ", "wrong"])
def test_wrong_password(password: str) -> None:
    refused(make(), "E_KEYSTORE_PASSWORD", "password is wrong", password)


@pytest.mark.case("X114", "keystore password that is not UTF-8")
def test_password_not_utf8() -> None:
    with pytest.raises(KeystoreError) as caught:
        open_keystore(json.dumps(make()).encode(), SecretBytes(b"\xff\xfe"))
    assert caught.value.code == "E_KEYSTORE_PASSWORD"


@pytest.mark.case("F23", "altered ciphertext or checksum")
@pytest.mark.parametrize("part", ["cipher", "checksum"])
def test_altered(part: str) -> None:
    def flip(keystore: dict[str, Any]) -> None:
        message = bytearray.fromhex(keystore["crypto"][part]["message"])
        message[7] ^= 1
        keystore["crypto"][part]["message"] = message.hex()

    refused(edited(flip), "E_KEYSTORE_PASSWORD", "damaged")


@pytest.mark.case("F23", "path of a signing key")
@pytest.mark.parametrize("number", [0, 7, 4294967295])
def test_signing_key(number: int) -> None:
    path = f"m/12381/3600/{number}/0/0"
    keystore = edited(lambda k: k.update(path=path))
    refused(keystore, "E_KEY_PATH", "is a signing key, not a withdrawal key")


@pytest.mark.case("F23", "path of another kind of key, or no path")
@pytest.mark.parametrize(
    "path", ["m", "m/12381/60/0/0", "m/12381/3600/0/1", "m/12381/3600/0", "m/12381/3600/0/0/0/0"]
)
def test_other_path(path: str) -> None:
    refused(edited(lambda k: k.update(path=path)), "E_KEY_PATH", "withdrawal key")


@pytest.mark.case("F23", "path that is not one")
@pytest.mark.parametrize("path", ["m/12381/3600/00/0", "m/12381/3600//0", "12381/3600/0/0"])
def test_malformed_path(path: str) -> None:
    refused(edited(lambda k: k.update(path=path)), "E_KEY_PATH", "key path")


@pytest.mark.case("F23", "pubkey field of another key")
def test_other_pubkey() -> None:
    other = make(key=(99).to_bytes(32, "big"))["pubkey"]
    refused(edited(lambda k: k.update(pubkey=other)), "E_KEYSTORE", "pubkey")


@pytest.mark.case("F23", "zero, r, or more inside")
@pytest.mark.parametrize("number", [0, GROUP_ORDER, 2**256 - 1])
def test_no_key_inside(number: int) -> None:
    refused(make(key=number.to_bytes(32, "big")), "E_KEYSTORE", "not a BLS key")


@pytest.mark.case("F23", "scrypt n=2**30 and other key derivations out of bounds")
@pytest.mark.parametrize(
    "params",
    [
        {"n": 2**30},
        {"n": 2**21},
        {"n": 0},
        {"n": 1},
        {"n": -2},
        {"n": 262143},
        {"n": 2**20, "r": 16},
        {"r": 2**30},
        {"r": 0},
        {"p": 0},
        {"p": 2**20},
        {"dklen": 16},
        {"dklen": 64},
    ],
)
def test_scrypt_bounds(params: dict[str, int]) -> None:
    keystore = edited(lambda k: k["crypto"]["kdf"]["params"].update(params))
    refused(keystore, "E_KEYSTORE", "scrypt|must be in")


@pytest.mark.case("F23", "pbkdf2 c=1, 0, 2**30")
@pytest.mark.parametrize("rounds", [1, 0, -1, 2**24 + 1, 2**30])
def test_pbkdf2_bounds(rounds: int) -> None:
    keystore = edited(lambda k: k["crypto"]["kdf"]["params"].update(c=rounds), c=2)
    refused(keystore, "E_KEYSTORE", "must be in")


@pytest.mark.case(
    "X115", "keystores that are not version 4, or have fields wrong, missing, unknown"
)
@pytest.mark.parametrize(
    "change",
    [
        lambda k: k.update(version=3),
        lambda k: k.update(version="4"),
        lambda k: k.update(version=True),
        lambda k: k.pop("path"),
        lambda k: k.pop("uuid"),
        lambda k: k.pop("crypto"),
        lambda k: k.update(extra=1),
        lambda k: k.update(pubkey="0x" + k["pubkey"]),
        lambda k: k.update(pubkey=k["pubkey"].upper()),
        lambda k: k.update(path=5),
        lambda k: k.update(description=["x"]),
        lambda k: k["crypto"].update(mac={}),
        lambda k: k["crypto"]["kdf"].update(function="argon2"),
        lambda k: k["crypto"]["kdf"].update(message="00"),
        lambda k: k["crypto"]["kdf"]["params"].update(salt=""),
        lambda k: k["crypto"]["kdf"]["params"].update(salt="abc"),
        lambda k: k["crypto"]["kdf"]["params"].update(salt="00" * 129),
        lambda k: k["crypto"]["kdf"]["params"].update(n="4"),
        lambda k: k["crypto"]["kdf"]["params"].update(n=True),
        lambda k: k["crypto"]["kdf"]["params"].update(c=2),
        lambda k: k["crypto"]["checksum"].update(function="sha512"),
        lambda k: k["crypto"]["checksum"]["params"].update(x=1),
        lambda k: k["crypto"]["cipher"].update(function="aes-256-ctr"),
        lambda k: k["crypto"]["cipher"].update(message="00" * 31),
        lambda k: k["crypto"]["cipher"]["params"].update(iv="00" * 15),
    ],
)
def test_not_the_format(change: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(SchemaError):
        opened(edited(change))


@pytest.mark.case("X116", "pbkdf2 with another hash")
def test_other_prf() -> None:
    keystore = edited(lambda k: k["crypto"]["kdf"]["params"].update(prf="hmac-sha1"), c=2)
    with pytest.raises(SchemaError, match="prf"):
        opened(keystore)


@pytest.mark.case("F2", "a keystore cut off anywhere")
def test_truncated() -> None:
    raw = json.dumps(make()).encode()
    for end in range(0, len(raw), len(raw) // 16):
        with pytest.raises(SchemaError):
            Keystore.parse(raw[:end])


@pytest.mark.case("F3", "a keystore of more than 64 KiB")
def test_too_large() -> None:
    raw = json.dumps(make()).encode()
    assert Keystore.parse(raw.ljust(MAX_BYTES)).path == "m/12381/3600/5/0"
    with pytest.raises(SchemaError, match="bytes"):
        Keystore.parse(raw.ljust(MAX_BYTES + 1))


def test_plain_and_derived_keys_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    from signer.bls import keystore as module

    wiped: list[bytes] = []

    def remember(buffer: bytearray) -> None:
        wiped.append(bytes(buffer))
        wipe_buffer(buffer)
        assert not any(buffer)

    monkeypatch.setattr(module, "wipe_buffer", remember)
    opened(make())
    assert [entry[:32] for entry in wiped] == [PASSWORD.encode(), KEY]
    del wiped[:]
    refused(make(), "E_KEYSTORE_PASSWORD", "wrong", "another")
    assert wiped == [b"another"]


def refused(keystore: Any, code: str, why: str, password: str = PASSWORD) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=why) as caught:
        opened(keystore, password)
    assert caught.value.code == code
    assert PASSWORD not in caught.value.line()
    assert KEY.hex() not in caught.value.line()
    assert time.monotonic() - started < 2

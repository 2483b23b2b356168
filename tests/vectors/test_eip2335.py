"""EIP-2335's two example keystores."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from signer.bls.keystore import Keystore, open_keystore
from signer.errors import KeystoreError
from signer.secret import SecretBytes

Vectors = Callable[[str], Any]


@pytest.mark.parametrize("position", [0, 1], ids=["scrypt", "pbkdf2"])
def test_example_opens_with_either_form_of_the_password(vectors: Vectors, position: int) -> None:
    example = vectors("eip/eip-2335-keystores.json")
    keystore = Keystore.parse(json.dumps(example["keystores"][position]).encode())
    expected = SecretBytes(bytes.fromhex(example["secret"].removeprefix("0x")))
    as_bytes = bytes.fromhex(example["password_bytes"].removeprefix("0x"))
    for password in (example["password_text"].encode(), as_bytes):
        with keystore.decrypt(SecretBytes(password)) as scalar, scalar.to_big_endian() as plain:
            assert plain == expected


@pytest.mark.case("F23", "keystore with the wrong password")
@pytest.mark.parametrize("position", [0, 1], ids=["scrypt", "pbkdf2"])
def test_example_with_a_wrong_password(vectors: Vectors, position: int) -> None:
    example = vectors("eip/eip-2335-keystores.json")
    keystore = Keystore.parse(json.dumps(example["keystores"][position]).encode())
    with pytest.raises(KeystoreError) as caught:
        keystore.decrypt(SecretBytes(b"testpassword"))
    assert caught.value.code == "E_KEYSTORE_PASSWORD"


@pytest.mark.case("F23", "keystore whose path is no withdrawal key's")
def test_example_is_no_withdrawal_key(vectors: Vectors) -> None:
    example = vectors("eip/eip-2335-keystores.json")
    with pytest.raises(KeystoreError) as caught:
        open_keystore(json.dumps(example["keystores"][0]).encode(), SecretBytes(b"any"))
    assert caught.value.code == "E_KEY_PATH"

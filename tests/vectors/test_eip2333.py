"""EIP-2333's own cases and the deposit CLI's keys."""

from collections.abc import Callable
from typing import Any

from signer.bls.eip2333 import derive_child, derive_master, derive_path, withdrawal_path
from signer.bls.mnemonic import mnemonic_to_seed
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.secret import SecretBytes

Vectors = Callable[[str], Any]


def seed_of(text: str) -> SecretBytes:
    return SecretBytes(bytes.fromhex(text.removeprefix("0x")))


def holds(scalar: SecretScalar, number: int) -> bool:
    with scalar.to_big_endian() as plain:
        return plain == SecretBytes(number.to_bytes(32, "big"))


def test_master_and_child(vectors: Vectors) -> None:
    cases = [*vectors("eip/eip-2333.json"), *vectors("deposit-cli/tree_kdf.json")["kdf_tests"]]
    for case in cases:
        master = derive_master(seed_of(case["seed"]))
        assert holds(master, int(case["master_SK"]))
        assert holds(derive_child(master, case["child_index"]), int(case["child_SK"]))
    assert len(cases) >= 8


def test_withdrawal_keys_of_the_deposit_cli(vectors: Vectors) -> None:
    inputs = vectors("deposit-cli/inputs.json")
    assert inputs["mnemonic_password"] == ""
    seed = mnemonic_to_seed(SecretBytes(inputs["mnemonic"].encode()))
    for index, key in enumerate(inputs["withdrawal_keys"]):
        assert withdrawal_path(index) == key["path"]
        scalar = derive_path(seed, key["path"])
        assert holds(scalar, int(key["secret_key"], 16))
        assert public_key(scalar).hex() == key["public_key"].removeprefix("0x")


def test_seeds_of_english_mnemonics(vectors: Vectors) -> None:
    """trezor/python-mnemonic's table; its passphrase is TREZOR throughout."""
    for _, words, seed, _ in vectors("deposit-cli/mnemonic-english.json"):
        assert mnemonic_to_seed(SecretBytes(words.encode()), SecretBytes(b"TREZOR")) == seed_of(
            seed
        )

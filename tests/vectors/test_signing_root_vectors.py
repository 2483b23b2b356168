"""Roots and files of others: consensus-specs' reference tests and the deposit CLI's own output."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signer.bls.eip2333 import derive_path, signing_path
from signer.bls.encoding import PublicKey, Signature
from signer.bls.mnemonic import mnemonic_to_seed
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key, sign, verify
from signer.errors import EncodingError
from signer.messages.address import ExecutionAddress
from signer.messages.networks import GNOSIS, MAINNET, Network
from signer.messages.result_files import deposit_data_file, signed_changes_file, signed_exit_file
from signer.messages.signing_root import (
    BLSToExecutionChange,
    DepositMessage,
    VoluntaryExit,
    bls_to_execution_change_domain,
    deposit_data_root,
    deposit_domain,
    deposit_message_root,
    signing_root,
    voluntary_exit_domain,
)
from signer.secret import SecretBytes

Vectors = Callable[[str], Any]
DEPOSIT_CLI = "deposit-cli/ethstaker-1.2.2"


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def verifies(key: PublicKey, root: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is one and is of `key` over `root`."""
    try:
        return verify(key, root, Signature(signature))
    except EncodingError:
        return False


def test_consensus_specs_reference_tests(vectors: Vectors) -> None:
    cases = vectors("consensus-specs/bls_to_execution_change.json")
    assert len(cases) == 85
    signed = 0
    for case in cases:
        network = replace(
            MAINNET,
            name=case["name"],
            genesis_fork_version=unhex(case["genesis_fork_version"]),
            genesis_validators_root=unhex(case["genesis_validators_root"]),
        )
        message = case["message"]
        change = BLSToExecutionChange(
            int(message["validator_index"]),
            PublicKey(unhex(message["from_bls_pubkey"])),
            ExecutionAddress(unhex(message["to_execution_address"])),
        )
        assert bls_to_execution_change_domain(network) == unhex(case["domain"])
        root = signing_root(change, network)
        assert root == unhex(case["signing_root"])
        if case["signature_verifies"]:
            assert verify(change.from_bls_pubkey, root, Signature(unhex(case["signature"])))
        if case["secret_key"] and case["signature_verifies"]:
            with SecretScalar.from_big_endian(bytearray(unhex(case["secret_key"]))) as key:
                assert sign(key, root) == unhex(case["signature"])
            signed += 1
    assert signed > 40


def test_the_deposit_clis_file_byte_for_byte(vectors: Vectors) -> None:
    """All but `deposit_cli_version`, which names the program that wrote the file."""
    theirs = vectors("deposit-cli/ethstaker-1.2.2/mainnet/bls_to_execution_change.json")
    keys = vectors("deposit-cli/inputs.json")["withdrawal_keys"]
    signed = []
    for entry, key in zip(theirs, keys, strict=False):
        change = BLSToExecutionChange(
            int(entry["message"]["validator_index"]),
            PublicKey(unhex(entry["message"]["from_bls_pubkey"])),
            ExecutionAddress.parse("0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac15"),
        )
        with SecretScalar.from_big_endian(bytearray(unhex(key["secret_key"]))) as scalar:
            signed.append((change, sign(scalar, signing_root(change, MAINNET))))
    ours = signed_changes_file(MAINNET, signed)
    for entry in theirs:
        entry["metadata"]["deposit_cli_version"] = json.loads(ours)[0]["metadata"][
            "deposit_cli_version"
        ]
    assert ours.decode() == json.dumps(theirs)
    for entry in theirs:
        del entry["metadata"]
    assert signed_changes_file(MAINNET, signed, metadata=False).decode() == json.dumps(theirs)


def test_consensus_specs_voluntary_exits(vectors: Vectors) -> None:
    """The Capella version whatever the state's fork is; Electra's and Deneb's are in there."""
    cases = vectors("consensus-specs/voluntary_exit.json")
    assert len(cases) == 84
    verified = signed = 0
    for case in cases:
        network = replace(
            MAINNET,
            name=case["name"],
            genesis_fork_version=unhex(case["genesis_fork_version"]),
            capella_fork_version=unhex(case["capella_fork_version"]),
            genesis_validators_root=unhex(case["genesis_validators_root"]),
        )
        message = case["message"]
        leaving = VoluntaryExit(int(message["epoch"]), int(message["validator_index"]))
        assert voluntary_exit_domain(network) == unhex(case["domain"])
        root = signing_root(leaving, network)
        assert root == unhex(case["signing_root"])
        signature = unhex(case["signature"])
        if case["validator_pubkey"] is not None:  # else: an index beyond the state's validators
            key = PublicKey(unhex(case["validator_pubkey"]))
            assert verifies(key, root, signature) == case["signature_verifies"]
        verified += case["signature_verifies"]
        if case["secret_key"] and case["signature_verifies"]:
            with SecretScalar.from_big_endian(bytearray(unhex(case["secret_key"]))) as scalar:
                assert sign(scalar, root) == signature
            signed += 1
    assert (verified, signed > 40) == (64, True)


def test_consensus_specs_deposits(vectors: Vectors) -> None:
    cases = vectors("consensus-specs/deposit.json")
    assert len(cases) == 68
    signed = 0
    for case in cases:
        version = unhex(case["genesis_fork_version"])
        network = replace(MAINNET, name=case["name"], genesis_fork_version=version)
        data = case["data"]
        if case["name"].startswith("key_validate_invalid"):
            with pytest.raises(EncodingError):
                PublicKey(unhex(data["pubkey"]))
            continue
        deposit = DepositMessage(
            PublicKey(unhex(data["pubkey"])),
            unhex(data["withdrawal_credentials"]),
            int(data["amount"]),
        )
        signature = unhex(data["signature"])
        assert deposit_domain(network) == unhex(case["domain"])
        assert deposit_message_root(deposit) == unhex(case["deposit_message_root"])
        assert deposit_data_root(deposit, signature) == unhex(case["deposit_data_root"])
        root = signing_root(deposit, network)
        assert root == unhex(case["signing_root"])
        assert verifies(deposit.pubkey, root, signature) == case["signature_verifies"]
        if case["secret_key"] and case["signature_verifies"]:
            with SecretScalar.from_big_endian(bytearray(unhex(case["secret_key"]))) as scalar:
                assert sign(scalar, root) == signature
            signed += 1
    assert signed > 40


@pytest.mark.parametrize("network", [MAINNET, GNOSIS], ids=lambda network: network.name)
def test_the_deposit_clis_exits_and_deposits_byte_for_byte(
    network: Network, vectors: Vectors
) -> None:
    """With the signing keys of its mnemonic; `deposit_cli_version` names who wrote the file."""
    inputs = vectors("deposit-cli/inputs.json")
    theirs = vectors(f"{DEPOSIT_CLI}/{network.name}/deposit_data.json")
    signed = []
    for number, entry in enumerate(theirs):
        seed = mnemonic_to_seed(SecretBytes(inputs["mnemonic"].encode()))
        with seed, derive_path(seed, signing_path(number)) as key:
            assert public_key(key).hex() == entry["pubkey"]
            deposit = DepositMessage(
                public_key(key), bytes.fromhex(entry["withdrawal_credentials"]), entry["amount"]
            )
            signed.append((deposit, sign(key, signing_root(deposit, network))))
            index = inputs["validator_indices"][number]
            leaving = VoluntaryExit(inputs["exit_epoch"], index)
            ours = signed_exit_file(leaving, sign(key, signing_root(leaving, network)))
        name = f"{DEPOSIT_CLI}/{network.name}/signed_exit_transaction-{index}.json"
        assert ours.decode() == json.dumps(vectors(name))
    written = deposit_data_file(network, signed)
    for entry in theirs:
        entry["deposit_cli_version"] = json.loads(written)[0]["deposit_cli_version"]
    assert written.decode() == json.dumps(theirs)


def test_remote_signing_apis_examples(vectors: Vectors) -> None:
    """Its exit is of before Capella: the version of its fork_info stands in Capella's place."""
    examples = vectors("remote-signing-api/sign-request-examples.json")
    leaving = examples["VOLUNTARY_EXIT"]
    fork = leaving["fork_info"]
    network = replace(
        MAINNET,
        capella_fork_version=unhex(fork["fork"]["current_version"]),
        genesis_validators_root=unhex(fork["genesis_validators_root"]),
    )
    message = leaving["voluntary_exit"]
    asked = VoluntaryExit(int(message["epoch"]), int(message["validator_index"]))
    assert signing_root(asked, network) == unhex(leaving["signingRoot"])

    paying = examples["DEPOSIT"]
    network = replace(
        MAINNET, genesis_fork_version=unhex(paying["deposit"]["genesis_fork_version"])
    )
    deposit = DepositMessage(
        PublicKey(unhex(paying["deposit"]["pubkey"])),
        unhex(paying["deposit"]["withdrawal_credentials"]),
        int(paying["deposit"]["amount"]),
    )
    assert signing_root(deposit, network) == unhex(paying["signingRoot"])

"""Roots and files of others: consensus-specs' reference tests and the deposit CLI's own output."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from signer.bls.encoding import PublicKey, Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign, verify
from signer.messages.address import ExecutionAddress
from signer.messages.networks import MAINNET
from signer.messages.result_files import signed_changes_file
from signer.messages.signing_root import (
    BLSToExecutionChange,
    bls_to_execution_change_domain,
    signing_root,
)

Vectors = Callable[[str], Any]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


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

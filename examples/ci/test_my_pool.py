"""Your own tests: a pool that signs, a pool with a bad token, and the bad token itself."""

import json
import subprocess

import pytest

from signer.errors import TooFewPartialsError

VALIDATORS = [12345, 67890]
TREASURY = "0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac15"


def test_a_pool_signs(signer_pool):
    pool = signer_pool(3, 5)
    signed = pool.sign(VALIDATORS, to=TREASURY)
    assert [entry["message"]["validator_index"] for entry in signed.messages] == ["12345", "67890"]
    assert len(signed.outcome.signers) == 3


def test_two_of_five_are_not_enough(signer_pool):
    pool = signer_pool(3, 5)
    with pytest.raises(TooFewPartialsError, match="2 of 3"):
        pool.sign(VALIDATORS, to=TREASURY, among={1, 2})


def test_a_token_that_fails_costs_nothing_but_its_partial(signer_pool):
    pool = signer_pool(3, 5, hostile={1})
    pool.hostile[1].fail("C_DeriveKey", 0x30)  # CKR_DEVICE_ERROR
    signed = pool.sign(VALIDATORS, to=TREASURY)
    assert 1 not in signed.outcome.signers
    assert signed.failures == {1: "E_TOKEN"}


def test_an_unplugged_token_is_reported(hostile_token):
    hostile_token.unplug()
    listed = subprocess.run(
        ["signer", "token", "list", "--module", str(hostile_token.module), "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(listed.stdout)["tokens"] == []

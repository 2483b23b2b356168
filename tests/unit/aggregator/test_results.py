"""What comes of a signing of each kind: the file, its name, the account of what is not in it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from signer.aggregator.outcome import outcome_of, result_file, result_stem
from signer.aggregator.tally import Tally
from signer.messages.items import KIND_DEPOSIT, KIND_VOLUNTARY_EXIT, Change, Deposit, Exit, Item
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from tests.simulators.holders import ADDRESS, NOW, SimulatedPool, seeded

POOL = SimulatedPool.new(2, 3)
VALIDATORS = SimulatedPool.new(2, 3, role="validator")
CREDENTIALS = b"\1" + bytes(11) + ADDRESS


def validator_request(kind: str, *items: Item) -> SignRequest:
    return SignRequest.new(VALIDATORS.group, items, expires=NOW, kind=kind)


EXIT = validator_request(KIND_VOLUNTARY_EXIT, Exit(1234567, 300_000))
DEPOSITS = validator_request(
    KIND_DEPOSIT, Deposit(CREDENTIALS, 32 * 10**9), Deposit(CREDENTIALS, 10**9)
)
CHANGES = POOL.request(7, 3)


def denying(reply: SignReply, position: int) -> SignReply:
    """Return `reply` without its partial at `position`."""
    partials = tuple(None if p == position else part for p, part in enumerate(reply.partials))
    return replace(reply, partials=partials, denied=(Denial(position, "E_TARGET", "no"),))


def tally_of(pool: SimulatedPool, request: SignRequest, *, without: int | None = None) -> Tally:
    """Return the tally of two holders' answers, who both deny the item at `without`."""
    tally = Tally(request, pool.group, seeded(3))
    for index in (1, 3):
        reply = pool.reply(index, request)
        if without is not None:
            reply = pool.witnessed(index, denying(reply, without))
        assert tally.add(f"agent-{index}", reply)
    tally.combine()
    return tally


def test_an_exit_is_one_object() -> None:
    tally = tally_of(VALIDATORS, EXIT)
    written = json.loads(result_file(tally, metadata=True))
    assert written["message"] == {"epoch": "300000", "validator_index": "1234567"}
    assert written["signature"] == "0x" + bytes(tally.signatures[0] or b"").hex()
    assert result_file(tally, metadata=False) == result_file(tally, metadata=True)
    assert result_stem(EXIT) == "signed_exit_transaction-1234567"


def test_deposits_are_a_list_in_the_requests_order() -> None:
    tally = tally_of(VALIDATORS, DEPOSITS)
    written = json.loads(result_file(tally, metadata=True))
    assert [entry["amount"] for entry in written] == [32 * 10**9, 10**9]
    assert [entry["pubkey"] for entry in written] == [bytes(VALIDATORS.group.public_key).hex()] * 2
    assert result_stem(DEPOSITS) == "deposit_data"


def test_changes_are_a_list_by_validator() -> None:
    written = json.loads(result_file(tally_of(POOL, CHANGES), metadata=True))
    assert [entry["message"]["validator_index"] for entry in written] == ["3", "7"]
    assert result_stem(CHANGES) == "bls_to_execution_change"


@pytest.mark.parametrize(
    ("pool", "request_", "account", "name"),
    [
        (POOL, CHANGES, {"item": 1, "validator_index": 7}, "validator 7"),
        (VALIDATORS, DEPOSITS, {"item": 1, "validator_index": None}, "deposit 2"),
    ],
    ids=["changes", "deposits"],
)
def test_what_was_denied_is_named_and_not_in_the_file(
    pool: SimulatedPool, request_: SignRequest, account: dict[str, Any], name: str
) -> None:
    tally = tally_of(pool, request_, without=1)
    outcome = outcome_of(tally, [])
    (unsigned,) = outcome.unsigned
    assert unsigned.name == name
    assert unsigned.to_json() == {
        **account,
        "result": "denied",
        "partials": 0,
        "denials": [{"index": 1, "code": "E_TARGET"}, {"index": 3, "code": "E_TARGET"}],
    }
    assert len(json.loads(result_file(tally, metadata=True))) == 1


@pytest.mark.case("R8", "partials of an exit answered for a change, under the same key")
def test_a_partial_of_another_kind_does_not_count() -> None:
    twin = SimulatedPool.new(2, 3)  # the same shares in another role
    assert twin.shares == VALIDATORS.shares
    change = twin.request(1234567)
    tally = Tally(change, twin.group, seeded(3))
    for index in (1, 3):
        partials = tuple(VALIDATORS.partials(index, EXIT))
        reply = replace(twin.reply(index, change), partials=partials)
        tally.add(f"agent-{index}", twin.witnessed(index, reply))
    tally.combine()
    assert tally.signatures == [None]
    assert {culprit.code for culprit in tally.culprits} == {"E_PARTIAL_INVALID"}


def test_a_change_in_a_request_is_one() -> None:
    assert all(isinstance(item, Change) for item in CHANGES.items)

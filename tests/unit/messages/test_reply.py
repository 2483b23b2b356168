import json
from typing import Any

import pytest

from signer.errors import SchemaError, ThresholdParameterError
from signer.messages.reply import Denial, SignReply
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.holders import SimulatedPool

POOL = SimulatedPool.new()
REQUEST = POOL.request(3, 5, 9)


def reply_with(**changes: Any) -> bytes:
    value = json.loads(reply().to_bytes()) | changes
    return canonical({name: field for name, field in value.items() if field is not ...})


def reply() -> SignReply:
    bare = SignReply(
        request_digest=REQUEST.digest,
        group_id=REQUEST.group_id,
        epoch=1,
        index=ShareIndex(2),
        partials=(b"\1" * 96, None, b"\3" * 96),
        denied=(Denial(1, "E_TARGET", "not allowed"),),
    )
    return POOL.witnessed(2, bare)


def test_a_reply_comes_out_as_it_went_in() -> None:
    assert SignReply.parse(reply().to_bytes(), REQUEST) == reply()


@pytest.mark.case("S1", "reply with an index of 0, n + 1, true, text")
@pytest.mark.parametrize("index", [0, -1, 101, True, "2", 2**255])
def test_a_replys_index_is_a_share_index(index: Any) -> None:
    raw = json.dumps(json.loads(reply().to_bytes()) | {"index": index}).encode()
    with pytest.raises((SchemaError, ThresholdParameterError)):
        SignReply.parse(raw, REQUEST)


@pytest.mark.case("S5", "reply to another request, of another group or epoch")
@pytest.mark.parametrize(
    "changes",
    [
        {"request": "00" * 32},
        {"group": "00" * 32},
        {"epoch": 2},
    ],
)
def test_a_reply_answers_its_request(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="another"):
        SignReply.parse(reply_with(**changes), REQUEST)


@pytest.mark.case("X3", "reply that does not account for every item")
@pytest.mark.parametrize(
    "changes",
    [
        {"partials": []},
        {"partials": ["01" * 96] * 3},
        {"partials": ["01" * 96, None, "03" * 96, None]},
        {"partials": ["01" * 95, None, "03" * 96]},
        {"partials": ["01" * 97, None, "03" * 96]},
        {"partials": [None, None, "03" * 96]},
        {"denied": []},
        {"denied": [{"item": 0, "code": "E_TARGET", "reason": ""}]},
        {"denied": [{"item": 1, "code": "boom", "reason": ""}]},
        {"denied": [{"item": 1, "code": "E_TARGET", "reason": "\x1b[2J"}]},
        {"denied": [{"item": 1, "code": "E_TARGET", "reason": "x" * 301}]},
        {"extra": 1},
        {"version": 1},
        {"denied": [{"item": 20_000, "code": "E_TARGET", "reason": ""}]},
    ],
)
def test_a_reply_accounts_for_every_item(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        SignReply.parse(reply_with(**changes), REQUEST)


@pytest.mark.case("X400", "reply with partials and no witness, or a witness and no partials")
@pytest.mark.parametrize("witness", [None, ..., {}, [], "witness"])
def test_partials_come_with_a_witness(witness: Any) -> None:
    with pytest.raises(SchemaError):
        SignReply.parse(reply_with(witness=witness), REQUEST)


def test_a_witness_comes_with_partials() -> None:
    denied = [{"item": p, "code": "E_TARGET", "reason": ""} for p in range(3)]
    nothing = {"partials": [None] * 3, "denied": denied}
    with pytest.raises(SchemaError, match="belongs to partials"):
        SignReply.parse(reply_with(**nothing), REQUEST)
    assert SignReply.parse(reply_with(**nothing, witness=None), REQUEST).witness is None


@pytest.mark.case("F14", "a card where a witness should be: payload of another type")
def test_a_witness_is_of_its_own_type() -> None:
    with pytest.raises(SchemaError, match="payloadType"):
        SignReply.parse(reply_with(witness=POOL.group.cards[1].to_json()), REQUEST)

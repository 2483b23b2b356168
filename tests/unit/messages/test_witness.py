"""Witnesses: a strict format, and a file of them."""

import json
from typing import Any

import pytest

from signer.errors import SchemaError
from signer.messages.witness import MAX_BYTES, Witness, parse_witnesses, witnesses_to_bytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.holders import SimulatedPool

POOL = SimulatedPool.new()
SIGNED = POOL.witness(1, sequence=2**53 - 1)


def test_a_witness_comes_out_as_it_went_in() -> None:
    id_sign = POOL.group.card_of(ShareIndex(1)).body.id_sign
    witness = Witness.open_with(SIGNED, id_sign)
    assert witness is not None
    assert Witness.parse(witness.to_payload()) == witness
    assert len(SIGNED.payload) < MAX_BYTES
    assert parse_witnesses(witnesses_to_bytes([SIGNED, POOL.witness(2)])) == (
        SIGNED,
        POOL.witness(2),
    )


@pytest.mark.case("X417", "witness with each field missing, unknown, or out of range")
def test_every_field_is_looked_at() -> None:
    true = json.loads(SIGNED.payload)
    wrong: dict[str, list[Any]] = {
        "type": ["signer-card"], "version": [2, True], "group": ["00"], "epoch": [0, 2**32],
        "index": [0, 101, "1"], "sequence": [-1, 2**53], "head": [None], "request": ["zz" * 32],
        "partials_sha256": ["AB" * 32], "moment": [-1, 1.5],
    }  # fmt: skip
    assert set(wrong) == set(true)
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(SchemaError):
                Witness.parse(json.dumps(true | {name: value}).encode())
        with pytest.raises(SchemaError):
            Witness.parse(canonical({k: v for k, v in true.items() if k != name}))
    with pytest.raises(SchemaError):
        Witness.parse(canonical(true | {"more": 1}))


@pytest.mark.case("X418", "file of no witnesses, of 101, of another version")
def test_a_witness_file_is_bounded() -> None:
    value = json.loads(witnesses_to_bytes([SIGNED]))
    wrong: tuple[dict[str, Any], ...] = (
        {"witnesses": []}, {"witnesses": value["witnesses"] * 101}, {"version": 2}
    )  # fmt: skip
    for changes in wrong:
        with pytest.raises(SchemaError):
            parse_witnesses(canonical(value | changes))
    with pytest.raises(SchemaError):
        parse_witnesses(canonical({"witnesses": value["witnesses"]}))

"""Other holders' bindings, for one who lost his: signed, enough of them, and of one mind."""

from dataclasses import replace
from typing import Any

import pytest

from signer.errors import InputError, JournalError, SchemaError
from signer.messages.bindings import PAYLOAD_TYPE, Bindings, unite
from signer.messages.items import Change
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool, signed_as

POOL = SimulatedPool.new(3, 5)
GROUP = POOL.group


def statement(index: int, *changes: Change, **said: Any) -> Bindings:
    fields: dict[str, Any] = {
        "group": GROUP.group_id,
        "epoch": GROUP.epoch,
        "index": index,
        "sequence": 7,
        "head": b"\7" * 32,
        "changes": changes,
        "deposit_credentials": None,
        "moment": NOW,
    }
    return Bindings(**(fields | said))


def file_of(said: Bindings, signer: int | None = None) -> bytes:
    id_sign = GROUP.card_of(ShareIndex(signer or said.index)).body.id_sign
    return canonical(signed_as(id_sign, said.to_payload(), PAYLOAD_TYPE).to_json())


def test_a_statement_comes_back() -> None:
    said = statement(2, Change(1, ADDRESS), Change(2, OTHER), deposit_credentials=b"\1" * 32)
    assert Bindings.open_file(file_of(said), GROUP, "s") == said


@pytest.mark.case("X414", "statement signed by another holder, altered, of another group")
def test_a_statement_is_its_holders() -> None:
    said = statement(2, Change(1, ADDRESS))
    good = file_of(said)
    with pytest.raises(InputError, match="did not sign"):
        Bindings.open_file(file_of(said, signer=3), GROUP, "s")
    with pytest.raises(InputError, match="another group"):
        Bindings.open_file(file_of(statement(2, group=bytes(32))), GROUP, "s")
    for position in range(0, len(good), 7):
        flipped = good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :]
        with pytest.raises(InputError):
            Bindings.open_file(flipped, GROUP, "s")


@pytest.mark.case("X785", "statement of a journal of another epoch than the group file's")
def test_a_statement_is_of_the_epoch_in_force() -> None:
    old = statement(2, Change(1, ADDRESS))
    later = SimulatedPool.new(epoch=2).group
    none = statement(2, head=bytes(32), sequence=0, epoch=2)
    assert Bindings.open_file(file_of(statement(2, head=bytes(32))), GROUP, "s").is_of_no_journal
    for said in (old, none):
        with pytest.raises(InputError, match="not of a journal of epoch 2"):
            Bindings.open_file(file_of(replace(said, group=later.group_id)), later, "s")
    with pytest.raises(InputError, match="not of a journal of epoch 1"):
        Bindings.open_file(file_of(replace(old, epoch=2)), GROUP, "s")


@pytest.mark.case("F14", "witness where a statement should be")
def test_a_witness_is_no_statement() -> None:
    with pytest.raises(SchemaError):
        Bindings.open_file(canonical(POOL.witness(2).to_json()), GROUP, "s")


def test_the_union_is_everything_that_any_bound() -> None:
    one = statement(2, Change(1, ADDRESS), Change(3, OTHER))
    two = statement(3, Change(3, OTHER), Change(2, ADDRESS), deposit_credentials=b"\1" * 32)
    union = unite([one, two, statement(5)], GROUP, 1, NOW)
    assert union.changes == (Change(1, ADDRESS), Change(2, ADDRESS), Change(3, OTHER))
    assert union.deposit_credentials == b"\1" * 32
    assert set(union.statements) == {2, 3, 5}


@pytest.mark.case("X415", "n - t statements, one holder twice, the share's own")
@pytest.mark.parametrize("holders", [(2, 3), (2, 3, 3), (1, 2, 3), ()])
def test_too_few_holders_are_refused(holders: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        unite([statement(index) for index in holders], GROUP, 1, NOW)


@pytest.mark.case("X416", "two holders bound one validator, or the deposits, differently")
def test_a_conflict_is_named() -> None:
    changes = [statement(2, Change(1, ADDRESS)), statement(3), statement(4, Change(1, OTHER))]
    with pytest.raises(JournalError, match="holders 2 and 4 have validator 1"):
        unite(changes, GROUP, 1, NOW)
    deposits = [statement(i, deposit_credentials=bytes([i]) * 32) for i in (2, 3, 4)]
    with pytest.raises(JournalError, match="holders 2 and 3 have the deposits"):
        unite(deposits, GROUP, 1, NOW)


@pytest.mark.case("X414", "statement of last month, and of tomorrow")
def test_a_statement_is_of_these_days() -> None:
    others = [statement(2), statement(3)]
    for moment in (NOW - 86400, NOW + 3600):
        assert unite([*others, statement(4, moment=moment)], GROUP, 1, NOW).statements
    for moment in (NOW - 86400 - 1, NOW + 3601, 0):
        with pytest.raises(InputError, match="holder 4 is not of these days"):
            unite([*others, statement(4, moment=moment)], GROUP, 1, NOW)


@pytest.mark.case("X416", "more validators bound to one address than a request may name")
def test_a_statement_of_many_validators_comes_back() -> None:
    said = statement(2, *(Change(number, ADDRESS) for number in range(45_000)))
    assert Bindings.open_file(file_of(said), GROUP, "s") == said

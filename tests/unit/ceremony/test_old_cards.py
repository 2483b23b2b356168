"""Which cards may not come back when shares are dealt anew."""

from dataclasses import replace
from typing import Any

import pytest

from signer.ceremony.following import require_previous
from signer.ceremony.roster import RESHARE, ReshareTerms, Roster
from signer.messages.card import PAYLOAD_TYPE, Card
from signer.messages.group_file import GroupFile
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Person, roster_of
from tests.simulators.repair import Repair
from tests.unit.ceremony.honest import refused

REPAIR = Repair.of()
LOST = REPAIR.lost


def repaired() -> GroupFile:
    group = REPAIR.board(REPAIR.files()).repaired
    assert group is not None
    return group


def roster(group: GroupFile, *people: Person) -> Roster:
    """Return the roster of a reshare of the repaired group to these people."""
    terms = ReshareTerms(
        previous=group.digest, group=group.group_id, epoch=2,
        dealers=tuple(map(ShareIndex, (1, 2, 3))), reason="refresh",
    )  # fmt: skip
    return roster_of(dict(enumerate(people, start=1)), 2, kind=RESHARE, terms=terms)


def changed(person: Person, **changes: Any) -> Person:
    """Return the person with another card, signed with his identity key."""
    body = replace(person.renewed().card.body, **changes)
    signed = person.sign(PAYLOAD_TYPE, body.to_payload())
    return Person(person.name, person.kex, Card.parse(signed.to_json()))


@pytest.mark.case("X754", "reshare with the card that a repair replaced, or a key of it")
def test_a_replaced_card_does_not_come_back() -> None:
    group, eve, fay = repaired(), Person.new("Eve"), Person.new("Fay")
    first, second = group.cards[LOST - 1], group.card_of(LOST)
    assert first.body.kex != second.body.kex
    back = REPAIR.people[LOST]
    require_previous(roster(group, eve, fay), group)
    require_previous(roster(group, back.renewed(), eve, fay), group)  # he keeps his identity
    lost = Person("lost", eve.kex, first)
    for person in (
        back, lost, changed(eve, kex=first.body.kex), changed(eve, kex_backup=first.body.kex),
        changed(eve, kex=second.body.kex), changed(eve, kex=second.body.id_sign),
    ):  # fmt: skip
        refused("E_ROSTER", "old epoch", require_previous, roster(group, person, fay), group)
    both = roster(group, back, changed(eve, kex=first.body.kex), fay)
    refused("E_ROSTER", "is on the card of returned 2 and of Eve$", require_previous, both, group)
    renewed = replace(first.body, kex=eve.card.body.kex, epoch_nonce=bytes(32))
    signed = Person("lost", eve.kex, first).sign(PAYLOAD_TYPE, renewed.to_payload())
    again = Person("lost", eve.kex, Card.parse(signed.to_json()))  # the lost token's identity
    refused("E_ROSTER", "old epoch", require_previous, roster(group, again, fay), group)

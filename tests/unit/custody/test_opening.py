"""Whose card may be a spare's."""

import pytest

from signer.custody.worker.opening import require_spare_card
from signer.errors import CardError
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.threshold.params import ShareIndex
from tests.simulators.drills import new_point
from tests.simulators.holders import SimulatedPool, make_card

OWN = ShareIndex(1)


@pytest.fixture
def spares() -> dict[int, Card]:
    """The card of each holder's spare token."""
    return {index: make_card(f"spare {index}") for index in (1, 2, 3)}


@pytest.fixture
def group(spares: dict[int, Card]) -> GroupFile:
    """A group whose holders' cards name their spares."""
    group = SimulatedPool.new(2, 3).group
    cards = tuple(
        make_card(f"holder {index}", kex_backup=spare.body.kex) for index, spare in spares.items()
    )
    object.__setattr__(group, "cards", cards)
    return group


def test_a_token_of_its_own_is_a_spare(group: GroupFile, spares: dict[int, Card]) -> None:
    require_spare_card(make_card("new"), group, OWN)
    require_spare_card(spares[1], group, OWN)
    primary = group.card_of(OWN).body.kex
    require_spare_card(make_card("its pair", kex_backup=primary), group, OWN)


@pytest.mark.case("X462", "spare's card that shows a key of another holder's, or of his spare's")
def test_a_key_of_another_holder_is_no_spares(group: GroupFile, spares: dict[int, Card]) -> None:
    body = group.card_of(2).body
    for card in (
        spares[2],
        make_card("borrowed", kex=body.kex_backup),
        make_card("borrowed", kex=body.kex),
        make_card("borrowed", kex_backup=body.kex_backup),
        make_card("borrowed", kex_backup=body.kex),
        group.card_of(2),
        group.card_of(1),
        make_card("own", kex=group.card_of(1).body.kex),
    ):
        with pytest.raises(CardError, match="shows a key of holder"):
            require_spare_card(card, group, OWN)
    require_spare_card(make_card("new", kex_backup=new_point()), group, OWN)

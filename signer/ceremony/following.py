"""Whether a reshare's roster may follow a group file."""

from signer.ceremony.roster import ReshareTerms, Roster
from signer.errors import CeremonyError
from signer.messages.card import Card
from signer.messages.group_file import GroupFile


def require_previous(roster: Roster, previous: GroupFile) -> ReshareTerms:
    """Hold a reshare's roster against the group file that it follows.

    At least t old holders deal, so that one of them is honest; and n - t + 1, since of so many at
    least one has taken part in every signature there ever was, and knows its address.

    Raises:
        CeremonyError: E_ROSTER.
    """
    terms = roster.terms
    if not isinstance(terms, ReshareTerms):
        raise CeremonyError("the roster is not of a reshare", code="E_ROSTER")
    old = previous.threshold
    need = max(old.t, old.n - old.t + 1)
    again = [card.body.name for card in roster.members if _uses_old_key(card, previous)]
    wrong = {
        "it follows another group file": terms.previous != previous.digest,
        "it is of another group": terms.group != previous.group_id,
        "its network or role is another": (roster.network, roster.role)
        != (previous.network, previous.role),
        f"its epoch must be {previous.epoch + 1}": terms.epoch != previous.epoch + 1,
        "its policy is not the one in force": roster.policy_digest
        != previous.current_policy_digest,
        "it names a dealer who is no holder": max(terms.dealers) > old.n,
        f"{len(terms.dealers)} old holders deal, at least {need} must": len(terms.dealers) < need,
        "a rehearsal stays one": roster.rehearsal != previous.rehearsal,
        "the group is not active": not previous.active,
        "a receiving key of the old epoch, a member's own or his spare's, or a key of a card that "
        f"was replaced, is on the card of {' and of '.join(again)}": bool(again),
    }
    for why, is_so in wrong.items():
        if is_so:
            raise CeremonyError(f"roster: {why}", code="E_ROSTER")
    return terms


def _uses_old_key(card: Card, previous: GroupFile) -> bool:
    """Tell whether a card shows a key that the old group ever had, but for an identity in force.

    A card that was replaced after a loss is no better than on that day: none of its keys.
    """
    replaced = (replacement.card for replacement in previous.replacements)
    known = {point for one in (*previous.cards, *replaced) for point in one.body.keys.values()}
    shown = {
        point
        for role, point in card.body.keys.items()
        if role != "id_sign" or point not in previous.id_signs
    }
    return not known.isdisjoint(shown)

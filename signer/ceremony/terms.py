"""What the rosters of all ceremonies, repairs too, hold their parts to: cards, indices, times."""

from collections.abc import Iterable

from signer.errors import CeremonyError, ThresholdParameterError
from signer.messages.card import UNPROVEN, Card
from signer.recipient import HPKE_P256, method_of
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS, ShareIndex

MAX_OPEN_SECONDS = 366 * 86400
NONCE_BYTES = 32


def require_fit(cards: Iterable[Card], what: str) -> None:
    """Refuse cards of tokens that are fit for no ceremony.

    Everything in one is sealed to P-256 keys, and everybody trusts that each was made on its token.

    Raises:
        CeremonyError: E_ROSTER.
    """
    for card in cards:
        body = card.body
        keys = [key for key in (body.kex, body.kex_backup) if key is not None]
        wrong = {
            "his receiving key is not a point of P-256": any(
                method_of(key) != HPKE_P256 for key in keys
            ),
            f"it is {UNPROVEN}": not body.proven,
            f"its card says that its kind, {body.profile!r}, lacks what one needs": (
                not body.ceremony
            ),
        }
        for why, is_so in wrong.items():
            if is_so:
                raise CeremonyError(
                    f"{what}: the token of {body.name!r} cannot take part in a ceremony: {why}",
                    hint="take a token whose profile says `ceremony: true`",
                    code="E_ROSTER",
                )


def take_indices(fields: Fields, name: str) -> tuple[ShareIndex, ...]:
    """Take share indices in ascending order.

    Raises:
        SchemaError: they are none, or out of order: twice is out of order too.
        ThresholdParameterError: one is out of range.
    """
    entries = fields.array(name, low=1, high=MAX_HOLDERS)
    if not all(type(entry) is int for entry in entries) or entries != sorted(set(entries)):
        fields.fail(name, "must be share indices in ascending order")
    try:
        return tuple(ShareIndex(entry) for entry in entries)
    except ThresholdParameterError as error:
        message = f"{fields.what}: field {name!r}: {error.message}"
        raise ThresholdParameterError(message) from None


def require_within(what: str, not_before: int, expires: int, now: int) -> None:
    """Refuse a ceremony that has not begun or is over; all in Unix seconds.

    Raises:
        CeremonyError: E_CEREMONY_EXPIRED.
    """
    if not not_before <= now < expires:
        late = now >= expires
        raise CeremonyError(
            f"the {what} is over" if late else f"the {what} has not begun yet",
            hint="begin a new one" if late else "compare the machines' clocks",
            code="E_CEREMONY_EXPIRED",
        )

"""Is what a desk has signed and kept still whole? Asked before any of it is handed on."""

import contextlib
import hashlib
from collections.abc import Iterator

from signer.ceremony.acknowledgement import KIND as ACKNOWLEDGEMENT
from signer.ceremony.acknowledgement import Acknowledgement, AcknowledgementBody, envelope_digest
from signer.ceremony.agreement import DEALER, MEMBER, open_agreement
from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.checking import check_deal
from signer.ceremony.deal import Deal
from signer.ceremony.repair_delta import DeltaFile, check_delta
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_sigma import SigmaFile
from signer.ceremony.setting import Setting
from signer.ceremony.statement import open_statement, take_statement
from signer.ceremony.steps import Me
from signer.ceremony.union import require_stated_by
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_state import CeremonyState
from signer.custody.repair_desk import ADDED_UP, HELPED, helped_of
from signer.errors import CeremonyError, SignerError
from signer.messages.bindings import MAX_PAYLOAD, PAYLOAD_TYPE
from signer.messages.dsse import SignedFile
from signer.strict import Fields


def require_whole(desk: CeremonyState, setting: Setting, me: Me) -> None:
    """Refuse a state folder in which something that its holder has signed is damaged.

    Raises:
        CeremonyError: E_CEREMONY_STATE: it names the file.
    """
    if me.dealer is not None:
        with _naming(kept.DEALT):
            _require_deal(desk, setting, me.dealer)
    places = [(MEMBER, int(me.member))] if me.member is not None else []
    places += [(DEALER, me.dealer)] if me.dealer is not None else []
    with _naming(kept.AGREEMENTS):
        for (role, index), value in zip(places, desk.agreements(), strict=False):
            signed = take_statement(value, AGREEMENT, kept.AGREEMENTS)
            open_agreement(signed, setting, role, index, kept.AGREEMENTS)
    raw = desk.get(kept.ACKNOWLEDGEMENT)
    if raw is not None and me.member is not None:
        point = setting.roster.members[me.member - 1].body.id_sign
        with _naming(kept.ACKNOWLEDGEMENT):
            file = Acknowledgement.parse(raw, kept.ACKNOWLEDGEMENT)
            take, what = AcknowledgementBody.take, kept.ACKNOWLEDGEMENT
            body = open_statement(file.signed, ACKNOWLEDGEMENT, point, take, what)
            if body.envelope_sha256 != envelope_digest(file.envelope):
                raise CeremonyError("the envelope is not the one that was acknowledged")


def require_whole_repair(desk: CeremonyState, setting: RepairSetting, me: Me) -> None:
    """As `require_whole`, of a helper's desk in a repair."""
    if me.dealer is None:
        return
    if desk.get(HELPED) is not None:
        with _naming(HELPED):
            check_delta(DeltaFile.parse(helped_of(desk)["delta"].encode()), setting, me.dealer)
    if (raw := desk.get(ADDED_UP)) is not None:
        with _naming(ADDED_UP):
            SigmaFile.parse(raw, ADDED_UP).opened(setting, me.dealer, ADDED_UP)


def _require_deal(desk: CeremonyState, setting: Setting, dealer: int) -> None:
    dealt = desk.dealt()
    if dealt is None:
        return
    deal = check_deal(Deal.take(Fields(dealt["deal"], kept.DEALT)), setting, dealer)
    if setting.previous is None:
        return
    signed = SignedFile.parse(
        dealt["bindings"], kept.DEALT, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD
    )
    require_stated_by(signed, setting, dealer)
    if hashlib.sha256(signed.payload).digest() != deal.bindings:
        raise CeremonyError("the bindings are not those that the deal names")


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except SignerError as error:
        raise CeremonyError(
            f"{name} in the state folder is damaged: {error.message.removeprefix(f'{name}: ')}",
            hint="look after the disk. If the file cannot be had as it was, this ceremony is over "
            "for you: begin a new one; never deal twice",
            code="E_CEREMONY_STATE",
        ) from None

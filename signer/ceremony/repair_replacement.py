"""The last file of a helper: his signature that the new card stands in the place of the lost one.

He signs only once the returning holder has proved his share, so that a repair which came to nothing
replaces no card. The signatures of all helpers make a replacement in the group file.
"""

from signer.ceremony.repair_roster import RepairSetting
from signer.errors import CeremonyError
from signer.messages.dsse import SignedFile
from signer.messages.replacement import MAX_PAYLOAD_BYTES, PAYLOAD_TYPE, ReplacementBody
from signer.strict import parse_object

MAX_BYTES = 4096


def statement_of(setting: RepairSetting) -> ReplacementBody:
    """Return what every helper signs of the new card."""
    roster, group = setting.roster, setting.group
    return ReplacementBody(
        group=group.group_id,
        epoch=group.epoch,
        number=len(group.replacements) + 1,
        index=int(roster.lost),
        card=roster.card.digest,
        ceremony=roster.id,
        amendments=group.amendment_number,
    )


def parse_replacement(raw: bytes, what: str = "replacement") -> SignedFile:
    """Read the bytes of a helper's file. Proves nothing."""
    value = parse_object(raw, what=what, max_bytes=MAX_BYTES)
    return SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD_BYTES)


def check_replacement(
    signed: SignedFile, setting: RepairSetting, helper: int, what: str = "replacement"
) -> None:
    """Hold a helper's file against the repair.

    Raises:
        CeremonyError: he did not sign it, or it is of another repair or card.
    """
    setting.position_of(helper)
    if not signed.signed_by(setting.card_of(helper).body.id_sign):
        raise CeremonyError(f"{what}: {setting.name_of(helper)} did not sign it",
                            code="E_SIGNATURE")  # fmt: skip
    if signed.payload != statement_of(setting).to_payload():
        raise CeremonyError(f"{what}: it is of another repair, or of another card")

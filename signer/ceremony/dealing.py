"""The secret half of dealing: make a deal, take one's share of all deals. Runs in the worker only.

Everything secret in a deal comes from one session seed. So it can be made again, byte for byte what
was signed, after a crash; and when a member complains, his ephemeral key can be shown to everybody.
"""

import hashlib
from collections.abc import Callable, Iterable

from signer.bls.scalar import SecretScalar
from signer.ceremony.checking import CheckedDeal, Outcome
from signer.ceremony.deal import DealBody, ProofText, info_of, leaves_of
from signer.ceremony.setting import Setting
from signer.errors import DealError, EncodingError, SealError, ShareMismatchError
from signer.sealing import merkle
from signer.sealing.hkdf import derive
from signer.sealing.hpke import Sealed
from signer.sealing.transit import open_in_transit, seal_in_transit
from signer.secret import SecretBytes
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex
from signer.threshold.possession import prove
from signer.threshold.share import SecretShare, weighted_sum
from signer.threshold.vector import VerificationVector

SEED_BYTES = 32
_EPHEMERAL = b"signer/deal/ephemeral/v1"


def make_deal(
    setting: Setting,
    dealer: int,
    seed: SecretBytes,
    moment: int,
    *,
    constant: SecretScalar | None = None,
    bindings: bytes | None = None,
) -> tuple[DealBody, tuple[Sealed, ...]]:
    """Return what `dealer` signs, and the ciphertexts for every member.

    Args:
        setting: the ceremony.
        dealer: who deals.
        seed: 32 bytes, secret; the same seed gives the same deal.
        moment: Unix seconds.
        constant: what is dealt where the ceremony fixes it: the key, or his old share.
        bindings: digest of what a reshare's dealer says his journal binds.
    """
    roster = setting.roster
    with Dealing.derive(seed, roster.id, roster.threshold.t, constant) as dealing:
        commitments = tuple(bytes(point) for point in dealing.commitments)
        proof = None
        if setting.needs_proof:
            made = prove(dealing, seed, setting.proof_context(dealer))
            proof = ProofText(bytes(made.r), made.z)
        data = hashlib.sha256(b"".join(commitments)).digest()
        ciphertexts = []
        for index, card in zip(roster.indices, roster.members, strict=True):
            with (
                dealing.share_for(index) as share,
                share.to_big_endian() as plain,
                ephemeral_seed(seed, roster.id, index) as ephemeral,
            ):
                info = info_of(roster.id, dealer, index)
                sealed = seal_in_transit(card.body.kex, plain, info, data, ephemeral)
            ciphertexts.append(sealed)
    body = DealBody(
        ceremony=roster.id,
        dealer=dealer,
        commitments=commitments,
        proof=proof,
        ciphertexts_root=merkle.root(leaves_of(ciphertexts)),
        bindings=bindings,
        moment=moment,
    )
    return body, tuple(ciphertexts)


def ephemeral_seed(seed: SecretBytes, ceremony: bytes, recipient: int) -> SecretBytes:
    """Return the seed of the ephemeral key that seals the share of one recipient."""
    return derive(seed, _EPHEMERAL + ceremony + recipient.to_bytes(2, "big"), SEED_BYTES)


def take_share(
    outcome: Outcome,
    member: ShareIndex,
    recipient_point: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> SecretShare:
    """Open what every dealer sealed to `member`, check each, and add them up. The caller wipes it.

    Args:
        outcome: all deals.
        member: whose share it is.
        recipient_point: 65 bytes, the member's receiving key.
        ecdh: his token's raw ECDH with that key.

    Raises:
        DealError: E_DEAL_DECRYPT or E_DEAL_SHARE, naming the first dealer whose part is wrong.
        ShareMismatchError: E_SHARE: this machine erred.
    """
    setting = outcome.setting
    parts: list[SecretScalar] = []
    try:
        for deal in outcome.deals:
            parts.append(_open_part(setting, deal, member, recipient_point, ecdh))
        share = SecretShare(member, weighted_sum(parts, setting.weights))
    finally:
        _wipe(parts)
    try:
        share.verify(outcome.vector)
    except BaseException:
        share.wipe()
        raise
    return share


def check_parts(
    setting: Setting,
    deals: Iterable[CheckedDeal],
    member: ShareIndex,
    recipient_point: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> None:
    """Check what every dealer sealed to `member`, where the deals add up to no key.

    Raises:
        DealError: as `take_share`.
    """
    for deal in deals:
        _open_part(setting, deal, member, recipient_point, ecdh).wipe()


def _open_part(
    setting: Setting,
    deal: CheckedDeal,
    member: ShareIndex,
    point: bytes,
    ecdh: Callable[[bytes], SecretBytes],
) -> SecretScalar:
    sealed, name = deal.ciphertexts[int(member)], setting.name_of(deal.dealer)
    info = info_of(setting.roster.id, deal.dealer, member)
    try:
        plain = open_in_transit(point, sealed, info, deal.associated_data, ecdh)
    except SealError:
        raise DealError(
            f"{name} sealed {setting.name_of_member(member)} what does not open",
            dealer=deal.dealer,
            code="E_DEAL_DECRYPT",
        ) from None
    with plain:
        return part_of(setting, deal, member, plain)


def part_of(
    setting: Setting, deal: CheckedDeal, member: ShareIndex, plain: SecretBytes
) -> SecretScalar:
    """Return what a ciphertext held as a scalar, if it lies on the dealer's polynomial.

    Raises:
        DealError: E_DEAL_SHARE.
    """
    try:
        share = SecretShare(member, SecretScalar.from_big_endian(plain))
        try:
            share.verify(VerificationVector(deal.commitments))
        except BaseException:
            share.wipe()
            raise
    except (EncodingError, ShareMismatchError):
        raise DealError(
            f"{setting.name_of(deal.dealer)} gave {setting.name_of_member(member)} a share that is "
            "not on his polynomial",
            dealer=deal.dealer,
            code="E_DEAL_SHARE",
        ) from None
    return share.scalar


def _wipe(scalars: Iterable[SecretScalar]) -> None:
    for scalar in scalars:
        scalar.wipe()

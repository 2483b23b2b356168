"""The secret half of a repair: break one's term, add up what came, put the share together.

Runs in the worker only. A helper's deltas and every ciphertext come from one session seed, so they
can be made again, and one ephemeral key can be shown when somebody complains.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from signer.bls.encoding import PublicKey
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.ceremony.deal import leaves_of
from signer.ceremony.repair_delta import CheckedDelta, DeltaBody, delta_info, transcript_of
from signer.ceremony.repair_roster import RepairSetting
from signer.ceremony.repair_sigma import SigmaBody, digests_of, expected_sigma, sigma_info
from signer.errors import DealError, EncodingError, SealError
from signer.sealing import merkle
from signer.sealing.hkdf import derive
from signer.sealing.hpke import Sealed
from signer.sealing.transit import open_in_transit, seal_in_transit
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from signer.threshold.repairing import deal_repair
from signer.threshold.share import SecretShare, weighted_sum

E_DECRYPT, E_DELTA, E_SIGMA = "E_REPAIR_DECRYPT", "E_REPAIR_DELTA", "E_REPAIR_SIGMA"
_EPHEMERAL = b"signer/repair/ephemeral/v1"
_SEED_BYTES = 32


class Unsealer(NamedTuple):
    """A receiving key: its 65-byte point, and the token's raw ECDH with it."""

    point: bytes
    ecdh: Callable[[bytes], SecretBytes]


def make_delta(
    setting: RepairSetting, share: SecretShare, seed: SecretBytes, moment: int
) -> tuple[DeltaBody, tuple[Sealed, ...]]:
    """Return what a helper signs, and the ciphertexts for every helper.

    Args:
        setting: the repair.
        share: the helper's own, held against the group before; stays as it is.
        seed: 32 bytes, secret; the same seed gives the same deltas.
        moment: Unix seconds.
    """
    roster, helper = setting.roster, int(share.index)
    with deal_repair(share, roster.helpers, roster.lost, seed, roster.id) as dealing:
        commitments = tuple(bytes(point) for point in dealing.commitments)
        data = hashlib.sha256(b"".join(commitments)).digest()
        ciphertexts = []
        for recipient in roster.helpers:
            with (
                dealing.delta_for(recipient) as delta,
                delta.to_big_endian() as plain,
                ephemeral_seed(seed, roster.id, recipient) as ephemeral,
            ):
                point = setting.card_of(recipient).body.kex
                info = delta_info(roster.id, helper, recipient)
                ciphertexts.append(seal_in_transit(point, plain, info, data, ephemeral))
    body = DeltaBody(
        ceremony=roster.id,
        helper=helper,
        commitments=commitments,
        ciphertexts_root=merkle.root(leaves_of(ciphertexts)),
        moment=moment,
    )
    return body, tuple(ciphertexts)


def make_sigma(
    setting: RepairSetting,
    deltas: Mapping[int, CheckedDelta],
    helper: ShareIndex,
    key: Unsealer,
    seed: SecretBytes,
    moment: int,
) -> SigmaBody:
    """Open what every helper sent `helper`, check each, and seal the sum to the returning holder.

    Args:
        setting: the repair.
        deltas: of every helper.
        helper: who adds up.
        key: his receiving key.
        seed: his session seed.
        moment: Unix seconds.

    Raises:
        DealError: E_REPAIR_DECRYPT or E_REPAIR_DELTA, naming the first helper who is wrong.
        CeremonyError: E_REPAIR_ZERO: every delta holds, and they add up to zero.
    """
    roster, transcript = setting.roster, transcript_of(setting, deltas)
    parts: list[SecretScalar] = []
    try:
        for sender in roster.helpers:
            parts.append(_open_delta(setting, deltas[int(sender)], helper, key))
        expected_sigma(setting, deltas, helper)  # or they add up to zero
        with (
            weighted_sum(parts) as total,
            total.to_big_endian() as plain,
            ephemeral_seed(seed, transcript, roster.lost) as ephemeral,
        ):
            info = sigma_info(roster.id, helper, roster.lost)
            sealed = seal_in_transit(roster.card.body.kex, plain, info, transcript, ephemeral)
    finally:
        for part in parts:
            part.wipe()
    return SigmaBody(
        ceremony=roster.id,
        helper=int(helper),
        deltas=digests_of(setting, deltas),
        sealed=sealed,
        moment=moment,
    )


def repair_share(
    setting: RepairSetting,
    deltas: Mapping[int, CheckedDelta],
    sigmas: Mapping[int, SigmaBody],
    key: Unsealer,
) -> SecretShare:
    """Open every helper's sum, check each, and put the share together. The caller wipes it.

    Raises:
        DealError: E_REPAIR_DECRYPT or E_REPAIR_SIGMA, naming the first helper who is wrong.
        ShareMismatchError: E_SHARE: this machine erred.
    """
    roster = setting.roster
    parts: list[SecretScalar] = []
    try:
        for helper in roster.helpers:
            parts.append(_open_sigma(setting, deltas, sigmas[int(helper)], helper, key))
        share = SecretShare(roster.lost, weighted_sum(parts))
    finally:
        for part in parts:
            part.wipe()
    try:
        share.verify(setting.group.vector)
    except BaseException:
        share.wipe()
        raise
    return share


def ephemeral_seed(seed: SecretBytes, context: bytes, recipient: int) -> SecretBytes:
    """Return the seed of the ephemeral key that seals what goes to share `recipient`.

    Args:
        seed: the helper's session seed.
        context: 32 bytes: the repair's id for a delta; the transcript for a sum, so that no two
            sums are ever sealed with one key.
        recipient: a share index.
    """
    return derive(seed, _EPHEMERAL + context + recipient.to_bytes(2, "big"), _SEED_BYTES)


def scalar_of(plain: SecretBytes, commitment: PublicKey, blamed: int, why: str, code: str
) -> SecretScalar:  # fmt: skip
    """Return an opened number, if it is what was committed to.

    Raises:
        DealError: `code`, naming the helper `blamed`.
    """
    refusal = DealError(why, dealer=blamed, code=code)
    try:
        scalar = SecretScalar.from_big_endian(plain)
    except EncodingError:
        raise refusal from None
    if public_key(scalar) != commitment:
        scalar.wipe()
        raise refusal
    return scalar


def delta_of(
    setting: RepairSetting, delta: CheckedDelta, recipient: int, plain: SecretBytes
) -> SecretScalar:
    """Return what a helper's ciphertext held, if it is the delta that he committed to.

    Raises:
        DealError: E_REPAIR_DELTA.
    """
    commitment = delta.commitments[setting.position_of(recipient)]
    name, to = setting.name_of(delta.helper), setting.name_of(recipient)
    why = f"{name} sent {to} another delta than he committed to"
    return scalar_of(plain, commitment, int(delta.helper), why, E_DELTA)


def sigma_of(
    setting: RepairSetting, deltas: Mapping[int, CheckedDelta], helper: int, plain: SecretBytes
) -> SecretScalar:
    """Return what a helper's ciphertext held, if it is the sum of what he was sent.

    Raises:
        DealError: E_REPAIR_SIGMA.
    """
    commitment = expected_sigma(setting, deltas, ShareIndex(int(helper)))
    why = f"{setting.name_of(helper)} added up to another sum than he was sent"
    return scalar_of(plain, commitment, int(helper), why, E_SIGMA)


def _open_delta(
    setting: RepairSetting, delta: CheckedDelta, recipient: ShareIndex, key: Unsealer
) -> SecretScalar:
    sealed = delta.ciphertexts[setting.position_of(recipient)]
    info = delta_info(setting.roster.id, delta.helper, recipient)
    try:
        plain = open_in_transit(key.point, sealed, info, delta.associated_data, key.ecdh)
    except SealError:
        raise _unopened(setting, delta.helper, recipient) from None
    with plain:
        return delta_of(setting, delta, recipient, plain)


def _open_sigma(
    setting: RepairSetting,
    deltas: Mapping[int, CheckedDelta],
    sigma: SigmaBody,
    helper: ShareIndex,
    key: Unsealer,
) -> SecretScalar:
    lost = setting.roster.lost
    info = sigma_info(setting.roster.id, helper, lost)
    try:
        plain = open_in_transit(key.point, sigma.sealed, info, sigma.transcript, key.ecdh)
    except SealError:
        raise _unopened(setting, helper, lost) from None
    with plain:
        return sigma_of(setting, deltas, helper, plain)


def _unopened(setting: RepairSetting, helper: int, recipient: int) -> DealError:
    return DealError(
        f"{setting.name_of(helper)} sealed {setting.name_of(recipient)} what does not open",
        dealer=int(helper),
        code=E_DECRYPT,
    )

"""The ways to cheat in a repair, by name."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_weighted_sum
from signer.bls.scalar import GROUP_ORDER
from signer.ceremony.repair_delta import DeltaBody, delta_info
from signer.ceremony.repair_sigma import SigmaBody, sigma_info
from signer.ceremony.repairing import ephemeral_seed
from signer.sealing.hpke import Sealed
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.threshold.lagrange import lagrange_at
from signer.threshold.params import ShareIndex
from signer.threshold.repairing import deal_repair
from tests.hostile.desk import INFINITY, off_by_one
from tests.hostile.helper import Helper, RepairCheat


def _commitments(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> RepairCheat:
    return RepairCheat(body=lambda _, body: replace(body, commitments=change(body.commitments)))


def _negated(point: bytes) -> bytes:
    return bytes([point[0] ^ 0x20]) + point[1:]


def _off_by_one(helper: Helper, body: DeltaBody) -> Sealed:
    roster = helper.setting.roster
    with (
        helper.own_share() as share,
        helper.seed as seed,
        deal_repair(share, roster.helpers, roster.lost, seed, roster.id) as dealing,
        dealing.delta_for(ShareIndex(helper.victim)) as delta,
        delta.to_big_endian() as plain,
    ):
        number = off_by_one(plain)
    return _delta(helper, body, number, helper.victim)


def _to_another(helper: Helper, body: DeltaBody) -> Sealed:
    """Seal the victim's delta to the key of somebody else: of the lost share's lost token."""
    return _delta(helper, body, b"\1" * 32, int(helper.setting.roster.lost))


def _too_large(helper: Helper, body: DeltaBody) -> Sealed:
    return _delta(helper, body, GROUP_ORDER.to_bytes(32), helper.victim)


def _delta(helper: Helper, body: DeltaBody, plain: bytes, to: int) -> Sealed:
    roster = helper.setting.roster
    info = delta_info(roster.id, int(helper.index), helper.victim)
    with (
        SecretBytes(plain) as secret,
        helper.seed as seed,
        ephemeral_seed(seed, roster.id, helper.victim) as ephemeral,
    ):
        kex = helper.setting.group.card_of(to).body.kex
        return seal_in_transit(kex, secret, info, body.associated_data, ephemeral)


def _cancelling(helper: Helper, body: DeltaBody) -> DeltaBody:
    """Commit so that all deltas for the victim add up to zero, and his own term still holds."""
    helpers, lost = helper.setting.roster.helpers, helper.setting.roster.lost
    mine, at = helpers.index(helper.index), helper.setting.position_of(helper.victim)
    board = helper.board()
    others = [board.deltas[int(h)].commitments[at] for h in helpers if h != helper.index]
    points = [PublicKey(point) for point in body.commitments]
    points[at] = _sum([(point, -1) for point in others])
    term = lagrange_at(helpers, lost).modulo(GROUP_ORDER)[mine]
    own = helper.setting.group.vector.public_share(helper.index)
    rest = [(point, -1) for place, point in enumerate(points) if place != mine]
    points[mine] = _sum([(own, term), *rest])
    return replace(body, commitments=tuple(bytes(point) for point in points))


def _sum(weighted: list[tuple[PublicKey, int]]) -> PublicKey:
    points, weights = zip(*weighted, strict=True)
    total = g1_weighted_sum(
        [point.affine for point in points], [weight % GROUP_ORDER for weight in weights]
    )
    assert total is not None
    return PublicKey.from_affine(total)


def _sigma(helper: Helper, body: SigmaBody, sender: int) -> SigmaBody:
    roster = helper.setting.roster
    with (
        SecretBytes(b"\1" * 32) as secret,
        helper.seed as seed,
        ephemeral_seed(seed, body.transcript, roster.lost) as ephemeral,
    ):
        info = sigma_info(roster.id, sender, roster.lost)
        sealed = seal_in_transit(roster.card.body.kex, secret, info, body.transcript, ephemeral)
    return replace(body, sealed=sealed)


def _other_deltas(_: Helper, body: SigmaBody) -> SigmaBody:
    digest = hashlib.sha256(body.deltas[0]).digest()
    return replace(body, deltas=(digest, *body.deltas[1:]))


REPAIR_CHEATS: dict[str, RepairCheat] = {
    "short": _commitments(lambda points: points[:-1]),
    "long": _commitments(lambda points: (*points, points[0])),
    "infinity": _commitments(lambda points: (INFINITY, *points[1:])),
    "no-sum": _commitments(lambda points: (_negated(points[0]), *points[1:])),
    "another-share": RepairCheat(share=b"\0" * 31 + b"\7"),
    "fewer": RepairCheat(fewer=True),
    "malformed": RepairCheat(malformed=True),
    "two-deltas": RepairCheat(twice=True),
    "late-delta": RepairCheat(late=True),
    "cancelling": RepairCheat(body=_cancelling),
    "bad-delta": RepairCheat(sealed=_off_by_one),
    "large-delta": RepairCheat(sealed=_too_large),
    "to-another": RepairCheat(sealed=_to_another),
    "wrong-key": RepairCheat(sealed=_off_by_one, shown=b"\1" * 32),
    "silent": RepairCheat(sealed=_off_by_one, answers=False),
    "false-complaint": RepairCheat(complains=True),
    "bad-sum": RepairCheat(sigma=lambda h, body: _sigma(h, body, int(h.index))),
    "closed-sum": RepairCheat(sigma=lambda h, body: _sigma(h, body, 77)),
    "other-deltas": RepairCheat(sigma=_other_deltas),
    "malformed-sum": RepairCheat(sigma_malformed=True),
    "two-sums": RepairCheat(sigma_twice=True),
    "no-sum-at-all": RepairCheat(silent_from="sigma"),
    "no-signature": RepairCheat(silent_from="replacement"),
    "another-card": RepairCheat(card=lambda said: replace(said, card=bytes(32))),
    "wrong-proof": RepairCheat(wrong_proof=True),
    "honest": RepairCheat(),
}

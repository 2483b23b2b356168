"""The ways to cheat in a DKG, a split or a reshare, by name."""

from collections.abc import Callable
from dataclasses import replace

from signer.bls.scalar import GROUP_ORDER
from signer.ceremony.agreement import DEALER, MEMBER
from signer.ceremony.deal import DealBody, ProofText, info_of
from signer.ceremony.dealing import ephemeral_seed
from signer.messages.address import ExecutionAddress
from signer.messages.bindings import Bindings
from signer.messages.items import Change
from signer.sealing.hpke import Sealed
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex
from signer.threshold.possession import prove
from tests.hostile.dealer import Cheat, Dealer
from tests.hostile.desk import INFINITY, OUTSIDE, off_by_one

BOUND = 7  # the validator that honest journals bind, elsewhere than he says
_HIS_ADDRESS = ExecutionAddress.parse("0x52908400098527886E0F7030069857D2E4169EE7")


def _commitments(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Cheat:
    return Cheat(body=lambda _, body: replace(body, commitments=change(body.commitments)))


def _proof(change: Callable[[ProofText | None], ProofText | None]) -> Cheat:
    return Cheat(body=lambda _, body: replace(body, proof=change(body.proof)))


def _copied(dealer: Dealer, body: DealBody) -> DealBody:
    payload = dealer.board().deals[dealer.victim].signed.payload
    other = DealBody.parse(payload, "deal")
    return replace(body, commitments=other.commitments, proof=other.proof)


def _proving(dealer: Dealer, body: DealBody) -> DealBody:
    """Prove that he knows what he deals, as he does, where nobody asks for it."""
    roster = dealer.setting.roster
    with (
        dealer.seed as seed,
        dealer.constant() as constant,
        Dealing.derive(seed, roster.id, roster.threshold.t, constant) as dealing,
    ):
        proof = prove(dealing, seed, dealer.setting.proof_context(dealer.dealer or 0))
    return replace(body, proof=ProofText(bytes(proof.r), proof.z))


def _off_by_one(dealer: Dealer, body: DealBody) -> Sealed:
    roster = dealer.setting.roster
    with (
        dealer.seed as seed,
        dealer.constant() as constant,
        Dealing.derive(seed, roster.id, roster.threshold.t, constant) as dealing,
        dealing.share_for(ShareIndex(dealer.victim)) as share,
        share.to_big_endian() as plain,
    ):
        number = off_by_one(plain)
    return _sealed(dealer, body, number, int(dealer.dealer or 0))


def _too_large(dealer: Dealer, body: DealBody) -> Sealed:
    return _sealed(dealer, body, GROUP_ORDER.to_bytes(32), int(dealer.dealer or 0))


def _elsewhere(dealer: Dealer, body: DealBody) -> Sealed:
    return _sealed(dealer, body, b"\1" * 32, 77)


def _sealed(dealer: Dealer, body: DealBody, plain: bytes, sender: int) -> Sealed:
    roster = dealer.setting.roster
    with (
        SecretBytes(plain) as secret,
        dealer.seed as seed,
        ephemeral_seed(seed, roster.id, dealer.victim) as ephemeral,
    ):
        info = info_of(roster.id, sender, dealer.victim)
        kex = roster.members[dealer.victim - 1].body.kex
        return seal_in_transit(kex, secret, info, body.associated_data, ephemeral)


def _states(**changes: object) -> Callable[[Dealer, Bindings], Bindings]:
    return lambda _, said: replace(said, **changes)  # type: ignore[arg-type]


def _before(dealer: Dealer, said: Bindings) -> Bindings:
    return replace(said, moment=dealer.setting.roster.not_before - 1)


def _bound_to_him(_: Dealer, said: Bindings) -> Bindings:
    return replace(said, changes=(Change(BOUND, _HIS_ADDRESS),))


CHEATS: dict[str, Cheat] = {
    "short": _commitments(lambda points: points[:-1]),
    "long": _commitments(lambda points: (*points, points[0])),
    "infinity": _commitments(lambda points: (*points[:-1], INFINITY)),
    "outside": _commitments(lambda points: (OUTSIDE, *points[1:])),
    "no-proof": _proof(lambda _: None),
    "a-proof": Cheat(body=_proving),
    "wrong-proof": _proof(lambda proof: proof and ProofText(proof.r, b"\0" * 31 + b"\1")),
    "copied": Cheat(body=_copied),
    "fewer": Cheat(fewer=True),
    "malformed": Cheat(malformed=True),
    "two-deals": Cheat(twice=True),
    "late-deal": Cheat(late=True),
    "another-secret": Cheat(secret=b"\0" * 31 + b"\7"),
    "bad-share": Cheat(sealed=_off_by_one),
    "large-share": Cheat(sealed=_too_large),
    "bad-ciphertext": Cheat(sealed=_elsewhere),
    "no-point": Cheat(sealed=lambda _, __: Sealed(b"\4" + b"\x11" * 64, bytes(48))),
    "wrong-key": Cheat(sealed=_off_by_one, shown=b"\1" * 32),
    "silent": Cheat(sealed=_off_by_one, answers=False),
    "shows": Cheat(sealed=_off_by_one, answers=True),  # where nothing is to be shown
    "false-complaint": Cheat(complains=True),
    "stray": Cheat(strays=(MEMBER,)),
    "stray-dealer": Cheat(strays=(DEALER,)),
    "wrong-share": Cheat(wrong_proof=True),
    "no-bindings": Cheat(body=lambda _, body: replace(body, bindings=None)),
    "some-bindings": Cheat(body=lambda _, body: replace(body, bindings=bytes(32))),
    "forgets-and-late": Cheat(states=_states(changes=()), late=True),
    "binds-otherwise": Cheat(states=_bound_to_him),
    "binds-deposits": Cheat(states=_states(deposit_credentials=b"\1" * 32)),
    "another-group": Cheat(states=_states(group=bytes(32))),
    "another-index": Cheat(states=_states(index=1)),
    "before": Cheat(states=_before),
    "swaps": Cheat(swaps=True),
    "honest": Cheat(),
}

"""The ways to cheat in a DKG, a split or a reshare, by name."""

from collections.abc import Callable
from dataclasses import replace

from signer.bls.scalar import GROUP_ORDER
from signer.ceremony.agreement import DEALER, MEMBER
from signer.ceremony.deal import DealBody, ProofText, info_of
from signer.ceremony.dealing import ephemeral_seed
from signer.messages.address import ExecutionAddress
from signer.messages.bindings import Bindings
from signer.messages.drill import DRILL_DST
from signer.messages.items import Change
from signer.sealing.hpke import Sealed
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex
from signer.threshold.possession import prove
from tests.hostile.dealer import Cheat, Dealer
from tests.hostile.desk import FIELD, INFINITY, OUTSIDE, off_by_one

BOUND = 7  # the validator that honest journals bind, elsewhere than he says
_HIS_ADDRESS = ExecutionAddress.parse("0x52908400098527886E0F7030069857D2E4169EE7")


def _commitments(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Cheat:
    return Cheat(body=lambda _, body: replace(body, commitments=change(body.commitments)))


def _proof(change: Callable[[ProofText | None], ProofText | None]) -> Cheat:
    return Cheat(body=lambda _, body: replace(body, proof=change(body.proof)))


def _first(change: Callable[[bytes], bytes]) -> Cheat:
    return _commitments(lambda points: (change(points[0]), *points[1:]))


def _written_out(points: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Write the first point uncompressed, in the place of two."""
    p = int.from_bytes(FIELD)
    x = bytes([points[0][0] & 0x1F]) + points[0][1:]
    y = pow(int.from_bytes(x) ** 3 + 4, (p + 1) // 4, p)  # p is 3 modulo 4
    return (x, min(y, p - y).to_bytes(48), *points[2:])


def _plus_order(proof: ProofText | None) -> ProofText | None:
    return proof and ProofText(proof.r, (int.from_bytes(proof.z) + GROUP_ORDER).to_bytes(32))


def _copied(dealer: Dealer, body: DealBody) -> DealBody:
    payload = dealer.board().deals[dealer.victim].signed.payload
    other = DealBody.parse(payload, "deal")
    return replace(body, commitments=other.commitments, proof=other.proof)


def _proving(dealer: Dealer, body: DealBody) -> DealBody:
    """Prove that he knows what he deals, as he does, where nobody asks for it."""
    return _proved(dealer, body, dealer.setting.proof_context(dealer.dealer or 0))


def _proving_elsewhere(dealer: Dealer, body: DealBody) -> DealBody:
    """Prove that he knows what he deals, in another ceremony with the same people."""
    roster = replace(dealer.setting.roster, nonce=bytes(32))
    elsewhere = replace(dealer.setting, roster=roster)
    return _proved(dealer, body, elsewhere.proof_context(dealer.dealer or 0))


def _proved(dealer: Dealer, body: DealBody, context: bytes) -> DealBody:
    roster = dealer.setting.roster
    with (
        dealer.seed as seed,
        dealer.constant() as constant,
        Dealing.derive(seed, roster.id, roster.threshold.t, constant) as dealing,
    ):
        proof = prove(dealing, seed, context)
    return replace(body, proof=ProofText(bytes(proof.r), proof.z))


def _another_share(
    dealer: Dealer, body: DealBody, change: Callable[[SecretBytes], bytes]
) -> Sealed:
    roster = dealer.setting.roster
    with (
        dealer.seed as seed,
        dealer.constant() as constant,
        Dealing.derive(seed, roster.id, roster.threshold.t, constant) as dealing,
        dealing.share_for(ShareIndex(dealer.victim)) as share,
        share.to_big_endian() as plain,
    ):
        number = change(plain)
    return _sealed(dealer, body, number, int(dealer.dealer or 0))


def _off_by_one(dealer: Dealer, body: DealBody) -> Sealed:
    return _another_share(dealer, body, off_by_one)


def _not_reduced(dealer: Dealer, body: DealBody) -> Sealed:
    def plus_order(plain: SecretBytes) -> bytes:
        return (int.from_bytes(plain.expose()) + GROUP_ORDER).to_bytes(32)

    return _another_share(dealer, body, plus_order)


def _zero(dealer: Dealer, body: DealBody) -> Sealed:
    return _sealed(dealer, body, bytes(32), int(dealer.dealer or 0))


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
    "none": _commitments(lambda _: ()),
    "infinity": _commitments(lambda points: (*points[:-1], INFINITY)),
    "outside": _commitments(lambda points: (OUTSIDE, *points[1:])),
    "large-x": _first(lambda _: bytes([FIELD[0] | 0x80]) + FIELD[1:]),
    "no-flag": _first(lambda point: bytes([point[0] & 0x7F]) + point[1:]),
    "wrong-flag": _first(lambda point: bytes([point[0] | 0x40]) + point[1:]),
    "uncompressed": _commitments(_written_out),
    "no-proof": _proof(lambda _: None),
    "a-proof": Cheat(body=_proving),
    "wrong-proof": _proof(lambda proof: proof and ProofText(proof.r, b"\0" * 31 + b"\1")),
    "proof-elsewhere": Cheat(body=_proving_elsewhere),
    "proof-of-infinity": _proof(lambda proof: proof and ProofText(INFINITY, proof.z)),
    "proof-not-reduced": _proof(_plus_order),
    "proof-of-zero": _proof(lambda proof: proof and ProofText(proof.r, bytes(32))),
    "copied": Cheat(body=_copied),
    "fewer": Cheat(ciphertexts=lambda sealed: sealed[:-1]),
    "more": Cheat(ciphertexts=lambda sealed: (*sealed, sealed[0])),
    "exchanged": Cheat(ciphertexts=lambda sealed: (sealed[0], sealed[2], sealed[1], *sealed[3:])),
    "malformed": Cheat(malformed=True),
    "two-deals": Cheat(twice=True),
    "late-deal": Cheat(late=True),
    "anew": Cheat(anew=True),
    "certifies": Cheat(certifies=True),
    "another-secret": Cheat(secret=b"\0" * 31 + b"\7"),
    "bad-share": Cheat(sealed=_off_by_one),
    "large-share": Cheat(sealed=_too_large),
    "zero-share": Cheat(sealed=_zero),
    "share-not-reduced": Cheat(sealed=_not_reduced),
    "bad-ciphertext": Cheat(sealed=_elsewhere),
    "no-point": Cheat(sealed=lambda _, __: Sealed(b"\4" + b"\x11" * 64, bytes(48))),
    "wrong-key": Cheat(sealed=_off_by_one, shown=b"\1" * 32),
    "zero-key": Cheat(sealed=_off_by_one, shown=bytes(32)),
    "key-of-another": Cheat(sealed=_off_by_one, shown_of=3),
    "silent": Cheat(sealed=_off_by_one, answers=False),
    "shows": Cheat(sealed=_off_by_one, answers=True),  # where nothing is to be shown
    "false-complaint": Cheat(complains=True),
    "stray": Cheat(strays=(MEMBER,)),
    "stray-dealer": Cheat(strays=(DEALER,)),
    "wrong-share": Cheat(wrong_proof=True),
    "wrong-tag": Cheat(proof_tag=DRILL_DST),
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

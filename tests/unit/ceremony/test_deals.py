"""Deals that break a rule: who is named, by what code. Group C of the catalogue."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signer.bls.encoding import PublicKey
from signer.bls.scalar import SecretScalar
from signer.ceremony.board import read_board
from signer.ceremony.bundle import Bundle
from signer.ceremony.checking import check_deal, check_slim_deal, outcome_of
from signer.ceremony.deal import Deal, DealBody, ProofText, SlimDeal, info_of, leaves_of
from signer.ceremony.dealing import make_deal, take_share
from signer.ceremony.union import union_digest
from signer.errors import DealError, EngineError, SchemaError, SignerError
from signer.messages.dsse import SignedFile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed, seal
from signer.secret import SecretBytes
from signer.strict import Fields, canonical
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex
from signer.threshold.possession import prove
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import NOW, seeded
from tests.unit.ceremony.honest import (
    G1_OUTSIDE_THE_GROUP,
    ORDER,
    dkg,
    refused,
    reshare,
    split,
)

OUTSIDE = bytes.fromhex(G1_OUTSIDE_THE_GROUP)
INFINITY = b"\xc0" + bytes(47)
ME = ShareIndex(2)


def named(code: str, deal: Deal, gathering: Gathering | None = None, dealer: int = 1) -> DealError:
    """Expect the deal to be its dealer's fault, by this code, whole and slim."""
    setting = (gathering or dkg()).setting
    with pytest.raises(DealError) as whole:
        check_deal(deal, setting, dealer)
    assert (whole.value.code, whole.value.dealer) == (code, dealer)
    assert setting.name_of(dealer) in whole.value.message
    if len(deal.ciphertexts) == setting.roster.threshold.n:
        with pytest.raises(DealError) as slim:
            check_slim_deal(deal.slim(ME), setting, dealer, ME)
        assert (slim.value.code, slim.value.dealer) == (code, dealer)
    board = (gathering or dkg()).board({f"deal-{dealer:02}.json": deal.to_bytes()})
    assert board.faults[dealer].code == code
    assert board.aborted
    assert [(v.dealer, v.code, v.dealer_is_guilty) for v in board.verdicts] == [
        (dealer, code, True)
    ]
    return whole.value


def share_error(deal: Deal, dealer: int = 1) -> DealError:
    """Return what member 2 finds when he opens his share of it."""
    deals = {d: deal if d == dealer else dkg().deal(d) for d in (1, 2, 3)}
    checked = [check_deal(deals[d], dkg().setting, d) for d in (1, 2, 3)]
    outcome = outcome_of(dkg().setting, checked)
    person = dkg().members[ME]
    with pytest.raises(DealError) as caught:
        take_share(outcome, ME, person.card.body.kex, person.ecdh)
    assert caught.value.dealer == dealer
    return caught.value


def commitments(dealer: int = 1) -> tuple[bytes, ...]:
    return dkg().body(dealer)[0].commitments


# What everybody sees


@pytest.mark.parametrize("gathering", [dkg, split, reshare])
def test_honest_deals_hold(gathering: Callable[[], Gathering]) -> None:
    made = gathering()
    for dealer in made.setting.roster.dealers:
        deal = made.deal(dealer)
        again = Deal.parse(deal.to_bytes())
        assert again == deal
        assert again.to_bytes() == deal.to_bytes()
        whole = check_deal(again, made.setting, dealer)
        for member in made.setting.roster.indices:
            slim = SlimDeal.take(Fields(deal.slim(member).to_json(), "deal"))
            assert slim == deal.slim(member)
            part = check_slim_deal(slim, made.setting, dealer, member)
            assert part.ciphertexts == {int(member): whole.ciphertexts[int(member)]}
            assert replace(part, ciphertexts={}) == replace(whole, ciphertexts={})


def test_the_same_seed_deals_the_same() -> None:
    assert dkg().deal(1).to_bytes() == dkg().deal(1).to_bytes()
    assert dkg().body(1)[0].commitments != dkg().body(2)[0].commitments


@pytest.mark.case("C1", "deal of t - 1, t + 1 or n commitments")
@pytest.mark.parametrize("count", [1, 3, 100])
def test_exactly_t_commitments(count: int) -> None:
    points = (commitments(1) + commitments(2) * 50)[:count]
    named("E_DEAL_LENGTH", dkg().deal(1, commitments=points))


@pytest.mark.case("C2", "deal without commitments, or of part of one")
@pytest.mark.parametrize("points", [(), (b"\x81" * 47,), (b"\x81" * 48, b"\x81" * 2)])
def test_some_commitments(points: tuple[bytes, ...]) -> None:
    named("E_DEAL_SCHEMA", dkg().deal(1, commitments=points))


@pytest.mark.case("C3", "infinity as first commitment, as last, as the nonce of the proof")
@pytest.mark.case("C4", "commitment outside the group")
@pytest.mark.case("C5", "commitment with x >= p, wrong flags, uncompressed")
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "bad",
    [INFINITY, OUTSIDE, b"\x9f" + b"\xff" * 47, bytes(48), b"\xff" * 48, b"\xe0" + bytes(47),
     b"\x1f" + b"\x11" * 47, b"\x81" + bytes(47)],
    ids=["infinity", "outside", "x>=p", "zeros", "ones", "signed infinity", "no flag", "off curve"],
)  # fmt: skip
def test_commitments_are_points(place: int, bad: bytes) -> None:
    points = list(commitments())
    points[place] = bad
    error = named("E_DEAL_POINT", dkg().deal(1, commitments=tuple(points)))
    assert ("outside the prime-order group" in error.message) == (bad == OUTSIDE)


@pytest.mark.case("C5", "uncompressed commitments: twice the bytes")
def test_no_uncompressed_points() -> None:
    points = tuple(point + bytes(48) for point in commitments())
    named("E_DEAL_LENGTH", dkg().deal(1, commitments=points))


def proof_of(dealer: int, context: bytes, seed: int = 0) -> ProofText:
    gathering = dkg()
    roster = gathering.setting.roster
    session = gathering.session(seed or dealer)
    with session, Dealing.derive(session, roster.id, roster.threshold.t) as dealing:
        made = prove(dealing, session, context)
    return ProofText(bytes(made.r), made.z)


@pytest.mark.case("C6", "proof of another ceremony, dealer or key; made for other commitments")
def test_proofs_fit_one_place() -> None:
    setting = dkg().setting
    right = setting.proof_context(1)
    check_deal(dkg().deal(1, proof=proof_of(1, right)), setting, 1)
    for context in (b"\7" * 32 + right[32:], setting.proof_context(2), right[:-1] + b"\2",
                    right + b"\0", b""):  # fmt: skip
        named("E_DEAL_PROOF", dkg().deal(1, proof=proof_of(1, context)))
    named("E_DEAL_PROOF", dkg().deal(1, proof=proof_of(2, right, seed=2)))


@pytest.mark.case(
    "C6", "proof with R = O, outside the group or another; z = 0, z >= r, z + 1; none"
)
def test_proofs_are_checked_to_the_last_bit() -> None:
    good = dkg().body(1)[0].proof
    assert good is not None
    z = int.from_bytes(good.z)
    bad = [ProofText(INFINITY, good.z), ProofText(OUTSIDE, good.z),
           ProofText(commitments()[0], good.z), ProofText(good.r, bytes(32)),
           ProofText(good.r, ORDER.to_bytes(32)), ProofText(good.r, b"\xff" * 32),
           ProofText(good.r, ((z + 1) % ORDER).to_bytes(32)), None]  # fmt: skip
    if z + ORDER < 2**256:
        bad.append(ProofText(good.r, (z + ORDER).to_bytes(32)))
    for proof in bad:
        named("E_DEAL_PROOF", dkg().deal(1, proof=proof))


@pytest.mark.case("C6", "proof where none is asked: in a split, in a reshare")
def test_no_proof_where_the_constant_is_fixed() -> None:
    proof = dkg().body(1)[0].proof
    named("E_DEAL_PROOF", split().deal(0, proof=proof), split(), dealer=0)
    named("E_DEAL_PROOF", reshare().deal(1, proof=proof), reshare())


@pytest.mark.case("C7", "another dealer's commitments and proof, signed again")
def test_copied_deals() -> None:
    body, ciphertexts = dkg().body(2)
    copied = replace(body, dealer=1)
    named("E_DEAL_PROOF", dkg().signed_deal(1, copied, ciphertexts))


@pytest.mark.case("C7", "two dealers with one random source: the same constant term twice")
def test_the_same_secret_twice() -> None:
    gathering = Gathering.dkg(2, 3)
    gathering.session = lambda dealer: SecretBytes(seeded(min(dealer, 2))(32))  # type: ignore[method-assign]
    files = {f"deal-{d:02}.json": gathering.deal(d).to_bytes() for d in (1, 2, 3)}
    board = gathering.board(files)
    assert board.aborted
    assert board.faults[3].code == "E_DEAL_COPIED"
    assert "dealer 3 (holder 3) has the constant term of dealer 2 (holder 2)" in (
        board.verdicts[0].reason
    )


@pytest.mark.case("C7", "commitments chosen so that all of them add up to no key")
@pytest.mark.parametrize("place", [0, 1])
def test_deals_that_add_up_to_infinity(place: int) -> None:
    setting = Gathering.dkg(2, 2).setting
    one, two = (check_deal(dkg().deal(d), dkg().setting, d) for d in (1, 2))
    points = list(two.commitments)
    first = bytes(one.commitments[place])
    points[place] = PublicKey(bytes([first[0] ^ 0x20]) + first[1:])  # its negative
    refused(
        "E_NO_KEY", "no key", outcome_of, setting, [one, replace(two, commitments=tuple(points))]
    )


@pytest.mark.case("C8", "deal of n - 1 or n + 1 ciphertexts, signed so")
def test_a_ciphertext_for_each_member() -> None:
    body, ciphertexts = dkg().body(1)
    for sealed in (ciphertexts[:-1], (*ciphertexts, ciphertexts[0]), ciphertexts[:1]):
        root = merkle.root(leaves_of(sealed))
        deal = dkg().signed_deal(1, replace(body, ciphertexts_root=root), sealed)
        named("E_DEAL_LENGTH", deal)


@pytest.mark.case("C8", "ciphertexts cut off, doubled, swapped or changed by somebody else")
def test_ciphertexts_are_those_the_dealer_signed_for() -> None:
    good = dkg().deal(1)
    one, two, three = good.ciphertexts
    for sealed in ((one, two), (one, two, three, three), (two, one, three),
                   (one, Sealed(two.enc, three.ciphertext), three)):  # fmt: skip
        deal = Deal(good.signed, sealed)
        refused("E_DEAL_CIPHERTEXTS", "not those", check_deal, deal, dkg().setting, 1)
        board = dkg().board({"deal-01.json": deal.to_bytes()})
        assert not board.aborted  # it proves nothing against the dealer
        assert [problem.code for problem in board.problems] == ["E_DEAL_CIPHERTEXTS"]
        assert 1 in board.missing_deals


@pytest.mark.case("C8", "slim deal: another's ciphertext, another path, a path of another length")
def test_slim_deals_are_under_the_signed_root() -> None:
    good, setting = dkg().deal(1), dkg().setting
    slim, other = good.slim(ME), good.slim(ShareIndex(1))
    bad = [replace(slim, ciphertext=other.ciphertext), replace(slim, path=other.path),
           replace(slim, path=slim.path[::-1]), replace(slim, path=())]  # fmt: skip
    for deal in bad:
        with pytest.raises(SignerError) as caught:
            check_slim_deal(deal, setting, 1, ME)
        assert caught.value.code in ("E_DEAL_CIPHERTEXTS", "E_SCHEMA")
        assert not isinstance(caught.value, DealError)
    refused("E_DEAL_CIPHERTEXTS", "", check_slim_deal, other, setting, 1, ME)


@pytest.mark.case("C16", "deal of another ceremony, another dealer, or signed by somebody else")
def test_deals_have_a_place() -> None:
    other = Gathering(
        replace(dkg().setting, roster=replace(dkg().setting.roster, nonce=b"\1" * 32)),
        dkg().members, dkg().dealers,
    )  # fmt: skip
    deal = other.deal(1)
    refused("E_DEAL_CEREMONY", "another ceremony", check_deal, deal, dkg().setting, 1)
    refused("E_DEAL_SIGNATURE", "did not sign", check_deal, dkg().deal(2), dkg().setting, 1)
    body, ciphertexts = dkg().body(1)
    misplaced = dkg().signed_deal(1, replace(body, dealer=2), ciphertexts)
    refused("E_DEAL_CEREMONY", "another place", check_deal, misplaced, dkg().setting, 1)


@pytest.mark.case("C12", "two different deals of one dealer, in any order, beside whatever")
def test_equivocation_is_named() -> None:
    gathering = dkg()
    first = gathering.deal(1)
    second = gathering.deal(1, moment=NOW + 1)
    for a, b in ((first, second), (second, first)):
        files = {"deal-01.json": a.to_bytes(), "deal-01-copy.json": b.to_bytes(),
                 "deal-02.json": gathering.deal(2).to_bytes()}  # fmt: skip
        board = gathering.board(files)
        assert board.faults[1].code == "E_DEAL_EQUIVOCATION"
        assert 1 not in board.checked
        assert board.aborted


@pytest.mark.case(
    "C12", "an honest dealer's deal of another ceremony, put beside his deal of this one"
)
def test_nobody_is_made_to_equivocate() -> None:
    gathering = dkg()
    roster = replace(gathering.setting.roster, nonce=b"\1" * 32)
    other = Gathering(
        replace(gathering.setting, roster=roster), gathering.members, gathering.dealers
    )
    files = {"deal-01.json": gathering.deal(1).to_bytes(),
             "deal-01-rest.json": other.deal(1).to_bytes(),
             "deal-01-zz.json": gathering.deal(2).to_bytes()}  # fmt: skip
    board = gathering.board(files)
    assert not board.aborted
    assert 1 in board.checked
    codes = [problem.code for problem in board.problems]
    assert codes == ["E_DEAL_CEREMONY", "E_DEAL_SIGNATURE"]
    renamed = {"deal-01.json": files["deal-01-rest.json"], "deal-01-b.json": files["deal-01.json"]}
    board = gathering.board(renamed)
    assert not board.aborted
    assert [problem.code for problem in board.problems] == ["E_DEAL_CEREMONY"]


@pytest.mark.case("C12", "a bundle with another deal than the one in the folder")
def test_equivocation_in_a_bundle() -> None:
    gathering = dkg()
    deals = {d: gathering.deal(d) for d in (1, 2, 3)}
    other = deals | {1: gathering.deal(1, moment=NOW + 1)}
    bundle = Bundle.of(gathering.setting.roster, ME, other, {})
    files = {"bundle-02.json": bundle.to_bytes(), "deal-01.json": deals[1].to_bytes()}
    board = read_board(gathering.setting, files, reader=int(ME))
    assert board.faults[1].code == "E_DEAL_EQUIVOCATION"
    others = read_board(gathering.setting, files, reader=3)  # to them a bundle is evidence only
    assert others.faults[1].code == "E_DEAL_EQUIVOCATION"
    del files["deal-01.json"]
    assert not read_board(gathering.setting, files, reader=3).slim


@pytest.mark.case("C24", "deal that carries seven keys: seven times as many commitments")
def test_one_key_a_deal() -> None:
    named("E_DEAL_LENGTH", dkg().deal(1, commitments=commitments() * 7))


@pytest.mark.case(
    "C20", "reshare: constant term that is not the old public share; another bindings"
)
def test_reshares_deal_the_old_share() -> None:
    gathering = reshare()
    other = dkg().body(3)[0].commitments
    named("E_DEAL_CONSTANT", gathering.deal(1, commitments=other), gathering)
    swapped = gathering.body(2)[0].commitments
    named("E_DEAL_CONSTANT", gathering.deal(1, commitments=swapped), gathering)
    named("E_DEAL_SCHEMA", gathering.deal(1, bindings=None), gathering)
    named("E_DEAL_SCHEMA", dkg().deal(1, bindings=bytes(32)))


@pytest.mark.case("P14", "split: a deal of another key than the roster's")
def test_splits_deal_the_rosters_key() -> None:
    named("E_DEAL_CONSTANT", split().deal(0, commitments=commitments()), split(), dealer=0)


@pytest.mark.case("X712", "deal of another version, with a field more or less, in another form")
def test_payloads_are_strict() -> None:
    value = json.loads(dkg().body(1)[0].to_payload())
    bad: list[dict[str, Any]] = [
        value | {"version": 2}, value | {"type": "signer-deals"}, value | {"keys": 1},
        value | {"dealer": 1.0}, value | {"dealer": "1"}, value | {"dealer": -1},
        value | {"commitments": value["commitments"] + "="}, value | {"commitments": ""},
        value | {"commitments": [value["commitments"]]}, value | {"proof": {}},
        value | {"proof": value["proof"] | {"k": 1}}, value | {"moment": -1},
        value | {"moment": 253_402_300_800},
        value | {"ciphertexts_root": value["ciphertexts_root"].upper()},
    ]  # fmt: skip
    bad += [{k: v for k, v in value.items() if k != name} for name in value]
    for changed in bad:
        payload = json.dumps(changed).encode()
        signed = dkg().dealers[1].sign("application/vnd.signer.deal.v1+json", payload)
        deal = Deal(signed, dkg().body(1)[1])
        with pytest.raises(DealError) as caught:
            check_deal(deal, dkg().setting, 1)
        assert caught.value.code == "E_DEAL_SCHEMA"


@pytest.mark.case("F14", "deal's payload signed as another kind of file")
def test_kinds_do_not_mix() -> None:
    good = dkg().deal(1)
    payload = good.signed.payload
    signed = dkg().dealers[1].sign("application/vnd.signer.card.v1+json", payload)
    disguised = Deal(
        SignedFile(good.signed.payload_type, payload, signed.key_id, signed.signature),
        good.ciphertexts,
    )
    refused("E_DEAL_SIGNATURE", "", check_deal, disguised, dkg().setting, 1)
    value = good.to_json()
    value["signed"] = signed.to_json()
    refused("E_SCHEMA", "", Deal.parse, canonical(value))
    changes: list[dict[str, Any]] = [{"version": 2}, {"extra": 1}, {"ciphertexts": []}]
    for change in changes:
        changed = good.to_json() | change
        refused("E_SCHEMA", "", Deal.parse, canonical(changed))
    with pytest.raises(SchemaError, match="at most"):
        Deal.parse(b" " * (64 * 1024 + 1))


# What only the member sees


def resealed(plain: bytes, *, dealer: int = 1, info: bytes | None = None, aad: bytes | None = None,
             kex: bytes | None = None) -> Deal:  # fmt: skip
    """Return a dealer's deal in which member 2 gets `plain`, sealed like this."""
    body, ciphertexts = dkg().body(dealer)
    sealed = seal(
        kex or dkg().members[ME].card.body.kex,
        info or info_of(dkg().setting.roster.id, dealer, int(ME)),
        body.associated_data if aad is None else aad,
        SecretBytes(plain), seeded(3),
    )  # fmt: skip
    return with_ciphertext(sealed, body, ciphertexts, dealer)


def with_ciphertext(sealed: Sealed, body: DealBody, old: tuple[Sealed, ...], dealer: int) -> Deal:
    changed = list(old)
    changed[ME - 1] = sealed
    root = merkle.root(leaves_of(changed))
    return dkg().signed_deal(dealer, replace(body, ciphertexts_root=root), tuple(changed))


def honest_share(dealer: int = 1, member: int = 2) -> bytes:
    roster = dkg().setting.roster
    with (
        dkg().session(dealer) as seed,
        Dealing.derive(seed, roster.id, roster.threshold.t) as dealing,
        dealing.share_for(ShareIndex(member)) as share,
        share.to_big_endian() as plain,
    ):
        return bytes(plain.expose())


@pytest.mark.case(
    "C9", "right share, wrong info: ceremony, dealer, recipient; wrong aad; wrong key"
)
def test_ciphertexts_that_do_not_open() -> None:
    ceremony, plain = dkg().setting.roster.id, honest_share()
    bad = [resealed(plain, info=info_of(b"\1" * 32, 1, 2)),
           resealed(plain, info=info_of(ceremony, 2, 2)),
           resealed(plain, info=info_of(ceremony, 1, 3)), resealed(plain, info=b"x"),
           resealed(plain, aad=b"x"), resealed(plain, aad=bytes(32)),
           resealed(plain, kex=dkg().members[3].card.body.kex)]  # fmt: skip
    for deal in bad:
        assert share_error(deal).code == "E_DEAL_DECRYPT"


@pytest.mark.case("C9", "ephemeral point at infinity, off the curve, of no form")
@pytest.mark.parametrize("enc", [bytes(65), b"\4" + bytes(64), b"\4" + b"\x11" * 64, b"\2" * 65])
def test_ephemeral_points_that_are_none(enc: bytes) -> None:
    body, ciphertexts = dkg().body(1)
    sealed = Sealed(enc, ciphertexts[ME - 1].ciphertext)
    assert share_error(with_ciphertext(sealed, body, ciphertexts, 1)).code == "E_DEAL_DECRYPT"


@pytest.mark.case("C8", "my ciphertext swapped with my neighbour's, and signed so")
def test_swapped_ciphertexts() -> None:
    body, ciphertexts = dkg().body(1)
    deal = with_ciphertext(ciphertexts[2], body, ciphertexts, 1)
    assert share_error(deal).code == "E_DEAL_DECRYPT"


@pytest.mark.case("C10", "share >= r, 0, right mod r but not canonical")
@pytest.mark.case("C11", "share of another index, of another dealer, off by one")
def test_shares_off_the_polynomial() -> None:
    right = int.from_bytes(honest_share())
    others = honest_share(member=3), honest_share(dealer=2)
    bad = [ORDER, 2**256 - 1, 0, (right + 1) % ORDER, ORDER - right]
    bad += [int.from_bytes(other) for other in others]
    if right + ORDER < 2**256:
        bad.append(right + ORDER)
    for number in bad:
        assert share_error(resealed(number.to_bytes(32))).code == "E_DEAL_SHARE"
    deals = [resealed(right.to_bytes(32)), dkg().deal(2), dkg().deal(3)]
    checked = [check_deal(deal, dkg().setting, dealer) for dealer, deal in enumerate(deals, 1)]
    outcome = outcome_of(dkg().setting, checked)
    person = dkg().members[ME]
    take_share(outcome, ME, person.card.body.kex, person.ecdh).wipe()  # so the loop above can fail


# Randomness


@pytest.mark.case("C25", "session seed of zeros: nothing is dealt")
def test_a_dead_random_source_deals_nothing() -> None:
    with pytest.raises(EngineError, match="zeros"), SecretBytes.zeros(32) as seed:
        make_deal(dkg().setting, 1, seed, NOW)


@pytest.mark.case("C25", "random source that gives every coefficient the same value")
def test_a_stuck_random_source_deals_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(seed: SecretBytes, label: bytes) -> SecretScalar:
        return SecretScalar.from_big_endian(bytearray(b"\0" * 31 + b"\7"))

    monkeypatch.setattr("signer.threshold.dealing.derive_scalar", same)
    with pytest.raises(EngineError, match="repeats itself"), dkg().session(1) as seed:
        make_deal(dkg().setting, 1, seed, NOW)


def test_union_of_no_reshare() -> None:
    checked = [check_deal(dkg().deal(d), dkg().setting, d) for d in (1, 2, 3)]
    assert union_digest(dkg().setting, checked, []) is None
    refused("E_BINDINGS", "only a reshare", union_digest, dkg().setting, checked, reshare().union())

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_sum
from signer.bls.scalar import GROUP_ORDER, SecretScalar
from signer.bls.scheme import public_key
from signer.ceremony.deal import leaves_of
from signer.ceremony.repair_board import repair_abort_words
from signer.ceremony.repair_delta import DeltaFile, check_delta, delta_info
from signer.ceremony.repair_entries import repair_entries
from signer.ceremony.repair_minutes import repair_minutes
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.repair_sigma import PAYLOAD_TYPE as SIGMA_TYPE
from signer.ceremony.repair_sigma import SigmaFile
from signer.ceremony.repair_steps import RepairMemory, next_repair_step
from signer.ceremony.repairing import _open_delta
from signer.ceremony.statement import MAX_MOMENT
from signer.ceremony.steps import Me
from signer.errors import CeremonyError, DealError, SchemaError, SignerError
from signer.messages.group_file import GroupFile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.lagrange import lagrange_at
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Person
from tests.simulators.holders import NOW, make_card, seeded
from tests.simulators.repair import Repair, pool_of

HONEST = Repair.of()
FILES = HONEST.files()
SUMS = {name: raw for name, raw in FILES.items() if name.startswith(("delta", "sigma"))}
PROVED = SUMS | {"ack-02.json": FILES["ack-02.json"]}


def repair(**changes: Any) -> Repair:
    return replace(HONEST, **changes)


def swapped(sealed: tuple[Sealed, ...]) -> tuple[Sealed, ...]:
    return (sealed[1], sealed[0], *sealed[2:])


def forged(sigma: bool = False) -> Repair:
    """Return a repair of which helper 3 sealed helper 4, or the holder, something else."""
    wrong = repair(made={})
    body, sealed = HONEST.body(3)
    if not sigma:
        other, _ = Repair.of(nonce=b"\7" * 32).body(3)
        again = Repair.of(nonce=b"\7" * 32)
        again.people = HONEST.people
        _, theirs = again.body(3)
        assert other.commitments != body.commitments
        sealed = (*sealed[:2], theirs[2])
    root = merkle.root(leaves_of(sealed))
    wrong.made[3] = HONEST.delta(3, ciphertexts=sealed, ciphertexts_root=root)
    return wrong


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_repair_returns_the_identical_share_whoever_helps(data: st.DataObject) -> None:
    t, n = data.draw(st.sampled_from([(2, 3), (3, 5), (2, 5)]))
    lost = data.draw(st.integers(1, n))
    others = [index for index in range(1, n + 1) if index != lost]
    helpers = data.draw(st.sets(st.sampled_from(others), min_size=t))
    made = Repair.of(lost, tuple(sorted(helpers)), t=t, n=n)
    assert made.repaired() == pool_of(t, n).shares[lost]


def test_an_honest_repair_leaves_a_group_file_with_the_new_card() -> None:
    board = HONEST.board(FILES)
    assert (board.problems, board.faults, board.stop) == ([], {}, None)
    group = board.repaired
    assert group is not None
    assert GroupFile.parse(group.to_bytes()) == group
    before = HONEST.setting.group
    assert group.cards == before.cards
    assert group.card_of(2) == HONEST.setting.roster.card
    assert group.holders_digest == before.holders_digest
    assert group.binding(ShareIndex(2)) == before.binding(ShareIndex(2))
    assert group.id_signs[1] != group.bound_id_signs[1]
    assert "opened his share and signed" in repair_minutes(board, [])


def test_files_may_come_in_any_order_and_twice() -> None:
    twice = {f"{name.removesuffix('.json')}-copy.json": raw for name, raw in FILES.items()}
    board = HONEST.board(dict(reversed(list((FILES | twice).items()))))
    assert board.repaired is not None
    assert not board.problems


@pytest.mark.parametrize("name", sorted(FILES))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.case("X660", "one bit flipped anywhere in a file of a repair")
def test_a_flipped_bit_is_refused_with_a_code(name: str, data: st.DataObject) -> None:
    raw = bytearray(FILES[name])
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    board = HONEST.board(FILES | {name: bytes(raw)})
    assert board.repaired is None
    codes = [problem.code for problem in board.problems]
    codes += [error.code for error in board.faults.values()]
    assert codes
    assert all(code.startswith("E_") for code in codes)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.case("X661", "one bit flipped in a repair's roster or in the group file it is about")
def test_a_flipped_roster_or_group_is_another_or_none(data: st.DataObject) -> None:
    setting = HONEST.setting
    roster, group = setting.roster.to_bytes(), setting.group.to_bytes()
    which = data.draw(st.sampled_from(["roster", "group"]))
    raw = bytearray(roster if which == "roster" else group)
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        if which == "roster":
            found = RepairRoster.parse(bytes(raw))
            RepairSetting.of(found, setting.group)
            assert found.id != setting.roster.id  # and so another fingerprint
        else:
            RepairSetting.of(setting.roster, GroupFile.parse(bytes(raw)))
            pytest.fail("another group file passed")
    except SignerError as error:
        refused = error.code
    else:
        refused = "E_ANOTHER"
    assert refused.startswith("E_")


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"lost": 6}, "E_ROSTER"),
        ({"lost": 100}, "E_ROSTER"),
        ({"lost": 1}, "E_ROSTER"),
        ({"lost": 3}, "E_ROSTER"),
        ({"helpers": (1, 3)}, "E_ROSTER"),
        ({"helpers": (1, 3, 3)}, "E_SCHEMA"),
        ({"helpers": (1, 4, 3)}, "E_SCHEMA"),
        ({"helpers": (1, 3, 6)}, "E_ROSTER"),
        ({"previous": b"\1" * 32}, "E_ROSTER"),
        ({"group": b"\1" * 32}, "E_ROSTER"),
        ({"epoch": 2}, "E_ROSTER"),
        ({"rehearsal": True}, "E_ROSTER"),
        ({"expires": NOW - 60}, "E_SCHEMA"),
        ({"expires": NOW + 10 * 366 * 86400}, "E_SCHEMA"),
    ],
)
@pytest.mark.case(
    "C22", "index not of the group, own live index, helpers < t, one twice, a stranger"
)
def test_a_roster_that_is_no_repair(terms: dict[str, Any], code: str) -> None:
    helpers = terms.pop("helpers", (1, 3, 4))
    lost = terms.pop("lost", 2)
    who: dict[str, Any] = {"lost": ShareIndex(lost), "helpers": tuple(map(ShareIndex, helpers))}
    raw = replace(HONEST.setting.roster, **(who | terms)).to_bytes()
    with pytest.raises(SignerError) as caught:
        RepairSetting.of(RepairRoster.parse(raw), HONEST.setting.group)
    assert caught.value.code == code
    if lost > 5:
        assert "has no share" in caught.value.message


def test_a_repair_needs_an_active_group() -> None:
    setting = HONEST.setting
    group = replace(setting.group, activation=None)
    with pytest.raises(CeremonyError, match="not active"):
        RepairSetting.of(replace(setting.roster, previous=group.digest), group)
    with pytest.raises(CeremonyError, match="needs the group file"):
        RepairSetting.of(setting.roster, None)


@pytest.mark.case("X662", "a new card with a key of another card, of a lost one, or of software")
def test_a_new_card_shows_new_keys() -> None:
    group = HONEST.setting.group
    lost, other = group.card_of(2).body, group.card_of(5).body
    for changes in ({"kex": lost.kex}, {"kex": other.kex}, {"kex": other.id_sign}):
        card = make_card("returned 2", **changes)
        with pytest.raises(CeremonyError, match="shows a key"):
            RepairSetting.of(replace(HONEST.setting.roster, card=card), group)
    with pytest.raises(CeremonyError, match="same name"):
        RepairSetting.of(replace(HONEST.setting.roster, card=make_card("holder 5")), group)
    soft = make_card("returned 2", software=True)
    with pytest.raises(CeremonyError, match="software"):
        RepairSetting.of(replace(HONEST.setting.roster, card=soft), group)
    doubted = make_card("returned 2", proven=False)
    with pytest.raises(CeremonyError, match="UNPROVEN"):
        RepairSetting.of(replace(HONEST.setting.roster, card=doubted), group)
    unfit = make_card("returned 2", ceremony=False)
    with pytest.raises(CeremonyError, match=r"'returned 2' cannot take part.*lacks what"):
        RepairSetting.of(replace(HONEST.setting.roster, card=unfit), group)
    renewed = pool_of(3, 5).people[2].renewed()  # the same token, with a fresh receiving key
    RepairSetting.of(replace(HONEST.setting.roster, card=renewed.card), group)


def negated(points: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (bytes([points[0][0] ^ 0x20]) + points[0][1:], *points[1:])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: {"commitments": negated(body.commitments)}, "E_REPAIR_COMMITMENTS"),
        (lambda body: {"commitments": body.commitments[::-1][1:]}, "E_REPAIR_LENGTH"),
        (lambda body: {"commitments": body.commitments * 2}, "E_REPAIR_LENGTH"),
        (lambda body: {"commitments": (b"\xc0" + bytes(47), *body.commitments[1:])},
         "E_REPAIR_POINT"),
        (lambda body: {"commitments": (bytes(48), *body.commitments[1:])}, "E_REPAIR_POINT"),
        (lambda body: {"commitments": ()}, "E_REPAIR_SCHEMA"),
    ],
)  # fmt: skip
@pytest.mark.case("C22", "deltas whose commitments do not add up, are too many, or no points")
def test_deltas_that_break_a_rule_name_their_helper(
    change: Callable[[Any], dict[str, Any]], code: str
) -> None:
    body, _ = HONEST.body(3)
    bad = HONEST.delta(3, **change(body))
    with pytest.raises(DealError) as caught:
        check_delta(bad, HONEST.setting, 3)
    assert (caught.value.code, caught.value.dealer) == (code, 3)
    board = HONEST.board(FILES | {"delta-03.json": bad.to_bytes()})
    assert board.aborted
    assert [verdict.dealer for verdict in board.verdicts if verdict.dealer_is_guilty] == [3]
    assert "helper 3 (holder 3)" in repair_abort_words(board)


@pytest.mark.case("X663", "deltas of another's share, committed to as one's own")
def test_deltas_of_another_share_do_not_add_up() -> None:
    liar = repair(shares=HONEST.shares | {3: HONEST.shares[5]})
    from signer.threshold import repairing

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(repairing, "check_repair_commitments", lambda *_: True)
        bad = liar.delta(3)
    with pytest.raises(DealError) as caught:
        check_delta(bad, HONEST.setting, 3)
    assert caught.value.code == "E_REPAIR_COMMITMENTS"


@pytest.mark.case("X664", "delta file of another repair, of another helper, with other ciphertexts")
def test_what_is_not_his_is_no_proof_against_him() -> None:
    other = Repair.of(nonce=b"\1" * 32)
    other.people = HONEST.people
    strange = replace(HONEST.delta(1), ciphertexts=swapped(HONEST.delta(1).ciphertexts))
    for raw in (other.delta(1).to_bytes(), FILES["delta-03.json"], strange.to_bytes()):
        board = HONEST.board({"delta-01.json": raw})
        assert not board.faults
        assert board.problems
    both = HONEST.board({"delta-01.json": strange.to_bytes(),
                         "delta-01-b.json": FILES["delta-01.json"]})  # fmt: skip
    assert 1 in both.deltas
    assert len(both.problems) == 1


@pytest.mark.case("X665", "a helper signs two sets of deltas")
def test_two_sets_of_deltas_are_found_out() -> None:
    second = HONEST.delta(1, moment=NOW + 1).to_bytes()
    board = HONEST.board(SUMS | {"delta-01-b.json": second})
    assert board.faults[1].code == "E_REPAIR_EQUIVOCATION"
    assert board.repaired is None


@pytest.mark.case("C22", "bad delta: sealed to another helper's number, or another number")
def test_a_bad_delta_names_its_helper() -> None:
    bad = forged()
    with pytest.raises(DealError) as caught:
        bad.sigma(4)
    assert (caught.value.dealer, caught.value.code) == (3, "E_REPAIR_DECRYPT")
    raw = {f"delta-{h:02}.json": bad.delta(h).to_bytes() for h in bad.helpers}
    raw["complaint-04-against-03.json"] = bad.complaint(
        4, 3, "E_REPAIR_DECRYPT", bad.delta(3).digest
    )
    board = bad.board(raw)
    assert board.aborted
    assert board.verdicts == []
    assert "his answer is waited for" in repair_abort_words(board)
    step = next_repair_step(board, Me(None, 3), RepairMemory(delta=bad.delta(3).digest))
    assert (step.name, step.recipient) == ("answer", 4)
    (verdict,) = bad.board(raw, late=True).verdicts
    assert not verdict.dealer_is_guilty  # perhaps he never saw it
    assert "did not answer" in verdict.reason
    raw["opening-03-for-04.json"] = bad.opening(3, 4)
    (verdict,) = bad.board(raw).verdicts
    assert (verdict.dealer, verdict.member, verdict.dealer_is_guilty) == (3, 4, True)
    assert verdict.code == "E_OPENING"  # it is another recipient's ciphertext
    assert f"{verdict.reason} (E_OPENING)" in repair_abort_words(bad.board(raw))
    assert f"GUILTY: {verdict.reason} (E_OPENING)" in repair_minutes(bad.board(raw), [])


@pytest.mark.case("X666", "a delta that opens and is not what was committed to")
def test_a_delta_off_its_commitment_names_its_helper() -> None:
    body, sealed = HONEST.body(3)
    points = (body.commitments[1], body.commitments[0], body.commitments[2])
    from signer.ceremony.repairing import ephemeral_seed

    data = hashlib.sha256(b"".join(points)).digest()
    ceremony = HONEST.setting.roster.id
    made = []
    for recipient in HONEST.helpers:
        kex = HONEST.people[recipient].card.body.kex
        with (
            HONEST.session(3) as seed,
            ephemeral_seed(seed, ceremony, recipient) as ephemeral,
            SecretBytes(b"\0" * 31 + b"\5") as five,
        ):
            info = delta_info(ceremony, 3, recipient)
            made.append(seal_in_transit(kex, five, info, data, ephemeral))
    assert len(made) == len(sealed)
    bad = repair(made={})
    bad.made[3] = HONEST.delta(3, commitments=points, ciphertexts=tuple(made),
                               ciphertexts_root=merkle.root(leaves_of(made)))  # fmt: skip
    with pytest.raises(DealError) as caught:
        bad.sigma(1)
    assert (caught.value.dealer, caught.value.code) == (3, "E_REPAIR_DELTA")
    raw = {f"delta-{h:02}.json": bad.delta(h).to_bytes() for h in bad.helpers}
    raw["complaint-01-against-03.json"] = bad.complaint(1, 3, "E_REPAIR_DELTA", bad.made[3].digest)
    raw["opening-03-for-01.json"] = bad.opening(3, 1)
    (verdict,) = bad.board(raw).verdicts
    assert (verdict.dealer_is_guilty, verdict.code) == (True, "E_REPAIR_DELTA")
    assert "helper 3 (holder 3) sent helper 1 (holder 1) another delta" in verdict.reason


@pytest.mark.case("X667", "a false complaint, a complaint of oneself, an opening with another key")
def test_complaints_that_are_wrong() -> None:
    raw = {name: data for name, data in FILES.items() if name.startswith("delta")}
    raw["complaint-04-against-03.json"] = HONEST.complaint(
        4, 3, "E_REPAIR_DECRYPT", HONEST.delta(3).digest
    )
    opened = raw | {"opening-03-for-04.json": HONEST.opening(3, 4)}
    (verdict,) = HONEST.board(opened).verdicts
    assert (verdict.dealer_is_guilty, verdict.code) == (False, "E_COMPLAINT")
    assert f"not guilty: {verdict.reason}" in repair_minutes(HONEST.board(opened), [])
    for key in (bytes(32), b"\1" * 32):
        shown = raw | {"opening-03-for-04.json": HONEST.opening(3, 4, key or None)}
        (verdict,) = HONEST.board(shown).verdicts
        assert verdict.dealer_is_guilty
        assert verdict.code == "E_OPENING"
    own = {"complaint-03-against-03.json": HONEST.complaint(3, 3, "E_REPAIR_DELTA", bytes(32))}
    board = HONEST.board(own)
    assert not board.aborted
    assert board.problems
    stranger = repair(people=HONEST.people | {5: Person.new("x")})
    board = HONEST.board(
        {"complaint-05-against-03.json": stranger.complaint(5, 3, "E_REPAIR_DELTA", bytes(32))}
    )
    assert not board.aborted


@pytest.mark.case("C22", "a sum of other deltas than were sent")
def test_a_bad_sum_names_its_helper() -> None:
    setting, deltas = HONEST.setting, HONEST.checked()
    honest = {helper: HONEST.sigma(helper) for helper in HONEST.helpers}
    liar = repair(seed=9)  # what he seals is of other deltas; he says it is of these
    body = liar.sigma(3).check(setting, 3, liar.checked())
    lie = HONEST.sigma(3, sealed=body.sealed)
    with pytest.raises(DealError) as caught:
        HONEST.repaired(honest | {3: lie})
    assert (caught.value.dealer, caught.value.code) == (3, "E_REPAIR_DECRYPT")
    from signer.ceremony.repair_sigma import sigma_info
    from signer.ceremony.repairing import ephemeral_seed
    from signer.sealing.transit import seal_in_transit
    from signer.secret import SecretBytes

    with (
        HONEST.session(3) as seed,
        ephemeral_seed(seed, HONEST.transcript, 2) as ephemeral,
        SecretBytes(b"\0" * 31 + b"\5") as five,
    ):
        kex, info = setting.roster.card.body.kex, sigma_info(setting.roster.id, 3, 2)
        sealed = seal_in_transit(kex, five, info, HONEST.transcript, ephemeral)
    wrong = HONEST.sigma(3, sealed=sealed)
    with pytest.raises(DealError) as caught:
        HONEST.repaired(honest | {3: wrong})
    assert (caught.value.dealer, caught.value.code) == (3, "E_REPAIR_SIGMA")
    assert len(deltas) == 3
    raw = dict(SUMS)
    raw |= {"sigma-03.json": wrong.to_bytes(), "complaint-02-against-03.json":
            HONEST.complaint(2, 3, "E_REPAIR_SIGMA", wrong.digest)}  # fmt: skip
    assert HONEST.board(raw).aborted
    for late in (False, True):
        (verdict,) = HONEST.board(raw, late=late).verdicts
        assert (verdict.dealer, verdict.member, verdict.dealer_is_guilty) == (3, 2, False)
    words = repair_abort_words(HONEST.board(raw))
    assert "holder 2 (returned 2) complains of the sum that helper 3 (holder 3)" in words
    assert words.count("complains") == 1
    assert f"undecided: {words.removeprefix('this repair is over: ')}" in repair_minutes(
        HONEST.board(raw), []
    )


@pytest.mark.case(
    "X683", "a helper is asked to open his sum, or does: t - 1 others learn his share"
)
def test_a_sum_is_never_opened() -> None:
    raw = dict(SUMS)
    raw["complaint-02-against-03.json"] = HONEST.complaint(
        2, 3, "E_REPAIR_SIGMA", HONEST.sigma(3).digest
    )
    memory = RepairMemory(delta=HONEST.delta(3).digest, transcript=HONEST.transcript)
    assert next_repair_step(HONEST.board(raw), Me(None, 3), memory).name == "aborted"
    board = HONEST.board(raw | {"opening-03-for-02.json": HONEST.opening(3, 2)})
    assert board.openings == {}
    assert "never opened" in board.problems[0].message


@pytest.mark.case("X668", "a sum over other deltas, two sums of one helper")
def test_a_second_file_of_another_repair_stops_it() -> None:
    digests = tuple(HONEST.delta(helper).digest for helper in HONEST.helpers)
    other = HONEST.sigma(3, deltas=(digests[0], digests[1], b"\1" * 32))
    board = HONEST.board(FILES | {"sigma-03.json": other.to_bytes()})
    assert board.stop is not None
    assert board.stop.code == "E_TRANSCRIPT"
    assert (
        "helper 3 (holder 3) has seen other deltas than lie here, of helper 4" in board.stop.message
    )
    for wrong in (digests[:2], (*digests, digests[0]), digests[::-1]):
        raw = HONEST.sigma(3, deltas=wrong).to_bytes()
        assert HONEST.board(FILES | {"sigma-03.json": raw}).stop is not None
    second = HONEST.sigma(3, moment=NOW + 1)
    board = HONEST.board(SUMS | {"sigma-03-b.json": second.to_bytes()})
    assert board.stop is not None
    assert board.stop.code == "E_REPAIR_EQUIVOCATION"


@pytest.mark.case("X770", "after all sums and the proof: complaints, a second file of each kind")
def test_a_repair_that_succeeded_stands_whatever_else_lies_there() -> None:
    done = HONEST.board(FILES).repaired
    assert done is not None
    bad = HONEST.delta(4, commitments=HONEST.body(4)[0].commitments[::-1][1:])
    sigma = HONEST.sigma(3)
    late = {
        "complaint-01-against-03.json": HONEST.complaint(
            1, 3, "E_REPAIR_DELTA", HONEST.delta(3).digest),
        "complaint-02-against-03.json": HONEST.complaint(2, 3, "E_REPAIR_SIGMA", sigma.digest),
        "delta-04-a.json": HONEST.delta(4, moment=NOW + 5).to_bytes(),
        "delta-01.json-": b"{}",
        "delta-01-b.json": bad.to_bytes(),
        "delta-04-b.json": bad.to_bytes(),
        "delta-77.json": b"{}",
        "sigma-04-a.json": HONEST.sigma(4, moment=NOW + 5).to_bytes(),
        "sigma-03-b.json": HONEST.sigma(3, deltas=(bytes(32),) * 3).to_bytes(),
        "ack-02-b.json": HONEST.acknowledgement(certificate=bytes(32)).to_bytes(),
        "replacement-01-b.json": canonical(HONEST.replacement(1, index=3).to_json()),
        "opening-03-for-01.json": HONEST.opening(3, 1),
    }  # fmt: skip
    chosen = [{name: raw} for name, raw in late.items()]
    for more in (*chosen, late):
        for is_late in (False, True):
            board = HONEST.board(FILES | more, late=is_late)
            assert (board.aborted, board.faults, board.verdicts) == (False, {}, [])
            assert board.repaired == done
            known = {name for name in more if name.endswith(".json")}
            assert {problem.file for problem in board.problems} == known
            added = RepairMemory(delta=HONEST.delta(3).digest, transcript=HONEST.transcript)
            assert next_repair_step(board, Me(None, 3), added).name == "replace"
            assert next_repair_step(
                board, Me(None, 3), replace(added, replaced=True)
            ).name == "done"  # fmt: skip
            assert "After that every helper has signed the new card." in repair_minutes(board, [])
    exchanged = FILES | {"delta-04.json": late["delta-04-a.json"],
                         "delta-04-a.json": FILES["delta-04.json"]}  # fmt: skip
    assert HONEST.board(exchanged).repaired == done
    # Before the proof the same files end it, and name who made them.
    assert set(HONEST.board(SUMS | {"delta-04-a.json": late["delta-04-a.json"]}).faults) == {4}


@pytest.mark.case("X771", "a complaint by a helper who has added up what he was sent")
def test_who_has_added_up_complains_no_more() -> None:
    name = "complaint-01-against-03.json"
    complaint = HONEST.complaint(1, 3, "E_REPAIR_DELTA", HONEST.delta(3).digest)
    board = HONEST.board(SUMS | {name: complaint})
    assert not board.aborted
    assert [(p.file, p.code) for p in board.problems] == [(name, "E_COMPLAINT")]
    memory = RepairMemory(delta=HONEST.delta(3).digest, transcript=HONEST.transcript)
    assert next_repair_step(board, Me(None, 3), memory).name == "wait"  # and not "answer"
    some = {at: raw for at, raw in SUMS.items() if at != "sigma-01.json"}
    assert HONEST.board(some | {name: complaint}).aborted


def zeroed(bad: int = 3) -> Repair:
    """Return a repair whose helper `bad` chose his delta for himself so that his sum is zero."""
    wrong = repair(made={})
    setting, order = wrong.setting, GROUP_ORDER
    got = 0
    for sender in wrong.helpers:
        if sender != bad:
            with (
                _open_delta(setting, wrong.checked()[sender], ShareIndex(bad), wrong.unsealer(bad))
                as scalar, scalar.to_big_endian() as plain
            ):  # fmt: skip
                got += int.from_bytes(plain.expose())
    at = wrong.helpers.index(bad)
    weight = lagrange_at(setting.roster.helpers, setting.roster.lost).modulo(order)[at]
    term = weight * int.from_bytes(wrong.shares[bad]) % order
    first, last = [helper for helper in wrong.helpers if helper != bad]
    deltas = {bad: -got % order, first: 12345, last: (term + got - 12345) % order}
    wrong.made[bad] = committed(wrong, bad, deltas)
    return wrong


def committed(made: Repair, helper: int, deltas: dict[int, int]) -> DeltaFile:
    """Return the file of deltas that are test numbers."""
    points = []
    for recipient in made.helpers:
        with SecretScalar.from_big_endian(bytearray(deltas[recipient].to_bytes(32))) as scalar:
            points.append(bytes(public_key(scalar)))
    return sealed_to(made, helper, tuple(points), deltas)


def sealed_to(
    made: Repair, helper: int, points: tuple[bytes, ...], deltas: dict[int, int]
) -> DeltaFile:
    data, sealed, setting = hashlib.sha256(b"".join(points)).digest(), [], made.setting
    for recipient in made.helpers:
        kex, info = setting.card_of(recipient).body.kex, delta_info(
            setting.roster.id, helper, recipient
        )  # fmt: skip
        with (
            SecretBytes(deltas[recipient].to_bytes(32)) as plain,
            SecretBytes(seeded(99 + recipient)(32)) as ephemeral,
        ):
            sealed.append(seal_in_transit(kex, plain, info, data, ephemeral))
    return made.delta(helper, commitments=points, ciphertexts=tuple(sealed),
                      ciphertexts_root=merkle.root(leaves_of(sealed)))  # fmt: skip


@pytest.mark.case("X772", "a helper chooses his own delta so that his sum is zero, and signs a sum")
def test_a_sum_of_zero_ends_the_repair_and_names_who_signed_it() -> None:
    bad = zeroed()
    deltas = {f"delta-{h:02}.json": bad.delta(h).to_bytes() for h in bad.helpers}
    board = bad.board(deltas)
    assert board.zero == (3,)
    assert board.stop is not None
    assert board.stop.code == "E_REPAIR_ZERO"
    assert "the deltas for helper 3 (holder 3) add up to zero" in repair_abort_words(board)
    helped = RepairMemory(delta=bad.delta(1).digest)
    assert next_repair_step(board, Me(None, 1), helped).name == "sigma"  # to check what he got
    assert next_repair_step(board, Me(ShareIndex(2), None), RepairMemory()).name == "aborted"
    assert next_repair_step(bad.board(deltas, late=True), Me(None, 1), helped).name == "aborted"
    with pytest.raises(CeremonyError) as caught:
        bad.sigma(3)
    assert caught.value.code == "E_REPAIR_ZERO"
    sums = deltas | {f"sigma-{h:02}.json": bad.sigma(h).to_bytes() for h in (1, 4)}
    board = bad.board(sums)
    assert not board.verdicts
    added = replace(helped, transcript=bad.transcript)
    assert next_repair_step(board, Me(None, 1), added).name == "aborted"
    lie = SigmaFile(
        bad.people[3].sign(
            SIGMA_TYPE, replace(HONEST.sigma(3).opened(HONEST.setting, 3),
                                deltas=bad.sigma(1).opened(bad.setting, 1).deltas).to_payload(),
        )
    )  # fmt: skip
    board = bad.board(sums | {"sigma-03.json": lie.to_bytes()})
    (verdict,) = board.verdicts
    assert (verdict.dealer, verdict.dealer_is_guilty, verdict.code) == (3, True, "E_REPAIR_ZERO")
    proved = bad.acknowledgement(share=bad.shares[2]).to_bytes()  # he may have got it all the same
    board = bad.board(sums | {"sigma-03.json": lie.to_bytes(), "ack-02.json": proved})
    assert (board.settled, board.aborted, board.proof) == (False, True, None)


@pytest.mark.case("X828", "the returning holder's proof there before every helper's sum")
def test_a_proof_counts_after_all_sums_only() -> None:
    assert HONEST.board(PROVED).settled
    for helper in HONEST.helpers:
        name = f"sigma-{helper:02}.json"
        board = HONEST.board({at: raw for at, raw in PROVED.items() if at != name})
        assert (board.settled, board.proof) == (False, None)
        assert [(p.file, p.code) for p in board.problems] == [("ack-02.json", "E_EARLY")]


@pytest.mark.case("X773", "a helper makes an honest one's sum zero, with what he does not know")
def test_an_honest_helper_whose_sum_is_zero_complains_of_who_made_it_so() -> None:
    made = repair(made={})
    columns = [check_delta(made.delta(h), made.setting, h).commitments for h in (1, 3)]
    row = [bytes(point) for point in made.checked()[4].commitments]
    minus = g1_sum([column[0].affine for column in columns])
    assert minus is not None
    (target,) = map(PublicKey, negated((bytes(PublicKey.from_affine(minus)),)))
    shift = g1_sum([PublicKey(row[0]).affine, PublicKey(row[1]).affine, minus])
    assert shift is not None
    points = (bytes(target), bytes(PublicKey.from_affine(shift)), row[2])
    made.made[4] = sealed_to(made, 4, points, {1: 5, 3: 6, 4: 7})
    raw = {f"delta-{h:02}.json": made.delta(h).to_bytes() for h in made.helpers}
    board = made.board(raw)
    assert board.zero == (1,)
    assert next_repair_step(
        board, Me(None, 1), RepairMemory(delta=made.delta(1).digest)
    ).name == "sigma"  # fmt: skip
    with pytest.raises(DealError) as caught:
        made.sigma(1)
    assert (caught.value.dealer, caught.value.code) == (4, "E_REPAIR_DELTA")
    raw["complaint-01-against-04.json"] = made.complaint(
        1, 4, "E_REPAIR_DELTA", made.delta(4).digest
    )
    board = made.board(raw)
    asked = next_repair_step(board, Me(None, 4), RepairMemory(delta=made.delta(4).digest))
    assert asked.name == "answer"


@pytest.mark.case(
    "X774", "a card signed before its holder's proof; a signature of another repair's"
)
def test_the_new_card_is_signed_after_the_proof_only() -> None:
    assert HONEST.board(PROVED).repaired is None
    signed = {name: raw for name, raw in FILES.items() if name.startswith("replacement")}
    board = HONEST.board(SUMS | signed)
    assert {problem.code for problem in board.problems} == {"E_EARLY"}
    assert board.replacements == {}
    for changes in ({"card": b"\1" * 32}, {"index": 3}, {"number": 2}, {"amendments": 1},
                    {"ceremony": b"\1" * 32}):  # fmt: skip
        raw = canonical(HONEST.replacement(3, **changes).to_json())
        board = HONEST.board(FILES | {"replacement-03.json": raw})
        assert board.missing_replacements == (3,)
        assert board.repaired is None
        assert not board.aborted
        assert "another repair" in board.problems[0].message
    board = HONEST.board(FILES | {"replacement-03.json": FILES["replacement-01.json"]})
    assert [problem.code for problem in board.problems] == ["E_SIGNATURE"]


def test_dates_up_to_the_last_one_can_be_written() -> None:
    end = Repair.of(not_before=MAX_MOMENT - 86400, expires=MAX_MOMENT)
    files = {"delta-01.json": end.delta(1, moment=MAX_MOMENT).to_bytes()}
    board = end.board(files)
    assert 1 in board.deltas
    (entry,) = repair_entries(board, files)
    assert "9999-12-31 23:59:59" in entry.lines(rehearsal=False)[0]
    with pytest.raises(SchemaError):
        RepairRoster.parse(replace(end.setting.roster, expires=MAX_MOMENT + 1).to_bytes())


@pytest.mark.case(
    "X669", "the returning holder's proof with another share, not recovered, of others"
)
def test_a_proof_that_proves_nothing() -> None:
    base = dict(SUMS)
    wrong = [
        (HONEST.acknowledgement(share=HONEST.shares[1]), "E_SHARE_PROOF"),
        (HONEST.acknowledgement(recovered=False), "E_CEREMONY"),
        (HONEST.acknowledgement(certificate=b"\1" * 32), "E_TRANSCRIPT"),
        (HONEST.acknowledgement(share_proof=b"\1" * 96), "E_SHARE_PROOF"),
        (HONEST.acknowledgement(envelope_sha256=b"\1" * 32), "E_CEREMONY"),
        (HONEST.acknowledgement(index=3), "E_CEREMONY"),
    ]
    for file, code in wrong:
        board = HONEST.board(base | {"ack-02.json": file.to_bytes()})
        assert board.repaired is None
        assert [problem.code for problem in board.problems] == [code]
    board = HONEST.board(base | {"ack-03.json": FILES["ack-02.json"]})
    assert board.proof is None


def test_a_file_ahead_of_the_others_waits() -> None:
    board = HONEST.board({"sigma-01.json": FILES["sigma-01.json"], "ack-02.json": b"{}"})
    assert [problem.code for problem in board.problems] == ["E_EARLY", "E_EARLY"]


def test_steps_of_a_helper_and_of_the_returning_holder() -> None:
    deltas = {name: raw for name, raw in FILES.items() if name.startswith("delta")}
    sigmas = SUMS
    helper, holder, none = Me(None, 1), Me(ShareIndex(2), None), RepairMemory()
    digest, transcript = HONEST.delta(1).digest, HONEST.transcript

    def step(files: dict[str, bytes], me: Me, memory: RepairMemory, *, late: bool = False) -> str:
        return next_repair_step(HONEST.board(files, late=late), me, memory).name

    assert step({}, helper, none) == "delta"
    assert step({}, helper, none, late=True) == "aborted"
    assert step({}, holder, none) == "wait"
    assert step({}, holder, none, late=True) == "aborted"
    helped = RepairMemory(delta=digest)
    assert step({}, helper, helped) == "wait"
    assert step(deltas, helper, helped) == "sigma"
    added = RepairMemory(delta=digest, transcript=transcript)
    assert step(deltas, helper, added) == "wait"
    assert step(deltas, holder, none) == "wait"
    assert step(sigmas, holder, none) == "finish"
    assert step(sigmas, helper, added) == "wait"
    signed = replace(added, replaced=True)
    assert step(PROVED, helper, added) == "replace"
    assert step(PROVED, helper, added, late=True) == "replace"
    assert step(PROVED, helper, signed) == "wait"
    assert step(PROVED, holder, RepairMemory(finished=True)) == "wait"
    assert step(FILES, helper, signed) == "done"
    assert step(FILES, holder, RepairMemory(finished=True)) == "done"
    complained = RepairMemory(delta=digest, complained=True)
    assert step(deltas, helper, complained) == "wait"


@pytest.mark.case("X670", "the folder shows other deltas than the desk has made or added up")
def test_the_folder_and_the_desk_contradict_each_other() -> None:
    deltas = {name: raw for name, raw in FILES.items() if name.startswith("delta")}
    board, me = HONEST.board(deltas), Me(None, 1)
    cases = [
        (RepairMemory(), "E_CEREMONY_STATE"),
        (RepairMemory(delta=b"\1" * 32), "E_REPAIR_CHANGED"),
        (RepairMemory(delta=HONEST.delta(1).digest, transcript=b"\1" * 32), "E_TRANSCRIPT"),
    ]
    with pytest.raises(CeremonyError) as caught:
        next_repair_step(HONEST.board(SUMS), me, RepairMemory(delta=HONEST.delta(1).digest))
    assert caught.value.code == "E_CEREMONY_STATE"
    for memory, code in cases:
        with pytest.raises(CeremonyError) as caught:
            next_repair_step(board, me, memory)
        assert caught.value.code == code


@pytest.mark.case("X671", "unknown field, wrong version, pretty-printed roster")
def test_files_are_read_strictly() -> None:
    import json

    for name, raw in (FILES | {"roster": HONEST.setting.roster.to_bytes()}).items():
        value = json.loads(raw)
        for changed in (value | {"more": 1}, value | {"version": 2}, value | {"type": "x"}):
            text = canonical(changed) + b"\n"
            if name == "roster":
                with pytest.raises(SchemaError):
                    RepairRoster.parse(text)
            else:
                board = HONEST.board(FILES | {name: text})
                assert board.problems[0].code == "E_SCHEMA"
                assert board.repaired is None
    pretty = json.dumps(json.loads(HONEST.setting.roster.to_bytes()), indent=1).encode()
    with pytest.raises(CeremonyError, match="canonical"):
        RepairRoster.parse(pretty)


def test_two_sums_are_never_sealed_with_one_key() -> None:
    """The second transcript of a helper would otherwise reuse key and nonce."""
    first = HONEST.sigma(1).check(HONEST.setting, 1, HONEST.checked())
    other = repair(made={3: HONEST.delta(3, moment=NOW + 1)})
    second = other.sigma(1).check(HONEST.setting, 1, other.checked())
    assert first.sealed.enc != second.sealed.enc


def test_public_values_of_a_repair_are_points_of_the_group() -> None:
    for checked in HONEST.checked().values():
        assert all(isinstance(point, PublicKey) for point in checked.commitments)

"""Complaint, opening, verdict: who is to blame, whatever the two of them say."""

from dataclasses import replace
from typing import Any

import pytest

from signer.ceremony.agreement import MEMBER
from signer.ceremony.board import Board
from signer.ceremony.complaint import CODES, COMPLAINT_TYPE, HIDDEN, open_complaint, open_opening
from signer.ceremony.deal import Deal, info_of, leaves_of
from signer.ceremony.steps import ABORTED, ANSWER, Me, Memory, abort_words, next_step
from signer.messages.dsse import SignedFile
from signer.sealing import merkle
from signer.sealing.ephemeral import derive_scalar
from signer.sealing.hpke import Sealed
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import KEY, NOW
from tests.unit.ceremony.honest import ORDER, dkg, dkg_files, refused

GUILTY, MEMBER_2 = 1, 2
CHOSEN = b"\x33" * 32  # seed of the ephemeral key of what a dishonest dealer seals
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def file_of(signed: SignedFile) -> bytes:
    return canonical(signed.to_json())


def deal_with(sealed: Sealed) -> Deal:
    """Return what dealer 1 signs, with `sealed` for member 2."""
    body, old = dkg().body(GUILTY)
    changed = list(old)
    changed[MEMBER_2 - 1] = sealed
    root = merkle.root(leaves_of(changed))
    return dkg().signed_deal(GUILTY, replace(body, ciphertexts_root=root), tuple(changed))


def sealed(plain: bytes, info: bytes | None = None) -> Sealed:
    body, _ = dkg().body(GUILTY)
    place = info or info_of(dkg().setting.roster.id, GUILTY, MEMBER_2)
    kex = dkg().members[MEMBER_2].card.body.kex
    with SecretBytes(plain) as secret, SecretBytes(CHOSEN) as seed:
        return seal_in_transit(kex, secret, place, body.associated_data, seed)


def chosen_scalar() -> bytes:
    with SecretBytes(CHOSEN) as seed, derive_scalar(seed) as scalar:
        return bytes(scalar.expose())


GARBAGE = deal_with(Sealed(b"\4" + b"\x11" * 64, b"\x22" * 48))
UNOPENED = deal_with(sealed(b"\1" * 32, info=b"elsewhere"))
OFF = deal_with(sealed(b"\1" * 32))
ZERO = deal_with(sealed(bytes(32)))
TOO_LARGE = deal_with(sealed(ORDER.to_bytes(32)))
HONEST = dkg().deal(GUILTY)


def board(
    deal: Deal, *, code: str = "E_DEAL_SHARE", ephemeral: bytes | None = None, opened: bool = True,
    late: bool = False, named: Deal | None = None,
) -> Board:  # fmt: skip
    files = {f"deal-{d:02}.json": dkg().deal(d).to_bytes() for d in (2, 3)}
    files["deal-01.json"] = deal.to_bytes()
    files["complaint-02-against-01.json"] = file_of(
        dkg().complaint(MEMBER_2, GUILTY, code, named or deal)
    )
    if opened:
        files["opening-01-for-02.json"] = file_of(dkg().opening(GUILTY, MEMBER_2, ephemeral))
    found = dkg().board(files, late=late)
    assert not found.problems
    assert found.aborted
    return found


CASES: list[Any] = [
    pytest.param(OFF, chosen_scalar(), True, "E_DEAL_SHARE", id="share off the polynomial"),
    pytest.param(ZERO, chosen_scalar(), True, "E_DEAL_SHARE", id="share of zero"),
    pytest.param(TOO_LARGE, chosen_scalar(), True, "E_DEAL_SHARE", id="share above the order"),
    pytest.param(UNOPENED, chosen_scalar(), True, "E_DEAL_DECRYPT", id="sealed for elsewhere"),
    pytest.param(GARBAGE, chosen_scalar(), True, "E_OPENING", id="ephemeral point that is none"),
    pytest.param(OFF, None, True, "E_OPENING", id="key of his honest ciphertext"),
    pytest.param(HONEST, bytes(32), True, "E_OPENING", id="zero"),
    pytest.param(HONEST, P256_ORDER.to_bytes(32), True, "E_OPENING", id="the order"),
    pytest.param(HONEST, b"\xff" * 32, True, "E_OPENING", id="above the order"),
    pytest.param(HONEST, chosen_scalar(), True, "E_OPENING", id="another key"),
    pytest.param(HONEST, None, False, "E_COMPLAINT", id="nothing wrong: a false complaint"),
]


@pytest.mark.case("C18", "opening with a wrong key, zero, the order, another recipient's key")
@pytest.mark.case("C19", "false complaint: the dealer opens, and the share fits")
@pytest.mark.parametrize("code", HIDDEN)
@pytest.mark.parametrize(("deal", "shown", "guilty", "why"), CASES)
def test_verdicts(deal: Deal, shown: bytes | None, guilty: bool, why: str, code: str) -> None:
    for late in (False, True):
        found = board(deal, code=code, ephemeral=shown, late=late)
        (verdict,) = found.verdicts
        assert (verdict.dealer, verdict.member) == (GUILTY, MEMBER_2)
        assert (verdict.dealer_is_guilty, verdict.code) == (guilty, why)
        assert f"({why})" in abort_words(found)


@pytest.mark.case("C18", "opening for another recipient put in the place of the one that is asked")
def test_openings_of_another_ciphertext() -> None:
    signed = dkg().opening(GUILTY, 3)
    refused("E_CEREMONY", "another", open_opening, signed, dkg().setting, GUILTY, MEMBER_2)
    signed = dkg().opening(GUILTY, MEMBER_2)
    refused("E_SIGNATURE", "", open_opening, signed, dkg().setting, 3, MEMBER_2)
    files = {f"deal-{d:02}.json": dkg().deal(d).to_bytes() for d in (1, 2, 3)}
    files["complaint-02-against-01.json"] = file_of(
        dkg().complaint(MEMBER_2, GUILTY, "E_DEAL_SHARE", HONEST)
    )
    files["opening-01-for-02.json"] = file_of(dkg().opening(GUILTY, 3))
    found = dkg().board(files)
    assert [problem.code for problem in found.problems] == ["E_CEREMONY"]
    assert not found.verdicts  # the true one is waited for
    late = dkg().board(files, late=True)
    assert [v.code for v in late.verdicts] == ["E_OPENING_ABSENT"]


@pytest.mark.case("C19", "a dealer who does not answer in time, or could not see the complaint")
def test_silence_is_told_and_proves_nothing() -> None:
    for deal in (HONEST, OFF):
        waiting = board(deal, opened=False)
        assert not waiting.verdicts
        assert "his answer is waited for" in abort_words(waiting)
        (verdict,) = board(deal, opened=False, late=True).verdicts
        assert (verdict.dealer_is_guilty, verdict.code) == (False, "E_OPENING_ABSENT")
        assert "no file can say" in verdict.reason


@pytest.mark.case("C19", "a complaint of another deal than the one that is there")
def test_complaints_name_the_deal() -> None:
    (verdict,) = board(HONEST, named=OFF, opened=False).verdicts
    assert (verdict.dealer_is_guilty, verdict.code) == (False, "E_COMPLAINT")
    assert "another deal" in verdict.reason


@pytest.mark.case("C19", "a complaint of what everybody would see, and nobody sees")
@pytest.mark.parametrize("code", [code for code in CODES if code not in HIDDEN])
def test_complaints_of_what_nobody_sees(code: str) -> None:
    (verdict,) = board(HONEST, code=code, opened=False).verdicts
    assert (verdict.dealer_is_guilty, verdict.code) == (False, "E_COMPLAINT")
    assert code in verdict.reason


@pytest.mark.case("C19", "a complaint of a deal that nobody has seen: it stops nothing")
def test_complaints_come_after_the_deal() -> None:
    files = {f"deal-{d:02}.json": dkg().deal(d).to_bytes() for d in (2, 3)}
    complaint = file_of(dkg().complaint(MEMBER_2, GUILTY, "E_DEAL_SHARE", HONEST))
    found = dkg().board(files | {"complaint-02-against-01.json": complaint})
    assert not found.aborted
    assert [problem.code for problem in found.problems] == ["E_EARLY"]


@pytest.mark.case("C19", "a complaint by who has agreed to all deals: it stops nothing")
def test_nobody_agrees_and_complains() -> None:
    complaint = file_of(dkg().complaint(MEMBER_2, GUILTY, "E_DEAL_SHARE", HONEST))
    found = dkg().board(dkg_files() | {"complaint-02-against-01.json": complaint})
    assert found.certified
    assert [problem.code for problem in found.problems] == ["E_COMPLAINT"]


@pytest.mark.case("C19", "a complaint in another's name, of another ceremony, of nobody, unsigned")
def test_complaints_have_a_place() -> None:
    setting = dkg().setting
    signed = dkg().complaint(MEMBER_2, GUILTY, "E_DEAL_SHARE", HONEST)
    refused("E_SIGNATURE", "", open_complaint, signed, setting, 3, GUILTY)
    refused("E_CEREMONY", "another", open_complaint, signed, setting, MEMBER_2, 3)
    files = dict(dkg_files())
    del files["agree-02.json"]
    for name in ("complaint-03-against-01", "complaint-02-against-03", "complaint-04-against-01",
                 "complaint-02-against-09", "complaint-02-against-00"):  # fmt: skip
        found = dkg().board(files | {f"{name}.json": file_of(signed)})
        assert not found.aborted, name
        assert len(found.problems) == 1
    altered = replace(signed, payload=signed.payload.replace(b"SHARE", b"PROOF"))
    found = dkg().board(files | {"complaint-02-against-01.json": file_of(altered)})
    assert not found.aborted
    assert signed.payload_type == COMPLAINT_TYPE


@pytest.mark.case("C13", "who is complained of answers first; then it is over for everybody")
def test_the_dealer_answers() -> None:
    waiting = board(HONEST, opened=False)
    mine = Memory(deal=HONEST.digest)
    step = next_step(waiting, Me(ShareIndex(1), 1), mine, None)
    assert (step.name, step.recipient) == (ANSWER, MEMBER_2)
    other = next_step(waiting, Me(ShareIndex(3), 3), Memory(deal=dkg().deal(3).digest), None)
    assert other.name == ABORTED
    for beside in (board(HONEST, named=OFF, opened=False),
                   board(HONEST, code="E_DEAL_PROOF", opened=False)):  # fmt: skip
        assert next_step(beside, Me(ShareIndex(1), 1), mine, None).name == ABORTED
    answered = board(HONEST)
    assert next_step(answered, Me(ShareIndex(1), 1), mine, None).name == ABORTED


@pytest.mark.case("C13", "my own deal altered in the folder, or signed anew by my token")
def test_ones_own_deal_is_the_one_that_was_made() -> None:
    files = {f"deal-{d:02}.json": dkg().deal(d).to_bytes() for d in (1, 2, 3)}
    me, mine = Me(ShareIndex(1), 1), Memory(deal=dkg().deal(1).digest)
    forged = files | {"deal-01.json": dkg().deal(1, moment=NOW + 1).to_bytes()}
    refused("E_DEAL_CHANGED", "another deal", next_step, dkg().board(forged), me, mine, None)
    altered = Deal(dkg().deal(1).signed, dkg().deal(2).ciphertexts).to_bytes()
    found = dkg().board(files | {"deal-01.json": altered})
    assert [problem.code for problem in found.problems] == ["E_DEAL_CIPHERTEXTS"]
    assert next_step(found, me, mine, None).name == "wait"  # and puts the true one back


@pytest.mark.case(
    "C17", "a deal of mine in the folder, and a state folder that knows nothing of it"
)
def test_nobody_deals_twice() -> None:
    files = {"deal-01.json": dkg().deal(1).to_bytes()}
    me = Me(ShareIndex(1), 1)
    found = dkg().board(files)
    error = refused("E_CEREMONY_STATE", "knows nothing", next_step, found, me, Memory(), None)
    assert "never deal twice" in error.hint


@pytest.mark.case("C16", "other deals than those I agreed to, after I agreed")
def test_nobody_agrees_twice() -> None:
    me = Me(ShareIndex(2), 2)
    agreed = Memory(deal=dkg().deal(2).digest, transcript=b"\x55" * 32)
    files = {n: d for n, d in dkg_files().items() if n.startswith("deal")}
    found = dkg().board(files)
    error = refused("E_TRANSCRIPT", "other deals", next_step, found, me, agreed, None)
    assert "never agree twice" in error.hint
    assert (MEMBER, 2) in dkg().board(files).missing_agreements


@pytest.mark.case("C18", "complaint in a split or a reshare: a point of what lives on is not shown")
@pytest.mark.parametrize("kind", ["split", "reshare"])
def test_nothing_is_opened_where_the_secret_lives_on(kind: str) -> None:
    gathering = Gathering.split(KEY, 2, 3) if kind == "split" else dkg().reshare(2)
    dealer = gathering.setting.roster.dealers[0]
    files = {f"deal-{d:02}.json": gathering.deal(d).to_bytes() for d in gathering.dealers}
    for d in gathering.dealers if kind == "reshare" else ():
        files[f"bindings-{d:02}.json"] = file_of(gathering.bindings(d))
    complaint = gathering.complaint(MEMBER_2, dealer, "E_DEAL_SHARE", gathering.deal(dealer))
    files[f"complaint-02-against-{dealer:02}.json"] = file_of(complaint)
    found = gathering.board(files)
    memory = Memory(deal=gathering.deal(dealer).digest)
    step = next_step(found, Me(None, dealer), memory, None)
    assert step.name == ABORTED
    assert "nothing is opened" in step.words
    files[f"opening-{dealer:02}-for-02.json"] = file_of(gathering.opening(dealer, MEMBER_2))
    (verdict,) = gathering.board(files).verdicts
    assert (verdict.dealer_is_guilty, verdict.code) == (False, "E_DEAL_SHARE")

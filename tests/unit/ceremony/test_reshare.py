"""Reshares: what the old journals bind goes along; what follows keeps the key."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from signer.bls.combination import Combination
from signer.bls.encoding import PublicKey, Signature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import sign, verify
from signer.ceremony.certificate import group_of
from signer.ceremony.checking import check_deal
from signer.ceremony.union import open_bindings, union_digest
from signer.messages.bindings import PAYLOAD_TYPE, Bindings
from signer.messages.items import Change
from signer.strict import canonical
from signer.threshold.lagrange import lagrange_at_zero
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import ADDRESS, NOW, OTHER
from tests.unit.ceremony.honest import dkg, refused, reshare, reshare_files

ONE, TWO = Change(7, ADDRESS), Change(7, OTHER)


def dealt(*bound: tuple[Change, ...], credentials: tuple[bytes | None, ...] = (None, None)) -> Any:
    """Return a reshare whose two dealers' journals bind this, and their checked deals."""
    gathering = reshare()
    statements = [
        gathering.bindings(dealer, changes=changes, deposit_credentials=said)
        for dealer, changes, said in zip((1, 2), bound, credentials, strict=True)
    ]
    deals = [
        check_deal(
            gathering.deal(dealer, bindings=hashlib.sha256(signed.payload).digest()),
            gathering.setting, dealer,
        )
        for dealer, signed in zip((1, 2), statements, strict=True)
    ]  # fmt: skip
    return gathering.setting, deals, statements


def test_the_union_is_over_everything_bound() -> None:
    digests = [
        union_digest(*dealt((), ())),
        union_digest(*dealt((ONE,), ())),
        union_digest(*dealt((TWO,), ())),
        union_digest(*dealt((ONE,), (), credentials=(None, bytes(32)))),
        union_digest(*dealt((ONE, Change(8, ADDRESS)), ())),
    ]
    assert len(set(digests)) == 5
    assert union_digest(*dealt((), (ONE,))) == digests[1]
    assert union_digest(*dealt((ONE,), (ONE,))) == digests[1]


@pytest.mark.case(
    "C20", "reshare where two journals bind one validator, or the deposits, differently"
)
def test_a_conflict_ends_the_ceremony() -> None:
    words = r"dealer 1 \(holder 1\) and dealer 2 \(holder 2\) state validator 7 bound differently"
    error = refused("E_CONFLICT", words, union_digest, *dealt((ONE,), (TWO,)))
    assert "or one of the two lies" in error.message
    said = (bytes(32), b"\1" * 32)
    refused("E_CONFLICT", "the deposits", union_digest, *dealt((), (), credentials=said))
    setting, deals, statements = dealt((ONE,), (TWO,))
    gathering = reshare()
    files = {}
    for dealer, deal, signed in zip((1, 2), deals, statements, strict=True):
        made = gathering.deal(dealer, bindings=deal.bindings)
        files[f"deal-{dealer:02}.json"] = made.to_bytes()
        files[f"bindings-{dealer:02}.json"] = canonical(signed.to_json())
    board = gathering.board(files)
    assert board.setting is gathering.setting
    assert board.outcome is None
    assert board.aborted
    assert board.stop is not None
    assert board.stop.code == "E_CONFLICT"
    assert setting is gathering.setting


@pytest.mark.case(
    "C20", "bindings that are another's, of another group, missing, or not the named ones"
)
def test_bindings_are_the_named_dealers_own() -> None:
    setting, deals, (one, two) = dealt((ONE,), ())
    refused("E_BINDINGS", "each dealer", union_digest, setting, deals, [one])
    refused("E_BINDINGS", "not the bindings", union_digest, setting, deals, [two, one])
    later = reshare().bindings(1, changes=(ONE,), moment=NOW + 1)
    refused("E_BINDINGS", "not the bindings", union_digest, setting, deals, [later, two])
    for changes in ({"group": bytes(32)}, {"index": 2}):
        strange = _named(changes)
        refused("E_BINDINGS", "of another share", union_digest, *strange)
    stolen = reshare().dealers[2].sign(one.payload_type, one.payload)
    refused("E_BINDINGS", "not his", union_digest, setting, deals, [stolen, two])


@pytest.mark.case("C20", "bindings of a journal that has not come to the old shares' epoch")
def test_bindings_are_of_the_epoch_that_is_dealt_anew() -> None:
    refused("E_BINDINGS", "taken over into epoch 1", union_digest, *_named({"epoch": 2}))
    none = {"head": bytes(32), "sequence": 0}
    union_digest(*_named(none))  # in the first epoch a share may never have had a journal
    group = reshare().group(active=True)
    setting = reshare().reshare(3, dealers=(1, 2)).setting
    assert (setting.old.epoch, setting.old.digest) == (2, group.digest)
    said = Bindings(
        group=group.group_id, epoch=2, index=1, sequence=0, head=bytes(32), changes=(),
        deposit_credentials=None, moment=NOW,
    )  # fmt: skip
    signed = reshare().members[1].sign(PAYLOAD_TYPE, said.to_payload())
    refused("E_BINDINGS", "taken over into epoch 2", open_bindings, signed, setting, 1)
    kept = replace(said, head=b"\1" * 32)
    signed = reshare().members[1].sign(PAYLOAD_TYPE, kept.to_payload())
    assert open_bindings(signed, setting, 1) == kept


@pytest.mark.case("C20", "bindings padded, or larger than a certificate has room for")
def test_bindings_have_one_form_and_fit_into_a_certificate() -> None:
    setting = reshare().setting
    signed = reshare().bindings(1, changes=(ONE,))
    assert open_bindings(signed, setting, 1).changes == (ONE,)
    padded = reshare().dealers[1].sign(PAYLOAD_TYPE, signed.payload + b" ")
    refused("E_BINDINGS", "canonical", open_bindings, padded, setting, 1)
    huge = reshare().dealers[1].sign(PAYLOAD_TYPE, signed.payload + b" " * (12 * 2**20))
    refused("E_BINDINGS", "room for", open_bindings, huge, setting, 1)


@pytest.mark.case("C20", "bindings stated before the ceremony began")
def test_bindings_are_stated_during_the_ceremony() -> None:
    before = reshare().setting.roster.not_before - 1
    refused("E_BINDINGS", "before this ceremony", union_digest, *_named({"moment": before}))


@pytest.mark.case("X800", "a deal that names a statement which can never hold, and who lays it")
@pytest.mark.parametrize("changes", [{"group": bytes(32)}, {"index": 2}, {"moment": 0}])
def test_a_statement_that_can_never_hold_names_its_dealer(changes: dict[str, Any]) -> None:
    gathering = reshare()
    signed = gathering.bindings(1, **changes)
    deal = gathering.deal(1, bindings=hashlib.sha256(signed.payload).digest())
    named = {"deal-01.json": deal.to_bytes()}
    laid = {"bindings-01.json": canonical(signed.to_json())}
    board = gathering.board(reshare_files() | named | laid)
    assert board.aborted
    assert {dealer: fault.code for dealer, fault in board.faults.items()} == {1: "E_DEAL_BINDINGS"}
    by_another = gathering.dealers[2].sign(signed.payload_type, signed.payload)
    stolen = {"bindings-01.json": canonical(by_another.to_json())}
    for files in (reshare_files() | laid, named, named | stolen):  # not named; not laid by him
        board = gathering.board(files)
        assert not board.faults
        assert 1 in board.missing_bindings


@pytest.mark.case("C20", "an honest dealer's earlier statement, put beside the one that he named")
def test_an_older_statement_stops_nothing() -> None:
    older = canonical(reshare().bindings(1, moment=NOW - 5).to_json())
    board = reshare().board(reshare_files() | {"bindings-01-a.json": older})
    assert board.certified
    assert [problem.code for problem in board.problems] == ["E_BINDINGS"]
    instead = reshare().board(reshare_files() | {"bindings-01.json": older})
    assert not instead.aborted
    assert instead.missing_bindings == (1,)


def _named(changes: dict[str, Any]) -> Any:
    setting, deals, (_, two) = dealt((), ())
    old = setting.old
    fields = {
        "group": old.group_id, "epoch": old.epoch, "index": 1, "moment": NOW, "head": b"\1" * 32,
        "sequence": 1,
    } | changes  # fmt: skip
    said = Bindings(changes=(), deposit_credentials=None, **fields)
    signed = reshare().dealers[1].sign(PAYLOAD_TYPE, said.to_payload())
    digest = hashlib.sha256(signed.payload).digest()
    return setting, [replace(deals[0], bindings=digest), deals[1]], [signed, two]


# The key


def partial(gathering: Gathering, member: int, message: bytes) -> bytes:
    with SecretScalar.from_big_endian(bytearray(gathering.share(member))) as share:
        return bytes(sign(share, message))


def verifies(partials: dict[int, bytes], message: bytes, key: PublicKey) -> bool:
    fractions = lagrange_at_zero(tuple(map(ShareIndex, sorted(partials))))
    combination = Combination(fractions.numerators, fractions.denominator)
    whole = combination.combine([Signature(partials[index]) for index in sorted(partials)])
    return whole is not None and verify(key, message, whole)


@pytest.mark.case("C20", "partials of two epochs, combined")
def test_epochs_do_not_mix() -> None:
    message = b"\x44" * 32
    key = dkg().group().public_key
    assert group_of(reshare().outcome()).public_key == key
    old = {i: partial(dkg(), i, message) for i in (1, 2, 3)}
    new = {i: partial(reshare(), i, message) for i in (1, 2, 3)}
    for a in (1, 2, 3):
        for b in {1, 2, 3} - {a}:
            assert verifies({a: old[a], b: old[b]}, message, key)
            assert verifies({a: new[a], b: new[b]}, message, key)
            assert not verifies({a: old[a], b: new[b]}, message, key)

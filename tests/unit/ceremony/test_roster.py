"""Rosters: whom and what they let in. Group P of the catalogue."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from signer.ceremony.following import require_previous
from signer.ceremony.roster import ReshareTerms, Roster
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me
from signer.ceremony.terms import MAX_OPEN_SECONDS
from signer.cli.main import cli
from signer.cli.printer import Printer
from signer.custody.ceremony_state import CeremonyState
from signer.errors import SignerError
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.messages.networks import HOLESKY, MAINNET
from signer.policy.policy import NEVER, Policy
from signer.strict import canonical
from signer.threshold.params import ShareIndex, Threshold
from tests.simulators.ceremony import Gathering, Person, roster_of
from tests.simulators.holders import ADDRESS, NOW, make_card, signed_as
from tests.unit.ceremony.honest import dkg, refused, reshare, split

ROSTER = dkg().setting.roster


def parse(**changes: Any) -> Roster:
    return Roster.parse(canonical(ROSTER.to_json() | changes))


def members(*cards: Card) -> list[Any]:
    return [card.to_json() for card in cards]


def test_a_roster_comes_out_as_it_went_in() -> None:
    for roster in (ROSTER, split().setting.roster, reshare().setting.roster):
        again = Roster.parse(roster.to_bytes())
        assert again == roster
        assert again.id == roster.id


def test_every_field_is_in_the_id() -> None:
    changed: dict[str, Any] = {
        "group_name": "another", "role": "validator", "policy_digest": bytes(32),
        "not_before": NOW - 61, "expires": NOW + 86401, "nonce": bytes(32), "rehearsal": True,
        "network": HOLESKY, "members": ROSTER.members[::-1],
        "threshold": Threshold(3, 3), "kind": "split",
    }  # fmt: skip
    ids = {replace(ROSTER, **{name: value}).id for name, value in changed.items()}
    assert len(ids | {ROSTER.id}) == len(changed) + 1
    assert replace(ROSTER, rehearsal=True).fingerprint.startswith("REHEARSAL ")


@pytest.mark.case("P1", "roster with t of 0, 1, n + 1, 65536, or no integer")
@pytest.mark.parametrize(
    ("t", "code"),
    [(0, "E_THRESHOLD"), (1, "E_THRESHOLD"), (4, "E_THRESHOLD"), (2**16, "E_THRESHOLD"),
     (2**16 + 1, "E_SCHEMA"), (-1, "E_SCHEMA"), ("2", "E_SCHEMA"), (True, "E_SCHEMA")],
)  # fmt: skip
def test_thresholds(t: Any, code: str) -> None:
    refused(code, "threshold", parse, threshold=t)


@pytest.mark.case("P2", "roster of 0, 1, 101 members")
@pytest.mark.parametrize(
    ("n", "code", "words"),
    [(0, "E_SCHEMA", "members"), (1, "E_THRESHOLD", "1 holders"), (101, "E_SCHEMA", "members")],
)
def test_numbers_of_members(n: int, code: str, words: str) -> None:
    cards = members(*(ROSTER.members[0],) * n)
    refused(code, words, parse, members=cards)


@pytest.mark.case("P3", "reshare by dealer 0, −1, 101, text, r, one twice, none, out of order")
@pytest.mark.parametrize(
    ("dealers", "code"),
    [([0, 1], "E_THRESHOLD"), ([-1, 1], "E_THRESHOLD"), ([1, 101], "E_THRESHOLD"),
     (["1", 2], "E_SCHEMA"), ([1, 1], "E_SCHEMA"), ([2, 1], "E_SCHEMA"), ([], "E_SCHEMA"),
     ([True, 2], "E_SCHEMA"), ([1, 2**52], "E_THRESHOLD"), ([1.0, 2], "E_SCHEMA")],
)  # fmt: skip
def test_indices_of_dealers(dealers: list[Any], code: str) -> None:
    value = reshare().setting.roster.to_json()
    value["terms"]["dealers"] = dealers
    refused(code, "", Roster.parse, json.dumps(value).encode())


@pytest.mark.case("P4", "roster with one key, or one name, for two members")
@pytest.mark.parametrize("role", ["id_sign", "kex", "kex_backup"])
def test_keys_stand_once(role: str) -> None:
    first = ROSTER.members[0]
    other = make_card("another", kex_backup=first.body.kex)
    cards = {
        "id_sign": (first, _resigned(first, kex=make_card("x").body.kex, name="another")),
        "kex": (first, make_card("another", kex=first.body.kex)),
        "kex_backup": (first, other),
    }[role]
    refused("E_GROUP_FILE", "same key", parse, members=members(*cards))


@pytest.mark.case("P4", "roster with two members of one name")
def test_names_stand_once() -> None:
    cards = members(make_card("Ada"), make_card("Ada"))
    refused("E_GROUP_FILE", "same name", parse, members=cards)


@pytest.mark.case("P4", "dealer of a split who shows a member's key on another card")
def test_the_dealers_keys_are_his_own() -> None:
    value = split().setting.roster.to_json()
    card = make_card("dealer", kex=split().setting.roster.members[0].body.kex)
    value["terms"]["dealer"] = card.to_json()
    refused("E_GROUP_FILE", "same key", Roster.parse, canonical(value))
    value["terms"]["dealer"] = split().setting.roster.members[0].to_json()
    assert Roster.parse(canonical(value)).kind == "split"  # a member may be the dealer


@pytest.mark.case(
    "P5", "roster with a card whose key is no point of P-256, or whose text is changed"
)
def test_cards_hold() -> None:
    first = ROSTER.members[0]
    for kex in (bytes(65), b"\4" + bytes(64), b"\4" + b"\x11" * 64):
        payload = replace(first.body, kex=kex).to_payload()
        value = signed_as(first.body.id_sign, payload, first.signed.payload_type).to_json()
        cards = [value, *members(*ROSTER.members[1:])]
        refused("E_CARD", "kex is not a point", parse, members=cards)
    altered = replace(first.signed, payload=first.signed.payload.replace(b"holder", b"bolder"))
    cards = [altered.to_json(), *members(*ROSTER.members[1:])]
    refused("E_CARD", "signature", parse, members=cards)


@pytest.mark.case("P7", "roster: mainnet with another root, an all-zero root, a borrowed root")
@pytest.mark.parametrize(
    ("changes", "words"),
    [({"genesis_validators_root": "0x" + HOLESKY.genesis_validators_root.hex()}, "built-in"),
     ({"genesis_fork_version": "0x03000000"}, "built-in"), ({"chain_id": 17000}, "built-in"),
     ({"name": "devnet"}, "genesis validators root of mainnet"),
     ({"name": "devnet", "genesis_validators_root": "0x" + "00" * 32}, "all zeros")],
)  # fmt: skip
def test_networks(changes: dict[str, Any], words: str) -> None:
    refused("E_NETWORK", words, parse, network=MAINNET.to_json() | changes)


@pytest.mark.case("P8", "roster that names a variant or a ciphersuite")
@pytest.mark.parametrize("name", ["variant", "ciphersuite"])
def test_there_is_one_variant(name: str) -> None:
    refused("E_SCHEMA", "unknown field", parse, **{name: "min-pk"})


@pytest.mark.case("P9", "roster with a role missing, unknown, or no text")
def test_roles() -> None:
    for role in ("approval ", "admin", "", None, 1):
        refused("E_SCHEMA", "role", parse, role=role)
    fewer = {key: value for key, value in ROSTER.to_json().items() if key != "role"}
    refused("E_SCHEMA", "role", Roster.parse, canonical(fewer))


@pytest.mark.case("P10", "ceremony that is over, has not begun, never opens, lasts ten years")
def test_times() -> None:
    refused("E_CEREMONY_EXPIRED", "is over", ROSTER.require_open, ROSTER.expires)
    early = ROSTER.not_before - 1
    refused("E_CEREMONY_EXPIRED", "not begun", ROSTER.require_open, early)
    ROSTER.require_open(ROSTER.not_before)
    ROSTER.require_open(ROSTER.expires - 1)
    for expires in (ROSTER.not_before, ROSTER.not_before - 1, NOW + 10 * MAX_OPEN_SECONDS):
        refused("E_SCHEMA", "expires", parse, expires=expires)


@pytest.mark.case("P13", "roster of another version or type")
@pytest.mark.parametrize("changes", [{"version": 2}, {"version": 0}, {"version": "1"},
                                     {"type": "signer-group"}, {"kind": "refresh"}])  # fmt: skip
def test_versions(changes: dict[str, Any]) -> None:
    refused("E_SCHEMA", "", parse, **changes)


@pytest.mark.case("C24", "roster of seven keys, or none")
@pytest.mark.parametrize("keys", [7, 0, 2, "1", True, None])
def test_one_key_a_ceremony(keys: Any) -> None:
    refused("E_SCHEMA", "keys", parse, keys=keys)


@pytest.mark.case("X710", "roster with any field missing, or terms of another kind")
def test_rosters_have_exactly_their_fields() -> None:
    for roster in (ROSTER, split().setting.roster, reshare().setting.roster):
        whole = roster.to_json()
        for name in whole:
            fewer = {key: value for key, value in whole.items() if key != name}
            refused("E_SCHEMA", "", Roster.parse, canonical(fewer))
        for name in whole["terms"] or {}:
            value = copy.deepcopy(whole)
            del value["terms"][name]
            refused("E_SCHEMA", name, Roster.parse, canonical(value))
        for other in {"dkg", "split", "reshare"} - {roster.kind}:
            value = whole | {"kind": other}
            refused("E_SCHEMA", "", Roster.parse, canonical(value))


@pytest.mark.case("X711", "software tokens in a ceremony that is no rehearsal")
def test_software_tokens_only_rehearse() -> None:
    soft = make_card("soft", software=True)
    cards = members(soft, *ROSTER.members[1:])
    refused("E_ROSTER", "protects nothing", parse, members=cards)
    assert parse(members=cards, rehearsal=True).fingerprint.startswith("REHEARSAL")
    value = split().setting.roster.to_json()
    value["terms"]["dealer"] = soft.to_json()
    refused("E_ROSTER", "protects nothing", Roster.parse, canonical(value))


@pytest.mark.case("X874", "token that can prove nothing of its keys, in a ceremony or a rehearsal")
@pytest.mark.parametrize("rehearsal", [False, True])
def test_no_ceremony_with_keys_of_unknown_origin(rehearsal: bool) -> None:
    doubted = make_card("doubted", proven=False)
    cards = members(doubted, *ROSTER.members[1:])
    refused("E_ROSTER", "'doubted'.*UNPROVEN", parse, members=cards, rehearsal=rehearsal)
    value = split().setting.roster.to_json()
    value["terms"]["dealer"] = doubted.to_json()
    refused("E_ROSTER", "'doubted'.*UNPROVEN", Roster.parse, canonical(value))


@pytest.mark.case("X1020", "card of a token whose profile says `ceremony: false`, in a roster")
@pytest.mark.parametrize("rehearsal", [False, True])
def test_no_ceremony_with_a_token_that_lacks_what_one_needs(rehearsal: bool) -> None:
    unfit = make_card("unfit", ceremony=False)
    cards = members(unfit, *ROSTER.members[1:])
    refused("E_ROSTER", "'unfit' cannot.*lacks what", parse, members=cards, rehearsal=rehearsal)
    value = split().setting.roster.to_json()
    value["terms"]["dealer"] = unfit.to_json()
    refused("E_ROSTER", "'unfit' cannot.*lacks what", Roster.parse, canonical(value))


# Joining


def joined(folder: Path, card: Card, roster: Roster = ROSTER, **files: bytes) -> str:
    """Lay the folder of a ceremony, and join it as whoever has the card."""
    there = folder / "usb"
    there.mkdir()
    policy = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
    content = {"roster.json": roster.to_bytes(), "policy.json": canonical(policy.to_json())}
    for name, data in (content | files).items():
        (there / name).write_bytes(data)
    own = folder / "card.json"
    own.write_bytes(canonical(card.to_json()))
    words = ["ceremony", "join", there, "--state", folder / "state", "--card", own,
             "--fingerprint", roster.fingerprint]  # fmt: skip
    done = CliRunner().invoke(cli, list(map(str, words)), obj=Printer())
    if isinstance(done.exception, SignerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def open_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + 0.5)


def agreed(**changes: Any) -> Roster:
    """Return the roster with the digest of the policy that `joined` lays beside it."""
    policy = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
    return replace(ROSTER, policy_digest=policy.digest, **changes)


@pytest.mark.usefixtures("open_now")
def test_who_is_in_the_roster_joins(tmp_path: Path) -> None:
    assert "as member 2" in joined(tmp_path, ROSTER.members[1], agreed())


@pytest.mark.usefixtures("open_now")
@pytest.mark.case("P6", "roster without me, or with another card of mine")
def test_who_is_not_in_the_roster_does_not_join(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    refused("E_ROSTER", "takes no part", joined, tmp_path / "a", make_card("Eve"), agreed())
    renewed = dkg().members[1].renewed().card
    refused("E_ROSTER", "another card of", joined, tmp_path, renewed, agreed())
    assert not (tmp_path / "state").exists()


@pytest.mark.case("P6", "roster with me twice")
def test_nobody_is_a_member_twice() -> None:
    person = dkg().members[1]
    cards = members(person.card, person.renewed().card)
    refused("E_GROUP_FILE", "same key", parse, members=cards)


@pytest.mark.usefixtures("open_now")
@pytest.mark.case("P11", "policy file that is not the one the roster names, or none")
def test_the_policy_is_the_rosters(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    refused("E_POLICY", "not the policy", joined, tmp_path / "a", ROSTER.members[0])
    other = {"policy.json": b"{}"}
    refused("E_SCHEMA", "policy", joined, tmp_path, ROSTER.members[0], agreed(), **other)


@pytest.mark.usefixtures("open_now")
@pytest.mark.case("P10", "joining before a ceremony begins, or after it")
@pytest.mark.parametrize("moments", [(NOW + 1, NOW + 9), (NOW - 9, NOW)])
def test_one_joins_in_time(tmp_path: Path, moments: tuple[int, int]) -> None:
    roster = agreed(not_before=moments[0], expires=moments[1])
    refused("E_CEREMONY_EXPIRED", "", joined, tmp_path, ROSTER.members[0], roster)


@pytest.mark.usefixtures("open_now")
@pytest.mark.case("P12", "roster with the nonce of an earlier ceremony, or a key that one used")
def test_nonces_and_keys_are_fresh(tmp_path: Path) -> None:
    first = agreed()
    joined(tmp_path, ROSTER.members[0], first)
    person = dkg().members[1].renewed()
    others = (person.card, *ROSTER.members[1:])

    def again(roster: Roster, card: Card) -> None:
        me = roster.member_of(card.body.id_sign)
        CeremonyState.of(tmp_path / "state", roster).join(Me(me, me), NOW)

    refused("E_ROSTER", "nonce", again, replace(first, members=others), person.card)
    fresh = replace(first, nonce=b"\7" * 32)
    refused("E_ROSTER", "receiving key", again, fresh, ROSTER.members[0])
    again(replace(fresh, members=others), person.card)


@pytest.mark.case("P14", "split of a key that is no point, or not the one the dealer has")
def test_the_key_of_a_split() -> None:
    value = split().setting.roster.to_json()
    for key in ("c0" + "00" * 47, "ff" * 48):
        value["terms"]["group_public_key"] = key
        refused("E_POINT", "", Roster.parse, canonical(value))


# Reshares


def previous(**changes: Any) -> GroupFile:
    return replace(reshare().setting.old, **changes)


def terms(**changes: Any) -> Roster:
    roster = reshare().setting.roster
    assert isinstance(roster.terms, ReshareTerms)
    return replace(roster, terms=replace(roster.terms, **changes))


@pytest.mark.case("C20", "reshare: unknown previous file, other group, epoch skipped or repeated")
@pytest.mark.parametrize(
    ("changes", "words"),
    [({"previous": bytes(32)}, "another group file"), ({"group": bytes(32)}, "another group"),
     ({"epoch": 3}, "epoch must be 2"), ({"epoch": 1}, "epoch must be 2")],
)  # fmt: skip
def test_a_reshare_follows_one_group(changes: dict[str, Any], words: str) -> None:
    refused("E_ROSTER", words, require_previous, terms(**changes), previous())


@pytest.mark.case("C20", "reshare by fewer than t, by a stranger, in another network or role")
def test_a_reshare_is_dealt_by_enough_old_holders() -> None:
    few = tuple(map(ShareIndex, (1,)))
    refused("E_ROSTER", "1 old holders deal", require_previous, terms(dealers=few), previous())
    strange = tuple(map(ShareIndex, (1, 4)))
    refused("E_ROSTER", "no holder", require_previous, terms(dealers=strange), previous())
    roster = reshare().setting.roster
    for changes in ({"network": HOLESKY}, {"role": "validator"}):
        other = replace(roster, **changes)
        refused("E_ROSTER", "network or role", require_previous, other, previous())
    refused(
        "E_ROSTER", "policy", require_previous, replace(roster, policy_digest=bytes(32)), previous()
    )
    refused("E_ROSTER", "rehearsal", require_previous, replace(roster, rehearsal=True), previous())


@pytest.mark.case("C20", "reshare by t, of whom none need have seen the last signature")
def test_dealers_are_more_than_can_have_missed_a_signature() -> None:
    wide = Gathering.dkg(2, 4)
    refused("E_ROSTER", "2 old holders deal, at least 3", wide.reshare, 2, dealers=(1, 2))


@pytest.mark.case("C20", "reshare of a group that is not active; to more than there are")
def test_only_an_active_group_is_dealt_anew() -> None:
    old = previous(activation=None)
    refused("E_ROSTER", "not active", require_previous, terms(previous=old.digest), old)
    value = reshare().setting.roster.to_json() | {"threshold": 4}
    refused("E_THRESHOLD", "4 of 3", Roster.parse, canonical(value))


@pytest.mark.case("P6", "reshare to a receiving key of the old epoch")
def test_every_epoch_has_its_own_keys() -> None:
    roster = reshare().setting.roster
    old = roster.members[0].body.name
    stays = next(c for c in previous().cards if c.body.name == old)
    kept = replace(roster, members=(stays, *roster.members[1:]))
    refused("E_ROSTER", "receiving key of the old epoch", require_previous, kept, previous())
    spare = replace(stays.body, kex=make_card("x").body.kex, kex_backup=stays.body.kex)
    signed = signed_as(stays.body.id_sign, spare.to_payload(), stays.signed.payload_type)
    card = Card.parse(signed.to_json())
    kept = replace(roster, members=(card, *roster.members[1:]))
    refused("E_ROSTER", "receiving key of the old epoch", require_previous, kept, previous())


@pytest.mark.case("C20", "reshare without the group file that it follows")
def test_a_reshare_needs_the_old_group() -> None:
    refused("E_ROSTER", "needs the group file", Setting.of, reshare().setting.roster, None)


def _resigned(card: Card, **changes: Any) -> Card:
    payload = replace(card.body, **changes).to_payload()
    return Card.parse(signed_as(card.body.id_sign, payload, card.signed.payload_type).to_json())


def test_people_of_a_roster() -> None:
    people = {1: Person.new("Ada"), 2: Person.new("Ben")}
    roster = roster_of(people, 2)
    assert roster.dealers == (1, 2)
    assert [roster.member_of(p.card.body.id_sign) for p in people.values()] == [1, 2]
    assert roster.member_of(Person.new("Eve").card.body.id_sign) is None

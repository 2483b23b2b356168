"""What a desk keeps is never replaced; where a deal's randomness comes from."""

import os
from pathlib import Path

import pytest

from signer.ceremony.complaint import COMPLAINT_TYPE, Complaint
from signer.ceremony.steps import Me
from signer.cli.ceremony import command
from signer.custody import ceremony_state as kept
from signer.custody.ceremony_kept import require_whole
from signer.custody.ceremony_state import CeremonyState
from signer.custody.jobs import open_order, order_bytes
from signer.custody.jobs.ceremony import OpenDeal
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker import dealing
from signer.errors import OutputError
from signer.hsm.profile import load_profile
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import NOW
from tests.unit.ceremony.honest import dkg, refused


@pytest.mark.case("C17", "something else to be kept where something was kept")
def test_what_was_kept_is_not_replaced(tmp_path: Path) -> None:
    state = CeremonyState(tmp_path, dkg().setting.roster)
    state.keep("ack.json", b"one")
    state.keep("ack.json", b"one")
    with pytest.raises(OutputError, match="kept before"):
        state.keep("ack.json", b"two")
    assert state.get("ack.json") == b"one"


@pytest.mark.case("C25", "the machine's random source stuck, the token's not; and the other way")
def test_either_source_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = (bytes(range(start, start + 32)) for start in (1, 2, 3))
    tokens = iter((one, two, two))
    machine = iter((one, two, one, two, three, two))

    def seed() -> bytes:
        with dealing.fresh_seed(None) as fresh:  # type: ignore[arg-type]
            return bytes(fresh.expose())

    monkeypatch.setattr(dealing, "token_random", lambda session, size: SecretBytes(next(tokens)))
    monkeypatch.setattr(os, "urandom", lambda size: next(machine))
    assert len({seed(), seed(), seed()}) == 3


@pytest.mark.case("X781", "a second reshare of the same shares while the first may still succeed")
def test_one_reshare_at_a_time(tmp_path: Path) -> None:
    first = dkg().reshare(2)
    second = dkg().reshare(2, nonce=b"\7" * 32)
    me = Me(None, None, 3)
    CeremonyState.of(tmp_path, first.setting.roster).join(me, NOW)
    again = CeremonyState.of(tmp_path, second.setting.roster)
    refused("E_ROSTER", "not over", again.join, me, NOW)
    again.join(me, first.setting.roster.expires)


@pytest.mark.case("X788", "a second reshare of the same shares after the first may have succeeded")
@pytest.mark.parametrize("name", [kept.AGREEMENTS, kept.CERTIFICATE])
def test_who_has_agreed_joins_no_rival(tmp_path: Path, name: str) -> None:
    first = dkg().reshare(2)
    second = dkg().reshare(2, nonce=b"\7" * 32)
    me = Me(None, None, 3)
    desk = CeremonyState.of(tmp_path, first.setting.roster)
    desk.join(me, NOW)
    desk.keep(name, b"{}")
    again = CeremonyState.of(tmp_path, second.setting.roster)
    refused("E_ROSTER", "have agreed", again.join, me, first.setting.roster.expires + 1)


def two_splits() -> tuple[Gathering, Gathering, Gathering]:
    """Return a split, one more of the same key, and one of another; all other keys are fresh."""
    key, other = bytes(31) + b"\5", bytes(31) + b"\6"
    return (
        Gathering.split(key, 2, 3),
        Gathering.split(key, 2, 3, nonce=b"\7" * 32),
        Gathering.split(other, 2, 3, nonce=b"\x08" * 32),
    )


@pytest.mark.case("P14", "a second split of the same key while the first may still succeed")
@pytest.mark.parametrize("me", [Me(ShareIndex(1), None, None), Me(None, 0, None)])
def test_one_split_of_a_key_at_a_time(tmp_path: Path, me: Me) -> None:
    first, second, other = two_splits()
    CeremonyState.of(tmp_path, first.setting.roster).join(me, NOW)
    again = CeremonyState.of(tmp_path, second.setting.roster)
    refused("E_ROSTER", "the same key, and its time is not over", again.join, me, NOW)
    CeremonyState.of(tmp_path, other.setting.roster).join(me, NOW)
    again.join(me, first.setting.roster.expires)


@pytest.mark.case("P14", "a second split of the same key after the first may have succeeded")
@pytest.mark.parametrize("name", [kept.AGREEMENTS, kept.CERTIFICATE])
@pytest.mark.parametrize("me", [Me(ShareIndex(1), None, None), Me(None, 0, None)])
def test_a_key_is_split_once(tmp_path: Path, name: str, me: Me) -> None:
    first, second, other = two_splits()
    desk = CeremonyState.of(tmp_path, first.setting.roster)
    desk.join(me, NOW)
    desk.keep(name, b"{}")
    late = first.setting.roster.expires + 1
    again = CeremonyState.of(tmp_path, second.setting.roster)
    refused("E_ROSTER", "agreed.* about the same key", again.join, me, late)
    CeremonyState.of(tmp_path, other.setting.roster).join(me, late)


@pytest.mark.case("X831", "next in a ceremony that was not joined: the hint is a whole command")
def test_how_to_join_is_told_whole(tmp_path: Path) -> None:
    state = CeremonyState.of(tmp_path, dkg().setting.roster)
    error = refused("E_CEREMONY_STATE", "not joined", state.me)
    words = error.hint.split()
    assert words[:3] == ["signer", "ceremony", "join"]
    command.commands["join"].make_context("join", words[3:])  # knows them, and lacks none


@pytest.mark.case("X1007", "what an old holder dealt anew is kept with bindings that are damaged")
def test_the_bindings_that_are_kept_are_those_that_the_deal_names(tmp_path: Path) -> None:
    made, me = dkg().reshare(2), Me(None, 1, 1)
    desk = CeremonyState.of(tmp_path, made.setting.roster)
    desk.join(me, NOW)
    whole = {"session": None, "deal": made.deal(1).to_json(),
             "bindings": made.bindings(1).to_json()}  # fmt: skip
    desk.keep(kept.DEALT, canonical(whole))
    require_whole(desk, made.setting, me)
    for wrong in (made.bindings(2).to_json(), made.bindings(1, moment=NOW + 1).to_json(), None):
        (desk.path / kept.DEALT).write_bytes(canonical({**whole, "bindings": wrong}))
        refused("E_CEREMONY_STATE", "dealt.json in the state folder is damaged",
                require_whole, desk, made.setting, me)  # fmt: skip


@pytest.mark.case("C18", "a worker told to open a ciphertext of a reshare: the secret lives on")
def test_the_worker_opens_nothing_of_what_lives_on() -> None:
    gathering = dkg().reshare(2)
    setting = gathering.setting
    said = Complaint(
        ceremony=setting.roster.id, index=2, dealer=1, code="E_DEAL_SHARE", deal=bytes(32),
        moment=NOW,
    )  # fmt: skip
    signed = gathering.members[2].sign(COMPLAINT_TYPE, said.to_payload()).to_json()
    order = OpenDeal(
        token=TokenChoice(profile=load_profile("softhsm2"), label="x"),
        pin=SecretSource(file="/none"), dealer=1, recipient=2, session={}, complaint=signed,
        roster=setting.roster.to_bytes().decode(), previous=setting.old.to_bytes().decode(),
    )  # fmt: skip
    refused("E_OPENING", "lives on", dealing.open_deal, open_order(order_bytes(order))[1])

"""What `join`, `status` and `next` show: the group, its origin, and whether it is a rehearsal."""

import json
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from signer.ceremony.steps import Me, Memory, next_step
from signer.cli import attending, repairing
from signer.cli.carding import _document, _key
from signer.cli.carding import _words as card_words
from signer.cli.ceremony_words import board_json, roster_text, status_text
from signer.cli.confirming import _keys_text
from signer.cli.group import group_text
from signer.cli.main import cli
from signer.cli.next_options import given_options
from signer.cli.printer import Printer
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_runner import Runner, Taken
from signer.custody.ceremony_state import CeremonyState
from signer.errors import DeniedError
from signer.messages.confirmation import twelve_words
from signer.policy.policy import NEVER, Policy
from signer.sealing.envelope import key_fingerprint
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering, Person
from tests.simulators.holders import ADDRESS, KEY, NOW, make_card, seeded
from tests.simulators.marks import bare_digests
from tests.simulators.repair import Repair
from tests.unit.ceremony.honest import dkg, dkg_files, reshare, reshare_files

POLICY = Policy(labels={ADDRESS: "treasury"}, approval=NEVER)
NOBODY = Me(None, None)


@cache
def rehearsed() -> Gathering:
    """Return a rehearsal of a generation."""
    return Gathering.dkg(2, 3, rehearsal=True)


@cache
def rehearsed_reshare() -> Gathering:
    """Return a rehearsal of a reshare."""
    return rehearsed().reshare(2, ["newcomer"], without=(3,), rehearsal=True)


@pytest.mark.case("X1015", "join, group show, destroying: a rehearsal's digest without the word")
def test_every_digest_shown_of_a_rehearsal_says_so(tmp_path: Path) -> None:
    split = Gathering.split(KEY, 2, 3, rehearsal=True)
    for made in (rehearsed(), rehearsed_reshare(), split):
        text = roster_text(made.setting, NOBODY)
        assert bare_digests(text) == []
        assert "policy       REHEARSAL " in text
        assert bare_digests(group_text(made.group(active=True))) == []
    assert bare_digests(roster_text(dkg().setting, NOBODY))
    assert "follows      epoch 1, REHEARSAL " in roster_text(rehearsed_reshare().setting, NOBODY)

    setting, state = rehearsed_reshare().setting, tmp_path / "state"
    (tmp_path / "roster.json").write_bytes(setting.roster.to_bytes())
    (tmp_path / "previous.json").write_bytes(setting.old.to_bytes())
    CeremonyState.of(state, setting.roster).join(Me(ShareIndex(1), 1, 1), NOW)
    own = rehearsed().members[1].card.body.kex
    with SecretBytes(rehearsed().share(1)) as plain:
        envelope = seal_share(plain, setting.old.binding(ShareIndex(1)), [own], seeded(2))
    desk = Runner(folder=CeremonyFolder(tmp_path), state=state, clock=lambda: NOW,
                  envelope=envelope.to_bytes())  # fmt: skip
    shown = _keys_text(desk)
    assert f"REHEARSAL {key_fingerprint(own)}" in shown
    assert bare_digests(shown) == []


@pytest.mark.case("X1015", "a software token's card: words and receiving key without REHEARSAL")
def test_all_that_is_read_aloud_of_a_software_token_s_card_says_so() -> None:
    spare = Person.new("spare").card.body.kex
    for soft in (True, False):
        card = make_card("Ada", software=soft, kex_backup=spare)
        text = card_words(card, Path("card.json"), fresh=True)
        words = twelve_words(card.digest)
        assert (f"in words       REHEARSAL {words}\n" in text) == soft
        assert f"{words}\n" in text
        assert len(bare_digests(text)) == (0 if soft else 3)
        assert (f"REHEARSAL {key_fingerprint(card.body.kex)}, made now" in text) == soft
        assert _document(card, Path("card.json"))["words"] == words
    assert _key("REHEARSAL 0123 4567 89ab cdef") == "0123456789abcdef"  # as it is shown


@pytest.mark.case("X1016", "join of a reshare or repair: which key, and how it came to be shared")
def test_joining_shows_the_group_s_key_and_origin() -> None:
    old, repair = reshare().setting.old, Repair.of().setting
    text = roster_text(reshare().setting, NOBODY)
    again = repairing.roster_text(repair, NOBODY)
    for shown, group in ((text, old), (again, repair.group)):
        lines = shown.split("\n")
        assert f"public key   0x{bytes(group.public_key).hex()}" in lines
        assert f"origin       dkg: {group.origin_words}" in lines
        assert f"group        {group.marked(group.group_id)}   epoch 1" in shown
    assert "epoch 1 becomes 2\n" in text
    from_split = Gathering.split(KEY, 2, 3).reshare(2)
    said = "origin       split: split by a dealer, who has held the whole key\n"
    assert said in roster_text(from_split.setting, NOBODY)


@pytest.mark.case("X1016", "status of a reshare or repair: how the key came to be shared")
def test_the_status_of_a_reshare_shows_the_origin() -> None:
    board = reshare().board(reshare_files())
    text = status_text(board, None, (), None)
    assert "origin    dkg: generated together; nobody has held the whole key\n" in text
    assert board_json(board, None, (), None)["origin"] == "dkg"
    made = Repair.of()
    assert "origin    dkg: generated" in repairing.status_text(made.board({}), None)
    assert repairing.board_json(made.board({}), None)["origin"] == "dkg"
    generation = dkg().board(dkg_files())
    assert "origin" not in status_text(generation, None, (), None)
    assert board_json(generation, None, (), None)["origin"] == "dkg"


def join(folder: Path, card: Path, typed: str) -> Result:
    words = ["ceremony", "join", folder, "--state", folder / "state", "--card", card,
             "--fingerprint", typed, "--json"]  # fmt: skip
    return CliRunner().invoke(cli, list(map(str, words)), obj=Printer())


@pytest.mark.case("X1017", "join --fingerprint: roster and policy not shown")
def test_who_types_what_he_heard_reads_the_roster_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    made = Gathering.dkg(2, 3, policy_digest=POLICY.digest, rehearsal=True)
    card = tmp_path / "card.json"
    card.write_bytes(canonical(made.members[2].card.to_json()))
    (tmp_path / "roster.json").write_bytes(made.setting.roster.to_bytes())
    (tmp_path / "policy.json").write_bytes(canonical(POLICY.to_json()))
    done = join(tmp_path, card, "0000 " * 8)
    assert isinstance(done.exception, DeniedError)
    done = join(tmp_path, card, made.setting.roster.fingerprint)
    assert done.exception is None, done.exception
    assert json.loads(done.stdout)["member"] == 2
    roster = roster_text(made.setting, Me(ShareIndex(2), 2))
    assert f"{roster}\n\nThe policy\n\n" in done.stderr
    assert "treasury" in done.stderr.partition("The policy")[2]


@pytest.mark.case("X1018", "next: a false acknowledgement lies there, and is waited for in silence")
def test_a_false_acknowledgement_is_told_of() -> None:
    false = dkg().acknowledgement(1, dst=b"another tag").to_bytes()
    memory = Memory(deal=dkg().deal(2).digest, transcript=dkg().outcome().transcript,
                    acknowledged=True)  # fmt: skip

    def words(**changed: bytes) -> str:
        files = {
            n: raw for n, raw in dkg_files().items() if n not in ("ack-01.json", "ack-03.json")
        }
        files |= {name.replace("_", "-") + ".json": raw for name, raw in changed.items()}
        step = next_step(dkg().board(files), Me(ShareIndex(2), 2), memory, None)
        assert step.name == "wait"
        assert "member 3 (holder 3)" in step.waits_for
        return step.words

    waits = "wait for the acknowledgements of member 1 (holder 1), member 3 (holder 3)"
    assert words() == waits
    said = "ack-01.json is there and does not hold (E_SHARE_PROOF)"
    assert words(ack_01=false) == f"{waits}; {said}"
    good = dkg_files()["ack-01.json"]
    assert "ack-01" not in words(ack_01=false, ack_01_x=good)  # a copy of it that holds
    assert "ack-02" not in words(ack_02_x=b"{}")  # his own holds
    assert "ack-03-x.json is there and does not hold (E_SCHEMA)" in words(ack_03_x=b"{}")


@pytest.mark.case("X1019", "next --yes-destroy before the activation: said that it was not used")
def test_destroying_too_early_is_no_step(capsys: pytest.CaptureFixture[str]) -> None:
    files, made = reshare_files(), reshare()
    me = Me(None, 1, 1)
    memory = Memory(deal=made.deal(1).digest, transcript=made.outcome().transcript)
    given = given_options({"yes_destroy": True})
    for left_out, name in (("ack-01.json", "wait"), ("", "activate")):
        there = {name: raw for name, raw in files.items() if name != left_out}
        step = next_step(made.board(there), me, memory, None)
        assert step.name == name
        attending._print_taken(Printer(), Taken(step, step, ()), given)
        assert capsys.readouterr().err == "not used in this step: --yes-destroy\n"

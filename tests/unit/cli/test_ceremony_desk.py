"""What a person at a ceremony's desk is told and asked, and what he may not be told in silence."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from signer.ceremony.steps import DEAL, DESTROY, DONE, Me, Step
from signer.cli import attending, confirming, journaling, next_options
from signer.cli.carding import _words as card_words
from signer.cli.ceremony import command as ceremony_command
from signer.cli.confirming import confirm
from signer.cli.group import group_text
from signer.cli.journaling import Place, export_bindings
from signer.cli.main import cli
from signer.cli.next_options import given_options
from signer.cli.printer import Printer
from signer.custody.anchor import Anchor
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_needs import require_given
from signer.custody.ceremony_runner import Runner, Taken
from signer.custody.ceremony_state import CeremonyState
from signer.custody.ceremony_tasks import _payload_digest
from signer.custody.devices import Device
from signer.custody.host_anchor import HostAnchor, host_anchor_path
from signer.custody.jobs.sources import TokenChoice
from signer.custody.journal import Journal
from signer.custody.mark import mark_path
from signer.errors import CeremonyError, DeniedError, JournalError, SignerError, UsageError
from signer.hsm.profile import load_profile
from signer.messages.card import fingerprint
from signer.sealing.envelope import key_fingerprint
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering, Person
from tests.simulators.holders import NOW, make_card, seeded
from tests.simulators.repair import Repair
from tests.unit.ceremony.honest import dkg, reshare

SPARE = Person.new("spare").card.body.kex


class Terminal:
    """A terminal on which somebody types the same answer again and again."""

    def __init__(
        self, answer: str, patch: pytest.MonkeyPatch, module: ModuleType = confirming
    ) -> None:
        self.said: list[str] = []
        patch.setattr(module, "terminal", self.open)
        patch.setattr(module, "say", lambda tty, text: self.said.append(text))
        patch.setattr(module, "ask", lambda tty, prompt: answer)

    @contextlib.contextmanager
    def open(self, *_: str) -> Iterator[int]:
        yield 0


def runner(tmp_path: Path, **more: Any) -> Runner:
    """Return old holder 1's desk in a reshare that he has joined."""
    setting = reshare().setting
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "roster.json").write_bytes(setting.roster.to_bytes())
    (tmp_path / "previous.json").write_bytes(setting.old.to_bytes())
    me = Me(ShareIndex(1), 1, 1)
    CeremonyState.of(tmp_path / "state", setting.roster).join(me, NOW)
    return Runner(folder=CeremonyFolder(tmp_path), state=tmp_path / "state",
                  clock=lambda: NOW, **more)  # fmt: skip


@pytest.mark.case("X763", "old key destroyed: which keys, and that other shares die with them")
def test_what_is_destroyed_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = dkg().members[1].card.body.kex
    with SecretBytes(dkg().share(1)) as plain:
        binding = dkg().group(active=True).binding(ShareIndex(1))
        envelope = seal_share(plain, binding, [own, SPARE], seeded(2)).to_bytes()
    desk, step = runner(tmp_path, envelope=envelope), Step(DESTROY, "")
    tty = Terminal("destroy", monkeypatch)
    confirm(step, desk, False)
    (said,) = tty.said
    for point in (own, SPARE):
        assert key_fingerprint(point) in said
    assert "the share of another\ngroup" in said
    Terminal("yes", monkeypatch)
    with pytest.raises(DeniedError):
        confirm(step, desk, False)
    confirm(step, desk, True)


def test_which_keys_are_destroyed_only_the_envelope_tells(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--envelope"):
        confirm(Step(DESTROY, ""), runner(tmp_path), False)


@pytest.mark.case("X1006", "joining: that the state folder is for one ceremony, never restored")
def test_who_joins_is_told_to_keep_his_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    ceremony = dkg().setting.roster.id
    tty = Terminal(fingerprint(ceremony), monkeypatch, attending)
    attending._compare(Printer(), None, ceremony, "the roster")
    assert tty.said[0] == "the roster"
    assert "one for this ceremony" in tty.said[1]
    assert "never copied back from a\nbackup" in tty.said[1]


@pytest.mark.case("X764", "deal of a reshare without a journal: the dealer has to say it in words")
def test_whoever_has_no_journal_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, step = runner(tmp_path, no_journal=True), Step(DEAL, "")
    tty = Terminal("never", monkeypatch)
    confirm(step, desk, True)
    assert "it has signed nothing" in tty.said[0]
    Terminal("yes", monkeypatch)
    with pytest.raises(DeniedError, match="nothing was dealt"):
        confirm(step, desk, True)
    confirm(Step(DEAL, ""), runner(tmp_path / "other", journal=Path("j")), False)


@pytest.mark.case("X759", "share recover: a group file before a DKG, and none before a reshare")
def test_previous_goes_with_a_reshare(tmp_path: Path) -> None:
    previous = tmp_path / "previous.json"
    previous.write_bytes(dkg().group(active=True).to_bytes())

    def recover(made: Gathering, *more: str | Path) -> str:
        certificate = tmp_path / "certificate.json"
        certificate.write_bytes(made.certificate().to_bytes())
        words = ["share", "recover", "--certificate", certificate, "--token", "x", "--pin-file",
                 tmp_path / "pin", "--out", tmp_path / "out.json", *more]  # fmt: skip
        done = CliRunner().invoke(cli, list(map(str, words)), obj=Printer())
        assert isinstance(done.exception, UsageError)
        return done.exception.message

    assert "it is of a dkg" in recover(dkg(), "--previous", previous)
    assert "needs --previous" in recover(reshare())


@pytest.mark.case("X762", "software token's card shown without the word REHEARSAL")
def test_a_software_token_s_fingerprint_says_so() -> None:
    people = {
        index: Person(name, dkg().members[index].kex, make_card(name, software=soft))
        for index, name, soft in ((1, "Ada", True), (2, "Ben", False))
    }
    group = dkg().group()
    object.__setattr__(group, "cards", (people[1].card, people[2].card, group.cards[2]))
    text = group_text(group)
    assert f"REHEARSAL {fingerprint(people[1].card.digest)}" in text
    assert f"REHEARSAL {fingerprint(people[2].card.digest)}" not in text
    for index, marked in ((1, True), (2, False)):
        words = card_words(people[index].card, Path("card.json"), fresh=False)
        assert (f"REHEARSAL {fingerprint(people[index].card.digest)}" in words) == marked


@pytest.mark.case("X757", "no journal named, both named, or one that is not there")
def test_a_dealer_names_his_journal_or_says_that_there_is_none(tmp_path: Path) -> None:
    token = TokenChoice(profile=load_profile("softhsm2"), label="x")
    setting = reshare().setting
    for more, words in (
        ({}, "either --journal or --no-journal"),
        ({"journal": tmp_path / "j", "no_journal": True}, "either --journal or --no-journal"),
        ({"journal": tmp_path / "nowhere"}, "there is no journal .*--no-journal"),
    ):
        desk = Runner(folder=CeremonyFolder(tmp_path), state=tmp_path, clock=lambda: NOW,
                      token=token, **more)  # fmt: skip
        with pytest.raises(SignerError) as caught:
            desk._state_bindings(setting, 1)
        assert re.search(words, caught.value.line())


@pytest.mark.case("X829", "next in a reshare with no token, envelope, journal, or with two of them")
def test_all_that_is_missing_is_named_before_anybody_is_asked(tmp_path: Path) -> None:
    asked: list[Step] = []
    token = TokenChoice(profile=load_profile("softhsm2"), label="x")
    everything: dict[str, Any] = {"token": token, "envelope": b"{}", "journal": tmp_path / "j"}
    options = {"token": "--token", "envelope": "--envelope", "journal": "--journal,|--journal$"}
    for number, left in enumerate([(), ("token",), ("envelope", "token"), ("journal", "token")]):
        given = {name: everything[name] for name in left}
        desk = runner(tmp_path / str(number), confirm=asked.append, **given)
        with pytest.raises(UsageError, match="this step needs") as caught:
            desk.run()
        for name, option in options.items():
            assert bool(re.search(option, caught.value.message)) == (name not in left)
        assert ("--no-journal" in caught.value.hint) == ("journal" not in left)
    assert asked == []
    complete = runner(tmp_path / "all", confirm=asked.append, no_journal=True,
                      token=token, envelope=b"{}")  # fmt: skip
    with pytest.raises(SignerError):  # there is no such token
        complete.run()
    assert [step.name for step in asked] == [DEAL]
    with pytest.raises(UsageError, match=r"your token.*--token.*; the envelope.*--envelope"):
        require_given(runner(tmp_path / "old"), reshare().setting, Step(DESTROY, ""))
    at_a_spare = runner(tmp_path / "spare", envelope=b"{}", spare=Device(token, None))
    require_given(at_a_spare, reshare().setting, Step(DESTROY, ""))


@pytest.mark.case("X829", "--journal and --no-journal, or options of another kind of ceremony")
def test_options_of_another_ceremony_are_refused(tmp_path: Path) -> None:
    runner(tmp_path / "reshare")
    (tmp_path / "dkg").mkdir()
    (tmp_path / "dkg" / "roster.json").write_bytes(dkg().setting.roster.to_bytes())
    (tmp_path / "repair").mkdir()
    repair = Repair.of()
    (tmp_path / "repair" / "roster.json").write_bytes(repair.setting.roster.to_bytes())
    (tmp_path / "repair" / "previous.json").write_bytes(repair.setting.group.to_bytes())
    for kind, options, words in (
        ("reshare", "--journal j --no-journal", "--journal or --no-journal, not both"),
        ("reshare", "--key-index 0 --mnemonic", "a reshare takes no --mnemonic, --key-index"),
        ("dkg", "--no-journal", "a dkg takes no --no-journal"),
        ("dkg", "--envelope e --spare-token s", "a dkg takes no --envelope, --spare-token"),
        ("repair", "--yes-destroy", "a repair takes no --yes-destroy"),
        ("repair", "--journal j", "a repair takes no --journal"),
    ):
        command = ["ceremony", "next", str(tmp_path / kind), "--state", str(tmp_path / "state")]
        done = CliRunner().invoke(cli, [*command, *options.split()], obj=Printer())
        assert isinstance(done.exception, UsageError), done.exception
        assert words in done.exception.message


def test_what_a_step_does_not_use_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    taken = Taken(Step(DESTROY, ""), Step(DONE, "nothing is left"), ())
    given = given_options({"journal": "j", "yes_destroy": True, "envelope": "e", "keystore": None})
    attending._print_taken(Printer(), taken, given)
    assert capsys.readouterr().err == "not used in this step: --journal\n"
    attending._print_taken(Printer(), taken, given_options({"spare_label": "x"}))
    assert capsys.readouterr().err == ""


def test_every_option_of_next_is_for_some_step() -> None:
    common = {"--state", "--profile", "--module", "--token", "--serial", "--json", "--final-try"}
    others = {
        parameter.opts[0]: str(parameter.name)
        for parameter in ceremony_command.commands["next"].params
        if parameter.opts[0].startswith("--") and not parameter.opts[0].startswith("--pin")
    }
    assert set(others) - common == set(next_options._USES)
    for option, name in others.items():
        assert given_options({name: 0}) == (() if option in common else (option,))


@pytest.mark.case("X789", "dealer of a reshare: --no-journal, and a mark beside his envelope")
def test_a_dealer_whose_share_has_had_a_journal_gives_it(tmp_path: Path) -> None:
    token = TokenChoice(profile=load_profile("softhsm2"), label="x")
    envelope = tmp_path / "envelope.json"
    mark_path(envelope).write_text("{}")
    desk = Runner(folder=CeremonyFolder(tmp_path), state=tmp_path, clock=lambda: NOW, token=token,
                  envelope=b"", envelope_path=envelope, no_journal=True)  # fmt: skip
    with pytest.raises(JournalError, match="has had a journal"):
        desk._state_bindings(reshare().setting, 1)
    with pytest.raises(JournalError, match="has had a journal"):  # and before he is asked
        require_given(desk, reshare().setting, Step(DEAL, ""), 1)


@pytest.mark.case("X799", "dealer whose clock stepped back before he states what is bound")
def test_nobody_deals_with_a_statement_that_would_condemn_him() -> None:
    setting = reshare().setting
    good = reshare().bindings(1).to_json()
    assert len(_payload_digest(good, setting, 1)) == 32
    early = reshare().bindings(1, moment=setting.roster.not_before - 1).to_json()
    with pytest.raises(CeremonyError, match="before this ceremony"):
        _payload_digest(early, setting, 1)


@pytest.mark.case("X789", "export of bindings over a journal that its anchor is ahead of")
def test_a_rolled_back_journal_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, path = dkg().group(active=True), tmp_path / "journal.jsonl"
    envelope, out = tmp_path / "envelope.json", tmp_path / "out.json"
    Journal.open(path, group, 1, clock=lambda: NOW).close()
    HostAnchor(host_anchor_path(envelope), group.group_id, 1).advance(Anchor(5, bytes(32)))
    monkeypatch.setattr(journaling, "state_bindings", lambda *_: pytest.fail("a token was asked"))
    token = TokenChoice(profile=load_profile("softhsm2"), label="x")
    place = Place(path=path, group=group, envelope=envelope, index=1)
    with pytest.raises(JournalError) as refused:
        export_bindings(Printer(), place, token, None, out)
    assert refused.value.code == "E_ROLLBACK"
    assert not out.exists()

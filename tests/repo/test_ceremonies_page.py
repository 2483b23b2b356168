"""The run-book of ceremonies shows commands that exist, and the demo's cheat is one."""

import re
import shlex
from pathlib import Path

import pytest

from demo.cheating_dealer import false_deal
from signer.ceremony.checking import check_deal, outcome_of
from signer.ceremony.deal import PAYLOAD_TYPE, Deal
from signer.ceremony.dealing import take_share
from signer.ceremony.setting import Setting
from signer.ceremony.steps import Me, Memory, next_step
from signer.cli.attending import STATE_WORDS
from signer.cli.ceremony_words import status_text
from signer.errors import DealError
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from tests.repo.test_documents import COMMANDS
from tests.simulators.ceremony import Gathering, Person, roster_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ceremonies.md"
CHEAT, VICTIM = 5, 3


def shown_commands() -> list[str]:
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    lines = [line.removeprefix("$ ") for line in text.splitlines()]
    return [line for line in lines if line.startswith("signer ")]


@pytest.mark.parametrize("line", shown_commands())
def test_commands_in_the_run_book_exist_with_these_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    depth = next(depth for depth in (4, 3, 2) if " ".join(words[:depth]) in COMMANDS)
    command = COMMANDS[" ".join(words[:depth])]
    # Parsing is enough: it knows every option and demands the required ones.
    command.make_context(words[depth - 1], words[depth:], resilient_parsing=False)


def test_the_run_book_shows_every_command_of_ceremonies() -> None:
    shown = " ".join(shown_commands())
    for name in COMMANDS:
        if name.startswith("signer ceremony") and not name.endswith((" status", " verify")):
            assert name in shown


def test_the_warning_shown_is_what_is_printed() -> None:
    assert f"\n{STATE_WORDS}\nHave another holder" in PAGE.read_text()


def test_the_status_shown_is_what_is_printed() -> None:
    people = dict(enumerate(map(Person.new, ("Ada", "Boris", "Chidi", "Dolores")), start=1))
    setting = Setting.of(roster_of(people, 3, rehearsal=True), None)
    made = Gathering(setting, people, people)
    board = made.board({f"deal-{d:02}.json": made.deal(d).to_bytes() for d in (1, 2, 3)})
    mine = next_step(board, Me(ShareIndex(1), 1), Memory(deal=made.deal(1).digest), None)
    printed = re.sub(r"(?<=REHEARSAL )[0-9a-f ]{39}|(?<=until ).*(?= UTC)", "…",
                     status_text(board, None, (), mine))  # fmt: skip
    page = re.sub(r"(?<=REHEARSAL )[0-9a-f ]{39}|(?<=until ).*(?= UTC)", "…", PAGE.read_text())
    assert f"```\n{printed}\n```" in page


def test_the_demo_s_cheat_is_seen_by_his_victim_and_nobody_else() -> None:
    people = Gathering.dkg()
    with SecretBytes(bytes(range(1, 33))) as seed:
        body, ciphertexts = false_deal(people.setting, CHEAT, seed, ShareIndex(VICTIM))
    signed = people.dealers[CHEAT].sign(PAYLOAD_TYPE, body.to_payload())
    false = check_deal(Deal(signed, ciphertexts), people.setting, CHEAT)
    honest = [check_deal(people.deal(d), people.setting, d) for d in people.setting.roster.dealers]
    outcome = outcome_of(
        people.setting, [false if deal.dealer == CHEAT else deal for deal in honest]
    )
    for index, person in people.members.items():
        member, key = ShareIndex(index), person.card.body.kex
        if index != VICTIM:
            take_share(outcome, member, key, person.ecdh).wipe()
            continue
        with pytest.raises(DealError) as found:
            take_share(outcome, member, key, person.ecdh)
        assert (found.value.dealer, found.value.code) == (CHEAT, "E_DEAL_SHARE")

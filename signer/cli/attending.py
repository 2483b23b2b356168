"""The wiring of `signer ceremony join`, `next`, `status` and `bundle`."""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from signer.ceremony.bundle import Bundle
from signer.ceremony.repair_steps import OWN as REPAIR_OWN
from signer.ceremony.setting import Setting
from signer.ceremony.steps import ABORTED, OWN, Me
from signer.cli import wiring
from signer.cli.ceremony_words import board_json, roster_text, status_text
from signer.cli.confirming import confirm
from signer.cli.keying import KeyOptions
from signer.cli.next_options import REPAIR, given_options, require_of_kind, unused
from signer.cli.person import ask, say
from signer.cli.printer import Printer, printable
from signer.cli.sparing import other_device
from signer.custody.ceremony_folder import POLICY, PREVIOUS, CeremonyFolder
from signer.custody.ceremony_receipts import destroyed_of
from signer.custody.ceremony_results import active_group, note_strange, require_readable
from signer.custody.ceremony_runner import Runner, Taken
from signer.custody.ceremony_state import CeremonyState
from signer.custody.ceremony_tasks import KeyForDealing
from signer.custody.desk import read_group, read_policy
from signer.custody.jobs.sources import SecretSource
from signer.custody.orders import terminal
from signer.errors import CeremonyError, DeniedError, PolicyError, UsageError
from signer.files import read_file, require_place, write_new
from signer.hsm.profile import require_ceremony
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Card, fingerprint
from signer.messages.group_file import GroupFile
from signer.policy.words import policy_text
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES
from signer.threshold.params import ShareIndex

STATE_WORDS = (
    "Keep the state folder: one for this ceremony, on one machine, never copied back from a\n"
    "backup. Without it `next` signs a second time, and all see you as a cheat."
)


def join(
    printer: Printer, *, folder: Path, state: Path, card: Path, group: Path | None,
    typed: str | None,
) -> None:  # fmt: skip
    """Do what `signer ceremony join` is asked."""
    there = CeremonyFolder(folder)
    require_place(state)
    compare = partial(_compare, printer, typed)
    if (repair := there.repair()) is not None:
        from signer.cli.repairing import join_repair

        require_own_group(group, repair.group)
        join_repair(printer, repair, state=state, card=card, compare=compare)
        return
    setting = there.setting()
    roster = setting.roster
    now = int(time.time())
    roster.require_open(now)
    policy = read_policy(folder / POLICY)
    if policy.digest != roster.policy_digest:
        raise PolicyError("policy.json in the folder is not the policy that the roster names")
    me = _who(setting, card)
    if me.old is not None:
        require_own_group(group, setting.old)
    text = f"{roster_text(setting, me)}\n\nThe policy\n\n{policy_text(policy)}"
    compare(roster.id, text)
    CeremonyState.of(state, roster).join(me, now)
    printer.result(
        {
            "ceremony": roster.id.hex(),
            "member": None if me.member is None else int(me.member),
            "dealer": me.dealer,
        },
        f"joined {roster.fingerprint} as {_role_words(me)}\nnow: signer ceremony next",
    )


def require_own_group(path: Path | None, previous: GroupFile) -> None:
    """Hold the group file that a ceremony follows against the one its holder uses.

    Who convenes could show another: with an older policy, or of another origin.

    Raises:
        UsageError: he does not say which he uses.
        CeremonyError: E_ROSTER: they differ.
    """
    if path is None:
        raise UsageError("who has a share gives the group file that his agent uses: --group FILE")
    if read_group(path).digest != previous.digest:
        raise CeremonyError(
            f"{PREVIOUS} in the folder is not the group file that you use",
            hint="compare the two with `signer group show`: policy, amendments, origin, holders",
            code="E_ROSTER",
        )


def take_next(
    printer: Printer,
    *,
    folder: Path,
    state: Path,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: SecretSource | None,
    envelope: Path | None,
    journal: Path | None,
    no_journal: bool,
    yes_destroy: bool,
    yes_first_failed: bool,
    **others: Any,
) -> None:
    """Do what `signer ceremony next` is asked."""
    there = CeremonyFolder(folder)
    repair = there.repair()
    given = given_options(
        {
            **others,
            "envelope": envelope,
            "journal": journal,
            "no_journal": no_journal,
            "yes_destroy": yes_destroy,
            "yes_first_failed": yes_first_failed,
        }
    )
    require_of_kind(given, REPAIR if repair is not None else there.setting().roster.kind)
    token = None
    if label is not None or serial is not None:
        token = wiring.token_choice(profile, module, label, serial)
        require_ceremony(token.profile)
    old = None
    if envelope is not None:
        old = read_file(envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES)
    if repair is not None:
        from signer.cli.repairing import first_failed, repair_runner

        runner = repair_runner(repair, folder, state, token, pin, old)
        ask_failed = partial(first_failed, yes_first_failed, rehearsal=repair.roster.rehearsal)
        runner = replace(runner, first_failed=ask_failed)
        _print_taken(printer, runner.run(), given)
        return
    devices = {name: others.pop(name) for name in tuple(others) if name.startswith("spare_")}
    fields: dict[str, Any] = {
        "spare": other_device("spare", devices, profile, module),
        "folder": there,
        "state": state,
        "token": token,
        "pin": pin,
        "envelope": old,
        "envelope_path": envelope,
        "journal": journal,
        "clock": lambda: int(time.time()),
        "no_journal": no_journal,
    }
    key = KeyOptions(**others)
    if key.given:
        key.require_one_source()
        with key.opened() as (source, terminals):
            taken = _asking(Runner(**fields, key=KeyForDealing(source, terminals)), yes_destroy)
    else:
        taken = _asking(Runner(**fields), yes_destroy)
    _print_taken(printer, taken, given)


def _asking(runner: Runner, yes_destroy: bool) -> Taken:
    return replace(runner, confirm=lambda step: confirm(step, runner, yes_destroy)).run()


def _print_taken(printer: Printer, taken: Taken, given: Sequence[str]) -> None:
    """Print what was done, and which of the options `given` were not used.

    Raises:
        CeremonyError: E_ABORTED: the ceremony is over.
    """
    if left := unused(given, taken.step.name):
        printer.note(f"not used in this step: {', '.join(left)}")
    _print_step(printer, taken)
    if taken.after.name == ABORTED:
        why = re.sub(r"\Athis (ceremony|repair) is over: ", "", taken.after.words)
        raise CeremonyError(why, code="E_ABORTED")


def status(printer: Printer, *, folder: Path, state: Path | None) -> None:
    """Do what `signer ceremony status` is asked."""
    there = CeremonyFolder(folder)
    if (repair := there.repair()) is not None:
        from signer.cli.repairing import repair_status

        repair_status(printer, repair, folder=folder, state=state)
        return
    setting = there.setting()
    now = int(time.time())
    board = there.board(setting, now)
    active = active_group(there, board)
    note_strange(there, board, now)
    gone = destroyed_of(there, board)
    mine = None
    if state is not None:
        runner = Runner(folder=there, state=state, clock=lambda: int(time.time()))
        mine = runner.look()
    printer.result(board_json(board, active, gone, mine), status_text(board, active, gone, mine))


def make_bundle(printer: Printer, *, folder: Path, member: int, out: Path) -> None:
    """Do what `signer ceremony bundle` is asked."""
    there = CeremonyFolder(folder)
    setting = there.setting()
    if member not in setting.roster.indices:
        raise UsageError(f"the roster has no member {member}")
    board = there.board(setting, int(time.time()))
    if missing := board.missing_deals or board.missing_bindings:
        raise CeremonyError(
            f"the deals of {', '.join(map(str, missing))} are not there yet", code="E_EARLY"
        )
    made = Bundle.of(setting.roster, ShareIndex(member), board.deals, board.bindings)
    raw = made.to_bytes()
    require_readable(raw, "bundle", Bundle.parse)
    write_new(out, raw)
    printer.result(
        {"file": str(out), "member": member},
        f"all deals, for member {member}: {printable(str(out))}\n"
        f"name it bundle-{member:02}.json in his copy of the folder",
    )


def _who(setting: Setting, path: Path) -> Me:
    raw = read_file(path, what="card", max_bytes=MAX_CARD_BYTES)
    card = Card.parse_file(raw, f"card {str(path)!r}")
    key = card.body.id_sign
    me = Me(setting.roster.member_of(key), setting.dealer_of(key), setting.old_of(key))
    if me == Me(None, None, None):
        raise CeremonyError(
            f"{card.body.name} takes no part in this ceremony: his card is not in the roster",
            hint="ask who made the roster; your card must be one of those it was made from",
            code="E_ROSTER",
        )
    if me.member is not None:
        there = setting.roster.members[me.member - 1]
        if there.digest != card.digest:
            raise CeremonyError(
                f"the roster has another card of {card.body.name} than this one",
                hint="each ceremony needs a card with a fresh key; compare the two",
                code="E_ROSTER",
            )
    return me


def _compare(printer: Printer, typed: str | None, ceremony: bytes, text: str) -> None:
    """Show a person what he would take part in; have him compare its fingerprint.

    Args:
        printer: shows it where the fingerprint was given already: he has heard that, not read this.
        typed: the fingerprint, if it was given.
        ceremony: the ceremony's id.
        text: the roster, and the policy.

    Raises:
        DeniedError: E_CONFIRM.
    """
    if typed is not None:
        for line in text.split("\n"):
            printer.note(line)
        _require_same(typed, ceremony)
        return
    with terminal("a fingerprint", '--fingerprint "TEXT"') as tty:
        say(tty, text)
        say(tty, STATE_WORDS)
        say(tty, "Have another holder read the ceremony's fingerprint to you: not from here.")
        answer = ask(tty, "All eight groups: ")
    _require_same(answer, ceremony)


def _require_same(typed: str, ceremony: bytes) -> None:
    """Refuse what is not the whole fingerprint: of a part somebody could make a second one.

    Raises:
        DeniedError: E_CONFIRM.
    """
    plain = typed.lower().replace("rehearsal", " ").replace(" ", "")
    if plain != fingerprint(ceremony).replace(" ", ""):
        raise DeniedError(
            "that is not this ceremony's fingerprint; you have not joined",
            hint="if it was read to you like that, somebody shows you another roster: stop",
            code="E_CONFIRM",
        )


def _print_step(printer: Printer, taken: Taken) -> None:
    step, after, new, strange = taken
    own = (*OWN, *REPAIR_OWN)
    done = step if step.name in own and step.name != after.name else None
    lines = []
    if done is not None:
        lines.append(f"done    {done.words}")
    lines += [f"new     {name}" for name in new]
    lines += [f"beware  {name} is not of this ceremony, or not active: do not use it"
              for name in strange]  # fmt: skip
    lines.append(f"now     {after.words}")
    value = {
        "done": None if done is None else done.name,
        "new_files": list(new),
        "strange_files": list(strange),
        "next": after.name,
        "waits_for": list(after.waits_for),
        "words": after.words,
    }
    show = printer.failed_result if after.name == ABORTED else printer.result
    show(value, "\n".join(printable(line) for line in lines))


def _role_words(me: Me) -> str:
    words = []
    if me.member is not None:
        words.append(f"member {int(me.member)}")
    if me.dealer is not None and me.dealer != me.member:
        words.append("the dealer" if me.dealer == 0 else f"dealer {me.dealer}")
    if me.old is not None and me.dealer is None:
        words.append(f"holder of the old share {me.old}")
    return " and ".join(words)

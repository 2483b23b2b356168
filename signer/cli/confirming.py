"""What a person at a ceremony's desk is asked before something that cannot be undone."""

from signer.ceremony.steps import DEAL, DESTROY, Step
from signer.cli.person import ask, say
from signer.custody.ceremony_runner import Runner
from signer.custody.ceremony_state import CeremonyState
from signer.custody.old_keys import gone_keys, keys_of
from signer.custody.orders import terminal
from signer.errors import DeniedError
from signer.messages.group_file import marked_text
from signer.sealing.envelope import key_fingerprint


def confirm(step: Step, runner: Runner, yes_destroy: bool) -> None:
    """Have a person say yes to what cannot be undone or looked up again.

    Raises:
        DeniedError: E_CONFIRM: he does not.
    """
    if step.name == DEAL and runner.no_journal:
        with terminal("a confirmation", "--journal FILE") as tty:
            say(tty, "You say that no agent ever ran with your old share: it has signed nothing.")
            say(tty, "If that is wrong, the new shares can sign against what it has signed.")
            if ask(tty, "Type never: ") != "never":
                raise DeniedError("nothing was dealt", code="E_CONFIRM")
    if step.name != DESTROY or yes_destroy:
        return
    text = _keys_text(runner)
    with terminal("a confirmation", "--yes-destroy") as tty:
        say(tty, text)
        if ask(tty, "Type destroy: ") != "destroy":
            raise DeniedError("nothing was destroyed", code="E_CONFIRM")


def _keys_text(runner: Runner) -> str:
    """Return which keys are about to be destroyed."""
    setting = runner.folder.setting()
    desk = CeremonyState.of(runner.state, setting.roster)
    index = desk.me().old or 0
    gone = gone_keys(desk)
    lines = ["Destroyed on the token, for ever, is what opens your old share:"]
    for point in keys_of(runner.envelope, setting.old, index):
        own = point == setting.old.card_of(index).body.kex
        which = "your token" if own else "a spare"
        state = "   gone already" if point in gone else ""
        key = marked_text(key_fingerprint(point), rehearsal=setting.roster.rehearsal)
        lines.append(f"  key {key}   {which}{state}")
    lines += [
        "Whatever else is sealed to one of these keys dies with it: also the share of another",
        "group, if its card shows the same key.",
    ]
    return "\n".join(lines)

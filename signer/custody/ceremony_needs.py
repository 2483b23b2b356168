"""What a step of a ceremony needs from its holder beside the folder, and what of it is missing."""

from signer.ceremony.roster import SPLIT
from signer.ceremony.setting import Setting
from signer.ceremony.steps import DEAL, DESTROY, Step
from signer.custody.ceremony_tasks import CeremonyTasks
from signer.errors import UsageError


def require_given(
    tasks: CeremonyTasks, setting: Setting, step: Step, dealer: int | None = None
) -> None:
    """Refuse a step for which something was not given. Nobody has been asked anything yet.

    Raises:
        UsageError: it names all that is missing.
        JournalError: he says that there never was a journal, and something beside his envelope
            remembers one.
    """
    reshare = setting.previous is not None
    dealt_anew, split = reshare and step.name == DEAL, setting.roster.kind == SPLIT
    at_a_spare = step.name == DESTROY and tasks.spare is not None  # his own comes last
    needs = {
        "your token: --token or --serial": tasks.token is None and not at_a_spare,
        "the key that is split: --mnemonic-file, --mnemonic or --keystore": (
            split and step.name == DEAL and tasks.key is None
        ),
        "the envelope of your old share: --envelope": (
            (dealt_anew or step.name == DESTROY) and tasks.envelope is None
        ),
        "the journal of your old share: --journal": (
            dealt_anew and tasks.journal is None and not tasks.no_journal
        ),
    }
    missing = [what for what, is_missing in needs.items() if is_missing]
    if not missing:
        if dealt_anew and tasks.no_journal and dealer is not None:
            tasks.require_journal(setting, dealer)
        return
    hint = "give it and run the same again; nothing was done"
    if needs["the journal of your old share: --journal"]:
        hint = "--no-journal instead of --journal, if no agent ever ran with that share"
    elif needs["the envelope of your old share: --envelope"]:
        hint = "if the envelope is lost: signer share recover"
    raise UsageError(f"this step needs {'; '.join(missing)}", hint=hint)

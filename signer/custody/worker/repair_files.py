"""The files in an order of a repair, each checked. No token is needed."""

from signer.ceremony.repair_delta import CheckedDelta, DeltaFile, check_delta
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.repair_sigma import SigmaBody, SigmaFile
from signer.custody.jobs.repair import RepairJob
from signer.errors import CeremonyError
from signer.messages.group_file import GroupFile


def setting_of(job: RepairJob) -> RepairSetting:
    """Return the repair that an order is about. Raises SignerError where it does not hold."""
    group = GroupFile.parse(job.group.encode(), "group file")
    return RepairSetting.of(RepairRoster.parse(job.roster.encode()), group)


def checked_deltas(setting: RepairSetting, texts: tuple[str, ...]) -> dict[int, CheckedDelta]:
    """Return the deltas of all helpers, checked. Raises SignerError where one does not hold."""
    helpers = setting.roster.helpers
    if len(texts) != len(helpers):
        raise CeremonyError("the deltas of all helpers are needed")
    return {
        int(helper): check_delta(DeltaFile.parse(text.encode(), f"delta {helper}"), setting, helper)
        for helper, text in zip(helpers, texts, strict=True)
    }


def checked_sums(
    setting: RepairSetting, deltas: dict[int, CheckedDelta], texts: tuple[str, ...]
) -> tuple[dict[int, SigmaFile], dict[int, SigmaBody]]:
    """Return the sums of all helpers over these deltas. Raises as `checked_deltas`."""
    helpers = [int(helper) for helper in setting.roster.helpers]
    if len(texts) != len(helpers):
        raise CeremonyError("the sums of all helpers are needed")
    files = {
        helper: SigmaFile.parse(text.encode(), f"sum {helper}")
        for helper, text in zip(helpers, texts, strict=True)
    }
    return files, {
        helper: file.check(setting, helper, deltas, f"sum {helper}")
        for helper, file in files.items()
    }

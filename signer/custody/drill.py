"""What a custodian needs to order a drill and to believe its result."""

from signer.custody.desk import Desk
from signer.custody.jobs.drilling import RunDrill
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.errors import SchemaError, WorkerError
from signer.messages.drill import DrillOrder
from signer.messages.drill_report import PRIMARY, DrillReport, signed_report
from signer.messages.group_file import GroupFile
from signer.strict import Fields


def drill_job(
    desk: Desk,
    journal: Journal,
    token: TokenChoice,
    pin: SecretSource,
    order: DrillOrder,
    moment: int,
) -> RunDrill:
    """Return the job that drills the primary at `desk`; `report_of` reads its result."""
    return RunDrill(
        token=token,
        pin=pin,
        group=desk.group.to_bytes().decode(),
        envelope=desk.envelope_text,
        order=order.to_json(),
        role=PRIMARY,
        moment=moment,
        journal=str(journal.path.absolute()),
        anchored_serials=journal.anchored_serials,
    )


def report_of(result: Fields, order: DrillOrder, group: GroupFile, now: int) -> DrillReport:
    """Return the report in a worker's result, verified like anybody's.

    Raises:
        WorkerError: there is none.
        InputError: it does not hold.
    """
    try:
        signed = signed_report(result.take("report"), "worker's report")
    except SchemaError as error:
        raise WorkerError(error.message) from None
    return DrillReport.open(signed, order, group, now, "worker's report")

"""What a holder does with several tokens of his at one desk: add a spare, drill them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signer.custody.custodian import module_environment
from signer.custody.drill import report_of
from signer.custody.jobs import Job
from signer.custody.jobs.drilling import RunDrill, SealToCard
from signer.custody.jobs.shares import VerifyShare
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import KeysMade, make_card, pin_source, set_up_token
from signer.custody.worker_process import run_worker
from signer.errors import WorkerError
from signer.messages.drill import DrillOrder
from signer.messages.drill_report import PRIMARY, SCRATCH, SPARE, DrillReport
from signer.messages.group_file import GroupFile
from signer.strict import Fields, canonical

_PERSON_SECONDS = 300.0  # a person types a PIN meanwhile
_SCRATCH_NAME = "scratch"


@dataclass(frozen=True, slots=True)
class Device:
    """A token and where its PIN is: a file, or the terminal."""

    token: TokenChoice
    pin: SecretSource | None


@dataclass(frozen=True, slots=True)
class DeskDrill:
    """What came of a drill at a desk. `scratch` tells which keys the rehearsal left, if one was."""

    report: DrillReport
    scratch: KeysMade | None


def drill_at_desk(
    order: DrillOrder,
    group: bytes,
    envelope: bytes,
    *,
    primary: Device,
    spare: Device | None,
    scratch: Device | None,
    moment: int,
) -> DeskDrill:
    """Drill a holder's devices one after the other; the primary signs the report over them all.

    With `scratch`, recovery is rehearsed as well: the share is unsealed on the spare, sealed to the
    scratch token, opened there and used.

    Raises:
        SignerError: a device failed. There is no report then.
    """
    head: dict[str, Any] = {"group": _text(group), "order": order.to_json(), "moment": moment}
    others: list[dict[str, Any]] = []
    keys = None
    if spare is not None:
        others.append(_drill(spare, role=SPARE, envelope=_text(envelope), **head))
    if scratch is not None and spare is not None:
        keys = set_up_token(scratch.token, scratch.pin)
        sealed = _sealed_to(spare, scratch, _text(group), _text(envelope), moment)
        others.append(_drill(scratch, role=SCRATCH, envelope=sealed, **head))
    with pin_source(primary.pin) as (pin, terminals):
        job = RunDrill(token=primary.token, pin=pin, envelope=_text(envelope), role=PRIMARY,
                       others=tuple(others), **head)  # fmt: skip
        result = _hire(job, primary.token, terminals)
    return DeskDrill(report_of(result, order, GroupFile.parse(group), moment), keys)


def _drill(device: Device, **fields: Any) -> dict[str, Any]:
    with pin_source(device.pin) as (pin, terminals):
        job = RunDrill(token=device.token, pin=pin, **fields)
        value = _hire(job, device.token, terminals).take("device")
    if not isinstance(value, dict):
        raise WorkerError("the worker names no device")
    return value


def _sealed_to(spare: Device, scratch: Device, group: str, envelope: str, moment: int) -> str:
    """Return an envelope of one slot, the scratch token's, made from the spare's slot."""
    card = make_card(scratch.token, scratch.pin, _SCRATCH_NAME, moment)
    with pin_source(spare.pin) as (pin, terminals):
        job = SealToCard(token=spare.token, pin=pin, group=group, envelope=envelope,
                         card=canonical(card.to_json()).decode(), rehearsal=True)  # fmt: skip
        return str(_hire(job, spare.token, terminals).take("envelope"))


def add_spare(
    group: bytes, envelope: bytes, card: bytes, *, opener: Device, spare: Device
) -> tuple[int, bytes]:
    """Seal a share to a second token too, and prove that it opens there.

    Args:
        group: the group file's bytes.
        envelope: the bytes of the envelope as it is.
        card: the bytes of the spare token's card.
        opener: a token that opens the envelope.
        spare: the token that shall open it too.

    Returns:
        The share's index and the new envelope's bytes.

    Raises:
        SignerError: it cannot be, or the spare did not open it. There is no new envelope then.
    """
    with pin_source(opener.pin) as (pin, terminals):
        job = SealToCard(token=opener.token, pin=pin, group=_text(group),
                         envelope=_text(envelope), card=_text(card), rehearsal=False)  # fmt: skip
        sealed = str(_hire(job, opener.token, terminals).take("envelope"))
    with pin_source(spare.pin) as (pin, terminals):
        proof = VerifyShare(token=spare.token, pin=pin, group=_text(group), envelope=sealed,
                            card=_text(card))  # fmt: skip
        index = _hire(proof, spare.token, terminals).integer("index", low=1, high=2**16)
    return index, sealed.encode()


def _hire(job: Job, token: TokenChoice, terminals: Sequence[int]) -> Fields:
    return run_worker(
        job,
        environment=module_environment(token.profile.environment),
        seconds=_PERSON_SECONDS,
        terminals=terminals,
    )


def _text(raw: bytes) -> str:
    """Return file bytes as the text an order carries; what is not UTF-8 cannot parse anyway."""
    return raw.decode("utf-8", errors="replace")

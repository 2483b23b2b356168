"""What a custodian needs to order a batch's signatures, and what a worker made of it."""

from collections.abc import Sequence
from typing import NamedTuple

from signer.custody.desk import Desk
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.errors import SchemaError, WorkerError
from signer.messages.dsse import SignedFile
from signer.messages.reply import PARTIAL_BYTES, take_witness
from signer.messages.request import SignRequest
from signer.sealing.envelope import NO_CERTIFICATE
from signer.strict import Fields, parse_hex


class Exposure(NamedTuple):
    """What a worker says of itself: how long a share was in its memory, and how well kept."""

    milliseconds: int
    weaknesses: tuple[str, ...]  # codes of `signer.custody.worker.hardening`


class BatchWork(NamedTuple):
    """What a worker made of a request."""

    partials: dict[int, bytes]  # by position
    witness: SignedFile | None
    anchored_on: bytes | None  # SHA-256 of the serial of the token that holds the journal's anchor
    exposure: Exposure


def batch_job(
    desk: Desk,
    journal: Journal,
    token: TokenChoice,
    pin: SecretSource,
    request: SignRequest,
    *,
    skip: frozenset[int],
    threads: int,
) -> SignBatch:
    """Return the job that signs the items of `request` whose positions are not in `skip`."""
    group = desk.group
    return SignBatch(
        token=token,
        pin=pin,
        network=group.network,
        role=group.role,
        group_public_key=bytes(group.public_key),
        epoch=group.epoch,
        index=int(desk.index),
        public_share=bytes(desk.public_share),
        first_policy_digest=group.policy_digest,
        threshold=group.threshold.t,
        holders=group.bound_id_signs,
        certificate=group.certificate or NO_CERTIFICATE,
        replacements=tuple(replacement.to_json() for replacement in group.replacements),
        amendments=tuple(amendment.to_json() for amendment in group.amendments),
        policy=desk.policy.to_json(),
        envelope=desk.envelope_text,
        request=request.to_bytes().decode(),
        skip=skip,
        journal=str(journal.path.absolute()),
        anchor=token.profile.journal_anchor,
        anchored_serials=journal.anchored_serials,
        threads=threads,
    )


def work_of(result: Fields, positions: Sequence[int]) -> BatchWork:
    """Read a worker's result: one partial for each of `positions`.

    Raises:
        WorkerError: it is none.
    """
    try:
        entries = result.array("partials", low=len(positions), high=len(positions))
        partials = [parse_hex(entry, PARTIAL_BYTES, "worker's partial") for entry in entries]
        serial = result.take("anchored_on")
        return BatchWork(
            dict(zip(positions, partials, strict=True)),
            take_witness(result, "worker's result"),
            None if serial is None else parse_hex(serial, 32, "worker's token"),
            exposure_of(result),
        )
    except SchemaError as error:
        raise WorkerError(error.message) from None


def exposure_of(result: Fields) -> Exposure:
    """Read what a worker says of itself."""
    return Exposure(
        result.integer("unsealed_milliseconds", low=0, high=2**31),
        tuple(str(code)[:32] for code in result.array("weaknesses", low=0, high=16)),
    )

"""What a worker is told to do, and the bytes of that order.

An order is one JSON object on the worker's standard input: `{"version": 1, "job": kind, …}`. It
holds paths of secrets, never a secret. Agent and command line build orders; only the worker, in its
own process, carries them out. One module for each family of jobs: a worker reads one order and
imports what that one needs.
"""

from typing import Any, ClassVar, Protocol

from signer.strict import Fields, canonical, parse_object

MAX_ORDER_BYTES = 64 * 1024 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024


class Job(Protocol):
    """One kind of job. Its class also has `parse(fields)`, which takes what `to_json` gives."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the job's own fields."""


def order_bytes(job: Job) -> bytes:
    """Return the bytes of the order that asks for `job`."""
    return canonical({"version": 1, "job": job.kind, **job.to_json()})


def open_order(raw: bytes) -> tuple[str, Fields]:
    """Return an order's kind, and its other fields for that kind's `parse` to take.

    Raises:
        SchemaError: not an order of this version.
    """
    fields = Fields(parse_object(raw, what="order", max_bytes=MAX_ORDER_BYTES), "order")
    fields.constant("version", 1)
    return fields.string("job", pattern=r"[a-z_]{1,32}"), fields

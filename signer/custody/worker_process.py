"""Hire a worker: one process, one order, one result, and it is gone.

What a library copied of a PIN or a share goes with the process. The worker gets pipes, the few
environment variables its module needs, and no more; whoever hires it learns a result or an error.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from signer.custody.jobs import MAX_RESULT_BYTES, Job, order_bytes
from signer.errors import SchemaError, SignerError, WorkerError, revive
from signer.strict import Fields, parse_object

BASE_SECONDS = 10.0
SECONDS_PER_ITEM = 0.002


def run_worker(
    job: Job,
    *,
    environment: Mapping[str, str],
    seconds: float,
    terminals: Sequence[int] = (),
) -> Fields:
    """Have `job` done by a worker of its own and return its result, to be taken apart.

    Args:
        job: the order; paths in it are absolute.
        environment: what the PKCS#11 module needs (SOFTHSM2_CONF), nothing else.
        seconds: after this the worker is killed.
        terminals: descriptors of a terminal that the worker may prompt on.

    Raises:
        SignerError: what the worker raised, as if it had been raised here.
        WorkerError: it died (E_WORKER) or ran out of time (E_TIMEOUT).
    """
    process = _hire(environment, terminals)
    try:
        output, _ = process.communicate(order_bytes(job), timeout=seconds)
    except subprocess.TimeoutExpired:
        raise WorkerError(
            f"the worker gave no answer within {seconds:.0f} s and was ended",
            code="E_TIMEOUT",
            hint="the token or its driver hangs: unplug it, look at it, try again",
        ) from None
    finally:
        _end(process)
    return _result(output, process.returncode)


def _hire(environment: Mapping[str, str], terminals: Sequence[int]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "signer.custody.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd="/",
            close_fds=True,
            pass_fds=terminals,
            start_new_session=True,
        )
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise WorkerError(f"no worker process could be started: {reason}") from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave no worker behind, whatever happened."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _result(output: bytes, status: int) -> Fields:
    try:
        value = parse_object(output, what="worker's result", max_bytes=MAX_RESULT_BYTES)
    except SchemaError:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        raise WorkerError(
            f"the worker ended with {ended} and no result", hint="see `signer agent status`"
        ) from None
    fields = Fields(value, "worker's result")
    fields.constant("version", 1)
    if fields.has("error"):
        raise _revived(fields.nested("error"))
    result = fields.nested("ok")
    fields.done()
    return result


def _revived(fields: Fields) -> SignerError:
    values: dict[str, Any] = {
        name: fields.take(name) for name in ("kind", "code", "message", "hint")
    }
    fields.done()
    if not all(isinstance(value, str) for value in values.values()):
        return WorkerError("the worker's error could not be read")
    return revive(values["kind"], values["message"], values["hint"], values["code"])

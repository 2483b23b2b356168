"""A PIN on its way from a person to the worker that signs, through processes that never read it."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from signer.custody.jobs.asking import AskPin
from signer.custody.jobs.sources import SecretSource
from signer.custody.worker_process import run_worker

_PERSON_SECONDS = 300.0


@contextlib.contextmanager
def pin_pipe(source: SecretSource, token: str, descriptors: Sequence[int] = ()) -> Iterator[int]:
    """Yield the read end of a pipe that holds the PIN; a worker took it from `source`.

    The write end is closed by then: who reads finds the PIN and the end.

    Args:
        source: where the worker takes the PIN.
        token: the token's name, for a prompt.
        descriptors: those that `source` names.

    Raises:
        PinError: there is none, or none was typed.
    """
    read_end, write_end = os.pipe()
    try:
        try:
            run_worker(
                AskPin(pin=source, token=token, into=write_end),
                environment={},
                seconds=_PERSON_SECONDS,
                terminals=(*descriptors, write_end),
            )
        finally:
            os.close(write_end)
        yield read_end
    finally:
        os.close(read_end)

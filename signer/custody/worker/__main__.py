"""One order in, one result out, and the process is gone with all it knew."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from signer.custody.jobs import (
    MAX_ORDER_BYTES,
    Job,
    ListTokens,
    MakeCard,
    SetUpToken,
    SignBatch,
    SplitKey,
    VerifyShare,
    parse_order,
)
from signer.custody.worker.hardening import harden
from signer.errors import SignerError, WorkerError
from signer.strict import canonical


def main() -> NoReturn:
    """Carry out the order on standard input. Exits 0 if a result was written, error or not."""
    weaknesses = harden()
    results = _take_output()
    try:
        job = parse_order(sys.stdin.buffer.read(MAX_ORDER_BYTES + 1))
        answer: dict[str, Any] = {"ok": _handler(job)(job, weaknesses)}
    except SignerError as error:
        answer = {"error": _words(error)}
    except Exception as error:  # a bug of ours: its place may be told, its values may be secret
        answer = {"error": _words(WorkerError(f"internal error: {_place(error)}"))}
    with os.fdopen(results, "wb") as file:
        file.write(canonical({"version": 1, **answer}))
    os._exit(0)


def _take_output() -> int:
    """Keep standard output for the result: what a token's module prints goes nowhere."""
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return results


def _handler(job: Job) -> Callable[..., dict[str, Any]]:
    """Return the function for `job`, importing only what that job needs."""
    match job:
        case ListTokens():
            from signer.custody.worker.tokens import list_tokens

            return list_tokens
        case SetUpToken():
            from signer.custody.worker.tokens import set_up_token

            return set_up_token
        case MakeCard():
            from signer.custody.worker.tokens import make_card

            return make_card
        case SplitKey():
            from signer.custody.worker.splitting import split_key

            return split_key
        case VerifyShare():
            from signer.custody.worker.shares import verify_share

            return verify_share
        case SignBatch():
            from signer.custody.worker.shares import sign_batch

            return sign_batch


def _words(error: SignerError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
    }


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    module = trace.tb_frame.f_globals.get("__name__", "?")
    return f"{type(error).__name__} in {module}:{trace.tb_lineno}"


if __name__ == "__main__":
    main()

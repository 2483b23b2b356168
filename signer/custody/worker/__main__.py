"""One order in, one result out, and the process is gone with all it knew."""

import importlib
import os
import sys
from typing import Any, NoReturn

from signer.custody.jobs import MAX_ORDER_BYTES, open_order
from signer.custody.worker.hardening import harden
from signer.errors import SchemaError, SignerError, WorkerError
from signer.strict import canonical

# Each module has a function of the job's name, which takes the order's fields.
_HANDLERS = {
    "ask_pin": "signer.custody.worker.asking",
    "list_tokens": "signer.custody.worker.tokens",
    "set_up_token": "signer.custody.worker.tokens",
    "make_card": "signer.custody.worker.tokens",
    "split_key": "signer.custody.worker.splitting",
    "verify_share": "signer.custody.worker.proving",
    "sign_batch": "signer.custody.worker.signing",
    "sign_amendment": "signer.custody.worker.amending",
    "seal_to_card": "signer.custody.worker.drilling",
    "run_drill": "signer.custody.worker.drilling",
    "check_anchor": "signer.custody.worker.anchoring",
    "state_bindings": "signer.custody.worker.stating",
    "make_deal": "signer.custody.worker.dealing",
    "open_deal": "signer.custody.worker.dealing",
    "check_deals": "signer.custody.worker.joining",
    "finish_ceremony": "signer.custody.worker.joining",
    "reseal_share": "signer.custody.worker.resealing",
    "destroy_key": "signer.custody.worker.destroying",
    "make_delta": "signer.custody.worker.repairing",
    "add_up_deltas": "signer.custody.worker.repairing",
    "finish_repair": "signer.custody.worker.repairing",
    "open_repair": "signer.custody.worker.repairing",
    "replace_card": "signer.custody.worker.repairing",
    "watch_token": "signer.custody.worker.watching",
    "probe_token": "signer.custody.worker.conformance",
    "hygiene": "signer.custody.worker.hygiene",
}


def main() -> NoReturn:
    """Carry out the order on standard input. Exits 0 if a result was written, error or not."""
    weaknesses = harden()
    results = _take_output()
    try:
        answer: dict[str, Any] = {"ok": _carry_out(weaknesses)}
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


def _carry_out(weaknesses: list[str]) -> dict[str, Any]:
    """Read the order and do it, importing only what that kind of job needs."""
    kind, fields = open_order(sys.stdin.buffer.read(MAX_ORDER_BYTES + 1))
    if kind not in _HANDLERS:
        raise SchemaError(f"order: no job is called {kind!r}")
    result = getattr(importlib.import_module(_HANDLERS[kind]), kind)(fields)
    return {**result, "weaknesses": weaknesses}


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

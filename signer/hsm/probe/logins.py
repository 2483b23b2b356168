"""What a login counts for, how many sessions there may be, what two threads do; and odds and ends.

No wrong PIN is ever tried. The right one is given again after a logout, and once while it is known
already; if the token refuses it then, it is not given any more.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn
from pkcs11.types import Session

from signer.hsm.probe.bench import Bench, timed
from signer.hsm.probe.codes import code_of
from signer.hsm.probe.seals import point, sign, verifies
from signer.hsm.probe.steps import Seen
from signer.hsm.session import handle_of
from signer.secret import SecretBytes

MOST_SESSIONS = 8
LOGINS_AGAIN = 3
_SIZES = (64, 256, 1024, 4096, 16384)  # bytes of a data object
_RANDOM_BYTES = 32
_SIGNATURES = 20  # of each thread
_THREAD_SECONDS = 1.5


def token_objects(bench: Bench) -> Seen:
    """Count what is on the token, before anything was made."""
    count = bench.calls.count_token_objects(handle_of(bench.session.session))
    return Seen(
        step="token-objects", outcome="works", detail=f"{count} of them", facts={"objects": count}
    )


def login_scope(bench: Bench) -> Seen:
    """Ask a second session whether the login of the first counts for it."""
    with _another(bench) as session:
        counts = bench.calls.logged_in(handle_of(session))
    words = "a second session is logged in too" if counts else "a second session is not logged in"
    return Seen(step="login-scope", outcome="works", detail=words, facts={"process": counts})


def second_login(bench: Bench, pin: SecretBytes) -> Seen:
    """Give the right PIN again, in a second session."""
    with _another(bench) as session:
        try:
            bench.session.module.login(handle_of(session), pin)
        except UserAlreadyLoggedIn as error:
            return Seen(step="second-login", outcome="works", code=code_of(error))
    return Seen(step="second-login", outcome="works", detail="taken once more")


def sessions(bench: Bench) -> Seen:
    """Open sessions until one is refused, or there are enough."""
    opened: list[Session] = []
    refused = ""
    try:
        while len(opened) + 1 < MOST_SESSIONS:
            opened.append(bench.session.token.slot.get_token().open())
    except PKCS11Error as error:
        refused = code_of(error)
    for session in opened:
        with contextlib.suppress(PKCS11Error):
            session.close()
    count = len(opened) + 1
    words = f"{count} open" + (", then refused" if refused else ", no more were tried")
    return Seen(step="sessions", outcome="refused" if refused else "works", code=refused,
                detail=words, facts={"open": count})  # fmt: skip


def random(bench: Bench) -> Seen:
    """Draw twice; the same twice, or zeros, are no random bytes."""
    module, handle = bench.session.module, handle_of(bench.session.session)
    with module.random(handle, _RANDOM_BYTES) as one, module.random(handle, _RANDOM_BYTES) as two:
        if one == two:
            return Seen(step="random", outcome="wrong", detail="the same bytes twice")
        times = timed(lambda: module.random(handle, _RANDOM_BYTES).wipe())
    return Seen(step="random", outcome="works", detail="two draws differ", times=times)


def data_objects(bench: Bench) -> Seen:
    """Create private data objects of growing size, find them, read them, destroy them."""
    session, largest = bench.session.session, 0
    for size in _SIZES:
        value = bytes([size % 251 + 1]) + os.urandom(size - 1)
        template = {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.APPLICATION: bench.label,
            Attribute.VALUE: value,
        }
        try:
            made = bench.bring(template)
        except PKCS11Error as error:
            if not largest:
                raise
            return _data(largest, f"{size} are refused", code_of(error))
        search = {Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: bench.label}
        read = [bytes(found[Attribute.VALUE]) for found in list(session.get_objects(search))]
        made.destroy()
        if value not in read:
            words = f"one of {size} bytes is not read as it was written"
            return Seen(step="data-objects", outcome="wrong", detail=words)
        largest = size
    return _data(largest, "no more were tried")


def _data(largest: int, words: str, code: str = "") -> Seen:
    return Seen(step="data-objects", outcome="works", code=code,
                detail=f"up to {largest} bytes; {words}", facts={"largest": largest})  # fmt: skip


def find(bench: Bench) -> Seen:
    """Find the throw-away keys by their label."""
    bench.key("sign")
    search = {Attribute.LABEL: bench.label, Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    found: list[Any] = []

    def once() -> None:
        found[:] = list(bench.session.session.get_objects(search))

    times = timed(once)
    wanted = bench.key("sign").key_id
    if wanted not in [key[Attribute.ID] for key in found]:
        return Seen(step="find", outcome="wrong", detail="a key that is there is not found")
    return Seen(step="find", outcome="works", times=times)


def threads(bench: Bench) -> Seen:
    """Have two threads sign, each in a session of its own."""
    made = bench.key("sign")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point(made))
    counts, errors, start = [0, 0], [], threading.Barrier(2)
    search = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: made.key_id}

    def work(number: int) -> None:
        try:
            with _another(bench) as session:
                keys = list(session.get_objects(search))
                start.wait(_THREAD_SECONDS)
                end = time.monotonic() + _THREAD_SECONDS
                while counts[number] < _SIGNATURES and time.monotonic() < end:
                    digest = os.urandom(32)
                    if not keys or not verifies(public, digest, sign(keys[0], digest)):
                        errors.append("" if keys else "another session does not see the key")
                        return
                    counts[number] += 1
        except (PKCS11Error, ValueError, threading.BrokenBarrierError) as error:
            start.abort()
            errors.append(code_of(error))

    running = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    facts = {"signatures": sum(counts)}
    if errors:
        code = next((error for error in errors if error.startswith(("CKR_", "0x"))), "")
        words = next((error for error in errors if " " in error), "")
        outcome = "refused" if code or words else "wrong"
        detail = words or ("" if code else "a signature is false")
        return Seen(step="threads", outcome=outcome, code=code, detail=detail, facts=facts)
    detail = f"{sum(counts)} signatures, each verified"
    return Seen(step="threads", outcome="works", detail=detail, facts=facts)


def login_again(bench: Bench, pin: SecretBytes) -> Seen:
    """Log out and in again, some times."""
    module, handle = bench.session.module, handle_of(bench.session.session)
    times: list[int] = []
    bench.sweep()
    for _ in range(LOGINS_AGAIN):
        module.logout(handle)
        bench.logged_in = False
        try:
            times += timed(lambda: module.login(handle, pin), tries=1)
        except UserAlreadyLoggedIn as error:
            bench.logged_in = True
            return Seen(step="login-again", outcome="wrong", code=code_of(error),
                        detail="it was not logged out")  # fmt: skip
        bench.logged_in = True
    return Seen(step="login-again", outcome="works", times=tuple(times))


def objects_left(bench: Bench) -> Seen:
    """Count what is on the token, after everything that was made is destroyed."""
    bench.sweep()
    count = bench.calls.count_token_objects(handle_of(bench.session.session))
    return Seen(
        step="objects-left", outcome="works", detail=f"{count} of them", facts={"objects": count}
    )


@contextlib.contextmanager
def _another(bench: Bench) -> Any:
    session = bench.session.token.slot.get_token().open()
    try:
        yield session
    finally:
        with contextlib.suppress(PKCS11Error):
            session.close()


TESTS: dict[str, Callable[[Bench], Seen]] = {
    "token-objects": token_objects,
    "login-scope": login_scope,
    "sessions": sessions,
    "random": random,
    "data-objects": data_objects,
    "find": find,
    "threads": threads,
    "objects-left": objects_left,
}
WITH_PIN: dict[str, Callable[[Bench, SecretBytes], Seen]] = {
    "second-login": second_login,
    "login-again": login_again,
}

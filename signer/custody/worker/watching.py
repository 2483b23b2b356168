"""The order to watch a token. Looks from outside only: no login, no PIN, nothing written.

The module is initialised for each look and finalised after it. So nothing that a module remembers
of a token outlives a look, and between looks no reader is held that a signing worker may want.
"""

import gc
import os
import signal
import socket
from typing import Any

from signer.custody.jobs.sources import TokenChoice
from signer.custody.jobs.watching import MAX_LINE_BYTES, Poll, Sight, WatchToken
from signer.custody.worker.desk_token import module_of, selector_of
from signer.errors import (
    ModuleError,
    TokenError,
    TokenNotFoundError,
    TokenRemovedError,
)
from signer.hsm.discovery import TokenInfo, list_tokens, names_of, require_profile
from signer.hsm.module import Module
from signer.hsm.public_view import public_keys
from signer.hsm.receiving import RECEIVING_LABEL
from signer.recipient import AES_256_GCM
from signer.strict import Fields

_NO_ANSWER = "the PKCS#11 module cannot be used; the agent's log says why"


def watch_token(fields: Fields) -> dict[str, Any]:
    """Answer polls until whoever asks is gone."""
    job = WatchToken.parse(fields)
    gc.enable()  # unlike other workers this one stays
    signal.setitimer(signal.ITIMER_REAL, 0)  # and it is its agent who watches the clock
    with socket.socket(fileno=job.channel) as channel, channel.makefile("rb") as polls:
        os.set_inheritable(job.channel, False)
        while line := polls.readline(MAX_LINE_BYTES + 1):
            sight = look(job.token, Poll.parse(line).serial, job.recipients)
            channel.sendall(sight.to_line())
    return {}


def look(choice: TokenChoice, serial: str | None, recipients: tuple[bytes, ...]) -> Sight:
    """Look once. `serial` is that of the token which was ready before, if one was."""
    try:
        with module_of(choice) as (module, _):
            return _sight_of(module, choice, serial, recipients)
    except ModuleError as error:
        return _trouble("absent", error, reason=_NO_ANSWER)
    except (TokenNotFoundError, TokenRemovedError) as error:
        return _trouble("absent", error)
    except TokenError as error:
        return _trouble("present", error)


def _sight_of(
    module: Module, choice: TokenChoice, serial: str | None, recipients: tuple[bytes, ...]
) -> Sight:
    try:
        tokens = list_tokens(module)
    except TokenError as error:
        return _trouble("absent", error, reason=_NO_ANSWER)
    selector = selector_of(choice)
    found = [token for token in tokens if selector.matches(token)]
    if not found:
        there = names_of(tokens) or "none"
        return _sight(
            "absent", "E_TOKEN_ABSENT", f"no token has {selector.describe()}", f"present: {there}"
        )
    if len(found) > 1:
        why = f"{len(found)} tokens have {selector.describe()}"
        return _sight("present", "E_TOKEN_AMBIGUOUS", why, f"they are {names_of(found)}")
    (token,) = found
    if serial not in (None, token.serial):
        why = f"another token has {selector.describe()}: serial {token.serial!a}, not {serial!a}"
        return _sight("present", "E_TOKEN_UNKNOWN", why, token=token)
    require_profile(token, choice.profile)
    return _usable(token, recipients, choice.profile.seal)


def _usable(token: TokenInfo, recipients: tuple[bytes, ...], method: str) -> Sight:
    """Judge the token that is meant, in the order in which a worker would stumble."""
    name = token.describe()
    if not token.initialized:
        return _sight("present", "E_TOKEN", f"{name} is there", token=token)
    if not token.user_pin_set:
        return _sight("present", "E_TOKEN", f"{name} has no user PIN yet", token=token)
    points = public_keys(token, RECEIVING_LABEL, method)
    if method != AES_256_GCM and points.isdisjoint(recipients):  # an AES key shows nothing
        why = (
            f"{name} shows no key {RECEIVING_LABEL!r} that the envelope is for"
            if points
            else f"{name} shows no key {RECEIVING_LABEL!r}"
        )
        return _sight("present", "E_TOKEN_KEY", why, token=token)
    if token.locked:
        return _sight("locked", "E_PIN_LOCKED", f"the user PIN of {name} is locked", token=token)
    if token.final_try:
        why = f"one wrong PIN more would lock {name}"
        return _sight("locked", "E_PIN_FINAL_TRY", why, token=token)
    return Sight(state="ready", serial=token.serial[:16])


def _trouble(state: str, error: TokenError, reason: str | None = None) -> Sight:
    return _sight(state, error.code, reason or error.message, f"{error.message}; {error.hint}")


def _sight(
    state: str, code: str, reason: str, detail: str = "", token: TokenInfo | None = None
) -> Sight:
    return Sight(
        state=state,
        code=code,
        reason=_printable(reason),
        detail=_printable(detail),
        serial=None if token is None else token.serial[:16],
    )


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)

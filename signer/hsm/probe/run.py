"""The steps of a probe on a token. Whatever it answers becomes what was seen of it."""

import struct
from dataclasses import replace

from pkcs11.exceptions import PKCS11Error

from signer.errors import SignerError
from signer.hsm.discovery import TokenInfo, profile_for
from signer.hsm.module import Module
from signer.hsm.probe import logins, origins, seals
from signer.hsm.probe.bench import Bench, StayedError, UnusableError
from signer.hsm.probe.calls import Calls
from signer.hsm.probe.codes import code_of
from signer.hsm.probe.facts import TokenFacts
from signer.hsm.probe.steps import MAX_DETAIL, Seen
from signer.hsm.session import TokenSession
from signer.hsm.translate import translated
from signer.secret import SecretBytes

_TESTS = seals.TESTS | origins.TESTS | logins.TESTS
# What the wrapper raises when it makes no sense of bytes that a module gave it.
_NO_SENSE = (ValueError, struct.error, LookupError, OverflowError, NotImplementedError)
_STAYED = "it made a token object where a session object was asked for, which was destroyed"

_UNENDED = "CKR_OPERATION_ACTIVE"
_UNUSABLE = "the key that was made for it says that it is not for it"


def look(module: Module, token: TokenInfo) -> tuple[TokenFacts, str | None, Seen]:
    """Return what a token says of itself, the packaged profile that describes it, its mechanisms.

    Raises:
        TokenError: module or token do not answer.
    """
    calls = Calls(module)
    with translated("asking what it is", token.describe()):
        facts = calls.facts(token)
    best = profile_for(token, module.path)
    if best is not None and best.match.precision == (0, 0):  # the one that is for any token
        best = None
    try:
        names = calls.mechanisms(token.slot_id)
    except PKCS11Error as error:
        seen = Seen(step="mechanisms", outcome="refused", code=code_of(error))
        return facts, None if best is None else best.name, seen
    seen = Seen(step="mechanisms", outcome="works", detail=f"{len(names)} listed")
    return replace(facts, mechanisms=names), None if best is None else best.name, seen


def logged_in(session: TokenSession, before: TokenInfo, seconds: float | None) -> Seen:
    """Return what was seen of a login of so many seconds (None: a person typed), and of flags."""
    facts: dict[str, int] = {"count_low_before": before.count_low}
    words = ["a wrong PIN was counted before"] if before.count_low else []
    try:
        now = TokenInfo.read(session.token.slot)
    except (PKCS11Error, UnicodeError) as error:
        words.append(f"its flags cannot be read afterwards {code_of(error)}".rstrip())
    else:
        facts["count_low_after"] = now.count_low
        if now.count_low:
            words.append("the right one does not reset the count")
    times = () if seconds is None else (round(1_000_000 * seconds),)
    return Seen(step="login", outcome="works", detail="; ".join(words), facts=facts, times=times)


def run_step(step: str, bench: Bench, pin: SecretBytes | None) -> Seen:
    """Do one step. `pin` is None where it is not given again.

    An operation that the token did not end for an earlier step is not this one's fault: then it is
    done again, in another session.
    """
    seen = _once(step, bench, pin)
    if seen.code != _UNENDED:
        return seen
    try:
        bench.renew()
    except PKCS11Error:
        return seen
    return _once(step, bench, pin)


def _once(step: str, bench: Bench, pin: SecretBytes | None) -> Seen:
    if not bench.logged_in:
        return Seen.skipped(step, "not logged in any more")
    try:
        if step not in logins.WITH_PIN:
            return _TESTS[step](bench)
        if pin is None:
            return Seen.skipped(step, "the PIN is not given again")
        return logins.WITH_PIN[step](bench, pin)
    except StayedError:
        return Seen(step=step, outcome="wrong", detail=_STAYED)
    except UnusableError:
        return Seen(step=step, outcome="refused", detail=_UNUSABLE)
    except (PKCS11Error, SignerError) as error:
        code = code_of(error)
        if code or isinstance(error, PKCS11Error):
            words = "" if code else type(error).__name__
            return Seen(step=step, outcome="refused", code=code, detail=words)
        return Seen(step=step, outcome="wrong", detail=_words(error, bench.session))
    except _NO_SENSE as error:
        kind = "struct.error" if isinstance(error, struct.error) else type(error).__name__
        words = f"an answer that makes no sense ({kind})"
        return Seen(step=step, outcome="wrong", detail=words)


def _words(error: SignerError | PKCS11Error, session: TokenSession) -> str:
    """Return an error's text without the name and the serial number of the token."""
    text = str(error).replace(session.token.describe(), "it")
    if session.token.serial and session.token.serial in text:
        return type(error).__name__
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:MAX_DETAIL]

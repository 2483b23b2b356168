"""The border where pkcs11's exceptions become ours.

A foreign exception's text never passes: only its class name does, and the hexadecimal return value
of one that pkcs11 itself has no class for.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pkcs11 import exceptions as foreign

from signer.errors import TokenError
from signer.hsm.meaning import MEANING, NUMBERED, UNKNOWN, UNREADABLE, WORDS, Meaning


@contextmanager
def translated(action: str, token: str) -> Iterator[None]:
    """Let no pkcs11 exception out of the block: "`action` on `token`: what it means".

    Raises:
        TokenError: or the class below it that says who must act.
    """
    try:
        yield
    except foreign.PKCS11Error as error:
        raise _ours(*_meant(error), action, token) from None
    except (ValueError, struct.error) as error:  # bytes that pkcs11 makes no text or number of
        raise _ours(UNREADABLE, type(error).__name__, action, token) from None


def name_of(error: Exception) -> str:
    """Return what a foreign exception may be called in a message: no text of its own."""
    if isinstance(error, foreign.PKCS11Error):
        return _meant(error)[1]
    return type(error).__name__


def _meant(error: foreign.PKCS11Error) -> tuple[Meaning, str]:
    """Return what `error` means, and its name: its class's, or a return value."""
    kind = next((known for known in type(error).__mro__ if known in MEANING), foreign.PKCS11Error)
    if kind is not foreign.PKCS11Error:
        return MEANING[kind], type(error).__name__
    if (number := _number_in(str(error))) is not None:
        return NUMBERED.get(number, UNKNOWN), f"return value {number:#x}"
    return UNKNOWN, type(error).__name__


def _number_in(text: str) -> int | None:
    """Return the PKCS#11 return value that a bare PKCS11Error tells of, by number or in words."""
    if number := re.search(r"\b0x[0-9a-f]{1,16}\b", text, re.IGNORECASE):
        return int(number[0], 16)
    return next(
        (value for words, value in WORDS if re.search(rf"\b{words}", text, re.IGNORECASE)), None
    )


def _ours(meaning: Meaning, name: str, action: str, token: str) -> TokenError:
    return meaning.error(
        f"{action} on {token}: {meaning.cause} ({name})", hint=meaning.hint, code=meaning.code
    )

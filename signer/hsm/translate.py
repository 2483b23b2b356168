"""The border where pkcs11's exceptions become ours.

A foreign exception's text never passes: only its class name does, and the hexadecimal return value
of one that pkcs11 itself has no class for.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pkcs11 import exceptions as foreign

from signer.errors import (
    MechanismError,
    PinError,
    PinLockedError,
    TokenAmbiguousError,
    TokenError,
    TokenKeyError,
    TokenNotFoundError,
    TokenRemovedError,
)

_Kind = tuple[type[TokenError], str]

_GONE: _Kind = (TokenRemovedError, "the token went away")
_DEVICE: _Kind = (TokenError, "the token or its driver reported a fault")
_MEMORY: _Kind = (TokenError, "the token or the host is out of memory")
_REFUSED: _Kind = (TokenError, "the token refused it")
_STATE: _Kind = (TokenError, "the session was in another state than expected")
_SESSIONS: _Kind = (TokenError, "another session on the token is in the way")
_DATA: _Kind = (TokenError, "the token did not accept the data")
_KEY: _Kind = (TokenKeyError, "a key is absent or of another kind than expected")
_TEMPLATE: _Kind = (TokenKeyError, "the token did not accept the key's attributes")
_MECHANISM: _Kind = (MechanismError, "the token does not offer this operation")
_PIN: _Kind = (PinError, "the token refused the PIN")
_PIN_STATE: _Kind = (PinError, "the user PIN must be set anew")

MEANING: dict[type[foreign.PKCS11Error], _Kind] = {
    foreign.PKCS11Error: _DEVICE,
    foreign.AnotherUserAlreadyLoggedIn: _SESSIONS,
    foreign.ArgumentsBad: _DATA,
    foreign.AttributeReadOnly: _TEMPLATE,
    foreign.AttributeSensitive: _KEY,
    foreign.AttributeTypeInvalid: _TEMPLATE,
    foreign.AttributeValueInvalid: _TEMPLATE,
    foreign.DataInvalid: _DATA,
    foreign.DataLenRange: _DATA,
    foreign.DeviceError: _DEVICE,
    foreign.DeviceMemory: _MEMORY,
    foreign.DeviceRemoved: _GONE,
    foreign.DomainParamsInvalid: _MECHANISM,
    foreign.EncryptedDataInvalid: _DATA,
    foreign.EncryptedDataLenRange: _DATA,
    foreign.ExceededMaxIterations: _DEVICE,
    foreign.FunctionCancelled: _REFUSED,
    foreign.FunctionFailed: _DEVICE,
    foreign.FunctionNotSupported: _MECHANISM,
    foreign.FunctionRejected: _REFUSED,
    foreign.GeneralError: _DEVICE,
    foreign.HostMemory: _MEMORY,
    foreign.KeyHandleInvalid: _GONE,
    foreign.KeyIndigestible: _KEY,
    foreign.KeyNeeded: _KEY,
    foreign.KeyNotNeeded: _KEY,
    foreign.KeyNotWrappable: _KEY,
    foreign.KeySizeRange: _KEY,
    foreign.KeyTypeInconsistent: _KEY,
    foreign.KeyUnextractable: _KEY,
    foreign.MechanismInvalid: _MECHANISM,
    foreign.MechanismParamInvalid: _MECHANISM,
    foreign.MultipleObjectsReturned: _KEY,
    foreign.MultipleTokensReturned: (TokenAmbiguousError, "more than one token matches"),
    foreign.NoEvent: _STATE,
    foreign.NoSuchKey: _KEY,
    foreign.NoSuchToken: (TokenNotFoundError, "no token matches"),
    foreign.ObjectHandleInvalid: _GONE,
    foreign.OperationActive: _STATE,
    foreign.OperationNotInitialized: _STATE,
    foreign.PinExpired: _PIN_STATE,
    foreign.PinIncorrect: _PIN,
    foreign.PinInvalid: _PIN,
    foreign.PinLenRange: _PIN,
    foreign.PinLocked: (PinLockedError, "the user PIN is locked"),
    foreign.PinTooWeak: _PIN,
    foreign.PublicKeyInvalid: _DATA,
    foreign.RandomNoRNG: _MECHANISM,
    foreign.RandomSeedNotSupported: _MECHANISM,
    foreign.SessionClosed: _GONE,
    foreign.SessionCount: _SESSIONS,
    foreign.SessionExists: _SESSIONS,
    foreign.SessionHandleInvalid: _GONE,
    foreign.SessionReadOnly: _STATE,
    foreign.SessionReadOnlyExists: _SESSIONS,
    foreign.SessionReadWriteSOExists: _SESSIONS,
    foreign.SignatureInvalid: _DATA,
    foreign.SignatureLenRange: _DATA,
    foreign.SlotIDInvalid: _GONE,
    foreign.TemplateIncomplete: _TEMPLATE,
    foreign.TemplateInconsistent: _TEMPLATE,
    foreign.TokenNotPresent: _GONE,
    foreign.TokenNotRecognised: (TokenError, "the driver does not recognise the token"),
    foreign.TokenWriteProtected: (TokenError, "the token is write-protected"),
    foreign.UnwrappingKeyHandleInvalid: _GONE,
    foreign.UnwrappingKeySizeRange: _KEY,
    foreign.UnwrappingKeyTypeInconsistent: _KEY,
    foreign.UserAlreadyLoggedIn: _SESSIONS,
    foreign.UserNotLoggedIn: (TokenRemovedError, "the token no longer knows that we logged in"),
    foreign.UserPinNotInitialized: _PIN_STATE,
    foreign.UserTooManyTypes: _SESSIONS,
    foreign.WrappedKeyInvalid: _DATA,
    foreign.WrappedKeyLenRange: _DATA,
    foreign.WrappingKeyHandleInvalid: _GONE,
    foreign.WrappingKeySizeRange: _KEY,
    foreign.WrappingKeyTypeInconsistent: _KEY,
}

_HINTS: dict[type[TokenError], str] = {
    TokenRemovedError: "plug the token in and try again",
    PinLockedError: "unlock it with the SO PIN and the vendor's tool",
}
# The PIN is never tried again on its own, so a person must know that it was the PIN.
_CODES: dict[type[foreign.PKCS11Error], str] = {
    foreign.PinIncorrect: "E_PIN_REFUSED",
    foreign.PinInvalid: "E_PIN_REFUSED",
    foreign.PinLenRange: "E_PIN_LENGTH",
}


@contextmanager
def translated(action: str, token: str) -> Iterator[None]:
    """Let no pkcs11 exception out of the block: "`action` on `token`: what it means".

    Raises:
        TokenError: or the class below it that says who must act.
    """
    try:
        yield
    except foreign.PKCS11Error as error:
        raise _ours(error, action, token) from None
    except (ValueError, struct.error) as error:  # bytes that pkcs11 makes no text or number of
        raise TokenError(
            f"{action} on {token}: the driver's answer is not readable ({type(error).__name__})"
        ) from None


def _ours(error: foreign.PKCS11Error, action: str, token: str) -> TokenError:
    kind = next((known for known in type(error).__mro__ if known in MEANING), foreign.PKCS11Error)
    ours, meaning = MEANING[kind]
    name = type(error).__name__
    if type(error) is foreign.PKCS11Error:
        number = re.search(r"0x[0-9a-fA-F]{1,16}", str(error))
        name = f"return value {number[0].lower()}" if number else name
    return ours(
        f"{action} on {token}: {meaning} ({name})", hint=_HINTS.get(ours, ""), code=_CODES.get(kind)
    )

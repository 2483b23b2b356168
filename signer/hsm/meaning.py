"""What each exception of pkcs11 means to a holder: which error of ours, the cause, what to do.

Where nobody is named, the holder acts. pkcs11 has no class for some return values; those come by
their number.
"""

from typing import NamedTuple

from pkcs11 import exceptions as foreign

from signer.errors import (
    MechanismError,
    ModuleError,
    PinError,
    PinLockedError,
    TokenAmbiguousError,
    TokenError,
    TokenKeyError,
    TokenNotFoundError,
    TokenRemovedError,
)


class Meaning(NamedTuple):
    """What one kind of exception becomes."""

    error: type[TokenError]
    cause: str
    hint: str
    code: str | None = None  # where the class's own is not precise enough


_REPORT = "if it comes back, report it with the module's name and version"
_ANEW = "plug the token in anew and try again"
_OTHERS = "end other programs that use the token (scdaemon, a browser, another agent), try again"
_PROFILE = "name the profile of this token, `signer token list` tells it"
_DOCTOR = "`signer doctor --profile NAME` looks for what is known to go wrong"
_SO = "set one with the SO PIN and the vendor's tool"

UNKNOWN = Meaning(
    TokenError,
    "the module has an error of its own",
    f"look the number up in the vendor's manual; {_DOCTOR}",
)
UNREADABLE = Meaning(
    TokenError,
    "the driver's answer is not readable",
    f"see that module and token are meant for each other; {_REPORT}",
)
_GONE = Meaning(TokenRemovedError, "the token went away", "plug the token in and try again")
_FORGOTTEN = Meaning(
    TokenRemovedError,
    "the module forgot the session or the key: the token was unplugged, or its driver restarted",
    "see that the token is plugged in, and try again",
)
_FAILED = Meaning(
    TokenError, "the module failed and does not say why", f"{_ANEW}; {_DOCTOR}, then its own log"
)
_STATE = Meaning(
    TokenError, "the session was in another state than expected", f"try again; {_REPORT}"
)
_SESSIONS = Meaning(TokenError, "another session on the token is in the way", _OTHERS)
_SO_SESSION = Meaning(
    TokenError,
    "the SO is logged in to the token",
    "end the tool that the SO uses, then try again",
)
_CANCELLED = Meaning(
    TokenError,
    "it was cancelled on the device, or nobody confirmed it in time",
    "try again, and confirm it on the device when it asks",
)
_DATA = Meaning(
    TokenError,
    "the token did not accept the data",
    "see that it is the right token, and take the file anew from whoever made it",
)
_SIGNATURE = Meaning(
    TokenError, "the signature is not valid", "take the file anew from whoever signed it"
)
_KIND = Meaning(
    TokenKeyError,
    "the key is of another kind than this operation takes",
    f"{_PROFILE}; `signer token setup` makes its keys",
)
_STAYS = Meaning(
    TokenKeyError,
    "the key may not leave the token",
    "leave the key as it is, and report what asked for it",
)
_TEMPLATE = Meaning(
    TokenKeyError,
    "the token did not accept the key's attributes",
    "make the key with the vendor's tool; hsm_profiles/README.md tells of such devices by `quirks`",
)
_MECHANISM = Meaning(
    MechanismError,
    "the token does not offer this operation",
    f"{_PROFILE}; else take another kind of token",
)
_GENERATOR = Meaning(
    MechanismError, "the token has no random generator of its own", "take another kind of token"
)

MEANING: dict[type[foreign.PKCS11Error], Meaning] = {
    foreign.PKCS11Error: UNKNOWN,
    foreign.AnotherUserAlreadyLoggedIn: _SO_SESSION,
    foreign.ArgumentsBad: Meaning(
        TokenError, "the module did not accept how it was called", f"{_PROFILE}; {_REPORT}"
    ),
    foreign.AttributeReadOnly: _TEMPLATE,
    foreign.AttributeSensitive: Meaning(
        TokenKeyError,
        "the token keeps a value to itself that must be read",
        "take a profile that seals without raw ECDH, or another kind of token",
    ),
    foreign.AttributeTypeInvalid: _TEMPLATE,
    foreign.AttributeValueInvalid: _TEMPLATE,
    foreign.DataInvalid: _DATA,
    foreign.DataLenRange: _DATA,
    foreign.DeviceError: Meaning(
        TokenError,
        "the token or its reader reported a fault",
        f"{_ANEW}, at another port or reader; if it comes back, use your spare token",
    ),
    foreign.DeviceMemory: Meaning(
        TokenError,
        "the token has no room left",
        "end other programs that use it; delete with the vendor's tool what you do not need",
    ),
    foreign.DeviceRemoved: _GONE,
    foreign.DomainParamsInvalid: Meaning(
        MechanismError,
        "the token does not know this curve",
        "take a token that has P-256, or a profile that seals to another kind of key",
    ),
    foreign.EncryptedDataInvalid: _DATA,
    foreign.EncryptedDataLenRange: _DATA,
    foreign.ExceededMaxIterations: Meaning(
        TokenError,
        "the token gave up, perhaps for want of good random bytes",
        "try again; if it comes back, do not use this token and tell the pool",
    ),
    foreign.FunctionCancelled: _CANCELLED,
    foreign.FunctionFailed: _FAILED,
    foreign.FunctionNotSupported: _MECHANISM,
    foreign.FunctionRejected: _CANCELLED,
    foreign.GeneralError: _FAILED,
    foreign.HostMemory: Meaning(
        TokenError,
        "this machine is out of memory",
        "its administrator: free memory, or raise MemoryMax= of the agent's unit",
    ),
    foreign.KeyHandleInvalid: _FORGOTTEN,
    foreign.KeyIndigestible: _KIND,
    foreign.KeyNeeded: _KIND,
    foreign.KeyNotNeeded: _KIND,
    foreign.KeyNotWrappable: _STAYS,
    foreign.KeySizeRange: _KIND,
    foreign.KeyTypeInconsistent: _KIND,
    foreign.KeyUnextractable: _STAYS,
    foreign.MechanismInvalid: _MECHANISM,
    foreign.MechanismParamInvalid: _MECHANISM,
    foreign.MultipleObjectsReturned: Meaning(
        TokenKeyError,
        "several keys have one name",
        "look at them with `pkcs11-tool --list-objects`: is it the right token?",
    ),
    foreign.MultipleTokensReturned: Meaning(
        TokenAmbiguousError,
        "more than one token matches",
        "choose one by its URI, `signer token list` tells it",
    ),
    foreign.NoEvent: _STATE,
    foreign.NoSuchKey: Meaning(
        TokenKeyError,
        "there is no such key",
        "see that it is the right token; `signer token setup` makes a holder's keys",
    ),
    foreign.NoSuchToken: Meaning(
        TokenNotFoundError, "no token matches", "plug it in, or see `signer token list`"
    ),
    foreign.ObjectHandleInvalid: _FORGOTTEN,
    foreign.OperationActive: _STATE,
    foreign.OperationNotInitialized: _STATE,
    foreign.PinExpired: Meaning(PinError, "the user PIN has expired", _SO),
    foreign.PinIncorrect: Meaning(
        PinError,
        "the token refused the PIN",
        "make sure of the PIN before you try again: wrong ones may lock the token",
        "E_PIN_REFUSED",
    ),
    foreign.PinInvalid: Meaning(
        PinError,
        "the token does not take such a PIN",
        "make sure of the PIN, and how it was set: there is a character that it does not take",
        "E_PIN_REFUSED",
    ),
    foreign.PinLenRange: Meaning(
        PinError,
        "the PIN is too short or too long for the token",
        "make sure of the PIN; `pin` in the token's profile says how long it may be",
        "E_PIN_LENGTH",
    ),
    foreign.PinLocked: Meaning(
        PinLockedError,
        "the user PIN is locked",
        "unlock it with the SO PIN and the vendor's tool",
    ),
    foreign.PinTooWeak: Meaning(PinError, "the PIN is too weak for the token", _SO),
    foreign.PublicKeyInvalid: Meaning(
        TokenError,
        "the token does not accept the public key that it was given",
        "take the file anew from whoever made it; if it comes back, tell him",
    ),
    foreign.RandomNoRNG: _GENERATOR,
    foreign.RandomSeedNotSupported: _GENERATOR,
    foreign.SessionClosed: _FORGOTTEN,
    foreign.SessionCount: Meaning(TokenError, "the token has no session left", _OTHERS),
    foreign.SessionExists: _SESSIONS,
    foreign.SessionHandleInvalid: _FORGOTTEN,
    foreign.SessionReadOnly: _STATE,
    foreign.SessionReadOnlyExists: _SESSIONS,
    foreign.SessionReadWriteSOExists: _SO_SESSION,
    foreign.SignatureInvalid: _SIGNATURE,
    foreign.SignatureLenRange: _SIGNATURE,
    foreign.SlotIDInvalid: Meaning(
        TokenRemovedError,
        "the slot is gone: a reader or token was plugged in or pulled meanwhile",
        "see that the token is plugged in, and try again",
    ),
    foreign.TemplateIncomplete: _TEMPLATE,
    foreign.TemplateInconsistent: _TEMPLATE,
    foreign.TokenNotPresent: _GONE,
    foreign.TokenNotRecognised: Meaning(
        TokenError,
        "the driver does not recognise the token",
        f"see how the card is put in, and that the module is this token's; {_DOCTOR}",
    ),
    foreign.TokenWriteProtected: Meaning(
        TokenError,
        "the token is write-protected",
        "lift the protection with the vendor's tool, or at the reader",
    ),
    foreign.UnwrappingKeyHandleInvalid: _FORGOTTEN,
    foreign.UnwrappingKeySizeRange: _KIND,
    foreign.UnwrappingKeyTypeInconsistent: _KIND,
    foreign.UserAlreadyLoggedIn: Meaning(TokenError, "somebody is logged in already", _OTHERS),
    foreign.UserNotLoggedIn: Meaning(
        TokenRemovedError,
        "the token no longer knows that we logged in",
        "touch the device when it blinks, and try again; else plug it in anew",
    ),
    foreign.UserPinNotInitialized: Meaning(PinError, "the token has no user PIN", _SO),
    foreign.UserTooManyTypes: _SO_SESSION,
    foreign.WrappedKeyInvalid: _DATA,
    foreign.WrappedKeyLenRange: _DATA,
    foreign.WrappingKeyHandleInvalid: _FORGOTTEN,
    foreign.WrappingKeySizeRange: _KIND,
    foreign.WrappingKeyTypeInconsistent: _KIND,
}

# Return values that pkcs11 has no class for, PKCS#11 3.1 section 3.
NUMBERED: dict[int, Meaning] = {
    0x1B: Meaning(  # CKR_ACTION_PROHIBITED
        TokenKeyError,
        "the token does not let this be done to the key",
        "leave the key as it is, and see what the vendor's tool says of it",
    ),
    0xB4: _STATE,  # CKR_SESSION_PARALLEL_NOT_SUPPORTED
    0x103: Meaning(  # CKR_USER_TYPE_INVALID
        TokenError,
        "the token wants another login for this, such as the SO's or a management key",
        "do it with the vendor's tool: ours logs in as the user only",
    ),
    0x140: Meaning(  # CKR_CURVE_NOT_SUPPORTED
        MechanismError,
        "the token does not know this curve",
        "take a token that has P-256, or a profile that seals to another kind of key",
    ),
    0x150: Meaning(  # CKR_BUFFER_TOO_SMALL
        TokenError, "the answer is longer than it may be", f"{_PROFILE}; {_REPORT}"
    ),
    0x190: Meaning(  # CKR_CRYPTOKI_NOT_INITIALIZED
        ModuleError,
        "the module is not initialised, or forgot that it was",
        f"run the command again, which loads it anew; {_REPORT}",
    ),
    0x191: Meaning(  # CKR_CRYPTOKI_ALREADY_INITIALIZED
        ModuleError,
        "something else in this process had initialised the module",
        f"name the token's own module, no proxy that loads it too; {_REPORT}",
    ),
    0x202: _STATE,  # CKR_OPERATION_CANCEL_FAILED
}
# For some of them pkcs11 0.10 has words in place of the number.
WORDS = (
    (r"already(?: been)? initiali[sz]ed", 0x191),
    (r"not(?: been)? initiali[sz]ed", 0x190),
    (r"buffer was too small", 0x150),
    (r"user type invalid", 0x103),
    (r"parallel not supported", 0xB4),
    (r"failed to cancel", 0x202),
)

"""Every error this program raises on purpose, drawn as a tree by who must act.

::

    SignerError                exit   code(s)                   who must act
    ├─ UsageError                 2   E_USAGE                   who typed the command
    ├─ InputError                 1   E_INPUT                   who made the file or value
    │   ├─ SchemaError            1   E_SCHEMA                  not the format it claims to be
    │   ├─ EncodingError          1   E_POINT  E_SCALAR         no valid point or scalar
    │   ├─ NetworkError           1   E_NETWORK                 unknown network, or one that lies
    │   ├─ AddressError           1   E_ADDRESS  E_TARGET       not an address one may pay
    │   ├─ ThresholdParameterError 1  E_THRESHOLD               t, n or an index out of range
    │   ├─ CardError              1   E_CARD                    a card that does not hold
    │   ├─ GroupFileError         1   E_GROUP_FILE              a group file that contradicts itself
    │   ├─ PolicyError            1   E_POLICY                  a policy not every holder signed
    │   ├─ KeystoreError          1   E_KEYSTORE  E_KEYSTORE_PASSWORD  E_KEY_PATH
    │   ├─ MnemonicError          1   E_MNEMONIC
    │   └─ SecretFileError        1   E_SECRET_FILE             a secret's file is not private
    ├─ CeremonyError              1   E_CEREMONY  E_ROSTER      the participants
    │   │                             E_CEREMONY_EXPIRED  E_CEREMONY_STATE
    │   └─ DealError              1   E_DEAL  E_DEAL_…          the named dealer
    │                             E_REPAIR_…                or helper
    ├─ ConfigError                1   E_CONFIG                  the operator of this machine
    │   └─ ProfileError           1   E_PROFILE
    ├─ OutputError                1   E_OUTPUT                  the result could not be written
    ├─ EngineError                1   E_ENGINE                  the installation is broken
    ├─ SelfCheckError             1   E_SELFCHECK               share or machine is faulty
    ├─ WorkerError                1   E_WORKER  E_TIMEOUT       the worker process died or hung
    ├─ AgentError                 1   E_AGENT  E_BUSY  E_SLOW  E_TIMEOUT  E_UNREACHABLE
    │                                 E_WAITING  E_NOT_FOUND  E_TICKET  the holder
    ├─ DeniedError                3   one code per rule         nobody: policy did its work
    ├─ ThresholdError
    │   ├─ TooFewPartialsError    4   E_TOO_FEW                 more holders must answer
    │   └─ BadPartialsError       5   E_BAD_PARTIALS            the named culprits
    ├─ SealError                  7   E_ENVELOPE  E_UNSEAL  E_OPENING  the holder: token or file
    ├─ ShareMismatchError         7   E_SHARE                   the dealer
    ├─ TokenError                 7   E_TOKEN                   the holder: look at the token
    │   ├─ ModuleError            7   E_MODULE
    │   ├─ TokenNotFoundError     7   E_TOKEN_ABSENT
    │   ├─ TokenAmbiguousError    7   E_TOKEN_AMBIGUOUS
    │   ├─ UnknownTokenError      7   E_TOKEN_UNKNOWN
    │   ├─ TokenRemovedError      7   E_TOKEN_REMOVED
    │   ├─ TokenKeyError          7   E_TOKEN_KEY
    │   ├─ ProvenanceError        7   E_PROVENANCE
    │   ├─ AnchorError            7   E_ANCHOR                  the journal's anchor on the token
    │   ├─ MechanismError         7   E_MECHANISM
    │   └─ PinError               7   E_PIN  E_PIN_EMPTY  E_PIN_LENGTH  E_PIN_REFUSED  E_PIN_SERIAL
    │       ├─ PinLockedError     7   E_PIN_LOCKED
    │       └─ PinFinalTryError   7   E_PIN_FINAL_TRY
    └─ JournalError               8   E_JOURNAL  E_JOURNAL_EMPTY  E_ROLLBACK  E_ANCHOR
                                      E_POLICY_OLD  E_EPOCH     the holder: disk or journal

Exit 6 is no error: the result was written and some items were denied or skipped.
A `ValueError` or `TypeError` from our own code is a bug in ours.

An error holds one line for the person, a stable `code` for programs, an `exit_status`, and a
`hint` that says what to do. It never holds a secret, and foreign text only in `repr` form.
"""

from typing import ClassVar


class SignerError(Exception):
    """Root of the tree. `message` says what was wrong; `hint` says what to do about it."""

    code: str = "E_FAILED"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def line(self) -> str:
        """Return the one line a person sees: code, what was wrong, what to do."""
        tail = f" — {self.hint}" if self.hint else ""
        return f"{self.code}: {self.message}{tail}"


class UsageError(SignerError):
    """The command line asks for something that cannot be."""

    code = "E_USAGE"
    exit_status = 2


class InputError(SignerError):
    """A file or value given to us is not usable."""

    code = "E_INPUT"


class SchemaError(InputError):
    """Bytes that are not the format they claim to be: syntax, size, missing or unknown field."""

    code = "E_SCHEMA"


class EncodingError(InputError):
    """Bytes that are not a valid scalar or a valid point of the right group."""

    code = "E_POINT"


class NetworkError(InputError):
    """A network that is unknown, or a custom one that borrows another's identity."""

    code = "E_NETWORK"


class AddressError(InputError):
    """An execution address with a wrong form or checksum, or one that nobody can own."""

    code = "E_ADDRESS"


class ThresholdParameterError(InputError):
    """t, n or a share index out of range."""

    code = "E_THRESHOLD"


class CardError(InputError):
    """A holder's card whose signature, keys or provenance do not hold."""

    code = "E_CARD"


class GroupFileError(InputError):
    """A group file whose parts contradict each other."""

    code = "E_GROUP_FILE"


class PolicyError(InputError):
    """A policy that is not the agreed one, or an amendment that not every holder signed."""

    code = "E_POLICY"


class KeystoreError(InputError):
    """An EIP-2335 keystore that cannot be opened or is not a withdrawal key's."""

    code = "E_KEYSTORE"


class MnemonicError(InputError):
    """A BIP-39 mnemonic with a wrong word, length or checksum. Never says which word it read."""

    code = "E_MNEMONIC"


class SecretFileError(InputError):
    """A file that should hold a secret is absent, empty, or readable by others."""

    code = "E_SECRET_FILE"


class CeremonyError(SignerError):
    """A ceremony cannot go on, or not like this."""

    code = "E_CEREMONY"


class DealError(CeremonyError):
    """A deal breaks a rule. `dealer` is who made it; the ceremony is over."""

    code = "E_DEAL"

    def __init__(
        self, message: str, *, dealer: int = -1, hint: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.dealer = dealer


class ConfigError(SignerError):
    """A configuration file of this machine is wrong."""

    code = "E_CONFIG"


class ProfileError(ConfigError):
    """A device profile is malformed or not known."""

    code = "E_PROFILE"


class OutputError(SignerError):
    """A result could not be written. Replies kept with --work are not lost."""

    code = "E_OUTPUT"


class EngineError(SignerError):
    """The BLS library is absent or fails its self-test. Proves a broken installation."""

    code = "E_ENGINE"


class SelfCheckError(SignerError):
    """Our own partial signature does not verify under our own public share.

    Proves that the share, the memory or the processor is faulty. Nothing was released.
    """

    code = "E_SELFCHECK"


class WorkerError(SignerError):
    """The worker process ended without an answer, or ran out of time."""

    code = "E_WORKER"


class AgentError(SignerError):
    """An agent could not be reached, was busy, or answered something that is not a reply."""

    code = "E_AGENT"


class DeniedError(SignerError):
    """Policy said no. `code` names the rule; nothing failed and nothing was signed."""

    code = "E_DENIED"
    exit_status = 3


class ThresholdError(SignerError):
    """A group signature could not be made. `culprits` are those who sent bad partials."""

    def __init__(
        self,
        message: str,
        *,
        have: int,
        need: int,
        culprits: tuple[tuple[int, str], ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.have = have
        self.need = need
        self.culprits = culprits


class TooFewPartialsError(ThresholdError):
    """Fewer than t holders answered. Proves nothing against anybody."""

    code = "E_TOO_FEW"
    exit_status = 4


class BadPartialsError(ThresholdError):
    """Fewer than t good partials, and there would be enough without the named culprits.

    Proves that each culprit's bytes do not verify under his public share; it does not prove intent.
    """

    code = "E_BAD_PARTIALS"
    exit_status = 5


class SealError(SignerError):
    """An envelope is malformed, was altered, or is not for this token."""

    code = "E_UNSEAL"
    exit_status = 7


class ShareMismatchError(SignerError):
    """A share is not on the committed polynomial. Proves dealer or file wrong, not the holder."""

    code = "E_SHARE"
    exit_status = 7


class TokenError(SignerError):
    """The token, its module or its driver answered with an error."""

    code = "E_TOKEN"
    exit_status = 7


class ModuleError(TokenError):
    """A PKCS#11 module cannot be loaded."""

    code = "E_MODULE"


class TokenNotFoundError(TokenError):
    """No present token matches."""

    code = "E_TOKEN_ABSENT"


class TokenAmbiguousError(TokenError):
    """More than one present token matches."""

    code = "E_TOKEN_AMBIGUOUS"


class UnknownTokenError(TokenError):
    """The token is one that no profile describes. It was left unchanged."""

    code = "E_TOKEN_UNKNOWN"


class TokenRemovedError(TokenError):
    """The token went away while it was in use."""

    code = "E_TOKEN_REMOVED"


class TokenKeyError(TokenError):
    """A key that should be on the token is absent, doubled, or of another kind."""

    code = "E_TOKEN_KEY"


class ProvenanceError(TokenError):
    """A key was not generated on the token, or could leave it."""

    code = "E_PROVENANCE"


class AnchorError(TokenError):
    """The journal's anchor on the token is absent, garbage, or could not be written."""

    code = "E_ANCHOR"


class MechanismError(TokenError):
    """The token does not offer a mechanism its profile promises."""

    code = "E_MECHANISM"


class PinError(TokenError):
    """The token refused the PIN, or there is none to give. Never retried on its own."""

    code = "E_PIN"


class PinLockedError(PinError):
    """The user PIN is locked; only the SO PIN can unlock it."""

    code = "E_PIN_LOCKED"


class PinFinalTryError(PinError):
    """One wrong PIN more would lock the token, so none was tried."""

    code = "E_PIN_FINAL_TRY"


class JournalError(SignerError):
    """The journal cannot be written, or is damaged. Nothing is signed while this stands."""

    code = "E_JOURNAL"
    exit_status = 8


def revive(kind: str, message: str, hint: str, code: str) -> SignerError:
    """Return the error of class `kind` that another process of ours raised.

    A class that is not of this tree, or takes more than these words, comes back as `WorkerError`.
    """
    classes = [SignerError]
    for known in classes:  # grows while it is walked: breadth first
        classes.extend(known.__subclasses__())
    for known in classes:
        if known.__name__ == kind and not issubclass(known, ThresholdError):
            return known(message, hint=hint, code=code)
    return WorkerError(message, hint=hint)

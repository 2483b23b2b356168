import inspect

import pytest
from pkcs11 import exceptions

from signer.errors import (
    MechanismError,
    ModuleError,
    PinError,
    PinLockedError,
    TokenError,
    TokenKeyError,
    TokenRemovedError,
)
from signer.hsm.meaning import MEANING, NUMBERED, WORDS
from signer.hsm.translate import translated

ALL = [
    thing
    for thing in vars(exceptions).values()
    if inspect.isclass(thing) and issubclass(thing, Exception)
]

INITIALISATION, NEVER = "Initialisation error", "Should never see this."  # pkcs11's words
WITHOUT_A_CAUSE = {exceptions.PKCS11Error}
CODES = {
    "E_MECHANISM": "DomainParamsInvalid FunctionNotSupported MechanismInvalid "
    "MechanismParamInvalid RandomNoRNG RandomSeedNotSupported",
    "E_PIN": "PinExpired PinTooWeak UserPinNotInitialized",
    "E_PIN_LENGTH": "PinLenRange",
    "E_PIN_LOCKED": "PinLocked",
    "E_PIN_REFUSED": "PinIncorrect PinInvalid",
    "E_TOKEN": "AnotherUserAlreadyLoggedIn ArgumentsBad DataInvalid DataLenRange DeviceError "
    "DeviceMemory EncryptedDataInvalid EncryptedDataLenRange ExceededMaxIterations "
    "FunctionCancelled FunctionFailed FunctionRejected GeneralError HostMemory NoEvent "
    "OperationActive OperationNotInitialized PKCS11Error PublicKeyInvalid SessionCount "
    "SessionExists SessionReadOnly SessionReadOnlyExists SessionReadWriteSOExists SignatureInvalid "
    "SignatureLenRange TokenNotRecognised TokenWriteProtected UserAlreadyLoggedIn UserTooManyTypes "
    "WrappedKeyInvalid WrappedKeyLenRange",
    "E_TOKEN_ABSENT": "NoSuchToken",
    "E_TOKEN_AMBIGUOUS": "MultipleTokensReturned",
    "E_TOKEN_KEY": "AttributeReadOnly AttributeSensitive AttributeTypeInvalid "
    "AttributeValueInvalid KeyIndigestible KeyNeeded KeyNotNeeded KeyNotWrappable KeySizeRange "
    "KeyTypeInconsistent KeyUnextractable MultipleObjectsReturned NoSuchKey TemplateIncomplete "
    "TemplateInconsistent UnwrappingKeySizeRange UnwrappingKeyTypeInconsistent "
    "WrappingKeySizeRange WrappingKeyTypeInconsistent",
    "E_TOKEN_REMOVED": "DeviceRemoved KeyHandleInvalid ObjectHandleInvalid SessionClosed "
    "SessionHandleInvalid SlotIDInvalid TokenNotPresent UnwrappingKeyHandleInvalid UserNotLoggedIn "
    "WrappingKeyHandleInvalid",
}


def caught_from(error: Exception) -> TokenError:
    with pytest.raises(TokenError) as caught, translated("signing", "token 'desk'"):
        raise error
    return caught.value


def test_the_library_still_has_the_exceptions_we_know() -> None:
    assert len(ALL) > 60


@pytest.mark.parametrize("foreign", ALL, ids=lambda foreign: foreign.__name__)
def test_every_pkcs11_exception_is_mapped(foreign: type[exceptions.PKCS11Error]) -> None:
    assert foreign in MEANING
    error = caught_from(foreign("PIN 1234 is in this text"))
    assert error.message.startswith("signing on token 'desk': ")
    assert "1234" not in error.line()
    assert error.exit_status == 7
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.case("X970", "each exception that pkcs11 has: cause, what to do, stable code")
@pytest.mark.parametrize("foreign", ALL, ids=lambda foreign: foreign.__name__)
def test_every_one_says_why_and_what_to_do(foreign: type[exceptions.PKCS11Error]) -> None:
    error = caught_from(foreign())
    cause = error.message.removeprefix("signing on token 'desk': ")
    assert cause.endswith(f" ({foreign.__name__})")
    assert cause.startswith("the module has an error of its own") == (foreign in WITHOUT_A_CAUSE)
    assert len(cause.split()) >= 4
    assert 20 <= len(error.hint) <= 140
    assert error.hint.isascii()
    assert foreign.__name__ in CODES[error.code].split()


def test_there_is_no_code_without_an_exception_and_none_is_said_twice() -> None:
    names = [name for listed in CODES.values() for name in listed.split()]
    assert sorted(names) == sorted({foreign.__name__ for foreign in ALL})


def test_no_meaning_is_of_an_exception_that_is_gone() -> None:
    assert set(MEANING) == set(ALL)


@pytest.mark.case("X151", "a return value that pkcs11 has no class for")
@pytest.mark.parametrize(
    "text", ["Unmapped error code 0x80000001", "return value 0x80000001", "0X80000001"]
)
def test_unmapped_return_value_is_named_by_number(text: str) -> None:
    error = caught_from(exceptions.PKCS11Error(text))
    assert type(error) is TokenError
    assert error.message.endswith("has an error of its own (return value 0x80000001)")
    assert "vendor's manual" in error.hint


@pytest.mark.case("X971", "module not initialised, or initialised by others; words for a number")
@pytest.mark.parametrize(
    ("text", "ours", "number", "words"),
    [
        (f"{INITIALISATION} (not initialized). {NEVER}", ModuleError, 0x190, "is not initialised"),
        (f"{INITIALISATION} (already initialized). {NEVER}", ModuleError, 0x191, "something else"),
        ("library has already been initialized", ModuleError, 0x191, "something else"),
        ("library has not been initialized", ModuleError, 0x190, "is not initialised"),
        ("return value 0x190", ModuleError, 0x190, "is not initialised"),
        ("Unmapped error code 0x191", ModuleError, 0x191, "something else"),
        (f"Buffer was too small. {NEVER}", TokenError, 0x150, "longer than it may be"),
        (f"User type invalid. {NEVER}", TokenError, 0x103, "another login"),
        (f"Parallel not supported. {NEVER}", TokenError, 0xB4, "another state"),
        ("Failed to cancel operation", TokenError, 0x202, "another state"),
        ("Unmapped error code 0x140", MechanismError, 0x140, "this curve"),
        ("Unmapped error code 0x1b", TokenKeyError, 0x1B, "does not let"),
    ],
)
def test_numbers_and_words_without_a_class(
    text: str, ours: type[TokenError], number: int, words: str
) -> None:
    error = caught_from(exceptions.PKCS11Error(text))
    assert type(error) is ours
    assert words in error.message
    assert error.message.endswith(f" (return value {number:#x})")
    assert len(error.hint) >= 20


def test_every_numbered_meaning_has_words_to_do() -> None:
    for number, meaning in NUMBERED.items():
        assert 20 <= len(meaning.hint) <= 140, hex(number)
    assert {number for _, number in WORDS} <= set(NUMBERED)


def test_words_that_nobody_knows() -> None:
    error = caught_from(exceptions.PKCS11Error("PIN 1234 was fine"))
    assert (
        error.message == "signing on token 'desk': the module has an error of its own (PKCS11Error)"
    )
    assert error.hint


def test_an_exception_of_a_later_pkcs11_is_still_ours() -> None:
    class Later(exceptions.DeviceRemoved):
        pass

    assert isinstance(caught_from(Later()), TokenRemovedError)


@pytest.mark.parametrize(
    ("foreign", "ours", "code"),
    [
        (exceptions.PinIncorrect, PinError, "E_PIN_REFUSED"),
        (exceptions.PinLenRange, PinError, "E_PIN_LENGTH"),
        (exceptions.PinLocked, PinLockedError, "E_PIN_LOCKED"),
        (exceptions.DeviceRemoved, TokenRemovedError, "E_TOKEN_REMOVED"),
        (exceptions.MechanismInvalid, MechanismError, "E_MECHANISM"),
        (exceptions.NoSuchKey, TokenKeyError, "E_TOKEN_KEY"),
        (exceptions.GeneralError, TokenError, "E_TOKEN"),
    ],
)
def test_who_must_act(
    foreign: type[exceptions.PKCS11Error], ours: type[TokenError], code: str
) -> None:
    error = caught_from(foreign())
    assert type(error) is ours
    assert error.code == code


def test_other_exceptions_pass() -> None:
    with pytest.raises(KeyError), translated("signing", "token"):
        raise KeyError("a bug of ours")


@pytest.mark.case("X152", "a module that names itself in no encoding of text")
def test_unreadable_names() -> None:
    error = caught_from(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"))
    assert "not readable (UnicodeDecodeError)" in error.message
    assert error.hint

import inspect

import pytest
from pkcs11 import exceptions

from signer.errors import (
    MechanismError,
    PinError,
    PinLockedError,
    TokenError,
    TokenKeyError,
    TokenRemovedError,
)
from signer.hsm.translate import MEANING, translated

ALL = [
    thing
    for thing in vars(exceptions).values()
    if inspect.isclass(thing) and issubclass(thing, Exception)
]


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


@pytest.mark.case("X151", "a return value that pkcs11 has no class for")
def test_unmapped_return_value_is_named_by_number() -> None:
    error = caught_from(exceptions.PKCS11Error("Unmapped error code 0x80000001"))
    assert type(error) is TokenError
    assert "return value 0x80000001" in error.message


def test_bare_error_without_a_number() -> None:
    error = caught_from(exceptions.PKCS11Error("pkcs11 library has not been initialized"))
    assert "(PKCS11Error)" in error.message
    assert "initialized" not in error.message


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
    assert (
        "UnicodeDecodeError" in caught_from(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")).message
    )

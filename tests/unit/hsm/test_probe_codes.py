"""The name of the return value behind an error, wherever it hides."""

import pytest
from pkcs11 import exceptions as foreign

from signer.errors import SealError, TokenError
from signer.hsm.meaning import MEANING
from signer.hsm.probe.codes import CKR, code_of, name_of
from signer.hsm.translate import translated

# Of these the wrapper itself is the author, no token.
_NOT_A_VALUE = {
    foreign.PKCS11Error, foreign.MultipleObjectsReturned, foreign.MultipleTokensReturned,
    foreign.NoSuchKey, foreign.NoSuchToken,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MEANING, key=str), ids=lambda kind: kind.__name__)
def test_every_class_of_the_wrapper_is_one_value(kind: type[foreign.PKCS11Error]) -> None:
    code = code_of(kind())
    assert (code == "") == (kind in _NOT_A_VALUE)
    assert code == "" or code.removeprefix("CKR_") in CKR.values()


def test_the_names_are_different() -> None:
    codes = [code_of(kind()) for kind in MEANING if kind not in _NOT_A_VALUE]
    assert len(set(codes)) == len(codes)


def test_a_number_in_the_text_counts_more_than_the_class() -> None:
    assert code_of(foreign.PKCS11Error("return value 0x68")) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    assert code_of(foreign.PKCS11Error("Unmapped error code 0x140")) == "CKR_CURVE_NOT_SUPPORTED"
    assert code_of(foreign.DataLenRange("return value 0x150")) == "CKR_BUFFER_TOO_SMALL"
    assert code_of(foreign.PKCS11Error("return value 0x80000001")) == "0x80000001"
    assert name_of(0x70) == "CKR_MECHANISM_INVALID"


def test_it_is_found_behind_an_error_of_ours() -> None:
    with pytest.raises(TokenError) as caught, translated("signing", "token"):
        raise foreign.MechanismInvalid
    assert code_of(caught.value) == "CKR_MECHANISM_INVALID"
    with pytest.raises(SealError) as sealed:
        refuse_to_unseal()
    assert code_of(sealed.value) == "CKR_GENERAL_ERROR"


def refuse_to_unseal() -> None:
    try:
        raise foreign.GeneralError
    except foreign.GeneralError:
        raise SealError("cannot unseal") from None


def test_an_error_without_a_value_has_none() -> None:
    assert code_of(TokenError("it gave a signature of 63 bytes")) == ""
    assert code_of(ValueError("0x70")) == ""

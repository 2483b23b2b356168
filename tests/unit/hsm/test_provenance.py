from typing import Any

import pytest
from pkcs11.constants import Attribute
from pkcs11.exceptions import AttributeTypeInvalid

from signer.errors import ProvenanceError
from signer.hsm.provenance import (
    P256_PARAMS,
    PROVENANCE_ATTRIBUTES,
    Attributes,
    Provenance,
    read_attributes,
    require_provenance,
)

GOOD: dict[Attribute, Any] = {
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
    Attribute.SIGN: False,
    Attribute.DERIVE: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.EC_PARAMS: P256_PARAMS,
}


def check(found: Attributes, usage: Attribute = Attribute.DERIVE) -> Provenance:
    return require_provenance(found, usage, what="key 'epoch-kex'")


def test_a_key_made_on_the_token() -> None:
    assert set(GOOD) == set(PROVENANCE_ATTRIBUTES)
    assert check(GOOD) == Provenance(proven=True)


@pytest.mark.case("T6", "each attribute of a key's provenance wrong in turn, and not told")
@pytest.mark.parametrize("attribute", PROVENANCE_ATTRIBUTES)
def test_each_attribute_matters(attribute: Attribute) -> None:
    wrong = b"other curve" if attribute is Attribute.EC_PARAMS else not GOOD[attribute]
    with pytest.raises(ProvenanceError, match=f"epoch-kex.*{attribute.name} is"):
        check(GOOD | {attribute: wrong})


@pytest.mark.case("T6", "an attribute that the token does not tell proves nothing")
@pytest.mark.parametrize("attribute", PROVENANCE_ATTRIBUTES)
def test_not_told(attribute: Attribute) -> None:
    found = {key: value for key, value in GOOD.items() if key is not attribute}
    if attribute in (Attribute.SIGN, Attribute.DECRYPT, Attribute.UNWRAP):
        assert check(found).proven  # a usage nobody heard of is not offered
    else:
        with pytest.raises(ProvenanceError, match=str(attribute.name)):
            check(found)


@pytest.mark.case("T6", "1 for true: a token's answer is a boolean")
def test_one_is_not_true() -> None:
    with pytest.raises(ProvenanceError, match="LOCAL"):
        check(GOOD | {Attribute.LOCAL: 1})


@pytest.mark.case("T6", "receiving key used as identity key")
def test_usage_is_asked_for() -> None:
    with pytest.raises(ProvenanceError, match="SIGN is False"):
        check(GOOD, Attribute.SIGN)


HISTORY = (Attribute.LOCAL, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)


def of_unproven(found: Attributes) -> Provenance:
    return require_provenance(found, Attribute.DERIVE, proven=False, what="key 'epoch-kex'")


@pytest.mark.parametrize("attribute", HISTORY)
def test_a_token_that_can_prove_nothing_is_not_asked_to(attribute: Attribute) -> None:
    silent = {key: value for key, value in GOOD.items() if key is not attribute}
    for found in (GOOD, GOOD | {attribute: False}, silent):
        assert of_unproven(found) == Provenance(proven=False)  # whatever it says of it


@pytest.mark.case("X872", "key that could leave its token, on one that can prove nothing anyhow")
@pytest.mark.parametrize("attribute", [one for one in PROVENANCE_ATTRIBUTES if one not in HISTORY])
def test_a_key_must_stay_even_where_nothing_is_proven(attribute: Attribute) -> None:
    wrong = b"other curve" if attribute is Attribute.EC_PARAMS else not GOOD[attribute]
    with pytest.raises(ProvenanceError, match=f"epoch-kex.*{attribute.name} is"):
        of_unproven(GOOD | {attribute: wrong})


class HalfKnowing:
    """A key whose token refuses a read of several attributes if it does not know one."""

    def get_attributes(self, keys: list[Attribute]) -> Attributes:
        raise AttributeTypeInvalid

    def __getitem__(self, key: Attribute) -> Any:
        if key is Attribute.UNWRAP:
            raise AttributeTypeInvalid
        return GOOD[key]


def test_attributes_one_by_one() -> None:
    found = read_attributes(HalfKnowing(), PROVENANCE_ATTRIBUTES)  # type: ignore[arg-type]
    assert found == {key: value for key, value in GOOD.items() if key is not Attribute.UNWRAP}


class Unreadable(HalfKnowing):
    """A key of which pkcs11 cannot read one attribute, as CKA_KEY_GEN_MECHANISM of an import."""

    def get_attributes(self, keys: list[Attribute]) -> Attributes:
        raise ValueError("18446744073709551615 is not a valid Mechanism")

    def __getitem__(self, key: Attribute) -> Any:
        if key is Attribute.UNWRAP:
            raise ValueError("18446744073709551615 is not a valid Mechanism")
        return GOOD[key]


@pytest.mark.case("X894", "attribute whose value pkcs11 has no name for: as good as not told")
def test_an_attribute_that_cannot_be_read() -> None:
    found = read_attributes(Unreadable(), PROVENANCE_ATTRIBUTES)  # type: ignore[arg-type]
    assert found == {key: value for key, value in GOOD.items() if key is not Attribute.UNWRAP}

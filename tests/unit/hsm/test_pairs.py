"""How often a token is asked about a key: each question is a round trip to a slow card."""

from typing import Any

import pytest
from pkcs11.constants import Attribute
from pkcs11.mechanisms import KeyType

from signer.errors import TokenKeyError
from signer.hsm.pairs import _public_half
from signer.recipient import HPKE_P256, RSA_OAEP_SHA256, rsa_recipient
from tests.simulators.ceremony import Person

POINT = Person.new("Ada").card.body.kex
MODULUS = b"\xc1" + bytes(254) + b"\x01"
EC = {Attribute.ID: b"e", Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_POINT: b"\x04\x41" + POINT}
RSA = {
    Attribute.ID: b"r", Attribute.KEY_TYPE: KeyType.RSA, Attribute.MODULUS: MODULUS,
    Attribute.PUBLIC_EXPONENT: b"\x01\0\x01",
}  # fmt: skip


class PublicObject:
    """A public key object that counts what it is asked."""

    def __init__(self, attributes: dict[Attribute, Any]) -> None:
        self._attributes = attributes
        self.reads = 0

    def get_attributes(self, wanted: list[Attribute]) -> dict[Attribute, Any]:
        self.reads += 1
        return {name: self._attributes[name] for name in wanted if name in self._attributes}


@pytest.mark.parametrize(
    ("held", "method", "expected", "reads"),
    [
        (EC, HPKE_P256, (b"e", POINT), 1),
        (RSA, RSA_OAEP_SHA256, (b"r", rsa_recipient(MODULUS, RSA_OAEP_SHA256)), 1),
        (
            EC,
            RSA_OAEP_SHA256,
            (b"e", POINT),
            2,
        ),  # id-sign, beside RSA keys that shares are sealed to
    ],
)
def test_a_public_key_is_read_at_once(
    held: dict[Attribute, Any], method: str, expected: tuple[bytes, bytes], reads: int
) -> None:
    key: Any = PublicObject(held)
    assert _public_half(key, method, "key 'x'") == expected
    assert key.reads == reads


def test_an_rsa_key_where_none_is_sealed_to_names_the_way_out() -> None:
    key: Any = PublicObject(RSA)
    with pytest.raises(TokenKeyError, match="is an RSA key") as refused:
        _public_half(key, HPKE_P256, "key 'x'")
    assert "--profile" in refused.value.hint

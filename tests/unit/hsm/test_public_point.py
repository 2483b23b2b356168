import pytest

from signer.errors import TokenKeyError
from signer.hsm.pairs import point_of

POINT = bytes.fromhex(
    "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9"
    "8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
)


@pytest.mark.parametrize("given", [POINT, b"\x04\x41" + POINT])
def test_plain_or_in_an_octet_string(given: bytes) -> None:
    assert point_of(given, "key") == POINT


@pytest.mark.case("T6", "public key that is no point of P-256, or is wrapped in another way")
@pytest.mark.parametrize(
    "given",
    [
        b"",
        POINT[:-1],
        POINT + b"\x00",
        b"\x03\x41" + POINT,
        b"\x04\x40" + POINT,
        b"\x04\x41\x02" + POINT[1:],
        POINT[:-1] + b"\xc5",
        b"\x04" + bytes(64),
    ],
)
def test_other_bytes(given: bytes) -> None:
    with pytest.raises(TokenKeyError, match=r"key.*P-256"):
        point_of(given, "key")

import pytest

from signer.errors import AddressError
from signer.messages.address import ExecutionAddress

# EIP-55's own test cases.
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("text", CHECKSUMMED)
def test_eip_55(text: str) -> None:
    address = ExecutionAddress.parse(text)
    assert str(address) == text
    assert address.wire == text.lower()
    assert ExecutionAddress.parse(text.lower()) == address
    assert address.grouped.replace(" ", "") == text


@pytest.mark.case("P11", "address with a wrong EIP-55 checksum")
@pytest.mark.parametrize("text", CHECKSUMMED[4:])
def test_one_letter_of_the_wrong_case_is_refused(text: str) -> None:
    for place in range(2, 42):
        swapped = text[:place] + text[place].swapcase() + text[place + 1 :]
        if swapped == text:
            continue
        with pytest.raises(AddressError, match="checksum") as caught:
            ExecutionAddress.parse(swapped)
        assert caught.value.code == "E_ADDRESS"


@pytest.mark.case("P11", "address that is zero or a precompile")
@pytest.mark.parametrize("number", [0, 1, 0x0A, 0x0B, 0x11, 0x100])
def test_addresses_that_nobody_owns_are_refused(number: int) -> None:
    with pytest.raises(AddressError) as caught:
        ExecutionAddress.parse(f"0x{number:040x}")
    assert caught.value.code == "E_TARGET"
    ExecutionAddress.parse(f"0x{0x12:040x}")


@pytest.mark.case("P11", "ENS name, short, long or malformed address")
@pytest.mark.parametrize(
    "text",
    [
        "vitalik.eth",
        "",
        "0x",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00",
        "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA\u0435d",
        " 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        None,
        5,
        b"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(AddressError):
        ExecutionAddress.parse(text)

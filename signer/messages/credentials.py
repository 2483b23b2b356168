"""Withdrawal credentials: 32 bytes that say where a validator's ether goes."""

import hashlib
import re

from signer.errors import SchemaError
from signer.messages.address import ExecutionAddress

SIZE = 32
EXECUTION_PREFIXES = (1, 2)  # 0x01, and 0x02 of compounding validators (EIP-7251)


def bls_credentials(public_key: bytes) -> bytes:
    """Return 0x00 ‖ SHA-256(key)[1:]: what validators carry whose withdrawal key this is."""
    return b"\0" + hashlib.sha256(public_key).digest()[1:]


def parse_credentials(value: object, what: str) -> bytes:
    """Read 0x00 (a BLS key's hash) or 0x01 and 0x02 (an execution address) credentials.

    Raises:
        SchemaError: another form.
        AddressError: an address that nobody owns.
    """
    if not isinstance(value, str) or re.fullmatch(r"0x0[012][0-9a-f]{62}", value) is None:
        raise SchemaError(
            f"{what}: credentials are 0x and 64 lower-case hex digits, from 0x00, 0x01 or 0x02 on"
        )
    credentials = bytes.fromhex(value[2:])
    require_credentials(credentials, what)
    return credentials


def require_credentials(credentials: bytes, what: str) -> None:
    """Refuse 32 bytes that no beacon chain pays out from.

    Raises:
        SchemaError: not 32 bytes, an unknown prefix, or no zeros between it and the address.
        AddressError: an address that nobody owns.
    """
    if len(credentials) != SIZE:
        raise SchemaError(f"{what}: withdrawal credentials are {SIZE} bytes")
    if credentials[0] == 0:
        return
    if credentials[0] not in EXECUTION_PREFIXES:
        raise SchemaError(f"{what}: withdrawal credentials begin with 0x00, 0x01 or 0x02")
    if any(credentials[1:12]):
        raise SchemaError(f"{what}: 11 zero bytes follow 0x01 or 0x02")
    ExecutionAddress.parse("0x" + credentials[12:].hex(), what)


def credentials_words(credentials: bytes) -> str:
    """Return withdrawal credentials in groups of four, what they are first."""
    kind = f"0x{credentials[:1].hex()}"
    if credentials[0] in EXECUTION_PREFIXES:
        return f"{kind}, the address {ExecutionAddress(credentials[12:]).grouped}"
    digits = credentials[1:].hex()
    groups = " ".join(digits[place : place + 4] for place in range(0, len(digits), 4))
    return f"{kind}, the key with the hash {groups}"

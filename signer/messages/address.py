"""Execution-layer addresses, with the EIP-55 checksum."""

from typing import Self

from signer.errors import AddressError

# 0x01 to 0x0a, the BLS12-381 ones 0x0b to 0x11 (EIP-2537) and 0x0100 (P256VERIFY, EIP-7951).
_PRECOMPILES = {*range(1, 0x12), 0x100}


class ExecutionAddress(bytes):
    """20 bytes. `str()` is the EIP-55 form, for people; `wire` the one for files."""

    def __new__(cls, raw: bytes) -> Self:
        """Take exactly 20 bytes."""
        if len(raw) != 20:
            raise AddressError(f"an execution address has 20 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: object, what: str = "address") -> Self:
        """Read `0x` and 40 hex digits, in EIP-55 case or all lower case.

        Raises:
            AddressError: another form (E_ADDRESS), a wrong checksum (E_ADDRESS), or an address
                that nobody owns: zero or a precompile (E_TARGET).
        """
        if not isinstance(text, str) or len(text) != 42 or not text.startswith("0x"):
            raise AddressError(f"{what}: an address is 0x and 40 hex digits")
        digits = text[2:]
        if not set(digits) <= set("0123456789abcdefABCDEF"):
            raise AddressError(f"{what}: an address is 0x and 40 hex digits")
        address = cls(bytes.fromhex(digits))
        if digits != digits.lower() and text != str(address):
            raise AddressError(
                f"{what}: {text} has a wrong EIP-55 checksum",
                hint="a digit or a letter's case is wrong: copy the address again from its source",
            )
        if int.from_bytes(address) == 0 or int.from_bytes(address) in _PRECOMPILES:
            raise AddressError(
                f"{what}: nobody owns {text}; ether sent there is lost", code="E_TARGET"
            )
        return address

    @property
    def wire(self) -> str:
        """0x and lower-case hex, as our canonical files and the consensus layer's have it."""
        return "0x" + self.hex()

    def __str__(self) -> str:
        # Keccak costs 50 ms to import; a worker reads the wire form and never needs it.
        from Crypto.Hash import keccak

        digits = self.hex()
        digest = keccak.new(digest_bits=256, data=digits.encode()).hexdigest()
        return "0x" + "".join(
            letter.upper() if int(nibble, 16) >= 8 else letter
            for letter, nibble in zip(digits, digest, strict=False)
        )

    def __repr__(self) -> str:
        return f"ExecutionAddress({self.wire})"

    @property
    def grouped(self) -> str:
        """The EIP-55 form in groups of four, to be read aloud."""
        digits = str(self)[2:]
        return "0x " + " ".join(digits[i : i + 4] for i in range(0, 40, 4))

"""What a person types to say yes: something of the request that he must have read.

A script, or two people on the telephone, use the request's twelve words instead: the first 132 bits
of the request's digest, 11 bits each, in BIP-39's English words. They are a name and no key: there
is no checksum in them, and no wallet takes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signer.errors import SchemaError
from signer.messages.amounts import gwei_text, parse_gwei
from signer.messages.items import (
    KIND_DEPOSIT,
    KIND_VOLUNTARY_EXIT,
    MAX_DEPOSIT_GWEI,
    MAX_DEPOSITS,
    Deposit,
)
from signer.messages.request import SignRequest
from signer.messages.word_list import ENGLISH

TAIL_DIGITS = 6  # of an address
WORDS = 12
_BITS = 11  # of a word


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to type."""

    prompt: str
    answer: str  # as it is shown; case and spaces do not count
    in_eth: bool = False  # an amount: 32 is 32.0

    def matches(self, typed: str) -> bool:
        """Tell whether `typed` says the same."""
        text = "".join(typed.split()).casefold()
        if self.in_eth:
            highest = MAX_DEPOSITS * MAX_DEPOSIT_GWEI
            try:
                gwei = parse_gwei(text, self.prompt, low=0, high=highest)
            except SchemaError:
                return False
            return gwei_text(gwei) == self.answer
        return text == self.answer.casefold()


@dataclass(frozen=True, slots=True)
class Challenge:
    """Everything to type for one request, in order; or its twelve words instead of all of it."""

    parts: tuple[Part, ...]
    words: str

    def matches(self, typed: Sequence[str]) -> bool:
        """Tell whether every part was typed right."""
        return len(typed) == len(self.parts) and all(
            part.matches(text) for part, text in zip(self.parts, typed, strict=True)
        )


def challenge(request: SignRequest) -> Challenge:
    """Return what the person must type who says yes to `request`."""
    return Challenge(_parts(request), twelve_words(request.digest))


def twelve_words(digest: bytes) -> str:
    """Return the first 132 bits of `digest` (32 bytes) as twelve words."""
    english = ENGLISH.split()
    bits = int.from_bytes(digest) >> (8 * len(digest) - WORDS * _BITS)
    return " ".join(
        english[bits >> _BITS * place & len(english) - 1] for place in reversed(range(WORDS))
    )


def _parts(request: SignRequest) -> tuple[Part, ...]:
    count = len(request.items)
    if request.kind == KIND_VOLUNTARY_EXIT:
        return (Part("index of the validator that exits", str(request.items[0][0])),)
    if request.kind == KIND_DEPOSIT:
        total = sum(item.amount_gwei for item in request.items if isinstance(item, Deposit))
        amount = Part("amount of all deposits together, in ETH", gwei_text(total), in_eth=True)
        return (amount,) if count == 1 else (amount, Part("number of deposits", str(count)))
    targets = request.targets()
    most = max(targets, key=lambda address: len(targets[address]))
    tail = str(most)[-TAIL_DIGITS:]
    validators = Part("number of validators", str(count))
    if len(targets) == 1:
        return Part(f"last {TAIL_DIGITS} characters of the address", tail), validators
    return (
        Part(f"last {TAIL_DIGITS} characters of the address that most validators pay to", tail),
        Part("number of addresses", str(len(targets))),
        validators,
    )

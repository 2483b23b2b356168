"""What a person types, and the twelve words that stand for a request."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from signer.messages.confirmation import Challenge, challenge, twelve_words
from signer.messages.items import KIND_DEPOSIT, KIND_VOLUNTARY_EXIT, Change, Deposit, Exit
from signer.messages.request import SignRequest
from signer.messages.word_list import ENGLISH
from tests.simulators.holders import ADDRESS, NOW, OTHER, SimulatedPool

POOL = SimulatedPool.new()
VALIDATORS = SimulatedPool.new(role="validator")
CREDENTIALS = b"\1" + bytes(11) + ADDRESS


def answers(asked: Challenge) -> list[str]:
    return [part.answer for part in asked.parts]


def deposits(*gwei: int) -> SignRequest:
    items = [Deposit(CREDENTIALS, amount) for amount in gwei]
    return SignRequest.new(VALIDATORS.group, items, expires=NOW, kind=KIND_DEPOSIT)


def test_one_address_its_last_six_characters_and_the_count() -> None:
    asked = challenge(POOL.request(3, 5, 7))
    assert answers(asked) == ["22ac15", "3"] == [str(ADDRESS)[-6:], "3"]


def test_several_addresses_that_of_most_validators_and_both_counts() -> None:
    items = [Change(1, ADDRESS), Change(2, OTHER), Change(3, OTHER), Change(4, ADDRESS)]
    request = SignRequest.new(POOL.group, [*items, Change(5, OTHER)], expires=NOW)
    assert answers(challenge(request)) == [str(OTHER)[-6:], "2", "5"]


def test_an_exit_its_validator() -> None:
    request = SignRequest.new(
        VALIDATORS.group, [Exit(1234567, 5)], expires=NOW, kind=KIND_VOLUNTARY_EXIT
    )
    assert answers(challenge(request)) == ["1234567"]


def test_deposits_their_amount_and_how_many() -> None:
    assert answers(challenge(deposits(32 * 10**9))) == ["32"]
    assert answers(challenge(deposits(32 * 10**9, 1_500_000_001))) == ["33.500000001", "2"]


@pytest.mark.parametrize("typed", [["22ac15", "2"], ["22AC15", " 2 "], ["22 ac15", "2"]])
def test_case_and_spaces_do_not_count(typed: list[str]) -> None:
    assert challenge(POOL.request(3, 5)).matches(typed)


@pytest.mark.parametrize("typed", ["32", "32.0", " 32.000000000 "])
def test_an_amount_may_be_written_in_full(typed: str) -> None:
    assert challenge(deposits(32 * 10**9)).matches([typed])


@pytest.mark.case(
    "X363", "approval with a wrong tail, count, index or amount; too few or many parts"
)
@pytest.mark.parametrize(
    ("request_", "typed"),
    [
        (POOL.request(3, 5), ["22ac16", "2"]),
        (POOL.request(3, 5), ["22ac15", "3"]),
        (POOL.request(3, 5), ["2ac15", "2"]),
        (POOL.request(3, 5), ["22ac15"]),
        (POOL.request(3, 5), ["22ac15", "2", ""]),
        (POOL.request(3, 5), ["2", "22ac15"]),
        (POOL.request(3, 5), ["", ""]),
        (POOL.request(3, 5), []),
        (POOL.request(3, 5), ["22ac15", "02"]),
        (POOL.request(3, 5), ["22ac15", "٢"]),
        (deposits(32 * 10**9), ["32.000000001"]),
        (deposits(32 * 10**9), ["3.2e1"]),
        (deposits(32 * 10**9), ["32eth"]),
        (deposits(32 * 10**9), ["٣٢"]),
        (deposits(32 * 10**9), ["-32"]),
    ],
)
def test_a_wrong_answer_is_no_yes(request_: SignRequest, typed: Sequence[str]) -> None:
    assert not challenge(request_).matches(typed)


@given(st.lists(st.text(max_size=12), max_size=4))
def test_no_other_text_is_a_yes(typed: list[str]) -> None:
    plain = ["".join(text.split()).casefold() for text in typed]
    assert challenge(POOL.request(3, 5)).matches(typed) == (plain == ["22ac15", "2"])


# The twelve words


def test_the_list_is_bip_39s() -> None:
    words = ENGLISH.split()
    assert words == Mnemonic("english").wordlist
    assert len({word[:4] for word in words}) == 2048


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        ("00" * 32, " ".join(["abandon"] * 12)),
        ("ff" * 32, " ".join(["zoo"] * 12)),
        (f"{1 << 124:064x}", " ".join(["abandon"] * 11 + ["ability"])),
        (
            f"{int(''.join(f'{number:011b}' for number in range(12)), 2) << 124:064x}",
            "abandon ability able about above absent absorb abstract absurd abuse access accident",
        ),
    ],
)
def test_words_are_the_first_132_bits(digest: str, words: str) -> None:
    assert twelve_words(bytes.fromhex(digest)) == words


@given(st.binary(min_size=32, max_size=32))
def test_words_say_the_bits_and_nothing_else(digest: bytes) -> None:
    english = ENGLISH.split()
    value = 0
    for word in twelve_words(digest).split():
        value = value << 11 | english.index(word)
    assert value == int.from_bytes(digest) >> 124


def test_words_agree_with_bip_39s_own_vectors(vectors: Callable[[str], Any]) -> None:
    """Entropy of 128 bits gives the same first eleven words; the twelfth has a checksum there."""
    for entropy, sentence, *_ in vectors("deposit-cli/mnemonic-english.json"):
        if len(entropy) == 32:
            ours = twelve_words(bytes.fromhex(entropy) + bytes(16)).split()
            assert ours[:11] == sentence.split()[:11]


def test_words_are_of_the_request_and_not_of_what_it_carries() -> None:
    request = POOL.request(3, 5)
    assert challenge(request).words == twelve_words(request.digest)
    assert challenge(POOL.request(3, 6)).words != challenge(request).words

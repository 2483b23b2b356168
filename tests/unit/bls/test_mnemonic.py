import unicodedata

import pytest

from signer.bls.mnemonic import mnemonic_to_seed
from signer.errors import MnemonicError
from signer.secret import SecretBytes

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"


def seed(words: str, passphrase: str | None = None) -> SecretBytes:
    extra = None if passphrase is None else SecretBytes(passphrase.encode())
    return mnemonic_to_seed(SecretBytes(words.encode()), extra)


@pytest.mark.parametrize(
    "words", [WORDS.upper(), f"  {WORDS}\n", WORDS.replace(" ", "\n"), WORDS.replace(" ", "\t ")]
)
def test_case_and_white_space_do_not_matter(words: str) -> None:
    assert seed(words) == seed(WORDS)


def test_no_passphrase_is_the_empty_one() -> None:
    assert seed(WORDS) == seed(WORDS, "")
    assert seed(WORDS) != seed(WORDS, " ")


@pytest.mark.case("F24", "NFKD variants of one passphrase")
def test_forms_of_a_passphrase_are_one() -> None:
    text = "ﬁancé Ångström ①"
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    assert len(set(forms)) > 2
    for form in forms:
        assert seed(WORDS, form) == seed(WORDS, text)


@pytest.mark.case("F24", "wrong checksum")
@pytest.mark.parametrize(
    "words",
    [
        WORDS.replace("yellow", "zoo"),
        " ".join(["abandon"] * 12),
        " ".join(reversed(WORDS.split())),
    ],
)
def test_checksum(words: str) -> None:
    refused(words, "checksum")


@pytest.mark.case("F24", "other language, words not in the list")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (WORDS.replace("year", "aboutir"), "word 4 is not"),
        ("あいこくしん " * 11 + "あおぞら", "word 1 is not"),
        (WORDS.replace("year", "yearr"), "word 4 is not"),
        (WORDS.replace("year", "yea"), "word 4 is not"),
        (WORDS.replace("legal", "lega\u0301l", 1), "word 1 is not"),
    ],
)
def test_word_list(words: str, why: str) -> None:
    refused(words, why)


@pytest.mark.case("F24", "wrong number of words")
@pytest.mark.parametrize("count", [0, 1, 11, 13, 25, 10_000])
def test_number_of_words(count: int) -> None:
    refused(" ".join(["abandon"] * count), f"{count} words")


@pytest.mark.case("X113", "mnemonic or passphrase that is not UTF-8")
def test_not_utf8() -> None:
    with pytest.raises(MnemonicError, match="mnemonic: the text is not UTF-8"):
        mnemonic_to_seed(SecretBytes(WORDS.encode("utf-16")))
    with pytest.raises(MnemonicError, match="passphrase: the text is not UTF-8"):
        mnemonic_to_seed(SecretBytes(WORDS.encode()), SecretBytes(b"\xff"))


def refused(words: str, why: str) -> None:
    with pytest.raises(MnemonicError, match=why) as caught:
        seed(words)
    line = caught.value.line()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(word in line.split() for word in words.split() if len(word) > 3)

"""BIP-39: from the words of an English mnemonic to the seed of EIP-2333."""

import hashlib
import unicodedata

from mnemonic import Mnemonic

from signer.errors import MnemonicError
from signer.secret import SecretBytes

_SEED_BYTES = 64
_ROUNDS = 2048
_LENGTHS = (12, 15, 18, 21, 24)  # words
_HINT = "check the words against your paper copy; only English mnemonics are read"


def mnemonic_to_seed(words: SecretBytes, passphrase: SecretBytes | None = None) -> SecretBytes:
    """Return the 64-byte seed of `words` (UTF-8, any white space between them, either case).

    Args:
        words: the mnemonic.
        passphrase: BIP-39's optional one, UTF-8; most wallets never set it.

    Raises:
        MnemonicError: a wrong number of words, a word not in the English list, a wrong checksum,
            or text that is not UTF-8. It tells at most the place of a word.
    """
    listed = _normalised(words, "mnemonic").lower().split()
    if len(listed) not in _LENGTHS:
        raise MnemonicError(
            f"mnemonic: {len(listed)} words, one of {', '.join(map(str, _LENGTHS))} expected",
            hint=_HINT,
        )
    english = Mnemonic("english")
    known = frozenset(english.wordlist)
    for place, word in enumerate(listed, start=1):
        if word not in known:
            raise MnemonicError(f"mnemonic: word {place} is not in the English list", hint=_HINT)
    sentence = " ".join(listed)
    if not english.check(sentence):
        raise MnemonicError("mnemonic: the checksum is wrong", hint=_HINT)
    salt = "mnemonic" + ("" if passphrase is None else _normalised(passphrase, "passphrase"))
    return SecretBytes(
        hashlib.pbkdf2_hmac("sha512", sentence.encode(), salt.encode(), _ROUNDS, _SEED_BYTES)
    )


def _normalised(secret: SecretBytes, what: str) -> str:
    """Return NFKD text. A str cannot be wiped: the worker that runs this ends soon after."""
    try:
        return unicodedata.normalize("NFKD", str(secret.expose(), "utf-8"))
    except UnicodeDecodeError:
        raise MnemonicError(f"{what}: the text is not UTF-8", hint=_HINT) from None

"""Read a whole key, to be split. It is in this process and nowhere else."""

from pathlib import Path

from signer.bls.eip2333 import derive_path, signing_path, withdrawal_path
from signer.bls.keystore import MAX_BYTES as MAX_KEYSTORE_BYTES
from signer.bls.keystore import open_keystore
from signer.bls.mnemonic import mnemonic_to_seed
from signer.bls.scalar import SecretScalar
from signer.custody.jobs.key_source import KeySource
from signer.custody.worker.desk_token import read_secret
from signer.errors import UsageError
from signer.files import read_file

_MAX_WORDS_BYTES = 1024
_MAX_PASSWORD_BYTES = 1024


def read_key(source: KeySource, role: str) -> SecretScalar:
    """Return the key, which the caller wipes.

    Raises:
        UsageError: there is no source, or a keystore without its password.
        SignerError: it cannot be read, or its path is not of the `role`.
    """
    if source.keystore is not None:
        if source.password is None:
            raise UsageError("a keystore needs a password")
        raw = read_file(Path(source.keystore), what="keystore", max_bytes=MAX_KEYSTORE_BYTES)
        with read_secret(
            source.password, what="keystore password", max_bytes=_MAX_PASSWORD_BYTES
        ) as password:
            return open_keystore(raw, password, signing=role == "validator")
    if source.mnemonic is None:
        raise UsageError("a mnemonic or a keystore is needed")
    with read_secret(source.mnemonic, what="mnemonic", max_bytes=_MAX_WORDS_BYTES) as words:
        if source.passphrase is None:
            seed = mnemonic_to_seed(words)
        else:
            with read_secret(
                source.passphrase, what="passphrase", max_bytes=_MAX_PASSWORD_BYTES
            ) as passphrase:
                seed = mnemonic_to_seed(words, passphrase)
    with seed:
        path = signing_path if role == "validator" else withdrawal_path
        return derive_path(seed, path(source.key_index))

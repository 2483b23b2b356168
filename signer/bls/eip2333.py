"""EIP-2333 key derivation and the EIP-2334 path of a withdrawal key."""

import ctypes
import re

from signer.bls.engine import blst
from signer.bls.scalar import SecretScalar
from signer.errors import KeystoreError
from signer.secret import SecretBytes

_MIN_SEED_BYTES = 32
_MAX_INDEX = 2**32 - 1
_MAX_DEPTH = 16
_STEP = re.compile(r"0|[1-9][0-9]{0,9}")


def withdrawal_path(key_index: int) -> str:
    """Return the path of withdrawal key number `key_index` (EIP-2334).

    Raises:
        KeystoreError: the number is not in 0..2**32-1 (E_KEY_PATH).
    """
    if type(key_index) is not int or not 0 <= key_index <= _MAX_INDEX:
        raise KeystoreError("key index: must be in 0..2**32-1", code="E_KEY_PATH")
    return f"m/12381/3600/{key_index}/0"


def signing_path(index: int) -> str:
    """Return the path of validator `index`'s signing key (EIP-2334)."""
    return f"{withdrawal_path(index)}/0"


def parse_path(path: str) -> tuple[int, ...]:
    """Return the steps of `path`, which is written "m/12381/3600/0/0" and in no other way.

    Raises:
        KeystoreError: it is not such a path (E_KEY_PATH).
    """
    root, *steps = path.split("/")
    if root != "m" or len(steps) > _MAX_DEPTH:
        raise KeystoreError(f"key path: {path[:60]!r} is not one", code="E_KEY_PATH")
    if any(_STEP.fullmatch(step) is None or int(step) > _MAX_INDEX for step in steps):
        raise KeystoreError(
            f"key path: {path[:60]!r} has a step that is no number in 0..2**32-1",
            code="E_KEY_PATH",
        )
    return tuple(int(step) for step in steps)


def derive_master(seed: SecretBytes) -> SecretScalar:
    """Return the master key of `seed`.

    Raises:
        KeystoreError: the seed is shorter than 32 bytes.
    """
    size = len(seed)
    if size < _MIN_SEED_BYTES:
        raise KeystoreError(f"seed: {size} bytes, at least {_MIN_SEED_BYTES} are needed")
    view = (ctypes.c_char * size).from_buffer(seed.expose())
    return SecretScalar.derived(lambda out: blst.derive_master_eip2333(out, view, size))


def derive_child(parent: SecretScalar, index: int) -> SecretScalar:
    """Return child number `index` (0..2**32-1) of `parent`."""
    if not 0 <= index <= _MAX_INDEX:
        raise ValueError(f"child index {index} is not in 0..2**32-1")
    key = parent.expose()
    return SecretScalar.derived(lambda out: blst.derive_child_eip2333(out, key, index))


def derive_path(seed: SecretBytes, path: str) -> SecretScalar:
    """Return the key at `path` under the master key of `seed`.

    Raises:
        KeystoreError: the path is malformed (E_KEY_PATH) or the seed too short.
    """
    steps = parse_path(path)
    key = derive_master(seed)
    for step in steps:
        with key as parent:
            key = derive_child(parent, step)
    return key

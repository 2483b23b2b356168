"""Merkle trees in the shape of RFC 6962 section 2.1, with SHA-256.

A leaf is hashed after 0x00 and a node after 0x01, so that neither can pass for the other. The left
side of a node is the largest complete tree that leaves something for the right side.
"""

import hashlib
from collections.abc import Sequence

from signer.errors import SchemaError

HASH_BYTES = 32


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the hash over all leaves, of which there is at least one."""
    return _subtree([_leaf(leaf) for leaf in leaves])


def path(leaves: Sequence[bytes], position: int) -> list[bytes]:
    """Return what proves `leaves[position]` to be under the root: hashes from the leaf upwards."""
    if not 0 <= position < len(leaves):
        raise ValueError(f"no leaf {position} among {len(leaves)}")
    hashes = [_leaf(leaf) for leaf in leaves]
    proof: list[bytes] = []
    while len(hashes) > 1:
        left = _left(len(hashes))
        if position < left:
            proof.append(_subtree(hashes[left:]))
            hashes = hashes[:left]
        else:
            proof.append(_subtree(hashes[:left]))
            hashes, position = hashes[left:], position - left
    return proof[::-1]


def root_of(leaf: bytes, position: int, count: int, path: Sequence[bytes]) -> bytes:
    """Return the root of the tree of `count` leaves that has `leaf` at `position`, by its path.

    It proves nothing until it is compared with a root that is known. `position` and `count` must be
    known too: a path alone fits several counts.

    Raises:
        SchemaError: no such position, or a path of another length.
    """
    if not 0 <= position < count:
        raise SchemaError(f"inclusion path: no leaf {position} among {count}")
    sides = _sides(position, count)
    if len(path) != len(sides) or any(len(entry) != HASH_BYTES for entry in path):
        raise SchemaError(
            f"inclusion path: {len(path)} hashes, {len(sides)} of {HASH_BYTES} bytes are expected"
        )
    value = _leaf(leaf)
    for is_left, sibling in zip(sides, path, strict=True):
        value = _node(value, sibling) if is_left else _node(sibling, value)
    return value


def _sides(position: int, count: int) -> list[bool]:
    """Tell for each step from the leaf upwards whether what we have is the left side."""
    sides = []
    while count > 1:
        left = _left(count)
        sides.append(position < left)
        if position < left:
            count = left
        else:
            count, position = count - left, position - left
    return sides[::-1]


def _subtree(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        raise ValueError("a tree has at least one leaf")
    if len(hashes) == 1:
        return hashes[0]
    left = _left(len(hashes))
    return _node(_subtree(hashes[:left]), _subtree(hashes[left:]))


def _left(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _leaf(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()

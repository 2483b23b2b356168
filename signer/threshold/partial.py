"""Partial signatures: one holder's share of a signature, made and checked."""

from collections.abc import Callable, Sequence

from signer.bls.encoding import PublicKey, Signature, UncheckedSignature
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import (
    ETHEREUM_DST,
    MessagePoint,
    hash_to_g2,
    sign_many,
    verify_batch,
    verify_hashed,
)
from signer.errors import EncodingError, InputError, SelfCheckError

E_ENCODING = "E_PARTIAL_ENCODING"  # wrong length or flags, not canonical, off the curve, infinity
E_SUBGROUP = "E_PARTIAL_SUBGROUP"  # a point of the curve outside the prime-order group
E_INVALID = "E_PARTIAL_INVALID"  # a point of the group, and not the signature of this root

_SELF_CHECK_BITS = 32  # an error of this machine, no adversary: one in 2**32 would pass
_MIN_CHUNK = 16  # items: fewer are not worth a thread


def sign_partials(
    scalar: SecretScalar,
    roots: Sequence[bytes],
    public_share: PublicKey,
    *,
    random_bytes: Callable[[int], bytes],
    threads: int = 1,
    dst: bytes = ETHEREUM_DST,
) -> list[Signature]:
    """Sign every root with a share, then check all partials against the share's public key.

    Args:
        scalar: the share.
        roots: the signing roots.
        public_share: from the group's vector, never from whoever holds the share.
        random_bytes: for the coefficients of the check.
        threads: how many processors to use.
        dst: the domain's tag; a partial of one domain verifies in no other.

    Raises:
        SelfCheckError: a partial does not verify. None is returned then, right or wrong.
    """

    def sign_chunk(chunk: Sequence[bytes]) -> list[Signature]:
        partials, points = sign_many(scalar, chunk, dst)
        if not verify_batch(public_share, points, partials, random_bytes, _SELF_CHECK_BITS):
            raise SelfCheckError(
                "the partial signatures do not verify under the share's own public key",
                hint="nothing was released; stop using this share on this machine",
            )
        return partials

    size = max(_MIN_CHUNK, -(-len(roots) // max(1, threads)))
    chunks = [roots[start : start + size] for start in range(0, len(roots), size)]
    if len(chunks) <= 1:
        return sign_chunk(roots) if chunks else []
    from concurrent.futures import ThreadPoolExecutor  # brings logging along: 8 ms to import

    with ThreadPoolExecutor(max_workers=len(chunks)) as pool:
        return [partial for chunk in pool.map(sign_chunk, chunks) for partial in chunk]


def verify_partial(
    public_share: PublicKey, root: bytes, partial: bytes, dst: bytes = ETHEREUM_DST
) -> Signature:
    """Return `partial` as a signature once it verifies.

    Raises:
        InputError: it does not; the code says why: E_PARTIAL_ENCODING, E_PARTIAL_SUBGROUP or
            E_PARTIAL_INVALID.
    """
    return verify_hashed_partial(public_share, hash_to_g2(root, dst), partial)


def decode_partial(partial: bytes) -> Signature:
    """Return `partial` as a point of the group; whose signature it is stays open.

    Raises:
        EncodingError: it is none (E_PARTIAL_ENCODING, E_PARTIAL_SUBGROUP).
    """
    try:
        point = UncheckedSignature(partial)
    except EncodingError as error:
        raise EncodingError(f"partial {error.message}", code=E_ENCODING) from None
    try:
        return point.checked()
    except EncodingError as error:
        raise EncodingError(f"partial {error.message}", code=E_SUBGROUP) from None


def verify_hashed_partial(
    public_share: PublicKey, point: MessagePoint, partial: bytes
) -> Signature:
    """Do what `verify_partial` does for a root that is hashed already."""
    signature = decode_partial(partial)
    if not verify_hashed(public_share, point, signature):
        raise InputError(
            "partial signature: it does not verify under the public share", code=E_INVALID
        )
    return signature

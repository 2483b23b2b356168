"""Ethereum's signature scheme: BLS with proof of possession, public keys in G1.

draft-irtf-cfrg-bls-signature-05, ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_;
consensus-specs, phase0/beacon-chain.md "BLS signatures".
"""

import ctypes
from collections.abc import Callable, Sequence

from signer.bls.encoding import PublicKey, Signature
from signer.bls.engine import P1_AFFINE_SIZE, P2_AFFINE_SIZE, P2_SIZE, blst
from signer.bls.points import g2_multi_multiply, pairings_equal
from signer.bls.scalar import SecretScalar
from signer.errors import EngineError

ETHEREUM_DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"

_DRAWS = 4  # zeros in a row from one source: it is broken

MessagePoint = bytes  # H(message) in G2: 192 bytes, affine, kept to spare hashing it again


def public_key(scalar: SecretScalar) -> PublicKey:
    """Return scalar·G."""
    affine = ctypes.create_string_buffer(P1_AFFINE_SIZE)
    blst.sk_to_pk2_in_g1(None, affine, scalar.expose())
    return PublicKey.from_affine(affine.raw)


def hash_to_g2(message: bytes, dst: bytes = ETHEREUM_DST) -> MessagePoint:
    """Return H(message), RFC 9380's hash_to_curve under the tag `dst`."""
    return hash_many([message], dst)[0]


def hash_many(messages: Sequence[bytes], dst: bytes = ETHEREUM_DST) -> list[MessagePoint]:
    """Return H(message) for each message."""
    hashes = ctypes.create_string_buffer(P2_SIZE * max(1, len(messages)))
    base, hash_to_curve = ctypes.addressof(hashes), blst.hash_to_g2
    for position, message in enumerate(messages):
        out = base + position * P2_SIZE
        hash_to_curve(out, message, len(message), dst, len(dst), None, 0)
    return _all_to_affine(hashes, len(messages))


def sign(scalar: SecretScalar, message: bytes, dst: bytes = ETHEREUM_DST) -> Signature:
    """Return scalar·H(message)."""
    signatures, _ = sign_many(scalar, [message], dst)
    return signatures[0]


def sign_many(
    scalar: SecretScalar, messages: Sequence[bytes], dst: bytes = ETHEREUM_DST
) -> tuple[list[Signature], list[MessagePoint]]:
    """Return scalar·H(message) for each message, and the H(message) for `verify_batch`."""
    key = scalar.expose()
    hashes = ctypes.create_string_buffer(P2_SIZE * max(1, len(messages)))
    base, hash_to_curve, multiply = ctypes.addressof(hashes), blst.hash_to_g2, blst.sign_pk2_in_g1
    affine = ctypes.create_string_buffer(P2_AFFINE_SIZE)
    signatures = []
    for position, message in enumerate(messages):
        out = base + position * P2_SIZE
        hash_to_curve(out, message, len(message), dst, len(dst), None, 0)
        multiply(None, affine, out, key)
        signatures.append(Signature.from_affine(affine.raw))
    return signatures, _all_to_affine(hashes, len(messages))


def verify(key: PublicKey, message: bytes, signature: Signature, dst: bytes = ETHEREUM_DST) -> bool:
    """Tell whether `signature` is the one signature of `message` under `key`."""
    return verify_hashed(key, hash_to_g2(message, dst), signature)


def verify_hashed(key: PublicKey, point: MessagePoint, signature: Signature) -> bool:
    """Tell whether `signature` is the one under `key` of the message that hashes to `point`."""
    return pairings_equal(key.affine, point, signature.affine)


def verify_batch(
    key: PublicKey,
    points: Sequence[MessagePoint],
    signatures: Sequence[Signature],
    random_bytes: Callable[[int], bytes],
    bits: int = 128,
) -> bool:
    """Tell whether every signature is right, with one pairing check for all of them.

    e(key, Σ ρᵢ·H(mᵢ)) = e(G, Σ ρᵢ·Sᵢ) for random ρᵢ below 2**bits: false signatures pass with a
    probability of at most 2**-bits. That holds because every `Signature` is in the group; with a
    point outside, a factor 13 of the cofactor would let one forgery in 13 pass.

    Args:
        key: the one public key.
        points: H(message) of each message, as many as signatures.
        signatures: at least one.
        random_bytes: a cryptographic source; whoever chose the signatures must not know it.
        bits: 128 against adversaries, fewer to find an error of one's own machine.

    Raises:
        EngineError: the random source is broken.
    """
    count = len(points)
    if count != len(signatures):
        raise ValueError(f"{count} messages do not go with {len(signatures)} signatures")
    if count == 1:
        return verify_hashed(key, points[0], signatures[0])
    coefficients = _coefficients(random_bytes, count, bits)
    message_sum = g2_multi_multiply(points, coefficients, bits)
    signature_sum = g2_multi_multiply([s.affine for s in signatures], coefficients, bits)
    if message_sum is None or signature_sum is None:
        return False
    # Signatures of our own making are in the group unless the machine erred; then this tells.
    if not blst.p2_affine_in_g2(signature_sum):
        return False
    return pairings_equal(key.affine, message_sum, signature_sum)


def _coefficients(random_bytes: Callable[[int], bytes], count: int, bits: int) -> bytes:
    """Draw `count` coefficients that are not zero; a zero would leave its item unchecked."""
    width = bits // 8
    drawn = bytearray(_drawn(random_bytes, width * count))
    for at in range(0, len(drawn), width):
        for _ in range(_DRAWS):
            if any(drawn[at : at + width]):
                break
            drawn[at : at + width] = _drawn(random_bytes, width)
        else:
            raise EngineError("the random source is broken: it returns zeros")
    return bytes(drawn)


def _drawn(random_bytes: Callable[[int], bytes], size: int) -> bytes:
    drawn = random_bytes(size)
    if len(drawn) != size:
        raise EngineError("the random source is broken: it returned too few bytes")
    return drawn


def _all_to_affine(points: "ctypes.Array[ctypes.c_char]", count: int) -> list[bytes]:
    """Return `count` contiguous points, none of them infinity, as affine bytes; one inversion."""
    if count == 0:
        return []
    affine = ctypes.create_string_buffer(P2_AFFINE_SIZE * count)
    start = (ctypes.c_void_p * 2)(ctypes.addressof(points), None)
    blst.p2s_to_affine(affine, start, count)
    raw = affine.raw
    return [raw[at : at + P2_AFFINE_SIZE] for at in range(0, len(raw), P2_AFFINE_SIZE)]

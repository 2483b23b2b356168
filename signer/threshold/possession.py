"""Proof that a dealer knows the constant of his polynomial: Schnorr, made non-interactive.

Without it, whoever deals last could choose his commitment as a function of the others' and so set
the group key. The challenge binds the context (ceremony, dealer, key: the caller builds it), every
commitment and the nonce's point, so a proof fits nowhere else.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from signer.bls.encoding import PublicKey
from signer.bls.engine import GROUP_ORDER
from signer.bls.points import g1_generator, g1_weighted_sum
from signer.bls.scheme import public_key
from signer.errors import EngineError
from signer.secret import SecretBytes
from signer.threshold.dealing import Dealing, derive_scalar

POSSESSION_DST = b"SIGNER_POK_V1_BLS12381G1_SHA-512"
RESPONSE_BYTES = 32

_NONCE = b"signer/deal/nonce/v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """R = k·G and z = k + c·f(0). Public; holding one proves nothing, `verify` does."""

    r: PublicKey
    z: bytes  # 32 bytes, big-endian


def prove(dealing: Dealing, seed: SecretBytes, context: bytes) -> Proof:
    """Prove knowledge of the dealing's constant; the same arguments give the same proof.

    The nonce is derived from the seed and all that the challenge holds besides R, so that one nonce
    never meets two challenges, which would give the constant away.

    Args:
        dealing: stays as it is.
        seed: the 32-byte session seed.
        context: ceremony, dealer and key.

    Raises:
        EngineError: the proof does not verify, so this machine erred; or the seed is zeros.
    """
    statement = _statement(dealing.commitments, context)
    with derive_scalar(seed, _NONCE + hashlib.sha256(statement).digest()) as nonce:
        r = public_key(nonce)
        with (
            dealing.constant.multiply_public(_challenge(statement, r)) as product,
            nonce.add(product) as response,
            response.to_big_endian() as z,
        ):
            proof = Proof(r, z.expose().tobytes())
    if not verify(dealing.commitments, proof, context):
        raise EngineError("a proof of possession does not verify: this machine erred")
    return proof


def verify(commitments: Sequence[PublicKey], proof: Proof, context: bytes) -> bool:
    """Tell whether who made `proof` knew the discrete logarithm of the first commitment."""
    response = int.from_bytes(proof.z, "big")
    if not commitments or len(proof.z) != RESPONSE_BYTES or not 0 < response < GROUP_ORDER:
        return False
    challenge = _challenge(_statement(commitments, context), proof.r)
    # z·G - c·C₀ = R
    left = g1_weighted_sum(
        [g1_generator(), commitments[0].affine], [response, GROUP_ORDER - challenge]
    )
    return left is not None and PublicKey.from_affine(left) == proof.r


def _statement(commitments: Sequence[PublicKey], context: bytes) -> bytes:
    """Return all that the challenge binds before R; lengths make it unambiguous."""
    return b"".join(
        (
            len(POSSESSION_DST).to_bytes(2, "big"),
            POSSESSION_DST,
            len(context).to_bytes(4, "big"),
            context,
            *commitments,
        )
    )


def _challenge(statement: bytes, r: PublicKey) -> int:
    return int.from_bytes(hashlib.sha512(statement + r).digest(), "big") % GROUP_ORDER

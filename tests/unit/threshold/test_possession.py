import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.bls.encoding import PublicKey
from signer.bls.points import g1_sum
from signer.bls.scalar import GROUP_ORDER as R
from signer.bls.scheme import public_key
from signer.errors import EngineError
from signer.secret import SecretBytes
from signer.threshold import possession
from signer.threshold.dealing import Dealing
from signer.threshold.possession import Proof, prove, verify
from tests.unit.threshold.scalars import number_of, scalar_of, seed_of

CEREMONY = b"\x11" * 32
CONTEXT = CEREMONY + b"\x00\x03" + b"\x00\x01"


def dealt(seed: int = 7, t: int = 3, context: bytes = CONTEXT) -> tuple[list[PublicKey], Proof]:
    with Dealing.derive(seed_of(seed), CEREMONY, t) as dealing:
        return list(dealing.commitments), prove(dealing, seed_of(seed), context)


COMMITMENTS, PROOF = dealt()


def z_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2**256 - 1), st.integers(2, 6), st.binary(max_size=50))
def test_an_honest_proof_verifies(seed: int, t: int, context: bytes) -> None:
    commitments, proof = dealt(seed, t, context)
    assert verify(commitments, proof, context)
    assert not verify(commitments, proof, context + b"\x00")


def test_the_equation_and_the_challenge_byte_by_byte() -> None:
    """Computed a second time, in numbers."""
    challenge = hashlib.sha512(
        b"\x00\x20SIGNER_POK_V1_BLS12381G1_SHA-512"
        + len(CONTEXT).to_bytes(4, "big")
        + CONTEXT
        + b"".join(COMMITMENTS)
        + PROOF.r
    )
    c = int.from_bytes(challenge.digest(), "big") % R
    with Dealing.derive(seed_of(7), CEREMONY, 3) as dealing:
        k = (int.from_bytes(PROOF.z, "big") - c * number_of(dealing.constant)) % R
    assert public_key(scalar_of(k)) == PROOF.r


def test_the_same_again() -> None:
    assert dealt() == (COMMITMENTS, PROOF)


def test_one_nonce_never_meets_two_challenges() -> None:
    """Another context, other commitments with the same constant, another seed: another R."""
    proofs = [PROOF, dealt(context=CONTEXT + b"\x00")[1], dealt(seed=8)[1]]
    with scalar_of(5) as constant:
        for t in (3, 4):
            with Dealing.derive(seed_of(7), CEREMONY, t, constant) as dealing:
                proofs.append(prove(dealing, seed_of(7), CONTEXT))
    assert len({proof.r for proof in proofs}) == len(proofs)


@pytest.mark.case("C6", "a proof of another ceremony, dealer or key")
def test_bound_to_every_byte_of_the_context() -> None:
    for place in range(len(CONTEXT)):
        for bit in (0x01, 0x80):
            bent = CONTEXT[:place] + bytes([CONTEXT[place] ^ bit]) + CONTEXT[place + 1 :]
            assert not verify(COMMITMENTS, PROOF, bent)
    for other in (b"", CONTEXT[:-1], CONTEXT + b"\x00"):
        assert not verify(COMMITMENTS, PROOF, other)


@pytest.mark.case("C6", "a proof for other commitments: changed, swapped, left out, added")
def test_bound_to_every_commitment() -> None:
    stranger = public_key(scalar_of(9))
    for place in range(3):
        assert not verify(
            [*COMMITMENTS[:place], stranger, *COMMITMENTS[place + 1 :]], PROOF, CONTEXT
        )
    a, b, c = COMMITMENTS
    for others in ([], [a], [a, b], [a, c, b], [b, a, c], [a, b, c, stranger]):
        assert not verify(others, PROOF, CONTEXT)


@pytest.mark.case("C6", "a proof whose context borrows bytes from its commitments")
def test_lengths_keep_context_and_commitments_apart() -> None:
    assert not verify(COMMITMENTS[1:], PROOF, CONTEXT + COMMITMENTS[0])


@pytest.mark.case("C6", "R changed, negated, of another proof")
def test_bound_to_r() -> None:
    negated = PublicKey(bytes([PROOF.r[0] ^ 0x20]) + PROOF.r[1:])
    for other in (negated, public_key(scalar_of(1)), COMMITMENTS[0], dealt(seed=8)[1].r):
        assert not verify(COMMITMENTS, replace(PROOF, r=other), CONTEXT)


@pytest.mark.case("C6", "z = 0, z >= r, z changed in a bit, z of another length")
def test_bound_to_z() -> None:
    number = int.from_bytes(PROOF.z, "big")
    wrong = [z_of(0), z_of(R), z_of(2**256 - 1), z_of(R - number), b"", PROOF.z[:31], b"\x00" * 31]
    wrong += [b"\x00" + PROOF.z, PROOF.z + b"\x00"]
    wrong += [z_of(number ^ 1 << bit) for bit in range(256)]
    for z in wrong:
        assert not verify(COMMITMENTS, replace(PROOF, z=z), CONTEXT)
    if number + R < 2**256:  # the same residue, written another way
        assert not verify(COMMITMENTS, replace(PROOF, z=z_of(number + R)), CONTEXT)


@pytest.mark.case("C6", "z = r + z', the same residue in another form")
def test_z_is_canonical() -> None:
    """Among a few dealings one has a z below 2**256 - r, so that z + r still fits 32 bytes."""
    for seed in range(1, 60):
        commitments, proof = dealt(seed)
        number = int.from_bytes(proof.z, "big")
        if number + R < 2**256:
            assert verify(commitments, proof, CONTEXT)
            assert not verify(commitments, replace(proof, z=z_of(number + R)), CONTEXT)
            return
    pytest.fail("no such z among 59")


@pytest.mark.case("C7", "another dealer's commitments and proof under one's own index")
def test_copied_proof() -> None:
    own = CEREMONY + b"\x00\x04" + b"\x00\x01"
    assert verify(COMMITMENTS, PROOF, CONTEXT)
    assert not verify(COMMITMENTS, PROOF, own)


@pytest.mark.case("C6", "a rogue key: one's own minus the others', which nobody can prove")
def test_rogue_key() -> None:
    """C' = 5·G - C; who knows only 5 cannot prove it, whichever nonce he takes."""
    negated = PublicKey(bytes([COMMITMENTS[0][0] ^ 0x20]) + COMMITMENTS[0][1:])
    rogue_point = g1_sum([public_key(scalar_of(5)).affine, negated.affine])
    assert rogue_point is not None
    rogue = [PublicKey.from_affine(rogue_point), *COMMITMENTS[1:]]
    with (
        scalar_of(5) as known,
        Dealing.derive(seed_of(9), CEREMONY, 3, known) as dealing,
    ):
        proof = prove(dealing, seed_of(9), CONTEXT)
        assert verify(dealing.commitments, proof, CONTEXT)
    assert not verify(rogue, proof, CONTEXT)
    assert not verify([rogue[0], *dealing.commitments[1:]], proof, CONTEXT)


def test_a_machine_that_errs_lets_no_proof_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(possession, "verify", lambda *_: False)
    with pytest.raises(EngineError, match="this machine erred"):
        dealt()


@pytest.mark.case("C25", "a proof from a seed of zeros")
def test_seed_of_zeros() -> None:
    with (
        Dealing.derive(seed_of(7), CEREMONY, 2) as dealing,
        pytest.raises(EngineError, match="zeros"),
    ):
        prove(dealing, SecretBytes(bytes(32)), CONTEXT)

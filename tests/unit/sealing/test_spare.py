import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from signer.errors import EncodingError, SealError
from signer.sealing.envelope import MAX_SLOTS, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.sealing.spare import add_slot, require_room
from signer.secret import SecretBytes
from signer.threshold.params import ShareIndex
from tests.simulators.drills import point
from tests.simulators.holders import SimulatedPool

POOL = SimulatedPool.new()
BINDING = POOL.group.binding(ShareIndex(1))
PRIMARY, SPARE, THIRD = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def opened(envelope: Envelope, key: ec.EllipticCurvePrivateKey) -> bytes:
    def ecdh(enc: bytes, aad: bytes) -> SecretBytes:
        other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
        return SecretBytes(key.exchange(ec.ECDH(), other))

    with unseal_share(envelope, BINDING, point(key), ecdh) as share:
        return bytes(share.expose())


@pytest.fixture
def envelope() -> Envelope:
    with SecretBytes(POOL.shares[1]) as share:
        return seal_share(share, BINDING, [point(PRIMARY)], os.urandom)


def added(envelope: Envelope, recipient: bytes) -> Envelope:
    with SecretBytes(POOL.shares[1]) as share:
        return add_slot(envelope, share, recipient, os.urandom)


def test_both_tokens_open_it(envelope: Envelope) -> None:
    wider = Envelope.parse(added(envelope, point(SPARE)).to_bytes())
    assert wider.recipients == (point(PRIMARY), point(SPARE))
    assert wider.binding == envelope.binding
    assert opened(wider, PRIMARY) == opened(wider, SPARE) == POOL.shares[1]
    with pytest.raises(SealError):
        opened(wider, THIRD)


@pytest.mark.case("X790", "slot cut off, exchanged, put in another place, or taken from before")
def test_every_slot_knows_of_all_of_them(envelope: Envelope) -> None:
    wider = added(envelope, point(SPARE))
    first, second = wider.slots
    third = added(envelope, point(THIRD)).slots[1]
    for slots in ((first,), (second, first), (first, third), (envelope.slots[0], second)):
        with pytest.raises(SealError) as refused:
            opened(Envelope(wider.binding, slots), PRIMARY)
        assert refused.value.code == "E_UNSEAL"
    with pytest.raises(SealError) as refused:
        opened(Envelope(wider.binding, (second,)), SPARE)
    assert refused.value.code == "E_UNSEAL"


def test_a_slot_is_of_use_to_its_own_key_only(envelope: Envelope) -> None:
    """Slots that change places, or say another recipient, open nowhere."""
    wider = added(envelope, point(SPARE))
    first, second = wider.slots
    swapped = Envelope(
        wider.binding,
        (
            type(first)(first.method, second.recipient, first.enc, first.ciphertext),
            type(second)(second.method, first.recipient, second.enc, second.ciphertext),
        ),
    )
    for key in (PRIMARY, SPARE):
        with pytest.raises(SealError) as refused:
            opened(swapped, key)
        assert refused.value.code == "E_UNSEAL"


@pytest.mark.case("X459", "a spare that has its slot, or for which there is no room")
def test_no_slot_twice_and_none_beyond_the_last(envelope: Envelope) -> None:
    for call in (lambda: added(envelope, point(PRIMARY)),
                 lambda: require_room(envelope, point(PRIMARY))):  # fmt: skip
        with pytest.raises(SealError, match="already") as refused:
            call()
        assert refused.value.code == "E_ENVELOPE"
    while len(envelope.slots) < MAX_SLOTS:
        envelope = added(envelope, point(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SealError, match="4 slots") as refused:
        added(envelope, point(SPARE))
    assert refused.value.code == "E_ENVELOPE"


def test_what_is_no_point_gets_no_slot(envelope: Envelope) -> None:
    with pytest.raises(EncodingError):
        added(envelope, b"\x04" + bytes(64))

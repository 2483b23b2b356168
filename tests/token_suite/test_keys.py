"""The two keys on a token of each kind: made once, checked always, never overwritten."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import exceptions
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType
from pkcs11.types import Key

from signer.errors import (
    EncodingError,
    ProvenanceError,
    TokenError,
    TokenKeyError,
    TokenRemovedError,
)
from signer.hsm.keys import KeysMade, ensure_keys, identity_key, receiving_key
from signer.hsm.provenance import P256_PARAMS
from signer.hsm.session import TokenSession
from signer.recipient import HPKE_P256
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes
from tests.modules.bench import Bench

needs = pytest.mark.needs
P256 = ("ecdsa-p256", "ecdh-p256")

GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)  # of P-256
SIGN_AND_VERIFY = MechanismFlag.SIGN | MechanismFlag.VERIFY
P384_PARAMS = bytes.fromhex("06052b81040022")


@pytest.fixture
def session(bench: Bench) -> Iterator[TokenSession]:
    """Yield a session whose keys are P-256 pairs."""
    bench.seal_by(HPKE_P256)
    with bench.session() as session:
        yield session


@pytest.fixture
def strict_session(bench: Bench) -> Iterator[TokenSession]:
    """Yield one whose keys are P-256 pairs and must be proven, whatever the profile says."""
    bench.seal_by(HPKE_P256)
    bench.demand_provenance()
    with bench.session() as session:
        yield session


@pytest.fixture
def own_session(bench: Bench) -> Iterator[TokenSession]:
    """Yield a session whose receiving keys are of the kind that the device's profile prefers."""
    with bench.session() as session:
        yield session


def generate(
    session: TokenSession,
    label: str,
    *,
    capabilities: MechanismFlag = MechanismFlag.DERIVE,
    params: bytes = P256_PARAMS,
    template: dict[Attribute, Any] | None = None,
) -> None:
    """Make a pair as somebody else's tool might."""
    with session.writable() as writable, session.doing("making a stranger's key"):
        parameters = writable.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: params}, local=True
        )
        parameters.generate_keypair(
            id=os.urandom(8),
            label=label,
            store=True,
            capabilities=capabilities,
            private_template=template,
        )


def import_pair(session: TokenSession, label: str) -> None:
    """Put a key on the token that was made elsewhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    common = {
        Attribute.KEY_TYPE: KeyType.EC,
        Attribute.TOKEN: True,
        Attribute.LABEL: label,
        Attribute.ID: b"imported",
        Attribute.EC_PARAMS: P256_PARAMS,
    }
    with session.writable() as writable, session.doing("importing a key"):
        writable.create_object(
            common
            | {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.EC_POINT: b"\x04\x41" + point}
        )
        writable.create_object(
            common
            | {
                Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                Attribute.VALUE: key.private_numbers().private_value.to_bytes(32, "big"),
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.DERIVE: True,
                Attribute.SIGN: False,
            }
        )


def objects(session: TokenSession, attributes: dict[Attribute, Any] | None = None) -> list[Any]:
    """Return the keys on the token; a card may have certificates of its maker's beside them."""
    found = list(session.session.get_objects(attributes or {}))
    return [thing for thing in found if isinstance(thing, Key)]


@needs("ecdsa-p256", "own-method")
def test_keys_are_made_once(own_session: TokenSession) -> None:
    assert ensure_keys(own_session) == KeysMade(("id-sign", "epoch-kex"), ())
    points = identity_key(own_session).public_point, receiving_key(own_session).public_point
    assert ensure_keys(own_session) == KeysMade((), ("id-sign", "epoch-kex"))
    assert (
        identity_key(own_session).public_point,
        receiving_key(own_session).public_point,
    ) == points
    assert points[0] != points[1]
    assert len(objects(own_session)) == 4


@needs(*P256)
def test_what_the_keys_may_do(session: TokenSession) -> None:
    ensure_keys(session)
    for label, usage in (("id-sign", Attribute.SIGN), ("epoch-kex", Attribute.DERIVE)):
        (private,) = objects(
            session, {Attribute.LABEL: label, Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        )
        (public,) = objects(
            session, {Attribute.LABEL: label, Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        )
        usages = (Attribute.SIGN, Attribute.DERIVE, Attribute.DECRYPT, Attribute.UNWRAP)
        assert {one: private[one] for one in usages} == {one: one is usage for one in usages}
        assert private[Attribute.PRIVATE]
        assert private[Attribute.SENSITIVE]
        assert not private[Attribute.EXTRACTABLE]
        assert private[Attribute.ID] == public[Attribute.ID]
        assert len(private[Attribute.ID]) == 16
        with pytest.raises(exceptions.AttributeSensitive):
            private[Attribute.VALUE]


@needs("ecdsa-p256", "own-method", "provenance")
def test_provenance_for_the_card(bench: Bench) -> None:
    bench.demand_provenance()
    with bench.session() as session:
        ensure_keys(session)
        for key in (identity_key(session), receiving_key(session)):
            assert key.provenance.proven
            assert "private" not in repr(key)
        doubted = dataclasses.replace(session.profile, provenance="unproven", ceremony=False)
        session = dataclasses.replace(session, profile=doubted)
        for key in (identity_key(session), receiving_key(session)):
            assert not key.provenance.proven  # whatever it says of itself


@needs("ecdsa-p256", "own-method")
def test_a_key_is_as_proven_as_its_profile_says(own_session: TokenSession) -> None:
    ensure_keys(own_session)
    for key in (identity_key(own_session), receiving_key(own_session)):
        assert key.provenance.proven is own_session.profile.proven


@needs("ecdsa-p256", "own-method")
@pytest.mark.parametrize("message", [b"", b"card", bytes(100_000)])
def test_signature_is_ecdsa_over_sha256(own_session: TokenSession, message: bytes) -> None:
    ensure_keys(own_session)
    key = identity_key(own_session)
    signature = key.sign(message)
    assert len(signature) == 64
    der = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_point)
    public.verify(der, message, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(der, message + b".", ec.ECDSA(hashes.SHA256()))


@needs(*P256)
def test_ecdh_agrees_with_the_other_side(session: TokenSession) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    peer = ec.generate_private_key(ec.SECP256R1())
    point = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ours = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_point)
    with key.ecdh(point) as shared:
        assert shared.expose() == peer.exchange(ec.ECDH(), ours)
    assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@needs(*P256)
@pytest.mark.case("P5", "ECDH with a point off the curve: the token never sees it")
def test_invalid_peer(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    monkeypatch.setattr(session.module, "read_secret", lambda *_: pytest.fail("asked the token"))
    point = key.public_point
    for peer in (
        point[:-1] + bytes([point[-1] ^ 1]),
        b"\x04" + bytes(64),
        b"\x02" + point[1:33],
        b"\x04\x41" + point,
        b"",
    ):
        with pytest.raises(EncodingError):
            key.ecdh(peer)


@needs(*P256)
@pytest.mark.case("T7", "ECDH result with its leading zero stripped, doubled, 48 bytes")
def test_ecdh_result_of_another_length(
    session: TokenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    for size in (0, 31, 33, 48, 64):
        given = SecretBytes(b"\x07" * size)
        monkeypatch.setattr(session.module, "read_secret", lambda *_, given=given: given)
        with pytest.raises(TokenError, match=f"{size} bytes"):
            key.ecdh(key.public_point)
        with pytest.raises(ValueError, match="wiped"):
            given.expose()
        assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@needs(*P256)
@pytest.mark.case("T5", "token pulled out in the middle of ECDH")
def test_removed_during_ecdh(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(session)
    key = receiving_key(session)

    def read_secret(*_: int) -> None:
        raise exceptions.DeviceRemoved

    monkeypatch.setattr(session.module, "read_secret", read_secret)
    with pytest.raises(TokenRemovedError, match="ECDH on token"):
        key.ecdh(key.public_point)
    assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@pytest.mark.case("T6", "key missing")
def test_no_keys(session: TokenSession) -> None:
    for ask in (identity_key, receiving_key):
        with pytest.raises(TokenKeyError, match="no key") as caught:
            ask(session)
        assert "signer token setup" in caught.value.hint


def swap_public_key(bench: Bench, label: str) -> None:
    """Put a stranger's public key in a pair's place, without the PIN: it is no private object."""
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with bench.public_session() as public_session:
        (old,) = public_session.get_objects({Attribute.LABEL: label})
        key_id = old[Attribute.ID]
        old.destroy()
        public_session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: False,
                Attribute.LABEL: label,
                Attribute.ID: key_id,
                Attribute.EC_PARAMS: P256_PARAMS,
                Attribute.EC_POINT: b"\x04\x41" + point,
            }
        )


@needs(*P256, "open-public-objects")
@pytest.mark.case("X14", "receiving key's public object swapped by somebody without the PIN")
def test_a_swapped_public_key_is_noticed(bench: Bench) -> None:
    bench.seal_by(HPKE_P256)
    with bench.session() as session:
        ensure_keys(session)
        receiving_key(session).require_own_point()
    swap_public_key(bench, "epoch-kex")
    with bench.session() as session:
        key = receiving_key(session)
        with pytest.raises(ProvenanceError, match="of another key"):
            key.require_own_point()


@needs("imports-keys")
@pytest.mark.case("T6", "key imported: not LOCAL")
def test_imported_key(strict_session: TokenSession) -> None:
    import_pair(strict_session, "epoch-kex")
    for ask in (receiving_key, ensure_keys):
        with pytest.raises(ProvenanceError, match="LOCAL is False"):
            ask(strict_session)
    assert len(objects(strict_session)) == 2


@needs("foreign-keys")
@pytest.mark.case("T6", "key extractable, not sensitive, on another curve, or that may also sign")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"template": {Attribute.EXTRACTABLE: True}}, "NEVER_EXTRACTABLE is False"),
        ({"template": {Attribute.SENSITIVE: False}}, "ALWAYS_SENSITIVE is False"),
        ({"capabilities": MechanismFlag.DERIVE | SIGN_AND_VERIFY}, "SIGN is True"),
        ({"capabilities": SIGN_AND_VERIFY}, "SIGN is True"),
        ({"template": {Attribute.PRIVATE: False}}, "PRIVATE is False"),
    ],
)
def test_key_of_another_kind(
    strict_session: TokenSession, bench: Bench, arguments: dict[str, Any], words: str
) -> None:
    generate(strict_session, "epoch-kex", **arguments)
    if not bench.can("provenance"):
        words = "LOCAL is False"
    with pytest.raises(ProvenanceError, match=f"epoch-kex.*{words}"):
        receiving_key(strict_session)


@needs("foreign-keys")
@pytest.mark.case("T6", "key made extractable and hardened afterwards")
def test_hardened_afterwards(strict_session: TokenSession, bench: Bench) -> None:
    generate(strict_session, "epoch-kex", template={Attribute.EXTRACTABLE: True})
    with strict_session.writable() as writable:
        (private,) = writable.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        private[Attribute.EXTRACTABLE] = False
    words = "NEVER_EXTRACTABLE" if bench.can("provenance") else "LOCAL"
    with pytest.raises(ProvenanceError, match=f"{words} is False"):
        receiving_key(strict_session)


@needs("foreign-keys")
@pytest.mark.case("T6", "key on P-384")
def test_other_curve(session: TokenSession) -> None:
    generate(session, "epoch-kex", params=P384_PARAMS)
    with pytest.raises(TokenKeyError, match="P-256"):
        receiving_key(session)


@needs(*P256, "foreign-keys")
@pytest.mark.case("X176", "two keys of one label: nothing is guessed, the public point chooses")
def test_two_receiving_keys(session: TokenSession) -> None:
    ensure_keys(session)
    first = receiving_key(session).public_point
    generate(session, "epoch-kex")
    for among in ([], [GENERATOR]):
        with pytest.raises(TokenKeyError, match="2 keys 'epoch-kex'"):
            receiving_key(session, among)
    assert receiving_key(session, [first]).public_point == first
    assert len(objects(session)) == 6


@needs(*P256, "foreign-keys")
@pytest.mark.case("X176", "two identity keys: nothing is guessed")
def test_two_identity_keys(session: TokenSession) -> None:
    ensure_keys(session)
    generate(session, "id-sign", capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY)
    for ask in (identity_key, ensure_keys):
        with pytest.raises(TokenKeyError, match="2 keys 'id-sign'"):
            ask(session)
    assert len(objects(session)) == 6


@needs(*P256, "imports-keys")
@pytest.mark.case("T6", "one of several receiving keys was imported")
def test_every_receiving_key_is_checked(session: TokenSession) -> None:
    ensure_keys(session)
    import_pair(session, "epoch-kex")
    strict = dataclasses.replace(session.profile, provenance="strict")
    with pytest.raises(ProvenanceError, match="LOCAL is False"):
        ensure_keys(dataclasses.replace(session, profile=strict))


def destroy(session: TokenSession, half: ObjectClass) -> None:
    with session.writable() as writable:
        (thing,) = writable.get_objects({Attribute.LABEL: "epoch-kex", Attribute.CLASS: half})
        thing.destroy()


@needs(*P256)
@pytest.mark.case("T12", "receiving key destroyed, its public object still there")
def test_key_that_is_gone(session: TokenSession) -> None:
    ensure_keys(session)
    point = receiving_key(session).public_point
    destroy(session, ObjectClass.PRIVATE_KEY)
    with pytest.raises(TokenKeyError, match="has no key 'epoch-kex'"):
        receiving_key(session, [point])
    assert ensure_keys(session).made == ("epoch-kex",)
    assert receiving_key(session).public_point != point


@needs(*P256)
@pytest.mark.case("X177", "private key without its public object: not mended, not overwritten")
def test_half_a_pair(session: TokenSession) -> None:
    ensure_keys(session)
    destroy(session, ObjectClass.PUBLIC_KEY)
    for ask in (receiving_key, ensure_keys):
        with pytest.raises(TokenKeyError, match="not one private key with its public key"):
            ask(session)
    assert len(objects(session)) == 3


@needs(*P256, "open-public-objects")
@pytest.mark.case("X17", "public objects planted beside a key's by somebody without the PIN")
def test_planted_public_objects_stop_nobody(bench: Bench) -> None:
    bench.seal_by(HPKE_P256)
    with bench.session() as session:
        ensure_keys(session)
        point = receiving_key(session).public_point
        (own,) = session.session.get_objects(
            {Attribute.LABEL: "epoch-kex", Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        )
        key_id = own[Attribute.ID]
    with bench.public_session() as public_session:
        for planted_id in (b"elsewhere", key_id):
            public_session.create_object(
                {
                    Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                    Attribute.KEY_TYPE: KeyType.EC,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: False,
                    Attribute.LABEL: "epoch-kex",
                    Attribute.ID: planted_id,
                    Attribute.EC_PARAMS: P256_PARAMS,
                    Attribute.EC_POINT: b"\x04\x41" + GENERATOR,
                }
            )
    if not bench.can("twin-objects"):
        with bench.session() as session, pytest.raises(ProvenanceError, match="of another key"):
            receiving_key(session).require_own_point()
        return
    with bench.session() as session:
        assert receiving_key(session, [point]).public_point == point
        with pytest.raises(TokenKeyError, match="nothing tells"):
            receiving_key(session)


@needs(*P256)
def test_a_missing_key_is_added_beside_the_other(session: TokenSession) -> None:
    ensure_keys(session)
    kept = receiving_key(session).public_point
    with session.writable() as writable:
        for thing in list(writable.get_objects({Attribute.LABEL: "id-sign"})):
            thing.destroy()
    assert ensure_keys(session) == KeysMade(("id-sign",), ("epoch-kex",))
    assert receiving_key(session).public_point == kept


@needs("ecdsa-p256", "own-method")
def test_logged_out_at_the_end(bench: Bench) -> None:
    with bench.session() as session:
        ensure_keys(session)
        slot = session.token.slot
    stranger = slot.get_token().open()
    try:
        private = stranger.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        assert list(private) == []
    finally:
        stranger.close()


@pytest.mark.softhsm
def test_share_through_file_and_token(softhsm: Any) -> None:
    """The whole way: seal without a token, unseal in another process's worth of a session."""
    softhsm.add_token("desk")
    softhsm.add_token("spare")
    binding = Binding(
        group=hashlib.sha256(b"group").digest(),
        epoch=0,
        index=1,
        public_share=bytes(48),
        role="withdrawal",
        policy_digest=bytes(32),
        holders=bytes(32),
        certificate=bytes(32),
    )
    share = bytes(range(1, 33))
    points = []
    with softhsm.load() as module:
        for label in ("desk", "spare"):
            with softhsm.session(module, label) as session:
                ensure_keys(session)
                points.append(receiving_key(session).public_point)
    raw = seal_share(SecretBytes(share), binding, points, os.urandom).to_bytes()
    with softhsm.load() as module:
        for label in ("desk", "spare"):
            with softhsm.session(module, label) as session:
                key = receiving_key(session)
                envelope = Envelope.parse(raw)
                with unseal_share(envelope, binding, key.public_point, key.unlock) as opened:
                    assert opened.expose() == share

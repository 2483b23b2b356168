"""The two keys on a real token: made once, checked always, never overwritten."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
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

from signer.errors import (
    EncodingError,
    PinError,
    ProvenanceError,
    TokenError,
    TokenKeyError,
    TokenRemovedError,
)
from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.keys import KeysMade, ensure_keys, identity_key, receiving_key
from signer.hsm.module import Module
from signer.hsm.provenance import P256_PARAMS
from signer.hsm.session import TokenSession, open_session
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes

pytestmark = pytest.mark.softhsm

GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)  # of P-256
P384_PARAMS = bytes.fromhex("06052b81040022")


@pytest.fixture
def session(softhsm: Any, softhsm_module: Module) -> Iterator[TokenSession]:
    with softhsm.session(softhsm_module) as session:
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
    with session.writable() as writable:
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
    with session.writable() as writable:
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
    return list(session.session.get_objects(attributes or {}))


def test_keys_are_made_once(session: TokenSession) -> None:
    assert ensure_keys(session) == KeysMade(("id-sign", "epoch-kex"), ())
    points = identity_key(session).public_point, receiving_key(session).public_point
    assert ensure_keys(session) == KeysMade((), ("id-sign", "epoch-kex"))
    assert (identity_key(session).public_point, receiving_key(session).public_point) == points
    assert points[0] != points[1]
    assert len(objects(session)) == 4


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


def test_provenance_for_the_card(session: TokenSession) -> None:
    ensure_keys(session)
    for key in (identity_key(session), receiving_key(session)):
        assert key.provenance.proven
        assert "private" not in repr(key)
    doubted = dataclasses.replace(session.profile, provenance="unproven", ceremony=False)
    session = dataclasses.replace(session, profile=doubted)
    for key in (identity_key(session), receiving_key(session)):
        assert not key.provenance.proven  # whatever it says of itself


@pytest.mark.parametrize("message", [b"", b"card", bytes(100_000)])
def test_signature_is_ecdsa_over_sha256(session: TokenSession, message: bytes) -> None:
    ensure_keys(session)
    key = identity_key(session)
    signature = key.sign(message)
    assert len(signature) == 64
    der = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_point)
    public.verify(der, message, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(der, message + b".", ec.ECDSA(hashes.SHA256()))


def test_ecdh_agrees_with_the_other_side(session: TokenSession) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    peer = ec.generate_private_key(ec.SECP256R1())
    point = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ours = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_point)
    with key.ecdh(point) as shared:
        assert shared.expose() == peer.exchange(ec.ECDH(), ours)
    assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@pytest.mark.case("P5", "ECDH with a point off the curve: the token never sees it")
@pytest.mark.parametrize(
    "change",
    [
        lambda point: point[:-1] + bytes([point[-1] ^ 1]),
        lambda point: b"\x04" + bytes(64),
        lambda point: b"\x02" + point[1:33],
        lambda point: b"\x04\x41" + point,
        lambda point: b"",
    ],
)
def test_invalid_peer(
    session: TokenSession,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[bytes], bytes],
) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    monkeypatch.setattr(session.module, "read_secret", lambda *_: pytest.fail("asked the token"))
    with pytest.raises(EncodingError):
        key.ecdh(change(key.public_point))


@pytest.mark.case("T7", "ECDH result with its leading zero stripped, doubled, 48 bytes")
@pytest.mark.parametrize("size", [0, 31, 33, 48, 64])
def test_ecdh_result_of_another_length(
    session: TokenSession, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    ensure_keys(session)
    key = receiving_key(session)
    given: list[SecretBytes] = []

    def read_secret(*_: int) -> SecretBytes:
        given.append(SecretBytes(b"\x07" * size))
        return given[-1]

    monkeypatch.setattr(session.module, "read_secret", read_secret)
    with pytest.raises(TokenError, match=f"{size} bytes"):
        key.ecdh(key.public_point)
    with pytest.raises(ValueError, match="wiped"):
        given[0].expose()
    assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@pytest.mark.case("T5", "token pulled out in the middle of ECDH")
def test_removed_during_ecdh(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(session)
    key = receiving_key(session)

    def read_secret(*_: int) -> None:
        raise exceptions.DeviceRemoved

    monkeypatch.setattr(session.module, "read_secret", read_secret)
    with pytest.raises(TokenRemovedError, match="ECDH on token 'desk'"):
        key.ecdh(key.public_point)
    assert objects(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}) == []


@pytest.mark.case("T6", "key missing")
def test_no_keys(session: TokenSession) -> None:
    for ask in (identity_key, receiving_key):
        with pytest.raises(TokenKeyError, match="no key") as caught:
            ask(session)
        assert "signer token setup" in caught.value.hint


def swap_public_key(softhsm: Any, module: Module, label: str) -> None:
    """Put a stranger's public key in a pair's place, without the PIN: it is no private object."""
    token = find_token(module, TokenSelector("desk"))
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with token.slot.get_token().open(rw=True) as public_session:
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


@pytest.mark.case("X14", "receiving key's public object swapped by somebody without the PIN")
def test_a_swapped_public_key_is_noticed(softhsm: Any, softhsm_module: Module) -> None:
    with softhsm.session(softhsm_module) as session:
        ensure_keys(session)
        receiving_key(session).require_own_point()
    swap_public_key(softhsm, softhsm_module, "epoch-kex")
    with softhsm.session(softhsm_module) as session:
        key = receiving_key(session)
        with pytest.raises(ProvenanceError, match="of another key"):
            key.require_own_point()


@pytest.mark.case("T6", "key imported: not LOCAL")
def test_imported_key(session: TokenSession) -> None:
    import_pair(session, "epoch-kex")
    for ask in (receiving_key, ensure_keys):
        with pytest.raises(ProvenanceError, match="LOCAL is False"):
            ask(session)
    assert len(objects(session)) == 2


@pytest.mark.case("T6", "key extractable, not sensitive, on another curve, or that may also sign")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"template": {Attribute.EXTRACTABLE: True}}, "NEVER_EXTRACTABLE is False"),
        ({"template": {Attribute.SENSITIVE: False}}, "ALWAYS_SENSITIVE is False"),
        ({"capabilities": MechanismFlag.DERIVE | MechanismFlag.SIGN}, "SIGN is True"),
        ({"capabilities": MechanismFlag.SIGN}, "SIGN is True"),
        ({"template": {Attribute.PRIVATE: False}}, "PRIVATE is False"),
    ],
)
def test_key_of_another_kind(session: TokenSession, arguments: dict[str, Any], words: str) -> None:
    generate(session, "epoch-kex", **arguments)
    with pytest.raises(ProvenanceError, match=f"epoch-kex.*{words}"):
        receiving_key(session)


@pytest.mark.case("T6", "key made extractable and hardened afterwards")
def test_hardened_afterwards(session: TokenSession) -> None:
    generate(session, "epoch-kex", template={Attribute.EXTRACTABLE: True})
    with session.writable() as writable:
        (private,) = writable.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        private[Attribute.EXTRACTABLE] = False
    with pytest.raises(ProvenanceError, match="NEVER_EXTRACTABLE is False"):
        receiving_key(session)


@pytest.mark.case("T6", "key on P-384")
def test_other_curve(session: TokenSession) -> None:
    generate(session, "epoch-kex", params=P384_PARAMS)
    with pytest.raises(TokenKeyError, match="P-256"):
        receiving_key(session)


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


@pytest.mark.case("X176", "two identity keys: nothing is guessed")
def test_two_identity_keys(session: TokenSession) -> None:
    ensure_keys(session)
    generate(session, "id-sign", capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY)
    for ask in (identity_key, ensure_keys):
        with pytest.raises(TokenKeyError, match="2 keys 'id-sign'"):
            ask(session)
    assert len(objects(session)) == 6


@pytest.mark.case("T6", "one of several receiving keys was imported")
def test_every_receiving_key_is_checked(session: TokenSession) -> None:
    ensure_keys(session)
    import_pair(session, "epoch-kex")
    with pytest.raises(ProvenanceError, match="LOCAL is False"):
        ensure_keys(session)


def destroy(session: TokenSession, half: ObjectClass) -> None:
    with session.writable() as writable:
        (thing,) = writable.get_objects({Attribute.LABEL: "epoch-kex", Attribute.CLASS: half})
        thing.destroy()


@pytest.mark.case("T12", "receiving key destroyed, its public object still there")
def test_key_that_is_gone(session: TokenSession) -> None:
    ensure_keys(session)
    point = receiving_key(session).public_point
    destroy(session, ObjectClass.PRIVATE_KEY)
    with pytest.raises(TokenKeyError, match="has no key 'epoch-kex'"):
        receiving_key(session, [point])
    assert ensure_keys(session).made == ("epoch-kex",)
    assert receiving_key(session).public_point != point


@pytest.mark.case("X177", "private key without its public object: not mended, not overwritten")
def test_half_a_pair(session: TokenSession) -> None:
    ensure_keys(session)
    destroy(session, ObjectClass.PUBLIC_KEY)
    for ask in (receiving_key, ensure_keys):
        with pytest.raises(TokenKeyError, match="not one private key with its public key"):
            ask(session)
    assert len(objects(session)) == 3


@pytest.mark.case("X17", "public objects planted beside a key's by somebody without the PIN")
def test_planted_public_objects_stop_nobody(softhsm: Any, softhsm_module: Module) -> None:
    with softhsm.session(softhsm_module) as session:
        ensure_keys(session)
        point = receiving_key(session).public_point
        (own,) = session.session.get_objects(
            {Attribute.LABEL: "epoch-kex", Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        )
        key_id = own[Attribute.ID]
    token = find_token(softhsm_module, TokenSelector("desk"))
    with token.slot.get_token().open(rw=True) as public_session:
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
    with softhsm.session(softhsm_module) as session:
        assert receiving_key(session, [point]).public_point == point
        with pytest.raises(TokenKeyError, match="nothing tells"):
            receiving_key(session)


def test_a_missing_key_is_added_beside_the_other(session: TokenSession) -> None:
    ensure_keys(session)
    kept = receiving_key(session).public_point
    with session.writable() as writable:
        for thing in list(writable.get_objects({Attribute.LABEL: "id-sign"})):
            thing.destroy()
    assert ensure_keys(session) == KeysMade(("id-sign",), ("epoch-kex",))
    assert receiving_key(session).public_point == kept


@pytest.mark.case("T14", "SO PIN given as the user PIN; a wrong PIN; then the right one works")
def test_pins_on_softhsm(softhsm: Any, softhsm_module: Module) -> None:
    token = find_token(softhsm_module, TokenSelector("desk"))
    for pin in (b"12345678", b"9999", b"1234\n\n"):
        with (
            pytest.raises(PinError) as caught,
            open_session(softhsm_module, token, softhsm.profile, softhsm.pin_file(pin)),
        ):
            pass
        assert caught.value.code == "E_PIN_REFUSED"
        assert "few tries left" in caught.value.message
        assert pin.decode().strip() not in caught.value.line()
    with open_session(
        softhsm_module, token, softhsm.profile, softhsm.pin_file(b"1234\n")
    ) as session:
        assert session.token.count_low
    assert not find_token(softhsm_module, TokenSelector("desk")).count_low


def test_logged_out_at_the_end(softhsm: Any, softhsm_module: Module) -> None:
    with softhsm.session(softhsm_module) as session:
        ensure_keys(session)
        slot = session.token.slot
    stranger = slot.get_token().open()
    try:
        private = stranger.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        assert list(private) == []
    finally:
        stranger.close()


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

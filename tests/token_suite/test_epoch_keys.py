"""Receiving keys on a token of each kind: one more for each ceremony, the old one gone for good."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import exceptions
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import KeyType
from pkcs11.types import Key

from signer.errors import (
    MechanismError,
    ProvenanceError,
    TokenError,
    TokenKeyError,
    TokenRemovedError,
)
from signer.hsm import pairs as pairs_module
from signer.hsm.keys import (
    KeysMade,
    destroy_receiving_key,
    ensure_keys,
    identity_key,
    make_receiving_key,
    receiving_key,
    receiving_key_of,
    receiving_keys,
    token_random,
)
from signer.hsm.mechanisms import CEREMONY_MECHANISMS, require_ceremony_mechanisms
from signer.hsm.module import Module
from signer.hsm.provenance import P256_PARAMS
from signer.hsm.session import TokenSession
from signer.recipient import HPKE_P256
from signer.secret import SecretBytes
from tests.modules.bench import Bench

needs = pytest.mark.needs
KEYS = ("ecdsa-p256", "own-method")
P256 = ("ecdsa-p256", "ecdh-p256")


@pytest.fixture
def session(bench: Bench) -> Iterator[TokenSession]:
    with bench.session() as session:
        yield session


def points(session: TokenSession) -> set[bytes]:
    return {key.public_point for key in receiving_keys(session)}


def objects(session: TokenSession) -> list[tuple[str, str, bytes]]:
    """Return class, label and CKA_ID of every key on the token."""
    return sorted(
        (thing[Attribute.CLASS].name, thing[Attribute.LABEL], thing[Attribute.ID])
        for thing in list(session.session.get_objects({}))
        if isinstance(thing, Key)
    )


# One more key


@needs(*KEYS)
def test_each_ceremony_has_a_key_of_its_own(session: TokenSession) -> None:
    ensure_keys(session)
    identity = identity_key(session).public_point
    known = points(session)
    for count in (2, 3):
        key = make_receiving_key(session)
        key.require_own_point()
        assert key.provenance.proven is session.profile.proven
        assert key.public_point not in known
        known.add(key.public_point)
        assert points(session) == known
        assert len(known) == count
    assert identity_key(session).public_point == identity
    for point in known:
        receiving_key(session, [point]).require_own_point()


@needs("own-method")
def test_a_first_key_needs_no_other(bench: Bench) -> None:
    with bench.session() as session:
        assert receiving_keys(session) == ()
        assert make_receiving_key(session).public_point == receiving_key(session).public_point


@needs(*KEYS)
@pytest.mark.case("X177", "one more key on a token that shows half a pair: none is made")
def test_half_a_pair_is_told_first(session: TokenSession) -> None:
    ensure_keys(session)
    with session.writable() as writable:
        (public,) = writable.get_objects(
            {Attribute.LABEL: "epoch-kex", Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        )
        public.destroy()
    before = objects(session)
    with pytest.raises(TokenKeyError, match="not one private key with its public key"):
        make_receiving_key(session)
    assert objects(session) == before


@needs(*KEYS)
def test_setup_of_a_token_with_several_keys_changes_nothing(session: TokenSession) -> None:
    ensure_keys(session)
    make_receiving_key(session)
    before = objects(session)
    assert ensure_keys(session) == KeysMade((), ("id-sign", "epoch-kex"))
    assert objects(session) == before


# A key destroyed


@needs(*KEYS)
def test_exactly_one_pair_is_destroyed(session: TokenSession) -> None:
    ensure_keys(session)
    first = receiving_key(session).public_point
    others = {make_receiving_key(session).public_point for _ in range(2)}
    before = objects(session)
    destroy_receiving_key(session, first)
    assert points(session) == others
    gone = [thing for thing in before if thing not in objects(session)]
    assert [thing[:2] for thing in gone] == [
        ("PRIVATE_KEY", "epoch-kex"),
        ("PUBLIC_KEY", "epoch-kex"),
    ]
    assert gone[0][2] == gone[1][2]
    for point in others:
        receiving_key(session, [point]).require_own_point()


@needs(*KEYS)
def test_it_is_gone_from_the_disk(bench: Bench) -> None:
    with bench.session() as session:
        ensure_keys(session)
        first = receiving_key(session).public_point
        second = make_receiving_key(session).public_point
        destroy_receiving_key(session, first)
    bench.close()
    with bench.session() as session:
        assert points(session) == {second}


@needs(*KEYS)
@pytest.mark.case("X605", "destroy a receiving key that is not there, or no longer")
def test_an_absent_key_is_not_destroyed(session: TokenSession) -> None:
    ensure_keys(session)
    point = make_receiving_key(session).public_point
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    stranger_point = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    destroy_receiving_key(session, point)
    before = objects(session)
    for absent in (point, stranger_point, identity_key(session).public_point, b""):
        with pytest.raises(
            TokenKeyError, match="no key 'epoch-kex' of this public point"
        ) as caught:
            destroy_receiving_key(session, absent)
        assert caught.value.code == "E_TOKEN_KEY"
    assert objects(session) == before


def put_public(session: Any, point: bytes, key_id: bytes) -> None:
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.LABEL: "epoch-kex",
            Attribute.ID: key_id,
            Attribute.EC_PARAMS: P256_PARAMS,
            Attribute.EC_POINT: b"\x04\x41" + point,
        }
    )


def id_of(session: TokenSession, point: bytes) -> bytes:
    (pair,) = [
        pair for pair in pairs_module.find_pairs(session, "epoch-kex") if pair.public == point
    ]
    return pair.key_id


@needs(*P256, "open-public-objects")
@pytest.mark.case("X606", "old key's point put beside the new private key by somebody without PIN")
def test_a_planted_point_destroys_no_other_key(bench: Bench) -> None:
    bench.seal_by(HPKE_P256)
    with bench.session() as session:
        ensure_keys(session)
        old = receiving_key(session).public_point
        new = make_receiving_key(session).public_point
        new_id = id_of(session, new)
    with bench.public_session() as public_session:
        put_public(public_session, old, new_id)
    with bench.session() as session:
        before = objects(session)
        with pytest.raises(ProvenanceError, match="of another key"):
            destroy_receiving_key(session, old)
        assert objects(session) == before
        if bench.can("twin-objects"):
            receiving_key(session, [new]).require_own_point()


@needs(*P256, "open-public-objects")
@pytest.mark.case("X607", "stranger's public objects beside the key that is destroyed")
def test_planted_public_objects_stay(bench: Bench) -> None:
    bench.seal_by(HPKE_P256)
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    planted = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with bench.session() as session:
        ensure_keys(session)
        old = receiving_key(session).public_point
        old_id = id_of(session, old)
    with bench.public_session() as public_session:
        put_public(public_session, planted, old_id)
    with bench.session() as session:
        if not bench.can("twin-objects"):
            before = objects(session)
            with pytest.raises(TokenKeyError, match="no key 'epoch-kex' of this public point"):
                destroy_receiving_key(session, old)
            assert objects(session) == before
            return
        destroy_receiving_key(session, old)
        assert points(session) == set()
        left = [thing[:2] for thing in objects(session) if thing[1] == "epoch-kex"]
        assert left == [("PUBLIC_KEY", "epoch-kex")]


@needs(*P256, "open-public-objects")
@pytest.mark.case("X782", "stranger's point in the place of the one key that a dealer seals to")
@pytest.mark.parametrize("true_point_stays", [True, False])
def test_a_key_is_asked_for_by_its_point(bench: Bench, true_point_stays: bool) -> None:
    bench.seal_by(HPKE_P256)
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    planted = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with bench.session() as session:
        ensure_keys(session)
        own = receiving_key(session).public_point
        own_id = id_of(session, own)
        receiving_key_of(session, own).require_own_point()
    with bench.public_session() as public_session:
        (public,) = public_session.get_objects({Attribute.LABEL: "epoch-kex"})
        public.destroy()
        put_public(public_session, planted, own_id)
        if true_point_stays:  # beside no private key
            put_public(public_session, own, b"orphan")
    with bench.session() as session:
        with pytest.raises(TokenKeyError, match="the card's public point"):
            receiving_key_of(session, own)
        with pytest.raises(ProvenanceError, match="of another key"):
            receiving_key_of(session, planted)


@needs(*KEYS)
@pytest.mark.case("X608", "token that keeps a key which it was told to destroy")
def test_a_key_that_stays_is_told(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(session)
    point = receiving_key(session).public_point
    gone: list[str] = []

    class Kept:
        def destroy(self) -> None:
            gone.append("told")

    found = pairs_module._private_of
    monkeypatch.setattr(
        pairs_module,
        "_private_of",
        lambda *given: [Kept() if not gone else found(*given)[0]],
    )
    with pytest.raises(TokenError, match="still shows") as caught:
        destroy_receiving_key(session, point)
    assert "do not say" in caught.value.hint


@needs(*KEYS)
@pytest.mark.case("T5", "token pulled out between the two halves of a key that is destroyed")
def test_the_private_key_goes_first(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(session)
    point = receiving_key(session).public_point

    def public_of(*_: Any) -> list[Any]:
        raise exceptions.DeviceRemoved

    with monkeypatch.context() as patched:
        patched.setattr(pairs_module, "_public_of", public_of)
        with pytest.raises(TokenRemovedError, match="destroying key 'epoch-kex'"):
            destroy_receiving_key(session, point)
    assert [thing[0] for thing in objects(session) if thing[1] == "epoch-kex"] == ["PUBLIC_KEY"]
    with pytest.raises(TokenKeyError):
        destroy_receiving_key(session, point)


# The token's random bytes


def test_random_bytes_are_the_tokens(session: TokenSession) -> None:
    drawn = [token_random(session, count) for count in (16, 32, 32, 1024)]
    assert [len(secret) for secret in drawn] == [16, 32, 32, 1024]
    assert len({secret.expose().tobytes()[:16] for secret in drawn}) == 4
    assert all(len(set(secret.expose())) > 4 for secret in drawn)


@pytest.mark.parametrize("count", [-1, 0, 15, 1025])
def test_random_bytes_have_limits(session: TokenSession, count: int) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        token_random(session, count)


@pytest.mark.case("T9", "token returns constant randomness")
def test_a_constant_generator(session: TokenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[SecretBytes] = []

    def random(_: int, count: int) -> SecretBytes:
        given.append(SecretBytes(b"\x07" * count))
        return given[-1]

    monkeypatch.setattr(session.module, "random", random)
    with pytest.raises(TokenError, match="the same random bytes twice") as caught:
        token_random(session, 32)
    assert "0707" not in caught.value.line()
    for secret in given:
        with pytest.raises(ValueError, match="wiped"):
            secret.expose()


@pytest.fixture
def softhsm_session(softhsm: Any, softhsm_module: Module) -> Iterator[TokenSession]:
    with softhsm.session(softhsm_module) as session:
        yield session


class Functions:
    """A function list with one function; None is a NULL pointer."""

    def __init__(self, value: int | None) -> None:
        self.C_GenerateRandom: Callable[..., int] | None = (
            None if value is None else lambda *_: value
        )


@pytest.mark.softhsm
@pytest.mark.case("X609", "token without a generator: refused, not answered with zeros")
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, MechanismError),
        (0x54, MechanismError),
        (0x121, MechanismError),
        (0x32, TokenRemovedError),
        (0x30, TokenError),
        (0x80000001, TokenError),
    ],
)
def test_no_generator(
    softhsm_session: TokenSession,
    monkeypatch: pytest.MonkeyPatch,
    value: int | None,
    error: type[TokenError],
) -> None:
    real = softhsm_session.module._functions
    monkeypatch.setattr(softhsm_session.module, "_functions", Functions(value))
    try:
        with pytest.raises(TokenError, match="drawing random bytes") as caught:
            token_random(softhsm_session, 32)
    finally:
        softhsm_session.module._functions = real
    assert type(caught.value) is error


# A token that is fit for no ceremony


def restrict(softhsm: Any, mechanism: str) -> None:
    """Leave out one mechanism of those that a ceremony needs, and all others."""
    left = ",".join(name for name in CEREMONY_MECHANISMS if name != mechanism)
    config = softhsm.folder / "softhsm2.conf"
    config.write_text(config.read_text() + f"slots.mechanisms = {left}\n")


@needs("ecdsa-p256", "ecdh-p256")
def test_a_token_is_fit_for_ceremonies(session: TokenSession) -> None:
    require_ceremony_mechanisms(session)


@pytest.mark.softhsm
@pytest.mark.case("X610", "token whose own list lacks ECDH, ECDSA or key pairs")
@pytest.mark.parametrize("mechanism", list(CEREMONY_MECHANISMS))
def test_a_mechanism_is_missing(softhsm: Any, mechanism: str) -> None:
    softhsm.add_token("desk")
    restrict(softhsm, mechanism)
    with softhsm.load() as module, softhsm.session(module) as session:
        with pytest.raises(MechanismError, match=rf"does not offer {mechanism}$") as caught:
            require_ceremony_mechanisms(session)
        assert caught.value.code == "E_MECHANISM"
        assert objects(session) == []


def test_all_that_is_missing_is_named(session: TokenSession) -> None:
    class Slot:
        def get_mechanisms(self) -> set[int]:
            return {0x80001234}  # one of a vendor's own

    bare = dataclasses.replace(
        session,
        token=dataclasses.replace(session.token, slot=Slot()),  # type: ignore[arg-type]
    )
    with pytest.raises(MechanismError) as caught:
        require_ceremony_mechanisms(bare)
    assert all(name in caught.value.message for name in CEREMONY_MECHANISMS)

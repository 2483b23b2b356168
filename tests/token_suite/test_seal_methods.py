"""Every way to seal, through a real module: sealed without the token, opened with it alone."""

import dataclasses
import os
from typing import Any

import pytest

from signer.errors import (
    EncodingError,
    MechanismError,
    ProfileError,
    ProvenanceError,
    SealError,
    SignerError,
    TokenKeyError,
)
from signer.hsm.keys import (
    destroy_receiving_key,
    ensure_keys,
    identity_key,
    make_receiving_key,
    receiving_key,
    receiving_keys,
)
from signer.hsm.public_view import public_keys
from signer.hsm.receiving import RECEIVING_LABEL, ReceivingKey
from signer.recipient import (
    AES_256_GCM,
    HPKE_P256,
    METHODS,
    RSA_OAEP_SHA1,
    RSA_OAEP_SHA256,
    method_of,
)
from signer.sealing.envelope import Binding, Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.sealing.spare import add_slot
from signer.secret import SecretBytes
from tests.modules.bench import Bench
from tests.modules.under_test import SEALING

needs = pytest.mark.needs
WORKING = (HPKE_P256, RSA_OAEP_SHA1, AES_256_GCM)  # SoftHSM 2.6: OAEP with SHA-1 only
each_method = pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=needs(SEALING[name])) for name in METHODS],
)
SHARE = bytes(range(1, 33))
BINDING = Binding(
    group=bytes(32), epoch=1, index=1, public_share=bytes(48), role="withdrawal",
    policy_digest=bytes(32), holders=bytes(32), certificate=bytes(32),
)  # fmt: skip


@pytest.fixture(params=WORKING)
def device(request: pytest.FixtureRequest, softhsm: Any) -> Any:
    softhsm.profile = dataclasses.replace(
        softhsm.profile, seal_methods=(request.param,), ceremony=False
    )
    softhsm.add_token("desk")
    return softhsm


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def sealed(key: ReceivingKey) -> Envelope:
    recipients = [key.public_point]
    envelope = seal_share(SecretBytes(SHARE), BINDING, recipients, os.urandom, key.wraps)
    return Envelope.parse(envelope.to_bytes())


@each_method
def test_what_is_sealed_opens_and_nothing_else_does(bench: Bench, method: str) -> None:
    bench.seal_by(method)
    with bench.session() as session:
        key, other = make_receiving_key(session), make_receiving_key(session)
        key.require_own_point()
        assert key.method == method == method_of(key.public_point)
        assert key.provenance.proven is bench.profile.proven
        envelope = sealed(key)
        with unseal_share(envelope, BINDING, key.public_point, key.unlock) as share:
            assert bytes(share.expose()) == SHARE
        for wrong in (
            dataclasses.replace(envelope.slots[0], enc=flipped(envelope.slots[0].enc)),
            dataclasses.replace(envelope.slots[0], ciphertext=bytes(48)),
            sealed(other).slots[0],
        ):
            slot = dataclasses.replace(wrong, recipient=key.public_point)
            with pytest.raises(SealError) as refused:
                unseal_share(
                    dataclasses.replace(envelope, slots=(slot,)), BINDING, key.public_point,
                    key.unlock,
                )  # fmt: skip
            assert refused.value.code == "E_UNSEAL"
        moved = dataclasses.replace(BINDING, index=2)
        with pytest.raises(SealError) as refused:
            unseal_share(
                dataclasses.replace(envelope, binding=moved), moved, key.public_point, key.unlock
            )
        assert refused.value.code == "E_UNSEAL"
        for enc in (b"", bytes(5), envelope.slots[0].enc[:-1], bytes(600)):
            with pytest.raises(EncodingError if method == HPKE_P256 else SealError):
                key.unlock(enc, b"")
        with unseal_share(envelope, BINDING, key.public_point, key.unlock) as share:
            assert bytes(share.expose()) == SHARE  # a refusal leaves no operation behind


@needs("ecdsa-p256", "rsa-oaep-sha1")
def test_an_identity_key_signs_beside_a_key_that_unwraps(bench: Bench) -> None:
    bench.seal_by(RSA_OAEP_SHA1)
    with bench.session() as session:
        assert ensure_keys(session).made == ("id-sign", "epoch-kex")
        assert len(identity_key(session).sign(b"card")) == 64
        receiving_key(session).require_own_point()


@each_method
def test_keys_are_found_again_and_destroyed_one_by_one(bench: Bench, method: str) -> None:
    bench.seal_by(method)
    with bench.session() as session:
        first, second = make_receiving_key(session), make_receiving_key(session)
    with bench.session() as session:
        both = {first.public_point, second.public_point}
        assert {k.public_point for k in receiving_keys(session)} == both
        shown = public_keys(session.token, RECEIVING_LABEL, method)
        assert shown == (both if method != AES_256_GCM else set())  # a secret key shows nothing
        destroy_receiving_key(session, first.public_point)
        assert [k.public_point for k in receiving_keys(session)] == [second.public_point]
        with pytest.raises(TokenKeyError):
            destroy_receiving_key(session, first.public_point)


def test_a_spare_of_another_method_opens_the_same_share(device: Any) -> None:
    device.add_token("spare")
    primary = device.profile
    with device.load() as module:
        device.profile = dataclasses.replace(primary, seal_methods=(RSA_OAEP_SHA1,), ceremony=False)
        with device.session(module, "spare") as session:
            ensure_keys(session)
            point = receiving_key(session).public_point
        device.profile = primary
        with device.session(module, "desk") as session:
            ensure_keys(session)
            key = receiving_key(session)
            both = add_slot(sealed(key), SecretBytes(SHARE), point, os.urandom, key.wraps)
            if key.wraps:
                with pytest.raises(SealError, match="only its own token"):
                    add_slot(sealed(key), SecretBytes(SHARE), point, os.urandom)
        for label, profile in (("desk", primary), ("spare", device.profile)):
            method = primary.seal if label == "desk" else RSA_OAEP_SHA1
            device.profile = dataclasses.replace(profile, seal_methods=(method,), ceremony=False)
            with device.session(module, label) as session:
                key = receiving_key(session)
                with unseal_share(both, BINDING, key.public_point, key.unlock) as share:
                    assert bytes(share.expose()) == SHARE


@pytest.mark.case("X940", "OAEP with SHA-256 on a module that has SHA-1 only")
def test_a_method_that_the_token_lacks_is_noticed_at_setup(softhsm: Any) -> None:
    softhsm.profile = dataclasses.replace(
        softhsm.profile, seal_methods=(RSA_OAEP_SHA256,), ceremony=False
    )
    softhsm.add_token("desk")
    with softhsm.load() as module, softhsm.session(module) as session:
        with pytest.raises(MechanismError, match="rsa-oaep-sha256"):
            ensure_keys(session)
        assert list(session.session.get_objects({})) == []


@pytest.mark.case("X941", "RSA key on a token whose profile seals to P-256")
def test_a_key_of_another_method_is_no_key(softhsm: Any) -> None:
    softhsm.add_token("desk")
    rsa = dataclasses.replace(softhsm.profile, seal_methods=(RSA_OAEP_SHA1,), ceremony=False)
    plain, softhsm.profile = softhsm.profile, rsa
    with softhsm.load() as module:
        with softhsm.session(module) as session:
            ensure_keys(session)
        softhsm.profile = plain
        with softhsm.session(module) as session, pytest.raises(TokenKeyError) as refused:
            receiving_key(session)
        assert "--profile" in refused.value.hint


@pytest.mark.case("X942", "public RSA object exchanged for another key's")
def test_a_strange_rsa_key_is_found_out(softhsm: Any) -> None:
    from pkcs11.constants import Attribute, ObjectClass

    softhsm.profile = dataclasses.replace(
        softhsm.profile, seal_methods=(RSA_OAEP_SHA1,), ceremony=False
    )
    softhsm.add_token("desk")
    with softhsm.load() as module, softhsm.session(module) as session:
        ensure_keys(session)
        good, other = receiving_key(session), make_receiving_key(session)
        with session.writable() as writable:
            halves = {
                half[Attribute.ID]: half
                for half in list(
                    writable.get_objects(
                        {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "epoch-kex"}
                    )
                )
            }
            (a, one), (b, two) = halves.items()
            one[Attribute.ID], two[Attribute.ID] = b"\0" * 16, a
            one[Attribute.ID] = b
        for key in receiving_keys(session):
            assert key.public_point in (good.public_point, other.public_point)
            with pytest.raises(ProvenanceError, match="another key"):
                key.require_own_point()


class Answering:
    """A module's function list, of which two functions only answer."""

    def __init__(self, real: Any, init: int, decrypt: int) -> None:
        self._real, self._answers = real, {"C_DecryptInit": init, "C_Decrypt": decrypt}

    def __getattr__(self, name: str) -> Any:
        if name in self._answers:
            return lambda *_: self._answers[name]
        return getattr(self._real, name)


@pytest.mark.case("X898", "CKR_ARGUMENTS_BAD of a parameter, and of a ciphertext, as NSS says it")
@pytest.mark.parametrize(
    ("init", "decrypt", "error"),
    [
        (0x07, 0x00, MechanismError),
        (0x71, 0x00, MechanismError),
        (0x00, 0x07, SealError),
        (0x00, 0x40, SealError),
        (0x00, 0x05, SealError),
    ],
)
def test_bad_arguments_are_of_the_method_or_of_the_data(
    softhsm: Any,
    monkeypatch: pytest.MonkeyPatch,
    init: int,
    decrypt: int,
    error: type[SignerError],
) -> None:
    softhsm.profile = dataclasses.replace(
        softhsm.profile, seal_methods=(AES_256_GCM,), ceremony=False
    )
    softhsm.add_token("desk")
    with softhsm.load() as module, softhsm.session(module) as session:
        key = make_receiving_key(session)
        with monkeypatch.context() as patched:
            answering = Answering(module._functions, init, decrypt)
            patched.setattr(module, "_functions", answering)
            with pytest.raises(error) as caught:
                key.unlock(bytes(60), b"")
        assert type(caught.value) is error


@pytest.mark.case("X947", "profile that seals by a PIN-protected object: no key is made")
def test_a_pin_is_no_seal(softhsm: Any) -> None:
    softhsm.add_token("desk")
    weak = {"seal_methods": ("pin-protected",), "allow_weak": True, "ceremony": False}
    softhsm.profile = dataclasses.replace(softhsm.profile, **weak)
    with softhsm.load() as module, softhsm.session(module) as session:
        with pytest.raises(ProfileError, match="is not sealing"):
            make_receiving_key(session)
        with pytest.raises(ProfileError, match="is not sealing"):
            ensure_keys(session)
        assert list(session.session.get_objects({})) == []

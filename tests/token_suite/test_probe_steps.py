"""Steps of a probe on SoftHSM whose answers are made false in this process, each in one way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11 import exceptions
from pkcs11.constants import Attribute
from pkcs11.mechanisms import KeyType

from signer.errors import SealError
from signer.hsm.probe import bench as bench_module
from signer.hsm.probe import origins, seals
from signer.hsm.probe.bench import LABEL_PREFIX, OPEN, Bench
from signer.hsm.probe.run import run_step
from signer.hsm.provenance import read_attributes
from signer.hsm.receiving import ReceivingKey
from signer.secret import SecretBytes
from signer.testing.provision import session_here
from signer.testing.softhsm import USER_PIN, SoftHSM

pytestmark = pytest.mark.softhsm


@pytest.fixture
def bench(softhsm_tokens: Callable[..., SoftHSM]) -> Iterator[Bench]:
    """Yield a bench on a token without keys; nothing may be on it afterwards."""
    token = softhsm_tokens("desk")
    with session_here(token) as session:
        made = Bench(session, f"{LABEL_PREFIX}01234567", store=False)
        yield made
        made.close()
        assert list(session.session.get_objects({Attribute.LABEL: made.label})) == []
        assert list(session.session.get_objects({Attribute.TOKEN: True})) == []


def outcome(bench: Bench, step: str) -> tuple[str, str]:
    seen = run_step(step, bench, None)
    return seen.outcome, seen.detail


def test_the_steps_work_as_they_are(bench: Bench) -> None:
    for step in ("aes-256-gcm", "p256-imported", "p256-extractable", "rsa-made", "hpke-p256"):
        assert outcome(bench, step)[0] == "works", step


# AES-GCM


def unlocking(monkeypatch: pytest.MonkeyPatch, forgives: Callable[[bytes, bytes], Any]) -> None:
    """Have a token's unlocking changed: what it is given goes through `forgives` first."""
    honest = ReceivingKey.unlock

    def unlock(self: ReceivingKey, enc: bytes, aad: bytes) -> SecretBytes:
        return honest(self, *forgives(enc, aad))

    monkeypatch.setattr(ReceivingKey, "unlock", unlock)


def test_associated_data_that_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    unlocking(monkeypatch, lambda enc, aad: (enc, seals._AAD))
    assert outcome(bench, "aes-256-gcm") == ("wrong", "wrong associated data is taken")


def test_a_tag_that_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    first: list[bytes] = []

    def forgive(enc: bytes, aad: bytes) -> tuple[bytes, bytes]:
        first.append(enc)
        return first[0], aad

    unlocking(monkeypatch, forgive)
    assert outcome(bench, "aes-256-gcm") == ("wrong", "a changed tag is taken")


@pytest.mark.parametrize("where", ["data", "aad"])
def test_a_cipher_that_is_another_than_the_hosts(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, where: str
) -> None:
    class OtherGcm:
        def __init__(self, key: bytes) -> None:
            self._honest = AESGCM(key)

        def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
            if where == "data":
                return self._honest.encrypt(nonce, data[::-1], aad)
            return self._honest.encrypt(nonce, data, aad + b"!")

    monkeypatch.setattr(seals, "AESGCM", OtherGcm)
    assert outcome(bench, "aes-256-gcm") == ("wrong", "it does not open what the host sealed")


def test_a_token_that_takes_no_keys_is_compared_with_itself(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    def refuse(self: Bench, template: Any) -> Any:
        raise exceptions.AttributeValueInvalid

    monkeypatch.setattr(Bench, "bring", refuse)
    seen = run_step("aes-256-gcm", bench, None)
    assert (seen.outcome, seen.detail) == ("works", "opened what it sealed itself")
    assert "host_checked" not in seen.facts


# Where keys come from


def lying(monkeypatch: pytest.MonkeyPatch, **says: bool) -> None:

    def read(key: Any, attributes: Any) -> Any:
        return {
            **read_attributes(key, attributes),
            **{Attribute[name]: is_ for name, is_ in says.items()},
        }

    monkeypatch.setattr(origins, "read_attributes", read)


@pytest.mark.parametrize("family", ["p256", "aes"])
@pytest.mark.parametrize("name", ["LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"])
def test_each_lie_about_a_key_that_was_brought_in(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, family: str, name: str
) -> None:
    lying(monkeypatch, **{name: True})
    kind, words = outcome(bench, f"{family}-imported")
    assert (kind, words.split(": ")[1]) == ("wrong", f"{name} True")


@pytest.mark.parametrize("family", ["p256", "aes"])
@pytest.mark.parametrize("name", ["ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"])
def test_each_lie_about_a_key_that_could_leave(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, family: str, name: str
) -> None:
    lying(monkeypatch, **{name: True})
    kind, words = outcome(bench, f"{family}-extractable")
    assert (kind, words.split(": ")[1]) == ("wrong", f"{name} True")


@pytest.mark.parametrize("family", ["p256", "aes", "rsa"])
@pytest.mark.parametrize(
    ("name", "says"),
    [("LOCAL", False), ("ALWAYS_SENSITIVE", False), ("NEVER_EXTRACTABLE", False),
     ("SENSITIVE", False), ("EXTRACTABLE", True)],
)  # fmt: skip
def test_what_a_key_made_on_it_must_say(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, family: str, name: str, says: bool
) -> None:
    lying(monkeypatch, **{name: says})
    kind, words = outcome(bench, f"{family}-made")
    assert (kind, words.split(": ")[1]) == ("wrong", f"{name} {says}")


# What is made


def test_a_session_key_that_the_token_stored_is_destroyed_and_told(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.setattr(bench_module, "_is_stored", lambda key: True)
    for step in ("p256-keys", "aes-keys", "data-objects", "p256-imported"):
        kind, words = outcome(bench, step)
        assert (kind, "made a token object" in words) == ("wrong", True), step
    search = {Attribute.LABEL: bench.label}
    assert list(bench.session.session.get_objects(search)) == []


def test_a_token_that_wants_no_usage_named(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    honest = Bench._generate

    def generate(self: Bench, kind: str, protection: Any, *, explicit: bool) -> Any:
        if explicit:
            raise exceptions.TemplateInconsistent
        return honest(self, kind, protection, explicit=explicit)

    monkeypatch.setattr(Bench, "_generate", generate)
    for family in ("p256", "aes", "rsa"):
        seen = run_step(f"{family}-keys", bench, None)
        assert seen.outcome == "works"
        assert seen.facts["explicit_refused"] is True


def test_a_key_is_refused_with_the_first_return_value(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    def generate(self: Bench, kind: str, protection: Any, *, explicit: bool) -> Any:
        raise (exceptions.MechanismInvalid if explicit else exceptions.TemplateIncomplete)

    monkeypatch.setattr(Bench, "_generate", generate)
    assert run_step("aes-keys", bench, None).code == "CKR_MECHANISM_INVALID"


def test_a_session_key_is_made_in_a_session_that_may_not_write(bench: Bench) -> None:
    """The token itself refuses to store what is made there."""
    bench.key("sign")
    with pytest.raises(exceptions.SessionReadOnly):
        Bench(bench.session, bench.label, store=False).handles.generate_key(
            KeyType.AES, 256, store=True
        )
    assert bench.make("aes", OPEN).private[Attribute.TOKEN] is False


# Errors


def test_an_error_tells_not_whose_token_it_is(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    name = bench.session.token.describe()

    def fail(self: ReceivingKey, enc: bytes, aad: bytes) -> SecretBytes:
        raise SealError(f"{name} gave 31 bytes{suffix}")

    monkeypatch.setattr(ReceivingKey, "unlock", fail)
    suffix = ""
    assert outcome(bench, "hpke-p256") == ("wrong", "it gave 31 bytes")
    suffix = f" in {bench.session.token.serial}"
    assert outcome(bench, "hpke-p256") == ("wrong", "SealError")


def test_a_step_after_a_lost_login_is_not_tried(bench: Bench) -> None:
    bench.logged_in = False
    assert outcome(bench, "random") == ("skipped", "not logged in any more")
    bench.logged_in = True
    assert outcome(bench, "login-again") == ("skipped", "the PIN is not given again")
    with SecretBytes(USER_PIN.encode()) as pin:
        assert run_step("second-login", bench, pin).code == "CKR_USER_ALREADY_LOGGED_IN"
        assert run_step("login-again", bench, pin).outcome == "works"

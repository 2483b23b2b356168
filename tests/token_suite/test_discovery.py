"""Exactly one token, or an error that says what to do."""

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import exceptions

from signer.errors import TokenAmbiguousError, TokenError, TokenNotFoundError, UnknownTokenError
from signer.hsm.discovery import TokenSelector, find_token, list_tokens, require_profile
from signer.hsm.module import load_module
from signer.hsm.session import open_session
from signer.hsm.uri import TokenUri, uri_of
from tests.conftest import unavailable
from tests.modules.bench import Bench

needs = pytest.mark.needs
P11_KIT_TRUST = Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-trust.so")


def test_a_token_says_what_it_is(bench: Bench) -> None:
    token = bench.token()
    assert token.label == bench.label
    assert token.initialized
    assert token.user_pin_set
    flags = (token.locked, token.final_try, token.count_low, token.protected_auth)
    assert flags == (False,) * 4
    assert find_token(bench.module, TokenSelector(bench.label, token.serial)) == token
    require_profile(token, bench.profile)


@needs("only-token")
def test_the_only_token(bench: Bench) -> None:
    assert find_token(bench.module, TokenSelector()) == bench.token()


@needs("own-serial")
def test_a_token_is_found_by_its_serial(bench: Bench) -> None:
    token = bench.token()
    assert find_token(bench.module, TokenSelector(serial=token.serial)) == token


@pytest.mark.case("T4", "token absent: says which are there")
def test_absent(bench: Bench) -> None:
    for selector in (
        TokenSelector(bench.label.upper() + "."),
        TokenSelector(serial="0"),
        TokenSelector(bench.label, "0"),
        TokenSelector(""),
    ):
        with pytest.raises(TokenNotFoundError) as caught:
            find_token(bench.module, selector)
        assert f"'{uri_of(bench.token())}'" in caught.value.message


@pytest.mark.softhsm
@pytest.mark.case("T4", "two tokens with one label, or no choice among two")
def test_two_with_one_label(softhsm: Any) -> None:
    softhsm.add_token("desk")
    softhsm.add_token("desk")
    with softhsm.load() as module:
        serials = [token.serial for token in list_tokens(module) if token.initialized]
        for selector in (TokenSelector("desk"), TokenSelector()):
            with pytest.raises(TokenAmbiguousError, match="2 tokens") as caught:
                find_token(module, selector)
            assert "by its URI" in caught.value.hint
            assert all(serial in caught.value.message for serial in serials)
        for serial in serials:
            assert find_token(module, TokenSelector("desk", serial)).serial == serial


@pytest.mark.softhsm
@pytest.mark.case("X929", "two tokens with one label, told apart by the serial in a URI")
def test_two_with_one_label_have_two_uris(softhsm: Any) -> None:
    softhsm.add_token("desk")
    softhsm.add_token("desk")
    with softhsm.load() as module:
        twins = [token for token in list_tokens(module) if token.initialized]
        with pytest.raises(TokenAmbiguousError) as caught:
            find_token(module, by_uri("pkcs11:token=desk"))
        for token in twins:
            uri = uri_of(token)
            assert uri is not None
            assert f"'{uri}'" in caught.value.message
            serial, slot = token.serial, token.slot_id
            for said in (
                uri,
                f"pkcs11:token=desk;serial={serial}",
                f"pkcs11:serial={serial};slot-id={slot}",
                f"pkcs11:token=desk;slot-id={slot}",
            ):
                assert find_token(module, by_uri(said)) == token
                assert find_token(module, by_uri(said)).serial == serial
        first, second = twins
        with pytest.raises(TokenNotFoundError, match="slot id"):
            find_token(module, by_uri(f"pkcs11:serial={first.serial};slot-id={second.slot_id}"))


@pytest.mark.softhsm
def test_p11tool_prints_the_same_uri(softhsm: Any) -> None:
    tool = shutil.which("p11tool")
    if tool is None:
        unavailable("p11tool (gnutls-bin) is not installed")
    softhsm.add_token("two words; 100% ä")
    command = [tool, "--provider", softhsm.module, "--list-token-urls"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    with softhsm.load() as module:
        token = find_token(module, TokenSelector("two words; 100% ä"))
        uri = uri_of(token)
        assert [line for line in done.stdout.split() if "token=two" in line] == [uri]
        assert find_token(module, by_uri(str(uri))) == token


def by_uri(text: str) -> TokenSelector:
    uri = TokenUri.parse(text, "uri")
    return TokenSelector(uri.label, uri.serial, uri.manufacturer, uri.model, uri.slot_id)


@pytest.mark.softhsm
@pytest.mark.case("X150", "SoftHSM's free slot: not chosen unasked, and says how to initialise")
def test_free_slot(softhsm: Any) -> None:
    with softhsm.load() as module:
        (token,) = list_tokens(module)
        assert not token.initialized
        with pytest.raises(TokenNotFoundError, match="not initialised"):
            find_token(module, TokenSelector())
        with (
            pytest.raises(TokenError) as caught,
            open_session(module, token, softhsm.profile, softhsm.pin_file()),
        ):
            pass
        assert softhsm.profile.initialise in caught.value.hint


@pytest.mark.case("X173", "token that the profile does not describe: named, left unchanged")
@pytest.mark.parametrize("field", ["manufacturer", "model"])
def test_unknown_token(bench: Bench, field: str) -> None:
    before = bench.contents()
    token = bench.token()
    match = dataclasses.replace(bench.profile.match, **{field: "Other"})
    with pytest.raises(UnknownTokenError) as caught:
        require_profile(token, dataclasses.replace(bench.profile, name="other", match=match))
    assert repr(token.model) in caught.value.line()
    assert "left unchanged" in caught.value.line()
    assert "--profile" in caught.value.hint
    assert bench.contents() == before


@pytest.mark.skipif(not P11_KIT_TRUST.exists(), reason="p11-kit is not installed")
@pytest.mark.case("X173", "p11-kit's trust store, a real token that no profile describes")
def test_trust_store_is_unknown(fake_desk: Any) -> None:
    with load_module(P11_KIT_TRUST) as module:
        tokens = list_tokens(module)
        assert tokens
        for token in tokens:
            with pytest.raises(UnknownTokenError):
                require_profile(token, fake_desk.profile)


@pytest.mark.case("X174", "one broken slot does not hide the others")
@pytest.mark.parametrize(
    "error",
    [
        exceptions.DeviceError(),
        exceptions.TokenNotRecognised(),
        UnicodeDecodeError("x", b"", 0, 0, ""),
    ],
)
def test_broken_slot(fake_desk: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Broken:
        def get_token(self) -> None:
            raise error

    good = fake_desk.module
    monkeypatch.setattr(good, "slots", lambda: [Broken(), good, Broken()])
    assert [token.label for token in list_tokens(good.as_module())] == ["desk"]


@pytest.mark.case("X174", "module that cannot list its slots")
def test_broken_module(fake_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def slots() -> None:
        raise exceptions.GeneralError

    monkeypatch.setattr(fake_desk.module, "slots", slots)
    with pytest.raises(TokenError, match="listing tokens on module"):
        list_tokens(fake_desk.module.as_module())


@pytest.mark.case("X175", "token label with escapes, newlines, right-to-left marks")
def test_labels_are_safe_to_print(fake_desk: Any) -> None:
    fake_desk.module.label = "a\x1b[31m\n\u202eb"
    module = fake_desk.module.as_module()
    with pytest.raises(TokenNotFoundError) as caught:
        find_token(module, TokenSelector("\u202ex\n"))
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()

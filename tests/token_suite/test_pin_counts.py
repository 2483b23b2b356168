"""A PIN is tried once, or not at all. On a token in memory, where counting is exact."""

import dataclasses
from typing import Any

import pytest
from pkcs11 import exceptions
from pkcs11.constants import TokenFlag

from signer.errors import PinError, PinFinalTryError, PinLockedError, TokenError, TokenRemovedError
from signer.hsm.discovery import list_tokens
from signer.hsm.profile import load_profile
from signer.hsm.session import open_session


def test_right_pin_is_tried_once_and_everything_is_closed(fake_desk: Any) -> None:
    with fake_desk.open() as session:
        assert fake_desk.module.logged_in
        assert session.token.label == "desk"
    assert fake_desk.module.tries == [b"1234"]
    assert not fake_desk.module.logged_in
    assert fake_desk.module.open_sessions == 0


def test_logged_out_when_the_block_fails(fake_desk: Any) -> None:
    with pytest.raises(RuntimeError, match="mine"), fake_desk.open():
        raise RuntimeError("mine")
    assert not fake_desk.module.logged_in
    assert fake_desk.module.open_sessions == 0


@pytest.mark.case("T1", "wrong PIN once: one try, no session left open")
def test_wrong_pin_is_tried_once(fake_desk: Any) -> None:
    fake_desk.pin.pin = b"9999"
    with pytest.raises(PinError) as caught, fake_desk.open():
        pytest.fail("opened with a wrong PIN")
    assert caught.value.code == "E_PIN_REFUSED"
    assert fake_desk.module.tries == [b"9999"]
    assert fake_desk.module.open_sessions == 0
    assert "9999" not in caught.value.line()


@pytest.mark.case("T1", "wrong PIN with the count low, at the final try, at the lock: it says so")
@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (TokenFlag.USER_PIN_COUNT_LOW, "few tries left"),
        (TokenFlag.USER_PIN_FINAL_TRY, "locks on the next"),
        (TokenFlag.USER_PIN_LOCKED, "is locked now"),
    ],
)
def test_refusal_says_what_the_counter_says(fake_desk: Any, flag: TokenFlag, words: str) -> None:
    fake_desk.pin.pin = b"9999"
    fake_desk.module.flags_after_refusal = flag
    with pytest.raises(PinError, match=words) as caught, fake_desk.open():
        pass
    assert caught.value.code == "E_PIN_REFUSED"
    assert len(fake_desk.module.tries) == 1


@pytest.mark.case("X877", "wrong PIN on a kind of token that locks and tells nothing before")
@pytest.mark.parametrize(("tries", "words"), [(3, "locks after 3 in a row"), (None, "kind locks")])
def test_refusal_by_a_token_that_locks_without_a_flag(
    fake_desk: Any, tries: int | None, words: str
) -> None:
    fake_desk.pin.pin = b"9999"
    fake_desk.profile = dataclasses.replace(fake_desk.profile, pin_lock="silent", pin_tries=tries)
    with pytest.raises(PinError, match=f"{words} without a warning") as caught, fake_desk.open():
        pass
    assert caught.value.code == "E_PIN_REFUSED"
    fake_desk.profile = load_profile("softhsm2")
    with pytest.raises(PinError) as caught, fake_desk.open():
        pass
    assert "warning" not in caught.value.message


@pytest.mark.case("T1", "final try: the PIN is not even asked for")
def test_final_try_is_not_used_up(fake_desk: Any) -> None:
    fake_desk.module.flags |= TokenFlag.USER_PIN_FINAL_TRY
    with pytest.raises(PinFinalTryError), fake_desk.open():
        pass
    assert (fake_desk.module.tries, fake_desk.pin.asked) == ([], 0)
    assert fake_desk.module.open_sessions == 0


@pytest.mark.case("T1", "locked PIN: the PIN is not even asked for")
def test_locked_is_not_tried(fake_desk: Any) -> None:
    fake_desk.module.flags |= TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_FINAL_TRY
    with pytest.raises(PinLockedError), fake_desk.open():
        pass
    assert (fake_desk.module.tries, fake_desk.pin.asked) == ([], 0)


@pytest.mark.case("T1", "locked between the look and the login")
def test_locked_at_login(fake_desk: Any) -> None:
    fake_desk.module.login_error = exceptions.PinLocked()
    with pytest.raises(PinLockedError), fake_desk.open():
        pass
    assert len(fake_desk.module.tries) == 1
    assert fake_desk.module.open_sessions == 0


def test_flags_are_read_anew(fake_desk: Any) -> None:
    module = fake_desk.module.as_module()
    seen_before = list_tokens(module)[0]
    fake_desk.module.flags |= TokenFlag.USER_PIN_LOCKED
    with (
        pytest.raises(PinLockedError),
        open_session(module, seen_before, fake_desk.profile, fake_desk.pin),
    ):
        pass


@pytest.mark.case("T2", "PIN shorter or longer than the token takes: not tried")
@pytest.mark.parametrize("pin", [b"123", b"1" * 256, b"1" * 300])
def test_length_is_checked_before_a_try(fake_desk: Any, pin: bytes) -> None:
    fake_desk.pin.pin = pin
    with pytest.raises(PinError) as caught, fake_desk.open():
        pass
    assert caught.value.code == "E_PIN_LENGTH"
    assert fake_desk.module.tries == []
    assert fake_desk.module.open_sessions == 0


@pytest.mark.case("T2", "empty PIN: not tried")
def test_empty_pin(fake_desk: Any) -> None:
    fake_desk.pin.pin = b""
    with pytest.raises(PinError) as caught, fake_desk.open():
        pass
    assert caught.value.code == "E_PIN_EMPTY"
    assert fake_desk.module.tries == []


@pytest.mark.case("X150", "token not initialised, or without a user PIN: the command is named")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (TokenFlag(0), "softhsm2-util --init-token"),
        (TokenFlag.TOKEN_INITIALIZED, "no user PIN"),
    ],
)
def test_unusable_token(fake_desk: Any, flags: TokenFlag, words: str) -> None:
    fake_desk.module.flags = flags
    with pytest.raises(TokenError) as caught, fake_desk.open():
        pass
    assert words in caught.value.line()
    assert fake_desk.pin.asked == 0


@pytest.mark.case("T4", "token swapped for another with the same label")
def test_swapped_token(fake_desk: Any) -> None:
    module = fake_desk.module.as_module()
    seen_before = list_tokens(module)[0]
    fake_desk.module.serial = b"0002"
    with (
        pytest.raises(TokenRemovedError, match="now holds"),
        open_session(module, seen_before, fake_desk.profile, fake_desk.pin),
    ):
        pass
    assert fake_desk.module.tries == []


@pytest.mark.case("T5", "device removed, session gone, function failed at login")
@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (exceptions.DeviceRemoved(), TokenRemovedError),
        (exceptions.SessionHandleInvalid(), TokenRemovedError),
        (exceptions.FunctionFailed(), TokenError),
    ],
)
def test_device_faults_at_login(
    fake_desk: Any, foreign: exceptions.PKCS11Error, ours: type[TokenError]
) -> None:
    fake_desk.module.login_error = foreign
    with pytest.raises(ours, match="logging in on token 'desk'"), fake_desk.open():
        pass
    assert len(fake_desk.module.tries) == 1
    assert fake_desk.module.open_sessions == 0

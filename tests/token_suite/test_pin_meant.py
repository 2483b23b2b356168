"""A PIN is tried only on the token it is for, and only where the token takes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pkcs11.constants import TokenFlag
from pkcs11.exceptions import PKCS11Error

from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker.desk_token import session_on
from signer.errors import PinError, PinFinalTryError, PinLockedError, SignerError, TokenKeyError
from signer.hsm.discovery import TokenInfo, TokenSelector, find_token, list_tokens
from signer.hsm.keys import ensure_keys, receiving_key
from signer.hsm.pin import PinPad
from signer.hsm.session import handle_of, open_session

OTHERS_POINT = b"\x04" + b"\x11" * 64


class Desk:
    """One SoftHSM token with keys, and a PIN file that is wrong: a try of it shows in the flags.

    The module is loaded anew for each look, as an order does.
    """

    def __init__(self, softhsm: Any) -> None:
        self.softhsm = softhsm
        softhsm.add_token("desk")
        self.choice = TokenChoice(
            profile=softhsm.profile, module=str(softhsm.module), label="desk"
        )  # fmt: skip
        self.wrong = str(softhsm.pin_file(b"99999").path)
        self.right = str(softhsm.pin_file().path)

    def make_keys(self) -> bytes:
        """Make the holder's keys; return the receiving key's point."""
        with self.softhsm.load() as module, self.softhsm.session(module) as session:
            ensure_keys(session)
            return receiving_key(session).public_point

    def look(self) -> TokenInfo:
        with self.softhsm.load() as module:
            return find_token(module, TokenSelector("desk"))

    def refuse(self, source: SecretSource, **options: Any) -> SignerError:
        """Open with `source`, which must be refused; return the error."""
        with pytest.raises(SignerError) as caught, session_on(self.choice, source, **options):
            pytest.fail("the token opened")
        return caught.value


@pytest.fixture
def desk(softhsm: Any) -> Iterator[Desk]:
    desk = Desk(softhsm)
    assert not desk.look().count_low
    yield desk
    # What every test here relies on: a try of this PIN would have shown.
    assert desk.refuse(SecretSource(file=desk.wrong)).code == "E_PIN_REFUSED"
    assert desk.look().count_low


@pytest.mark.softhsm
@pytest.mark.case("T4", "PIN bound to another token's serial: not tried, not even read")
def test_a_pin_of_another_token_is_not_tried(desk: Desk, tmp_path: Path) -> None:
    for path in (desk.wrong, str(tmp_path / "absent")):
        error = desk.refuse(SecretSource(file=path, serial="0badc0de"))
        assert isinstance(error, PinError)
        assert (error.code, error.exit_status) == ("E_PIN_SERIAL", 7)
        assert "0badc0de" in error.line()
    before = desk.look()
    assert not before.count_low
    with session_on(desk.choice, SecretSource(file=desk.right, serial=before.serial)):
        pass


@pytest.mark.softhsm
@pytest.mark.case("T4", "token with keys, none of which the envelope is for: no PIN is tried")
def test_a_token_with_other_keys_is_not_tried(desk: Desk) -> None:
    point = desk.make_keys()
    error = desk.refuse(SecretSource(file=desk.wrong), among=(OTHERS_POINT,))
    assert isinstance(error, TokenKeyError)
    assert "no PIN was tried" in error.line()
    assert not desk.look().count_low
    among = (OTHERS_POINT, point)
    with session_on(desk.choice, SecretSource(file=desk.right), among=among):
        pass


@pytest.mark.softhsm
def test_a_token_that_shows_no_key_is_asked(desk: Desk) -> None:
    """Some tokens hide public keys from whoever is not logged in; the envelope then decides."""
    with session_on(desk.choice, SecretSource(file=desk.right), among=(OTHERS_POINT,)):
        pass


@pytest.mark.softhsm
@pytest.mark.case("X309", "PIN pad asked for on a token without one: no try")
def test_softhsm_has_no_pad(desk: Desk) -> None:
    error = desk.refuse(SecretSource(pad=True))
    assert isinstance(error, PinError)
    assert "has no PIN pad" in error.line()
    with desk.softhsm.load() as module:
        session = find_token(module, TokenSelector("desk")).slot.get_token().open()
        with pytest.raises(PKCS11Error):  # a login without a PIN is an error, no crash
            module.login(handle_of(session), None)
        session.close()
    assert not desk.look().count_low


# A PIN pad, on a token in memory


def on_pad(fake_desk: Any, *, final_try: bool = False) -> Any:
    module = fake_desk.module.as_module()
    token = list_tokens(module)[0]
    return open_session(module, token, fake_desk.profile, PinPad(), final_try=final_try)


def test_a_pin_typed_on_the_pad_logs_in(fake_desk: Any) -> None:
    fake_desk.module.flags |= TokenFlag.PROTECTED_AUTHENTICATION_PATH
    with on_pad(fake_desk):
        assert fake_desk.module.logged_in
    assert fake_desk.module.tries == [b"1234"]
    assert fake_desk.module.open_sessions == 0
    with fake_desk.open():  # one with a pad takes another source too, unless it says no itself
        assert fake_desk.module.logged_in


@pytest.mark.case("X309", "wrong PIN on the pad: tried once; no pad, last try, locked: not at all")
def test_a_pad_spends_no_more_than_others(fake_desk: Any) -> None:
    with pytest.raises(PinError, match="has no PIN pad"), on_pad(fake_desk):
        pass
    assert fake_desk.module.tries == []
    fake_desk.module.flags |= TokenFlag.PROTECTED_AUTHENTICATION_PATH
    fake_desk.module.typed_on_pad = b"9999"
    fake_desk.module.flags_after_refusal = TokenFlag.USER_PIN_FINAL_TRY
    with pytest.raises(PinError) as caught, on_pad(fake_desk):
        pass
    assert caught.value.code == "E_PIN_REFUSED"
    with pytest.raises(PinFinalTryError), on_pad(fake_desk):
        pass
    assert len(fake_desk.module.tries) == 1
    fake_desk.module.flags_after_refusal = TokenFlag.USER_PIN_LOCKED
    with pytest.raises(PinError), on_pad(fake_desk, final_try=True):
        pass
    for final_try in (False, True):
        with pytest.raises(PinLockedError), on_pad(fake_desk, final_try=final_try):
            pass
    assert len(fake_desk.module.tries) == 2
    assert fake_desk.module.open_sessions == 0

"""A wrong PIN on a token of each kind: one try each, and never the last one unasked.

SoftHSM and NSS never lock. opencryptoki and the token in memory say FINAL_TRY before they do. A TPM
says nothing and locks.
"""

import pytest

from signer.errors import PinError, PinFinalTryError, PinLockedError
from signer.hsm.session import open_session
from tests.modules.bench import Bench
from tests.token_suite.conftest import FixedPin

MANY = 12  # more wrong PINs than any token takes that locks


def login(bench: Bench, pin: FixedPin, *, final_try: bool = False) -> None:
    """Log in once, and out."""
    with open_session(bench.module, bench.token(), bench.profile, pin, final_try=final_try):
        return


def right(bench: Bench) -> FixedPin:
    return FixedPin(bench.under.pin.encode())


def refuse(bench: Bench, error: type[PinError], *, final_try: bool = False) -> FixedPin:
    """Offer a wrong PIN, which must end so; return the source, to see whether it was read."""
    source = FixedPin(b"99999")
    with pytest.raises(error) as caught:
        login(bench, source, final_try=final_try)
    assert type(caught.value) is error
    assert "99999" not in caught.value.line()
    return source


@pytest.mark.case("T1", "wrong PIN, then at FINAL_TRY, then LOCKED, on a token that locks")
def test_the_last_try_is_not_spent_unless_a_person_says_so(fresh_bench: Bench) -> None:
    bench = fresh_bench
    login(bench, right(bench))
    assert not bench.token().count_low
    if not bench.can("locks-pin"):
        never_locks(bench)
        found = "never"
    elif not bench.can("tells-pin-count"):
        locks_silently(bench)
        found = "silent"
    else:
        locks_by_flags(bench)
        found = "flags"
    if bench.under.own_profile:
        assert (bench.profile.pin_lock, bench.profile.pin_tries) == (found, bench.under.tries)


def locks_by_flags(bench: Bench) -> None:
    refuse(bench, PinError)
    assert bench.token().count_low
    refuse(bench, PinError)
    assert bench.token().final_try
    for _ in range(3):
        assert refuse(bench, PinFinalTryError).asked == 0
    assert bench.token().final_try
    assert not bench.token().locked
    login(bench, right(bench), final_try=True)  # he knew it: the count begins anew
    assert not bench.token().final_try
    for _ in range(2):
        refuse(bench, PinError)
    assert refuse(bench, PinError, final_try=True).asked == 1
    assert bench.token().locked
    for final_try in (False, True):
        assert refuse(bench, PinLockedError, final_try=final_try).asked == 0


def locks_silently(bench: Bench) -> None:
    """After so many tries, each told as refused, even the right PIN finds it locked."""
    assert bench.under.tries is not None
    for _ in range(bench.under.tries):
        refuse(bench, PinError)
        assert not bench.token().final_try
        assert not bench.token().locked
    with pytest.raises(PinLockedError) as caught:
        login(bench, right(bench))
    assert caught.value.code == "E_PIN_LOCKED"


def never_locks(bench: Bench) -> None:
    for _ in range(MANY):
        refuse(bench, PinError)
        now = bench.token()
        assert not now.final_try
        assert not now.locked
        assert now.count_low is bench.can("tells-pin-count")
    login(bench, right(bench))
    assert not bench.token().count_low


@pytest.mark.case("T14", "SO PIN given as the user PIN; a wrong PIN; then the right one works")
def test_an_so_pin_is_a_wrong_pin(fresh_bench: Bench) -> None:
    bench = fresh_bench
    for pin in (bench.under.so_pin or "76543210", bench.under.pin + "\n\n"):
        with (
            pytest.raises(PinError) as caught,
            open_session(bench.module, bench.token(), bench.profile, bench.pin_file(pin)),
        ):
            pass
        assert caught.value.code == "E_PIN_REFUSED"
        assert pin.strip() not in caught.value.line()
        tells = bench.can("tells-pin-count")
        assert ("left" in caught.value.message or "next" in caught.value.message) is tells
    with open_session(
        bench.module, bench.token(), bench.profile, bench.pin_file(bench.under.pin + "\n"),
        final_try=True,
    ) as session:  # fmt: skip
        now = session.token
        assert (now.count_low or now.final_try) is bench.can("tells-pin-count")
    assert not bench.token().count_low

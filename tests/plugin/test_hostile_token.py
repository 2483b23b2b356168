"""`hostile_token`: each kind of fault, made by a real module, is the right error of ours."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.errors import (
    ModuleError,
    PinFinalTryError,
    PinLockedError,
    ProvenanceError,
    SignerError,
    TokenError,
    TokenKeyError,
    TokenNotFoundError,
    TokenRemovedError,
)
from signer.hsm.discovery import TokenInfo, list_tokens
from signer.hsm.keys import (
    destroy_receiving_key,
    identity_key,
    make_receiving_key,
    receiving_key,
    receiving_keys,
    token_random,
)
from signer.hsm.module import load_module
from signer.hsm.session import handle_of
from signer.secret import SecretBytes
from signer.testing.hostile import build
from signer.testing.hostile.token import Ckr, HostileToken, Rule
from signer.testing.mint import TokenMint
from signer.testing.provision import make_keys, session_here

pytestmark = pytest.mark.softhsm


_READS_BEFORE_SECRET = 2  # that python-pkcs11 makes of a derived key, before we read its value


def work(hostile: HostileToken) -> None:
    """Do once what a worker does with a token: sign, and prove the receiving key by ECDH."""
    with session_here(hostile.token, hostile.module) as session:
        identity_key(session).sign(b"message")
        receiving_key(session).require_own_point()


def trouble(hostile: HostileToken) -> SignerError:
    with pytest.raises(SignerError) as failed:
        work(hostile)
    return failed.value


def seen(hostile: HostileToken) -> TokenInfo:
    with load_module(hostile.module) as module:
        (token,) = [token for token in list_tokens(module) if token.initialized]
    return token


@pytest.fixture
def calm(hostile_token: HostileToken) -> Iterator[HostileToken]:
    """Yield the token, and see that it works when it is told to behave again."""
    work(hostile_token)
    yield hostile_token
    hostile_token.calm()
    hostile_token.unlock()
    work(hostile_token)


def test_it_behaves_until_it_is_told_otherwise(hostile_token: HostileToken) -> None:
    work(hostile_token)
    assert hostile_token.faults == []


# Return values


# python-pkcs11 ends a search that never began, in a destructor that cannot raise
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.case("X732", "every call of a worker gives CKR_DEVICE_ERROR, one at a time")
@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("C_Initialize", "E_MODULE"),
        ("C_GetSlotList", "E_TOKEN"),
        ("C_GetSlotInfo", "E_TOKEN"),
        ("C_GetTokenInfo", "E_TOKEN_ABSENT"),
        ("C_OpenSession", "E_TOKEN"),
        ("C_Login", "E_TOKEN"),
        ("C_FindObjectsInit", "E_TOKEN"),
        ("C_FindObjects", "E_TOKEN"),
        ("C_GetAttributeValue", "E_TOKEN"),
        ("C_SignInit", "E_TOKEN"),
        ("C_Sign", "E_TOKEN"),
        ("C_DeriveKey", "E_TOKEN"),
        ("C_DestroyObject", "E_TOKEN"),
    ],
)
def test_a_call_that_fails_is_an_error_of_ours(
    calm: HostileToken, function: str, code: str
) -> None:
    calm.fail(function, Ckr.DEVICE_ERROR)
    assert trouble(calm).code == code
    assert {(fault.function, fault.action, fault.argument) for fault in calm.faults} == {
        (function, "return", Ckr.DEVICE_ERROR)
    }


@pytest.mark.parametrize("function", ["C_Logout", "C_CloseSession"])
def test_a_token_that_fails_at_the_end_changes_nothing(calm: HostileToken, function: str) -> None:
    calm.fail(function, Ckr.DEVICE_ERROR)
    work(calm)
    assert calm.faults


MEANINGS = {
    Ckr.HOST_MEMORY: (TokenError, "machine is out of memory"),
    Ckr.GENERAL_ERROR: (TokenError, "does not say why"),
    Ckr.FUNCTION_FAILED: (TokenError, "does not say why"),
    Ckr.DEVICE_MEMORY: (TokenError, "no room left"),
    Ckr.DEVICE_REMOVED: (TokenRemovedError, "went away"),
    Ckr.FUNCTION_CANCELED: (TokenError, "cancelled on the device"),
    Ckr.SESSION_CLOSED: (TokenRemovedError, "forgot the session"),
    Ckr.SESSION_HANDLE_INVALID: (TokenRemovedError, "forgot the session"),
    Ckr.OBJECT_HANDLE_INVALID: (TokenRemovedError, "forgot the session"),
    Ckr.OPERATION_ACTIVE: (TokenError, "another state"),
    Ckr.TOKEN_NOT_PRESENT: (TokenRemovedError, "went away"),
    Ckr.USER_NOT_LOGGED_IN: (TokenRemovedError, "no longer knows"),
    Ckr.MECHANISM_INVALID: (TokenError, "does not offer"),
    Ckr.VENDOR_DEFINED: (TokenError, "an error of its own (return value 0x80000001)"),
}


@pytest.mark.case("X733", "a signature fails with each return value of a token in trouble")
@pytest.mark.parametrize("value", MEANINGS, ids=lambda value: value.name)
def test_a_return_value_says_what_it_means(calm: HostileToken, value: Ckr) -> None:
    calm.fail("C_Sign", value)
    kind, words = MEANINGS[value]
    error = trouble(calm)
    assert isinstance(error, kind)
    assert error.message.startswith("signing on token 'hostile'")
    assert words in error.message
    assert error.hint


def test_rules_skip_and_end(calm: HostileToken) -> None:
    calm.fail("C_Sign", Ckr.DEVICE_ERROR, skip=1, times=2)
    results = []
    for _ in range(4):
        try:
            work(calm)
            results.append("ok")
        except TokenError as error:
            results.append(error.code)
    # python-pkcs11 asks for the length of a signature first: two calls for each one made
    assert results == ["E_TOKEN", "E_TOKEN", "ok", "ok"]
    assert len(calm.faults) == 2


def test_a_call_may_fail_after_it_was_carried_out(calm: HostileToken) -> None:
    """The key is made and the token says that it is not: found by the next who looks."""
    calm.fail("C_GenerateKeyPair", Ckr.DEVICE_ERROR, done=True, times=1)
    with session_here(calm.token, calm.module) as session:
        with pytest.raises(TokenError, match="making key 'epoch-kex'"):
            make_receiving_key(session)
        assert len(receiving_keys(session)) == 2
        destroy_receiving_key(session, receiving_keys(session)[0].public_point)


# The plug


@pytest.mark.case("X734", "a token unplugged before, between and during the calls of a worker")
def test_an_unplugged_token_is_absent_until_it_comes_back(calm: HostileToken) -> None:
    calm.unplug()
    assert isinstance(trouble(calm), TokenNotFoundError)
    calm.plug()
    work(calm)


@pytest.mark.parametrize("function", ["C_Login", "C_FindObjects", "C_Sign", "C_DeriveKey"])
def test_a_token_unplugged_in_the_middle_went_away(calm: HostileToken, function: str) -> None:
    calm.unplug_during(function, 60)
    assert isinstance(trouble(calm), TokenRemovedError)
    assert isinstance(trouble(calm), TokenNotFoundError)
    calm.calm()
    work(calm)


def test_a_session_of_before_is_gone_for_good(calm: HostileToken) -> None:
    with session_here(calm.token, calm.module) as session:
        key = identity_key(session)
        key.sign(b"before")
        calm.unplug()
        with pytest.raises(TokenRemovedError):
            key.sign(b"while it is out")
        calm.plug()
        with pytest.raises(TokenRemovedError):
            key.sign(b"plugged in again, and not logged in")


def test_it_comes_back_by_itself(calm: HostileToken) -> None:
    calm.unplug_during("C_Sign", 0.3)
    assert isinstance(trouble(calm), TokenRemovedError)
    time.sleep(0.35)
    work(calm)


# The PIN


@pytest.mark.case("X735", "wrong PINs are counted, warn before the last one, and lock")
def test_wrong_pins_count_down_and_lock(calm: HostileToken) -> None:
    right = calm.pin_file.read_text()
    calm.pin_file.write_text("wrong-1234\n")
    first = trouble(calm)
    assert first.code == "E_PIN_REFUSED"
    assert "counts few tries left" in first.message
    assert seen(calm).count_low
    second = trouble(calm)
    assert "locks on the next wrong one" in second.message
    assert isinstance(trouble(calm), PinFinalTryError)  # and nothing was tried
    assert seen(calm).final_try
    assert not seen(calm).locked
    calm.pin_file.write_text(right)
    assert isinstance(trouble(calm), PinFinalTryError)  # that is for a person to spend


def test_a_locked_token_refuses_even_the_right_pin(calm: HostileToken) -> None:
    calm.lock_after(1)
    assert isinstance(trouble(calm), PinFinalTryError)  # there was only one try from the start
    with load_module(calm.module) as module:
        (token,) = [token for token in list_tokens(module) if token.initialized]
        session = token.slot.get_token().open()
        with SecretBytes(b"wrong-1234") as pin, pytest.raises(Exception, match="0xa0"):
            module.login(handle_of(session), pin)
        with SecretBytes(b"demo-1234") as pin, pytest.raises(Exception, match="0xa4"):
            module.login(handle_of(session), pin)
    assert seen(calm).locked
    assert isinstance(trouble(calm), PinLockedError)
    calm.lock_after(3)


def test_the_right_pin_ends_the_count(calm: HostileToken) -> None:
    calm.refuse_pin(times=1)
    assert trouble(calm).code == "E_PIN_REFUSED"
    assert seen(calm).count_low
    work(calm)
    assert not seen(calm).count_low


# What it gives, cut and garbled


@pytest.mark.case("X736", "results and objects cut short by a module")
@pytest.mark.parametrize(
    ("function", "most", "kind", "words"),
    [
        ("C_Sign", 63, TokenError, "signature of 63 bytes"),
        ("C_Sign", 0, TokenError, "signature of 0 bytes"),
        ("C_FindObjects", 0, TokenKeyError, "has no key"),
        ("C_FindObjects", 1, TokenKeyError, "has no key|there is not one private key"),
        ("C_GetAttributeValue", 64, TokenKeyError, "not a point of P-256"),
        ("C_GetAttributeValue", 16, TokenKeyError, "not a point of P-256"),
    ],
)
def test_what_is_cut_short_is_refused(
    calm: HostileToken, function: str, most: int, kind: type[SignerError], words: str
) -> None:
    calm.truncate(function, most)
    error = trouble(calm)
    assert isinstance(error, kind)
    assert re.search(words, error.message)


@pytest.mark.case("X741", "attributes that python-pkcs11 itself cannot make sense of")
@pytest.mark.parametrize("most", [0, 3, None])
def test_attributes_without_sense_are_the_tokens_fault(
    calm: HostileToken, most: int | None
) -> None:
    if most is None:
        calm.garble("C_GetAttributeValue")
    else:
        calm.truncate("C_GetAttributeValue", most)
    assert isinstance(trouble(calm), TokenError)


@pytest.mark.case("X737", "an ECDH result cut short or garbled opens no envelope")
def test_a_false_ecdh_result_opens_nothing(calm: HostileToken) -> None:
    with session_here(calm.token, calm.module) as session:
        key = receiving_key(session)
        calm.truncate("C_GetAttributeValue", 31)
        with pytest.raises(TokenError, match="ECDH result of 31 bytes"):
            key.require_own_point()
        calm.calm()
        calm.garble("C_GetAttributeValue", skip=_READS_BEFORE_SECRET)
        with pytest.raises(ProvenanceError, match="of another key"):
            key.require_own_point()


def test_a_generator_that_repeats_is_noticed(calm: HostileToken) -> None:
    with session_here(calm.token, calm.module) as session:
        calm.truncate("C_GenerateRandom", 0)  # zeros, each time
        with pytest.raises(TokenError, match="same random bytes twice"):
            token_random(session, 32)


# Time, crashes


def test_latency_is_waited_for(calm: HostileToken) -> None:
    calm.delay("C_Login", 0.3)
    start = time.monotonic()
    work(calm)
    assert 0.3 <= time.monotonic() - start < 5


# Chance


def run_of(mint: TokenMint, folder: Path, seed: int) -> list[str]:
    """Return what forty rounds of work met on a fresh token with the storm of `seed`."""
    folder.mkdir()
    token = mint.token(folder / "token", "hostile")
    make_keys(token)
    hostile = HostileToken.in_front_of(token, folder / "hostile")
    kinds = [("C_Login", "return", Ckr.DEVICE_ERROR), ("C_DeriveKey", "return", Ckr.DATA_INVALID),
             ("C_Sign", "truncate", 60)]  # fmt: skip
    hostile.storm(seed, chance=0.2, kinds=kinds)
    for _ in range(40):
        try:
            work(hostile)
        except TokenError:
            continue
    return [f"{fault.function} {fault.action}" for fault in hostile.faults]


@pytest.mark.case("X738", "a storm of faults from a seed, twice the same")
def test_a_storm_is_its_seeds(softhsm_mint: TokenMint, tmp_path: Path) -> None:
    first, again, other = (
        run_of(softhsm_mint, tmp_path / name, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert first == again
    assert first != other
    assert 5 < len(first) < 40
    assert len(set(first)) == 3


# Orders and building


@pytest.mark.case("X739", "orders that the module does not understand: it does not guess")
@pytest.mark.parametrize(
    "line", ["rule C_Sgn 65536 0 1 return 48", "rule C_Sign return", "nonsense", "signer-hostile 2"]
)
def test_orders_that_are_none_make_the_module_useless(
    hostile_token: HostileToken, line: str
) -> None:
    orders = hostile_token.folder / "orders"
    orders.write_text(orders.read_text() + line + "\n")
    assert isinstance(trouble(hostile_token), ModuleError)


def test_too_many_rules_are_refused(hostile_token: HostileToken) -> None:
    hostile_token.rules = [Rule("C_Sign", "delay")] * 65
    with pytest.raises(ValueError, match="64 rules"):
        hostile_token.tell()


@pytest.mark.case("X740", "no C compiler, or one that fails: the error says what to install")
@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "cc -include /nonexistent.h"])
def test_without_a_compiler_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(ModuleError) as failed:
        build.built_module()
    assert "apt-get install gcc" in failed.value.line()
    assert not list(tmp_path.rglob("*.so"))


def test_it_is_built_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = build.built_module()
    before = path.stat()
    assert build.built_module().stat() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_table_of_functions_is_the_standards() -> None:
    """68 functions of PKCS#11 2.40; python-pkcs11 was built with the same header."""
    source = build.SOURCE.read_text()
    names = re.findall(r"F\((C_[A-Za-z]+),", source)
    assert len(names) == len(set(names)) == 68
    assert names.index("C_Login") == 18
    assert names.index("C_GetAttributeValue") == 24
    assert names.index("C_GenerateRandom") == 64


def test_faults_are_told_to_programs_that_run_already(hostile_token: HostileToken) -> None:
    """Another process, in a loop, meets the fault as soon as it is ordered."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from signer.hsm.module import load_module\n"
        "from signer.hsm.discovery import list_tokens\n"
        "with load_module(Path(sys.argv[1])) as module:\n"
        "    print('here', flush=True)\n"
        "    deadline = time.monotonic() + 20\n"
        "    while [t for t in list_tokens(module) if t.initialized]:\n"
        "        assert time.monotonic() < deadline\n"
        "print('gone', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(hostile_token.module)],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        hostile_token.unplug()
        assert process.stdout.readline() == "gone\n"

"""What a look at a token makes of what the token shows. Tokens in memory, changed by assignment."""

import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import exceptions
from pkcs11.constants import Attribute, ObjectClass, TokenFlag
from pkcs11.mechanisms import KeyType

from signer.custody.jobs import open_order, order_bytes
from signer.custody.jobs.sources import TokenChoice
from signer.custody.jobs.watching import Poll, Sight, WatchToken
from signer.custody.worker import watching
from signer.custody.worker.watching import look, watch_token
from signer.errors import ModuleError
from signer.hsm.profile import load_profile
from tests.simulators.holders import point_of

PROFILE = load_profile("softhsm2")
OURS, OTHER = (point_of(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
USABLE = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED


@dataclass
class Token:
    """A slot, its token and the token's session in one."""

    label: str = "desk"
    serial: bytes = b"0001"
    flags: TokenFlag = USABLE
    manufacturer_id: str = "SoftHSM project"
    model: str = "SoftHSM v2"
    points: list[bytes] = field(default_factory=lambda: [b"\x04\x41" + OURS])
    fails: dict[str, Exception] = field(default_factory=dict)  # by what is done
    slot_id: int = 7
    opened: int = 0
    searched: list[dict[Any, Any]] = field(default_factory=list)

    def _do(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def get_token(self) -> "Token":
        self._do("ask")
        return self

    def open(self, **options: Any) -> "Token":
        assert options == {}, "neither a PIN nor the right to write"
        self._do("open")
        self.opened += 1
        return self

    def close(self) -> None:
        self.opened -= 1

    def get_objects(self, wanted: dict[Any, Any]) -> Iterator[dict[Attribute, bytes]]:
        self._do("search")
        self.searched.append(wanted)
        for point in self.points:
            yield _Key(self, point)


class _Key(dict[Attribute, bytes]):
    def __init__(self, token: Token, point: bytes) -> None:
        super().__init__({Attribute.EC_POINT: point})
        self._token = token

    key_type = KeyType.EC

    def __getitem__(self, name: Attribute) -> bytes:
        self._token._do("read")
        return super().__getitem__(name)


class Desk:
    """A module with some tokens in it."""

    path = "/secret/place/module.so"

    def __init__(self, *tokens: Token) -> None:
        self.tokens = list(tokens)
        self.fails: Exception | None = None

    def slots(self) -> list[Token]:
        if self.fails is not None:
            raise self.fails
        return self.tokens


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(Token())
    monkeypatch.setattr(
        watching, "module_of", lambda choice: contextlib.nullcontext((desk, choice.profile))
    )
    yield desk
    assert [token.opened for token in desk.tokens] == [0] * len(desk.tokens)  # no session is left


def seen(serial: str | None = None, **choice: Any) -> Sight:
    chosen = TokenChoice(profile=PROFILE, **(choice or {"label": "desk"}))
    sight = look(chosen, serial, (OURS,))
    assert Sight.parse(sight.to_line()) == sight
    assert "/" not in sight.reason
    return sight


def test_a_token_that_can_be_used_is_ready(desk: Desk) -> None:
    assert seen() == Sight(state="ready", serial="0001")
    assert seen(serial="0001").state == "ready"
    assert desk.tokens[0].searched[0] == {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "epoch-kex",
    }  # fmt: skip


@pytest.mark.parametrize(
    "points",
    [[OURS], [b"\x04\x41" + OURS], [OTHER, b"junk", b"", OURS], [OURS, OURS]],
    ids=["plain", "wrapped", "among others", "twice"],
)
def test_one_key_of_the_envelopes_is_enough(desk: Desk, points: list[bytes]) -> None:
    desk.tokens[0].points = points
    assert seen().state == "ready"


@pytest.mark.case("T4", "token absent, several that match, another with the same label")
def test_which_token_is_ours(desk: Desk) -> None:
    ours, twin = Token(), Token(serial=b"0002")
    desk.tokens = []
    assert seen().code == "E_TOKEN_ABSENT"
    desk.tokens = [Token(label="else")]
    gone = seen(serial="0001")
    assert (gone.state, gone.code) == ("absent", "E_TOKEN_ABSENT")
    assert "else" not in gone.reason  # other people's tokens are for the holder's log
    assert "else" in gone.detail
    desk.tokens = [twin]
    swapped = seen(serial="0001")
    assert (swapped.state, swapped.code, swapped.serial) == ("present", "E_TOKEN_UNKNOWN", "0002")
    assert "0001" in swapped.reason
    desk.tokens = [twin, ours]  # whatever the order of the slots
    both = seen(serial="0001")
    assert (both.state, both.code) == ("present", "E_TOKEN_AMBIGUOUS")
    chosen = TokenChoice(profile=PROFILE, serial="0001")
    assert look(chosen, "0001", (OURS,)).state == "ready"


def test_all_of_a_choice_must_fit_the_token(desk: Desk) -> None:
    desk.tokens = [Token(), Token(serial=b"0002", slot_id=8), Token(label="else", slot_id=9)]
    desk.tokens[2].points = []
    uri = {"manufacturer": "SoftHSM project", "model": "SoftHSM v2"}
    both = seen(label="desk", **uri)
    assert both.code == "E_TOKEN_AMBIGUOUS"
    assert "serial=0001;token=desk', 'pkcs11:" in both.detail
    assert seen(label="desk", slot_id=8, **uri) == Sight(state="ready", serial="0002")
    for other in ({"slot_id": 9}, {"manufacturer": "Else"}, {"model": ""}):
        assert seen(**{"label": "desk"} | uri | other).code == "E_TOKEN_ABSENT"
    without = TokenChoice(profile=PROFILE, label="desk", serial="")
    assert look(without, None, (OURS,)).code == "E_TOKEN_ABSENT"


@pytest.mark.case("X927", "a slot without an initialised token, and a URI with an empty serial")
def test_no_serial_does_not_mean_a_token_that_is_not_initialised(desk: Desk) -> None:
    desk.tokens = [Token(label="", serial=b" " * 16, flags=TokenFlag(0))]
    without = TokenChoice(profile=PROFILE, serial="")
    assert look(without, None, (OURS,)).code == "E_TOKEN_ABSENT"
    desk.tokens = [Token(serial=b" " * 16)]
    assert look(without, None, (OURS,)).state == "ready"


@pytest.mark.case("T4", "another token with the same label, seen first: its key is not ours")
@pytest.mark.parametrize("points", [[], [OTHER], [OTHER] * 64 + [OURS]])
def test_a_token_without_our_key_is_not_ours(desk: Desk, points: list[bytes]) -> None:
    desk.tokens[0].points = points
    sight = seen()
    assert (sight.state, sight.code) == ("present", "E_TOKEN_KEY")
    assert ("that the envelope is for" in sight.reason) == bool(points)


@pytest.mark.parametrize(
    ("flags", "state", "code", "words"),
    [
        (TokenFlag(0), "present", "E_TOKEN", "not initialised"),
        (TokenFlag.TOKEN_INITIALIZED, "present", "E_TOKEN", "no user PIN"),
        (USABLE | TokenFlag.USER_PIN_LOCKED, "locked", "E_PIN_LOCKED", "is locked"),
        (USABLE | TokenFlag.USER_PIN_FINAL_TRY, "locked", "E_PIN_FINAL_TRY", "would lock"),
        (USABLE | TokenFlag.USER_PIN_COUNT_LOW, "ready", "", ""),
    ],
)
def test_what_the_flags_mean(
    desk: Desk, flags: TokenFlag, state: str, code: str, words: str
) -> None:
    desk.tokens[0].flags = flags
    sight = seen(serial="0001") if flags else look(
        TokenChoice(profile=PROFILE, serial="0001"), None, (OURS,)
    )  # fmt: skip
    assert (sight.state, sight.code) == (state, code)
    assert words in sight.reason


def test_a_locked_token_of_somebody_else_is_not_ours(desk: Desk) -> None:
    desk.tokens[0].flags |= TokenFlag.USER_PIN_LOCKED
    desk.tokens[0].points = [OTHER]
    assert seen().state == "present"
    assert seen(serial="0009").code == "E_TOKEN_UNKNOWN"


def test_a_token_that_the_profile_does_not_describe_is_left_alone(desk: Desk) -> None:
    desk.tokens[0].model = "Else"
    assert (seen().state, seen().code) == ("present", "E_TOKEN_UNKNOWN")
    assert desk.tokens[0].searched == []


@pytest.mark.case("T5", "DEVICE_REMOVED, SESSION_HANDLE_INVALID, FUNCTION_FAILED at each step")
@pytest.mark.parametrize("step", ["ask", "open", "search", "read"])
@pytest.mark.parametrize(
    ("error", "state"),
    [
        (exceptions.DeviceRemoved(), "absent"),
        (exceptions.TokenNotPresent(), "absent"),
        (exceptions.SessionHandleInvalid(), "absent"),
        (exceptions.FunctionFailed(), "present"),
        (exceptions.GeneralError(), "present"),
        (exceptions.PKCS11Error("Unmapped error code 0x80000001"), "present"),
    ],
)
def test_a_token_that_goes_away_while_somebody_looks(
    desk: Desk, step: str, error: Exception, state: str
) -> None:
    desk.tokens[0].fails[step] = error
    sight = seen()
    # A slot that does not answer is passed over; a key that is not readable is none.
    wanted = {"ask": "absent", "read": "present"}.get(step, state)
    assert sight.state == wanted
    desk.tokens[0].fails.clear()
    assert seen().state == "ready"


@pytest.mark.case("T5", "the module itself gives FUNCTION_FAILED or no readable text")
@pytest.mark.parametrize(
    "error", [exceptions.FunctionFailed(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")]
)
def test_a_module_that_does_not_answer_is_no_token(desk: Desk, error: Exception) -> None:
    desk.fails = error
    sight = seen()
    assert sight.state == "absent"
    assert "/secret/place" in sight.detail  # for the holder's log only


def test_a_module_that_cannot_be_loaded_is_no_token(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(choice: TokenChoice) -> None:
        raise ModuleError("PKCS#11 module '/secret/place/module.so': \x1b[2J\u202e", hint="look")

    monkeypatch.setattr(watching, "module_of", fails)
    sight = seen()
    assert (sight.state, sight.code) == ("absent", "E_MODULE")
    assert sight.detail == "PKCS#11 module '/secret/place/module.so': ?[2J?; look"


@pytest.mark.case("X331", "token whose label, serial or model is not printable, or very long")
@pytest.mark.parametrize("text", ["\x1b[2J\n", "\u202e\ufffd", "\xff" * 16])
def test_what_a_token_calls_itself_is_printable(desk: Desk, text: str) -> None:
    ours = desk.tokens[0]
    ours.serial = text.encode()[:15]
    assert seen().state in ("ready", "present")
    ours.points = []
    seen()
    ours.manufacturer_id = text
    seen()
    ours.label = text
    seen(label=text)
    seen(label="desk")


def test_a_probe_outlives_the_last_resort_of_other_workers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    chosen = TokenChoice(profile=PROFILE, label="desk")
    job = WatchToken(token=chosen, recipients=(OURS,), channel=theirs.detach())
    _, fields = open_order(order_bytes(job))
    signal.setitimer(signal.ITIMER_REAL, 60)  # as the hardening sets it
    gc.disable()  # as every worker does
    try:
        with ours, ours.makefile("rb") as answers:
            ours.sendall(Poll(None).to_line() + Poll("0002").to_line())
            ours.shutdown(socket.SHUT_WR)
            assert watch_token(fields) == {}
            states = [Sight.parse(line).state for line in answers]
        assert states == ["ready", "present"]
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert gc.isenabled()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()

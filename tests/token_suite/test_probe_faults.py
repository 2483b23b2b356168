"""A probe of a token that misbehaves: each fault is a finding, and the rest is still found."""

import struct
import sys
from pathlib import Path

import pytest

from signer.hsm.probe.steps import STEP_NAMES
from signer.testing.hostile.token import Ckr, HostileToken
from signer.testing.provision import session_here
from signer.testing.softhsm import USER_PIN
from tests.simulators.prober import Probed, probe, signer
from tests.simulators.terminal import at_terminal

pytestmark = pytest.mark.softhsm
_WRONG_PINS_AT = 16  # in the hostile module's `state`
_LOGINS = 5  # that a probe makes: the first, one while logged in, three anew


def options(hostile: HostileToken, seconds: int = 20) -> list[str | Path]:
    return ["--module", hostile.module, "--token", hostile.label,
            "--pin-file", hostile.pin_file, "--seconds", str(seconds)]  # fmt: skip


def probed(hostile: HostileToken, tmp_path: Path, seconds: int = 20) -> Probed:
    return probe(tmp_path / "out", *options(hostile, seconds))


def wrong_pins(hostile: HostileToken) -> int:
    raw = (hostile.folder / "state").read_bytes()
    (count,) = struct.unpack_from("=Q", raw, _WRONG_PINS_AT)
    assert isinstance(count, int)
    return count


def ways(found: Probed) -> dict[str, tuple[str, str]]:
    """Return outcome and code of what did not work; SHA-256 in OAEP never does on SoftHSM."""
    return {
        step: (seen.outcome, seen.code)
        for step, seen in found.faults.items() if step != "rsa-oaep-sha256"
    }  # fmt: skip


def serial_of(hostile: HostileToken) -> str:
    hostile.calm()
    with session_here(hostile.token, hostile.module) as session:
        assert len(session.token.serial) == 16
        return session.token.serial


REFUSED = ("refused", "CKR_DEVICE_ERROR")


@pytest.mark.case("X958", "a module that gives CKR_DEVICE_ERROR in each call that a probe makes")
@pytest.mark.parametrize(
    ("function", "steps"),
    [
        ("C_GetMechanismList", {"mechanisms"}),
        ("C_GetSessionInfo", {"login-scope"}),
        ("C_GenerateRandom", {"random"}),
        ("C_CreateObject", {"data-objects", "p256-imported", "aes-imported"}),
        ("C_GenerateKeyPair", {"p256-keys", "rsa-keys"}),
        ("C_GenerateKey", {"aes-keys"}),
        ("C_DeriveKey", {"hpke-p256"}),
        ("C_Sign", {"ecdsa-p256"}),
        ("C_Encrypt", {"aes-256-gcm"}),
        ("C_Decrypt", {"aes-256-gcm", "rsa-oaep-sha1"}),
    ],
)
def test_a_return_value_is_a_finding_of_its_step(
    hostile_token: HostileToken, tmp_path: Path, function: str, steps: set[str]
) -> None:
    hostile_token.fail(function, Ckr.DEVICE_ERROR)
    found = probed(hostile_token, tmp_path)
    assert ways(found) == dict.fromkeys(steps, REFUSED)


def test_a_vendors_return_value_is_shown_as_it_is(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.fail("C_DeriveKey", Ckr.VENDOR_DEFINED)
    assert ways(probed(hostile_token, tmp_path)) == {"hpke-p256": ("refused", "0x80000001")}


@pytest.mark.case("X959", "a module that crashes in each kind of call: the rest is still found")
@pytest.mark.parametrize(
    ("function", "steps"),
    [
        ("C_DeriveKey", {"hpke-p256"}),
        ("C_Decrypt", {"aes-256-gcm", "rsa-oaep-sha1"}),
        ("C_GenerateKey", {"aes-keys"}),
        ("C_GetSessionInfo", {"login-scope"}),
        ("C_Logout", {"login-again"}),
    ],
)
def test_a_crash_is_a_finding_of_its_step(
    hostile_token: HostileToken, tmp_path: Path, function: str, steps: set[str]
) -> None:
    hostile_token.crash(function)
    found = probed(hostile_token, tmp_path)
    assert ways(found) == dict.fromkeys(steps, ("crashed", ""))
    assert {found.faults[step].detail for step in steps} == {"signal 11"}
    assert found.outcomes("threads", "sessions", "objects-left") == ["works"] * 3
    assert wrong_pins(hostile_token) == 0


def test_a_crash_of_two_threads_is_theirs(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.crash("C_Sign", skip=30)  # the steps before sign 18 times, asking for the length
    assert ways(probed(hostile_token, tmp_path)) == {"threads": ("crashed", "")}


def test_a_module_that_crashes_each_time_is_given_up(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.crash("C_DestroyObject")
    found = probed(hostile_token, tmp_path)
    assert set(ways(found).values()) == {("crashed", "")}
    assert len(ways(found)) == 8
    assert found.report.by_step["objects-left"].detail == "the module crashed too often"


@pytest.mark.case("X960", "a module that hangs in a call: the step is late, the rest is found")
def test_a_step_that_hangs_is_late(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.delay("C_DeriveKey", 60)
    found = probed(hostile_token, tmp_path, seconds=8)
    assert ways(found) == {"hpke-p256": ("late", "")}
    assert found.outcomes("ecdsa-p256", "aes-256-gcm", "p256-made") == ["works"] * 3


def test_there_is_an_end(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.delay("C_GenerateKeyPair", 60)
    hostile_token.delay("C_GenerateRandom", 60)
    found = probed(hostile_token, tmp_path, seconds=5)
    late = [step for step, seen in found.faults.items() if seen.outcome == "late"]
    assert late[0] == "random"
    assert "no time left" in {seen.detail for seen in found.report.seen}
    assert found.outcomes("rsa-oaep-sha1", "login-again") == ["skipped"] * 2


@pytest.mark.case("X961", "answers that are false, garbled or cut short: none passes for right")
@pytest.mark.parametrize(
    ("function", "most", "steps"),
    [
        ("C_Sign", None, {"ecdsa-p256"}),
        ("C_Sign", 63, {"ecdsa-p256"}),
        ("C_Sign", 0, {"ecdsa-p256"}),
        ("C_Decrypt", None, {"aes-256-gcm", "rsa-oaep-sha1"}),
        ("C_Decrypt", 31, {"aes-256-gcm", "rsa-oaep-sha1"}),
        ("C_GenerateRandom", 0, {"random"}),
        ("C_FindObjects", 0, {"data-objects", "find"}),
    ],
)
def test_a_false_answer_is_wrong(
    hostile_token: HostileToken, tmp_path: Path, function: str, most: int | None, steps: set[str]
) -> None:
    if most is None:
        hostile_token.garble(function)
    else:
        hostile_token.truncate(function, most)
    found = probed(hostile_token, tmp_path)
    wrong = {step for step, (outcome, _) in ways(found).items() if outcome == "wrong"}
    assert wrong == steps
    assert not set(found.value["conclusions"]["seal"]) & steps
    text = (found.out / "report.json").read_text() + (found.out / "profile.yaml").read_text()
    assert serial_of(hostile_token) not in text
    assert f"token '{hostile_token.label}'" not in text


@pytest.mark.parametrize("most", [0, 3, 16, 64, None])
def test_attributes_that_make_no_sense_prove_nothing(
    hostile_token: HostileToken, tmp_path: Path, most: int | None
) -> None:
    if most is None:
        hostile_token.garble("C_GetAttributeValue")
    else:
        hostile_token.truncate("C_GetAttributeValue", most)
    found = probed(hostile_token, tmp_path)
    assert ways(found)
    assert "hpke-p256" not in found.value["conclusions"]["seal"] or most == 64
    assert not found.draft.ceremony or most == 64


@pytest.mark.case(
    "X962", "a token that says it logged out and did not, and one that forgets a login"
)
def test_a_logout_that_is_none_is_noticed(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.fail("C_Logout", 0)
    found = ways(probed(hostile_token, tmp_path))
    assert found == {"login-again": ("wrong", "CKR_USER_ALREADY_LOGGED_IN")}


def test_sessions_are_counted_up_to_the_first_refusal(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.fail("C_OpenSession", Ckr.SESSION_COUNT, skip=5, times=1)
    found = probed(hostile_token, tmp_path)
    seen = found.report.by_step["sessions"]
    # the first, one for each of two steps before, and two of three here
    assert (seen.code, seen.facts["open"]) == ("CKR_SESSION_COUNT", 3)
    assert found.draft.max_sessions == 3


def test_an_operation_that_is_not_ended_spoils_no_other_step(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    """C_FindObjectsFinal is not carried out: SoftHSM says OPERATION_ACTIVE to all that follows."""
    hostile_token.fail("C_FindObjectsFinal", Ckr.DEVICE_ERROR, times=1)
    assert ways(probed(hostile_token, tmp_path)) == {"token-objects": REFUSED}


# The PIN


def test_a_probe_tries_no_wrong_pin(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.delay("C_Login", 0.001)
    found = probed(hostile_token, tmp_path)
    assert [fault.function for fault in hostile_token.faults] == ["C_Login"] * _LOGINS
    assert wrong_pins(hostile_token) == 0
    assert not found.report.by_step["login"].facts["count_low_before"]


@pytest.mark.case("X963", "a token that refuses the right PIN on the way: it is not given again")
@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("skip", [1, 2, 3])
def test_a_refused_pin_rests(
    hostile_token: HostileToken, tmp_path: Path, skip: int, crashes: bool
) -> None:
    """Refused while it is known already, at a login anew, or of a worker hired after a crash."""
    hostile_token.refuse_pin(skip=skip)
    if crashes:
        hostile_token.crash("C_DeriveKey")
    found = probed(hostile_token, tmp_path)
    logins = [fault for fault in hostile_token.faults if fault.function == "C_Login"]
    assert len(logins) == wrong_pins(hostile_token) == 1
    assert found.report.by_step["login"].works
    if skip == 1:
        assert found.report.by_step["second-login"].code == "CKR_PIN_INCORRECT"
        assert found.outcomes("login-again") == ["skipped"]
    elif not crashes:
        assert found.report.by_step["login-again"].code == "CKR_PIN_INCORRECT"
        assert found.report.by_step["objects-left"].detail == "not logged in any more"


def test_the_flags_are_told_before_and_after(hostile_token: HostileToken, tmp_path: Path) -> None:
    right = hostile_token.pin_file.read_text()
    hostile_token.pin_file.write_text("wrong-1234\n")
    assert signer(*options(hostile_token)).returncode == 7
    assert wrong_pins(hostile_token) == 1
    hostile_token.pin_file.write_text(right)
    seen = probed(hostile_token, tmp_path).report.by_step["login"]
    assert (seen.facts["count_low_before"], seen.facts["count_low_after"]) == (True, False)
    assert seen.detail == "a wrong PIN was counted before"


@pytest.mark.case("X964", "a token before its last try, or locked: a probe tries no PIN")
@pytest.mark.parametrize(("tries", "code"), [(2, "E_PIN_FINAL_TRY"), (1, "E_PIN_LOCKED")])
def test_the_last_try_is_never_spent(
    hostile_token: HostileToken, tmp_path: Path, tries: int, code: str
) -> None:
    right = hostile_token.pin_file.read_text()
    hostile_token.pin_file.write_text("wrong-1234\n")
    assert signer(*options(hostile_token)).returncode == 7
    hostile_token.pin_file.write_text(right)
    hostile_token.lock_after(tries)
    done = signer(*options(hostile_token), "--out", tmp_path / "out")
    assert done.returncode == 7
    assert done.stderr.startswith(code)
    assert wrong_pins(hostile_token) == 1


# Before the login


@pytest.mark.case("X965", "a module that crashes, hangs or fails before the login: exit status 7")
@pytest.mark.parametrize("function", ["C_Initialize", "C_GetTokenInfo", "C_OpenSession", "C_Login"])
def test_a_module_that_does_not_come_to_the_login(
    hostile_token: HostileToken, tmp_path: Path, function: str
) -> None:
    hostile_token.crash(function)
    done = signer(*options(hostile_token), "--out", tmp_path / "out")
    assert done.returncode == 7
    assert done.stderr.startswith("E_TOKEN: the PKCS#11 module did not come to the login: ")
    assert "signal 11" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unplugged_token_ends_a_probe_without_a_traceback(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.unplug_during("C_GenerateRandom", 60)
    found = probed(hostile_token, tmp_path)
    assert found.report.by_step["random"].code == "CKR_DEVICE_REMOVED"
    assert "wrong" not in {outcome for outcome, _ in ways(found).values()}


# Where another worker needs the PIN again


def test_a_pin_from_a_descriptor_is_there_once(hostile_token: HostileToken, tmp_path: Path) -> None:
    hostile_token.crash("C_DeriveKey")
    with hostile_token.pin_file.open("rb") as file:
        arguments = [*options(hostile_token)[:4], "--pin-fd", str(file.fileno())]
        found = probe(tmp_path / "out", *arguments, pass_fds=(file.fileno(),))
    assert ways(found) == {"hpke-p256": ("crashed", "")}
    left = found.report.seen[STEP_NAMES.index("hpke-p256") + 1 :]
    assert {seen.outcome for seen in left} == {"skipped"}
    assert "--pin-file" in left[0].detail


def test_a_person_is_asked_again_or_leaves_it(hostile_token: HostileToken) -> None:
    hostile_token.crash("C_DeriveKey")
    arguments = ["token", "probe", *options(hostile_token)[:4]]
    prompt = "PIN of token"
    seen = at_terminal(arguments, [(prompt, USER_PIN + "\n"), (prompt, USER_PIN + "\n")], {})
    assert seen.status == 0
    assert seen.screen.count(prompt) == 2
    assert "two threads at once" in seen.screen
    left = at_terminal(arguments, [(prompt, USER_PIN + "\n"), (prompt, "\n")], {})
    assert left.status == 0
    assert "no other worker could log in (E_PIN_EMPTY)" in left.stdout
    assert wrong_pins(hostile_token) == 0


def test_keys_on_the_token_that_a_crash_left_are_destroyed(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.crash("C_DeriveKey")
    found = probe(tmp_path / "out", *options(hostile_token), "--with-token-keys")
    assert ways(found) == {"hpke-p256": ("crashed", "")}
    assert found.value["left"] is None
    assert found.report.by_step["objects-left"].facts["objects"] == 4


def test_keys_on_the_token_go_where_nobody_logs_in_anew(
    hostile_token: HostileToken, tmp_path: Path
) -> None:
    hostile_token.refuse_pin(skip=1)
    found = probe(tmp_path / "out", *options(hostile_token), "--with-token-keys")
    assert found.outcomes("login-again", "objects-left") == ["skipped", "works"]
    assert found.report.by_step["objects-left"].facts["objects"] == 4
    assert found.value["left"] is None


def test_keys_that_may_be_left_are_named(hostile_token: HostileToken) -> None:
    hostile_token.crash("C_DestroyObject")
    done = signer(*options(hostile_token), "--with-token-keys")
    assert done.returncode == 0
    assert "objects labelled signer-probe-" in done.stderr
    assert sys.executable not in done.stderr

"""What follows from what a probe saw, on reports in memory."""

from dataclasses import replace

import pytest

from signer.hsm.probe.differences import differences
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import STEP_NAMES, Seen, letters, reason_to_skip
from signer.hsm.probe.verdict import (
    SEEN_QUIRKS,
    Row,
    conclude,
    latency,
    makes_no_session_keys,
    rows,
)
from signer.hsm.profile import DeviceProfile, load_profile
from tests.simulators.probed import REPORT, otherwise, saying, without

SOFTHSM = load_profile("softhsm2")
SEALS = ("hpke-p256", "rsa-oaep-sha256", "rsa-oaep-sha1", "aes-256-gcm")


def row(report: ProbeReport, step: str) -> Row:
    return rows(report)[STEP_NAMES.index(step)]


def test_a_device_that_does_everything() -> None:
    found = conclude(REPORT)
    assert found.seal == ("hpke-p256", "rsa-oaep-sha256", "aes-256-gcm")  # SHA-1 is not needed
    assert (found.provenance, found.ceremony, found.login) == ("strict", True, "process")
    assert (found.data_objects, found.max_data_bytes, found.max_sessions) == (True, None, 16)
    assert (found.lies, found.quirks) == ((), ())
    assert len(rows(REPORT)) == len(STEP_NAMES)
    assert {line.works for line in rows(REPORT)} == {"yes"}


def test_the_table_tells_claimed_from_done() -> None:
    refused = otherwise(REPORT, "hpke-p256", "refused", code="CKR_MECHANISM_INVALID")
    line = row(refused, "hpke-p256")
    assert (line.claimed, line.works, line.detail) == ("yes", "no", "CKR_MECHANISM_INVALID")
    hidden = without(REPORT, "CKM_ECDH1_DERIVE")
    assert (row(hidden, "hpke-p256").claimed, row(hidden, "hpke-p256").works) == ("no", "yes")
    assert row(REPORT, "login").claimed == "-"
    assert row(saying(REPORT, flags=()), "random").claimed == "no"
    assert row(REPORT, "random").claimed == "yes"


@pytest.mark.parametrize(("most", "word"), [(None, "not told"), (0, "no limit"), (16, "16")])
def test_how_many_sessions_a_token_claims(most: int | None, word: str) -> None:
    assert row(saying(REPORT, max_sessions=most), "sessions").claimed == word


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("wrong", "WRONG"), ("crashed", "CRASHED"), ("late", "too slow"), ("skipped", "not tried")],
)
@pytest.mark.parametrize("method", SEALS)
def test_only_a_right_answer_makes_a_method_usable(method: str, outcome: str, word: str) -> None:
    report = otherwise(REPORT, method, outcome)
    assert row(report, method).works == word
    assert method not in conclude(report).seal


def test_sha1_is_for_tokens_without_another_hash() -> None:
    only = otherwise(REPORT, "rsa-oaep-sha256", "refused", code="CKR_ARGUMENTS_BAD")
    assert "rsa-oaep-sha1" in conclude(only).seal
    assert "oaep-sha1-only" in conclude(only).quirks
    crashed = otherwise(REPORT, "rsa-oaep-sha256", "crashed")
    assert "oaep-sha1-only" not in conclude(crashed).quirks  # that is not known then


@pytest.mark.case("X950", "a token that says what is not so of a key: each way, each kind of key")
@pytest.mark.parametrize(
    "step",
    ["p256-made", "p256-imported", "p256-extractable", "aes-made", "aes-imported",
     "aes-extractable", "rsa-made"],
)  # fmt: skip
def test_one_lie_about_keys_and_nothing_is_proven(step: str) -> None:
    report = otherwise(REPORT, step, "wrong", detail="of a key brought in: LOCAL True")
    found = conclude(report)
    assert found.provenance == "unproven"
    assert found.lies == ("of a key brought in: LOCAL True",)
    assert not found.ceremony


@pytest.mark.parametrize("step", ["p256-imported", "p256-extractable", "aes-imported"])
def test_a_token_that_takes_no_such_keys_tells_no_lie(step: str) -> None:
    report = otherwise(REPORT, step, "refused", code="CKR_ATTRIBUTE_VALUE_INVALID")
    assert conclude(report).provenance == "strict"
    assert conclude(report).ceremony


@pytest.mark.parametrize("step", ["p256-made", "hpke-p256", "ecdsa-p256", "p256-keys"])
@pytest.mark.parametrize("outcome", ["refused", "wrong", "crashed", "late", "skipped"])
def test_a_ceremony_needs_all_of_it(step: str, outcome: str) -> None:
    assert not conclude(otherwise(REPORT, step, outcome)).ceremony


@pytest.mark.parametrize("name", ["CKM_EC_KEY_PAIR_GEN", "CKM_ECDH1_DERIVE", "CKM_ECDSA"])
def test_a_ceremony_goes_by_the_list_of_mechanisms_too(name: str) -> None:
    found = conclude(without(REPORT, name))
    assert not found.ceremony
    assert found.quirks == ("mechanism-list-incomplete",)


def test_a_ceremony_needs_keys_that_setup_can_make() -> None:
    found = conclude(otherwise(REPORT, "p256-keys", facts={"explicit_refused": True}))
    assert "explicit-capabilities-refused" in found.quirks
    assert not found.ceremony


def test_provenance_is_that_of_the_best_method() -> None:
    report = otherwise(REPORT, "hpke-p256", "refused")
    report = otherwise(report, "p256-made", "skipped", facts={})
    assert conclude(report).provenance == "strict"  # of the RSA key
    assert conclude(otherwise(report, "rsa-made", "skipped")).provenance == "unproven"


@pytest.mark.parametrize(
    ("quirk", "report"),
    [
        ("attribute-missing-raises",
         otherwise(REPORT, "attributes", facts={"missing_raises": True})),
        ("ec-point-raw", otherwise(REPORT, "attributes", facts={"point_raw": True})),
        ("explicit-capabilities-refused",
         otherwise(REPORT, "rsa-keys", facts={"explicit_refused": True})),
        ("mechanism-list-incomplete", without(REPORT, "CKM_AES_GCM")),
        ("no-local-attribute", otherwise(REPORT, "aes-made", "wrong", facts={"local": False})),
        ("oaep-sha1-only", otherwise(REPORT, "rsa-oaep-sha256", "refused")),
        ("serial-empty", saying(REPORT, serial_empty=True)),
    ],
)  # fmt: skip
def test_each_quirk_that_can_be_seen_is(quirk: str, report: ProbeReport) -> None:
    assert quirk in SEEN_QUIRKS
    assert conclude(report).quirks == (quirk,)


def test_limits_that_were_met() -> None:
    report = otherwise(REPORT, "sessions", "refused", code="CKR_SESSION_COUNT", facts={"open": 3})
    assert conclude(report).max_sessions == 3
    assert conclude(saying(REPORT, max_sessions=0)).max_sessions is None
    report = otherwise(REPORT, "data-objects", code="CKR_DEVICE_MEMORY", facts={"largest": 1024})
    assert conclude(report).max_data_bytes == 1024
    report = otherwise(REPORT, "data-objects", "refused", code="CKR_FUNCTION_NOT_SUPPORTED")
    assert (conclude(report).data_objects, conclude(report).max_data_bytes) == (False, None)


@pytest.mark.parametrize(("process", "word"), [(True, "process"), (False, "session")])
def test_what_a_login_counts_for(process: bool, word: str) -> None:
    assert conclude(otherwise(REPORT, "login-scope", facts={"process": process})).login == word
    unseen = replace(REPORT.by_step["login-scope"], outcome="crashed", facts={})
    report = replace(REPORT, seen=tuple(unseen if one.step == "login-scope" else one
                                        for one in REPORT.seen))  # fmt: skip
    assert conclude(report).login is None


# Against a profile


def like_softhsm() -> ProbeReport:
    report = otherwise(REPORT, "rsa-oaep-sha256", "refused", code="CKR_ARGUMENTS_BAD")
    return saying(report, max_sessions=0, pin_min=4, pin_max=255)


def shown(report: ProbeReport, profile: DeviceProfile = SOFTHSM) -> list[tuple[str, str, str]]:
    return [(entry.field, entry.profile, entry.seen) for entry in differences(report, profile)]


def test_a_device_as_its_profile_says() -> None:
    assert shown(like_softhsm()) == []


@pytest.mark.parametrize(
    ("report", "difference"),
    [
        (otherwise(like_softhsm(), "aes-256-gcm", "refused", code="CKR_DATA_INVALID"),
         ("seal", "aes-256-gcm", "no, CKR_DATA_INVALID")),
        (otherwise(like_softhsm(), "aes-256-gcm", "wrong"), ("seal", "aes-256-gcm", "WRONG")),
        (otherwise(like_softhsm(), "login-scope", facts={"process": False}),
         ("sessions.login", "process", "session")),
        (otherwise(like_softhsm(), "data-objects", "refused", code="CKR_FUNCTION_NOT_SUPPORTED"),
         ("objects.data_objects", "true", "false")),
        (saying(like_softhsm(), max_sessions=16), ("sessions.max", "no limit", "16")),
        (saying(like_softhsm(), pin_min=8), ("pin.min_length", "4", "8")),
        (saying(like_softhsm(), pin_max=16), ("pin.max_length", "255", "16")),
        (saying(like_softhsm(), serial_empty=True), ("quirks", "no serial-empty", "serial-empty")),
    ],
)  # fmt: skip
def test_each_difference_is_named(report: ProbeReport, difference: tuple[str, str, str]) -> None:
    assert shown(report) == [difference]


def test_more_than_the_profile_says_is_a_difference_too() -> None:
    report = saying(REPORT, max_sessions=0, pin_min=4, pin_max=255)
    assert shown(report) == [
        ("seal", "no rsa-oaep-sha256", "rsa-oaep-sha256"),
        ("quirks", "oaep-sha1-only", "no oaep-sha1-only"),
    ]


def test_a_lie_differs_from_a_strict_profile() -> None:
    report = otherwise(like_softhsm(), "p256-imported", "wrong")
    assert shown(report) == [
        ("ceremony", "true", "false"), ("provenance", "strict", "unproven")
    ]  # fmt: skip


def test_what_was_not_tried_differs_from_nothing() -> None:
    report = like_softhsm()
    for step in STEP_NAMES[3:]:
        report = replace(report, seen=tuple(Seen.skipped(step, "no time left")
                                            if one.step == step else one
                                            for one in report.seen))  # fmt: skip
    assert shown(report) == []


def test_a_session_that_may_not_write_says_nothing_of_the_device() -> None:
    report = like_softhsm()
    for step in ("p256-keys", "aes-keys", "rsa-keys", "data-objects"):
        report = otherwise(report, step, "refused", code="CKR_SESSION_READ_ONLY")
    for step in STEP_NAMES:
        if reason_to_skip(step, {one.step: one.outcome for one in report.seen}) is not None:
            report = otherwise(report, step, "skipped")
    assert shown(report) == []
    assert makes_no_session_keys(report)
    assert not makes_no_session_keys(replace(report, keys="token"))
    assert not makes_no_session_keys(otherwise(report, "rsa-keys"))


def test_a_method_whose_keys_are_not_made_differs() -> None:
    report = otherwise(like_softhsm(), "aes-keys", "refused", code="CKR_MECHANISM_INVALID")
    for step in ("aes-256-gcm", "aes-made", "aes-extractable"):
        report = otherwise(report, step, "skipped")
    assert shown(report) == [("seal", "aes-256-gcm", "no key for it is made")]


# Words


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((), ""),
        ((340,), "0.34 ms"),
        ((300, 340, 9000), "0.34 ms (0.3 ms to 9 ms, 3 tries)"),
        ((233_000,), "233 ms"),
        ((25_400,), "25 ms"),
    ],
)
def test_latencies_in_words(times: tuple[int, ...], words: str) -> None:
    assert latency(times) == words


def test_origins_in_letters() -> None:
    assert letters({"local": True, "always_sensitive": False}) == "T/F/-"


def test_a_step_waits_for_what_it_needs() -> None:
    assert reason_to_skip("hpke-p256", {"p256-keys": "works"}) is None
    assert reason_to_skip("hpke-p256", {"p256-keys": "crashed"}) == "needs P-256 keys made on it"
    assert reason_to_skip("threads", {}) == "needs ECDSA over a digest"
    assert reason_to_skip("random", {}) is None

"""`signer token probe` on SoftHSM: what it finds, what it writes, and that nothing stays."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pkcs11.constants import Attribute

from signer.hsm.probe.steps import STEP_NAMES
from signer.hsm.profile import load_profile
from signer.testing.provision import session_here
from signer.testing.softhsm import USER_PIN, SoftHSM, module_path
from tests.simulators.prober import SIGNER, probe, signer
from tests.simulators.terminal import at_terminal

pytestmark = pytest.mark.softhsm
Tokens = Callable[..., SoftHSM]
PIV_LIKE = (
    "CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS,CKM_RSA_PKCS_OAEP,CKM_EC_KEY_PAIR_GEN,CKM_ECDSA,"
    "CKM_ECDH1_DERIVE,CKM_SHA256"
)


def options(token: SoftHSM) -> list[str | Path]:
    return ["--module", module_path(), "--token", token.label, "--pin-file", token.pin_file]


def objects_of(token: SoftHSM) -> list[Any]:
    """Return what the token keeps: every token object's class, name, label, and their files.

    The file of the token itself is another after every login.
    """
    with session_here(token) as session:
        found = [
            key.get_attributes([Attribute.CLASS, Attribute.ID, Attribute.LABEL])
            for key in list(session.session.get_objects({Attribute.TOKEN: True}))
        ]
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in token.tokens.rglob("*.object")
        if path.name != "token.object"
    }
    return [sorted(map(repr, found)), files]


@pytest.fixture
def desk(softhsm_tokens: Tokens) -> SoftHSM:
    """Return a token with a holder's keys, whose configuration SOFTHSM2_CONF names."""
    return softhsm_tokens("desk", keys=True)


def test_a_token_seen_as_one_that_nobody_knows(desk: SoftHSM, tmp_path: Path) -> None:
    """Without a profile: only what was seen counts, and it is what the packaged one says."""
    probed = probe(tmp_path / "out", *options(desk))
    assert list(probed.faults) == ["rsa-oaep-sha256"]
    assert probed.faults["rsa-oaep-sha256"].code == "CKR_ARGUMENTS_BAD"
    assert [seen.outcome for seen in probed.report.seen].count("works") == len(STEP_NAMES) - 1
    assert (probed.value["profile"], probed.value["differences"]) == ("softhsm2", [])
    assert probed.value["conclusions"]["seal"] == ["hpke-p256", "rsa-oaep-sha1", "aes-256-gcm"]
    seen = probed.report.by_step
    assert seen["second-login"].code == "CKR_USER_ALREADY_LOGGED_IN"
    assert seen["threads"].facts["signatures"] == 40
    assert seen["aes-256-gcm"].facts["host_checked"]
    assert seen["data-objects"].facts["largest"] == 16384
    for step in ("login", "login-again", "hpke-p256", "ecdsa-p256", "rsa-oaep-sha1", "find"):
        assert seen[step].times, step
    assert len(seen["login-again"].times) == 3
    for kind, letters in (("made", "T/T/T"), ("imported", "F/F/F"), ("extractable", "T/F/F")):
        assert seen[f"p256-{kind}"].detail == seen[f"aes-{kind}"].detail == letters


def test_the_draft_is_what_the_packaged_profile_says(desk: SoftHSM, tmp_path: Path) -> None:
    draft, known = probe(tmp_path / "out", *options(desk)).draft, load_profile("softhsm2")
    for field in ("seal_methods", "ceremony", "provenance", "software", "pin_min", "pin_max",
                  "login", "data_objects", "journal_anchor", "quirks", "environment",
                  "modules"):  # fmt: skip
        assert getattr(draft, field) == getattr(known, field), field
    listed = signer_list(tmp_path / "out" / "profile.yaml", desk)
    assert listed["tokens"][0]["profile"] == draft.name


def signer_list(profile: Path, token: SoftHSM) -> dict[str, Any]:
    """Return what `signer token list` says with a profile of one's own."""
    done = subprocess.run(
        [SIGNER, "token", "list", "--profile", profile, "--token", token.label, "--json"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("extra", [[], ["--with-token-keys"]], ids=["session", "token"])
def test_nothing_stays_on_the_token(desk: SoftHSM, tmp_path: Path, extra: list[str]) -> None:
    before = objects_of(desk)
    probed = probe(tmp_path / "out", *options(desk), *extra)
    assert objects_of(desk) == before
    counts = [probed.report.by_step[step].facts["objects"]
              for step in ("token-objects", "objects-left")]  # fmt: skip
    assert counts == [4, 4]
    assert probed.report.keys == ("token" if extra else "session")
    assert probed.value["left"] is None
    assert list(probed.faults) == ["rsa-oaep-sha256"]


def test_what_is_sent_in_tells_not_whose_token_it_was(desk: SoftHSM, tmp_path: Path) -> None:
    with session_here(desk) as session:
        serial = session.token.serial
    probed = probe(tmp_path / "out", *options(desk))
    assert len(serial) == 16
    for name in ("report.json", "profile.yaml"):
        text = (tmp_path / "out" / name).read_text()
        for secret in (serial, desk.label, USER_PIN, str(desk.folder)):
            assert secret not in text
    assert probed.report.token.serial_sha256 == hashlib.sha256(serial.encode()).digest()


def test_a_token_with_fewer_mechanisms(desk: SoftHSM, tmp_path: Path) -> None:
    with desk.config.open("a") as file:
        file.write(f"slots.mechanisms = {PIV_LIKE}\n")
    probed = probe(tmp_path / "out", *options(desk))
    assert probed.report.token.mechanisms == tuple(sorted(PIV_LIKE.split(",")))
    assert set(probed.faults) == {"rsa-oaep-sha256", "aes-256-gcm"}
    assert probed.faults["aes-256-gcm"].code == "CKR_MECHANISM_INVALID"
    shown = [(entry["field"], entry["profile"], entry["seen"])
             for entry in probed.value["differences"]]  # fmt: skip
    quirk = "mechanism-list-incomplete"  # it makes AES keys although it does not list that
    assert shown == [
        ("seal", "aes-256-gcm", "no, CKR_MECHANISM_INVALID"), ("quirks", f"no {quirk}", quirk)
    ]  # fmt: skip
    assert probed.draft.seal_methods == ("hpke-p256", "rsa-oaep-sha1")
    assert quirk in probed.draft.quirks
    assert probed.draft.ceremony


def test_a_token_without_curves(desk: SoftHSM, tmp_path: Path) -> None:
    with desk.config.open("a") as file:
        file.write("slots.mechanisms = CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS_OAEP\n")
    probed = probe(tmp_path / "out", *options(desk))
    for step in ("hpke-p256", "ecdsa-p256", "aes-256-gcm"):
        assert probed.faults[step].code == "CKR_MECHANISM_INVALID"
    assert probed.outcomes("threads") == ["skipped"]
    assert (probed.draft.seal_methods, probed.draft.ceremony) == (("rsa-oaep-sha1",), False)
    assert probed.draft.provenance == "strict"


def test_people_get_a_table_and_what_it_means(desk: SoftHSM) -> None:
    done = signer(*options(desk))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    (ecdh,) = [line for line in lines if line.startswith("ECDH for hpke-p256")]
    assert ecdh.split()[3:5] == ["yes", "yes"]
    assert "tries)" in ecdh
    assert "A share can be sealed to it by: hpke-p256, rsa-oaep-sha1, aes-256-gcm" in lines
    assert "Ceremonies: yes. Provenance: strict." in lines
    assert lines[-1].startswith("Profile softhsm2 ")
    assert lines[-1].endswith("nothing that was seen is otherwise.")


def test_at_a_terminal_it_asks_for_the_pin_and_shows_how_far_it_is(desk: SoftHSM) -> None:
    arguments = ["token", "probe", *options(desk)[:4]]
    seen = at_terminal(arguments, [("PIN of token", USER_PIN + "\n")], desk.environment)
    assert seen.status == 0
    assert "of 28  ECDH for hpke-p256" in seen.screen
    assert USER_PIN not in seen.screen
    assert seen.screen.count("PIN of token") == 1


# The PIN


@pytest.mark.case("X955", "a probe with a wrong PIN: tried once, nothing else is")
def test_a_wrong_pin_is_tried_once(desk: SoftHSM, tmp_path: Path) -> None:
    desk.pin_file.write_text("wrong-1234\n")
    done = signer(*options(desk), "--out", tmp_path / "out")
    assert done.returncode == 7
    assert done.stderr.startswith("E_PIN_REFUSED: ")
    assert "it was tried once" in done.stderr
    assert not (tmp_path / "out").exists()


# Usage


@pytest.mark.case("X956", "a probe without a module, of no token, into a folder that is there")
def test_what_cannot_be_probed(desk: SoftHSM, tmp_path: Path) -> None:
    done = signer("--token", desk.label, "--pin-file", desk.pin_file)
    assert (done.returncode, done.stderr[:8]) == (2, "E_USAGE:")
    assert "--module" in done.stderr
    done = signer(*options(desk), "--serial", "other")
    assert (done.returncode, done.stderr[:15]) == (7, "E_TOKEN_ABSENT:")
    done = signer("--module", desk.pin_file, "--token", "x", "--pin-file", desk.pin_file)
    assert (done.returncode, done.stderr[:9]) == (7, "E_MODULE:")
    done = signer(*options(desk), "--out", tmp_path)
    assert (done.returncode, done.stderr[:9]) == (1, "E_OUTPUT:")


@pytest.mark.case("X957", "a probe with a variable that is none or not set, seconds out of range")
@pytest.mark.parametrize(
    "wrong",
    [
        ["--environment", "A=b"],
        ["--environment", "NOT_SET_HERE"],
        ["--seconds", "4"],
        ["--seconds", "301"],
        ["--final-try"],
        ["--token", "pkcs11:token=desk;pin-value=1234"],
    ],
)
def test_options_that_cannot_be(desk: SoftHSM, wrong: list[str]) -> None:
    done = signer(*options(desk), *wrong)
    assert (done.returncode, done.stderr[:8]) == (2, "E_USAGE:")


def test_a_variable_of_an_unknown_module_is_inherited_and_stands_in_the_draft(
    desk: SoftHSM, tmp_path: Path
) -> None:
    known = {"ACME_CONF": "/etc/acme"}
    arguments = [*options(desk), "--environment", "ACME_CONF"]
    probed = probe(tmp_path / "out", *arguments, environment=known)
    assert probed.draft.environment == ("SOFTHSM2_CONF", "ACME_CONF")
